//! `SubjectAccessReview` of `authorization.k8s.io/v1` as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Resource, ReviewQuestion, Verdict};

const API_VERSION: &str = "authorization.k8s.io/v1";
const KIND: &str = "SubjectAccessReview";
const AUTHENTICATION: &str = "authentication.k8s.io";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'question> {
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'question>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'question> {
    resource_attributes: ResourceAttributes<'question>,
    user: &'question str,
    groups: &'question [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'question str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<&'question str, Vec<&'question str>>,
}

#[derive(Serialize)]
struct ResourceAttributes<'question> {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subresource: Option<&'question str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'question str>,
    name: &'question str,
}

/// What of the answer counts. `status` must be there: an echo of the question is no answer.
#[derive(Deserialize)]
struct Answer {
    kind: String,
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    denied: bool,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    evaluation_error: String,
}

impl ReviewQuestion {
    /// The body of `POST /apis/authorization.k8s.io/v1/subjectaccessreviews`, as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut extra: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, values) in &self.requester.extra {
            extra.entry(key).or_default().extend(values.iter().map(String::as_str));
        }
        let resource = &self.resource;
        let review = Review {
            api_version: API_VERSION,
            kind: KIND,
            spec: Spec {
                resource_attributes: ResourceAttributes {
                    verb: "impersonate",
                    group: resource.group(),
                    version: "v1",
                    resource: resource.kind(),
                    subresource: resource.subresource(),
                    namespace: resource.namespace(),
                    name: resource.name(),
                },
                user: &self.requester.user,
                groups: &self.requester.groups,
                uid: self.requester.uid.as_deref(),
                extra,
            },
        };
        #[expect(clippy::expect_used, reason = "serde_json fails on maps with other keys than strings only")]
        serde_json::to_vec(&review).expect("strings and lists of strings")
    }
}

impl Verdict {
    /// Reads the answer to `question`. It is a yes if `status.allowed` is true and `status.denied` is not; anything
    /// else, also what cannot be read, is a no.
    #[must_use]
    pub fn from_review_json(question: &ReviewQuestion, body: &[u8]) -> Self {
        let no = |fault| Self { question: question.clone(), allowed: false, reason: String::new(), fault };
        let answer: Answer = match serde_json::from_slice(body) {
            Ok(answer) => answer,
            Err(error) => return no(format!("the answer is not a {KIND}: {error}")),
        };
        if answer.kind != KIND {
            return no(format!("the answer is not a {KIND} but a {:?}", answer.kind));
        }
        Self {
            question: question.clone(),
            allowed: answer.status.allowed && !answer.status.denied,
            reason: answer.status.reason,
            fault: answer.status.evaluation_error,
        }
    }
}

impl Resource {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "users",
            Self::ServiceAccount { .. } => "serviceaccounts",
            Self::Uid(_) => "uids",
            Self::Group(_) => "groups",
            Self::Extra { .. } => "userextras",
        }
    }

    pub(super) fn group(&self) -> &'static str {
        match self {
            Self::User(_) | Self::ServiceAccount { .. } | Self::Group(_) => "",
            Self::Uid(_) | Self::Extra { .. } => AUTHENTICATION,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::User(name) | Self::ServiceAccount { name, .. } | Self::Uid(name) | Self::Group(name) => name,
            Self::Extra { value, .. } => value,
        }
    }

    fn subresource(&self) -> Option<&str> {
        match self {
            Self::Extra { key, .. } => Some(key),
            _ => None,
        }
    }

    fn namespace(&self) -> Option<&str> {
        match self {
            Self::ServiceAccount { namespace, .. } => Some(namespace),
            _ => None,
        }
    }
}
