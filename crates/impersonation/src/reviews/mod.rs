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

mod denied;
mod wire;

use std::sync::Arc;

use identity::VerifiedIdentity;

pub use denied::Denied;

use crate::apply::AUTHENTICATED;
use crate::requested::RequestedImpersonation;

/// What must be asked before a wish is granted.
#[derive(Debug)]
pub struct PendingReviews {
    requested: RequestedImpersonation,
    requester: Arc<Requester>,
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
    PendingReviews { requested, requester, questions }
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
        for question in self.questions {
            match verdicts.iter().find(|verdict| verdict.question == question) {
                Some(verdict) if verdict.allowed => {}
                Some(no) => return Err(Denied::new(question, no.reason.clone(), no.fault.clone())),
                None => return Err(Denied::new(question, String::new(), "nobody answered this question".to_owned())),
            }
        }
        Ok(AuthorizedTarget { requested: self.requested, requester: self.requester })
    }
}

impl Verdict {
    /// Whether it is a yes. A yes may be remembered for a moment; a no should not be, for whoever was just granted
    /// the right will try at once.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }
}

impl AuthorizedTarget {
    pub(crate) fn requested(&self) -> &RequestedImpersonation {
        &self.requested
    }

    /// Whether it was `identity` that was authorized.
    pub(crate) fn is_of(&self, identity: &VerifiedIdentity) -> bool {
        *self.requester == Requester::new(identity)
    }
}

impl Requester {
    fn new(identity: &VerifiedIdentity) -> Self {
        let mut groups = identity.groups().to_vec();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self {
            user: identity.username().to_owned(),
            groups,
            uid: identity.uid().map(str::to_owned),
            extra: identity.extra().to_vec(),
        }
    }
}

impl Resource {
    /// A service account is reviewed as one, in its namespace, under whatever name it is asked for.
    fn user(name: &str) -> Self {
        match service_account(name) {
            Some((namespace, name)) => Self::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() },
            None => Self::User(name.to_owned()),
        }
    }
}

/// `SplitUsername` in `apiserver/pkg/authentication/serviceaccount/util.go`: namespace and name of
/// `system:serviceaccount:<namespace>:<name>`, if both are valid.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let is_subdomain = |name: &str| name.len() <= 253 && name.split('.').all(is_dns_label);
    (namespace.len() <= 63 && is_dns_label(namespace) && is_subdomain(name)).then_some((namespace, name))
}

/// The characters of an RFC 1123 label, as Kubernetes has it: lower case, digits, and `-` inside.
fn is_dns_label(label: &str) -> bool {
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    is_end(label.bytes().next())
        && is_end(label.bytes().last())
        && label.bytes().all(|byte| is_end(Some(byte)) || byte == b'-')
}

#[cfg(test)]
mod tests;
