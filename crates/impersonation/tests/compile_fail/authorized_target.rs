//! Whom a user may be is settled by a verdict on every question, and each verdict is kube-apiserver's.

use impersonation::{AuthorizedTarget, PendingReviews, RequestedImpersonation, ReviewQuestion, Verdict};

fn made() -> AuthorizedTarget {
    AuthorizedTarget {}
}

fn without_reviews(requested: RequestedImpersonation) -> AuthorizedTarget {
    requested.into()
}

fn another_wish(target: &mut AuthorizedTarget, other: RequestedImpersonation) {
    target.requested = other;
}

fn wished_for() -> RequestedImpersonation {
    RequestedImpersonation {}
}

fn pending() -> PendingReviews {
    PendingReviews {}
}

fn fewer_questions(pending: &mut PendingReviews) {
    pending.questions.clear();
}

fn answered() -> Verdict {
    Verdict {}
}

fn turned(verdict: &mut Verdict) {
    verdict.allowed = true;
}

fn for_another_question(verdict: &mut Verdict, other: ReviewQuestion) {
    verdict.question = other;
}

fn copied() {
    fn needs_clone<T: Clone>() {}
    needs_clone::<AuthorizedTarget>();
}

fn main() {}
