//! A token is what a client sent, and is neither copied nor printed.

use impersonation::BearerToken;

fn made() -> BearerToken {
    BearerToken(String::new().into())
}

fn copied() {
    fn needs_clone<T: Clone>() {}
    needs_clone::<BearerToken>();
}

fn printed() {
    fn needs_to_string<T: ToString>() {}
    needs_to_string::<BearerToken>();
}

fn main() {}
