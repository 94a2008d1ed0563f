//! A no, in Kubernetes' own words: `ForbiddenStatusError` in `apiserver/pkg/endpoints/handlers/responsewriters`
//! within `NewForbidden` in `apimachinery/pkg/api/errors`. kubectl prints it as it prints kube-apiserver's.

use std::fmt;

use super::{Resource, ReviewQuestion};
use crate::refusal::shown;

/// One part of a wish that kube-apiserver did not allow: HTTP 403 with the reason `Forbidden`. `Display` is for
/// operators.
#[derive(Debug, PartialEq, Eq)]
pub struct Denied {
    question: ReviewQuestion,
    /// The authorizer's, for the client too.
    reason: String,
    /// What went wrong; for operators.
    fault: String,
}

impl Denied {
    pub(super) fn new(question: ReviewQuestion, reason: String, fault: String) -> Self {
        Self { question, reason, fault }
    }

    /// What kube-apiserver would say, such as `users "jane" is forbidden: User "joe" cannot impersonate resource
    /// "users" in API group "" at the cluster scope`.
    #[must_use]
    pub fn client_message(&self) -> String {
        let resource = &self.question.resource;
        let (kind, group, name) = (self.kind(), self.group(), shown(self.name()));
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let scope = match resource {
            Resource::ServiceAccount { namespace, .. } => format!("in the namespace {}", quoted(namespace)),
            _ => "at the cluster scope".to_owned(),
        };
        let subresource = match resource {
            Resource::Extra { key, .. } => format!("/{}", shown(key)),
            _ => String::new(),
        };
        let user = quoted(&self.question.requester.user);
        let path = quoted(&format!("{kind}{subresource}"));
        let cannot = format!("User {user} cannot impersonate resource {path} in API group {} {scope}", quoted(group));
        let forbidden = format!("{qualified} {} is forbidden: {}", quoted(&name), without_html(&cannot));
        if self.reason.is_empty() { forbidden } else { format!("{forbidden}: {}", self.reason) }
    }

    /// `details.kind` of the Status: the resource, such as `users`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.question.resource.kind()
    }

    /// `details.group` of the Status: the resource's API group, empty for the core group.
    #[must_use]
    pub fn group(&self) -> &'static str {
        self.question.resource.group()
    }

    /// `details.name` of the Status: whom or what the client asked to impersonate.
    #[must_use]
    pub fn name(&self) -> &str {
        self.question.resource.name()
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.client_message())?;
        if self.fault.is_empty() { Ok(()) } else { write!(formatter, " ({})", self.fault) }
    }
}

impl std::error::Error for Denied {}

/// As Go's `%q` for texts without control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// kube-apiserver avoids errors that look like HTML.
fn without_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
