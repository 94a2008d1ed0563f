//! Impersonation headers are those of a verified identity or of an authorized target.

use identity::VerifiedIdentity;
use impersonation::{Impersonation, RequestedImpersonation};

fn made() -> Impersonation {
    Impersonation {}
}

fn by_default() -> Impersonation {
    Impersonation::default()
}

fn of_a_name() {
    let _ = Impersonation::of("system:admin");
}

fn of_a_wish(requested: RequestedImpersonation, requester: &VerifiedIdentity) {
    let _ = Impersonation::of_target(requested, requester);
}

fn written_to(impersonation: &mut Impersonation) {
    impersonation.more.clear();
}

fn main() {}
