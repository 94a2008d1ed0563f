//! A verified identity comes out of verification, and there is one of it.

use identity::VerifiedIdentity;

fn made(username: String) -> VerifiedIdentity {
    username.into()
}

fn by_default() -> VerifiedIdentity {
    VerifiedIdentity::default()
}

fn written_to(identity: &mut VerifiedIdentity) {
    identity.username = "system:admin".to_owned();
}

fn copied() {
    fn needs_clone<T: Clone>() {}
    needs_clone::<VerifiedIdentity>();
}

fn main() {}
