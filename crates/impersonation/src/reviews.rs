//! Whether a user may become another: the questions that kube-apiserver would ask, put as `SubjectAccessReview`s
//! because kube-apiserver itself sees only the proxy, which may become anybody.
//!
//! Source: `apiserver/pkg/endpoints/filters/impersonation` of Kubernetes v1.37, its legacy mode: the verb
//! `impersonate` on `users`, `groups` and, in their namespace, `serviceaccounts` of the core group, and on `uids` and
//! `userextras/<key>` of `authentication.k8s.io`.
//!
//! Constrained impersonation (KEP-5284; on by default since v1.36) tries more narrowly granted verbs first
//! (`impersonate:user-info` together with `impersonate-on:user-info:<verb>` for the request itself, and the like for
//! nodes and service accounts) and then falls back to `impersonate`. Only the last is asked here. So a right that is
//! granted through the narrow verbs alone is not honoured through the proxy; no one is allowed more than without it.

mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use identity::VerifiedIdentity;

use crate::apply::AUTHENTICATED;
use crate::requested::RequestedImpersonation;

/// What must be asked before a wish is granted.
#[derive(Debug)]
pub struct PendingReviews {
    requested: RequestedImpersonation,
    questions: Vec<ReviewQuestion>,
}

/// One question to kube-apiserver: may this user impersonate that? Equal questions have equal answers, for as long
/// as a cache may believe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReviewQuestion {
    requester: Arc<Requester>,
    resource: Resource,
}

/// Who asks to be someone else, as kube-apiserver would see them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Requester {
    user: String,
    /// With `system:authenticated`, which kube-apiserver would have added.
    groups: Vec<String>,
    uid: Option<String>,
    extra: Vec<(String, Vec<String>)>,
}

/// What is to be impersonated. Each is the name of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Resource {
    User(String),
    ServiceAccount { namespace: String, name: String },
    Uid(String),
    Group(String),
    Extra { key: String, value: String },
}

/// kube-apiserver's answer to one question; it counts for no other.
#[derive(Clone, Debug)]
pub struct Verdict {
    question: ReviewQuestion,
    allowed: bool,
    /// Why, in the authorizer's words, which the client may read (kube-apiserver shows them too).
    reason: String,
    /// What went wrong, for operators.
    fault: String,
}

/// Someone whom the requester may be, by kube-apiserver's word on every part of it.
#[derive(Debug)]
pub struct AuthorizedTarget {
    requested: RequestedImpersonation,
    requester: Arc<Requester>,
}

/// One part of a wish that kube-apiserver did not allow. `Display` is for operators.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", self.client_message(), Fault(fault))]
pub struct Denied {
    question: ReviewQuestion,
    reason: String,
    fault: String,
}

/// The questions whose answers decide whether `requester` may become what was asked for: at most one for each value.
#[must_use]
pub fn reviews(requested: RequestedImpersonation, requester: &VerifiedIdentity) -> PendingReviews {
    let requester = Arc::new(Requester::new(requester));
    let mut questions = Vec::new();
    let mut ask = |resource| {
        let question = ReviewQuestion { requester: requester.clone(), resource };
        if !questions.contains(&question) {
            questions.push(question);
        }
    };
    ask(Resource::user(&requested.user));
    if let Some(uid) = &requested.uid {
        ask(Resource::Uid(uid.clone()));
    }
    for group in &requested.groups {
        ask(Resource::Group(group.clone()));
    }
    for (key, values) in &requested.extra {
        for value in values {
            ask(Resource::Extra { key: key.clone(), value: value.clone() });
        }
    }
    PendingReviews { requested, questions }
}

impl PendingReviews {
    /// What to ask: in any order, or all at once.
    #[must_use]
    pub fn questions(&self) -> &[ReviewQuestion] {
        &self.questions
    }

    /// The target, if each question has a verdict of its own (in any order), and each is a yes.
    ///
    /// # Errors
    /// The first question, in the order of [`PendingReviews::questions`], that has no yes.
    pub fn resolve(self, verdicts: Vec<Verdict>) -> Result<AuthorizedTarget, Denied> {
        let mut requester = None;
        for question in self.questions {
            match verdicts.iter().find(|verdict| verdict.question == question) {
                Some(verdict) if verdict.allowed => requester = Some(question.requester),
                Some(no) => {
                    return Err(Denied { question, reason: no.reason.clone(), fault: no.fault.clone() });
                }
                None => {
                    let fault = "there is no answer to this question".to_owned();
                    return Err(Denied { question, reason: String::new(), fault });
                }
            }
        }
        match requester {
            Some(requester) => Ok(AuthorizedTarget { requested: self.requested, requester }),
            // Not reached: there is always the question about the user. Were there none, nobody would have said yes.
            None => Err(Denied::without_question(&self.requested)),
        }
    }
}
