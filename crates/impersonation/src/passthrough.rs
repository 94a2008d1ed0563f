//! Requests that are not impersonated: they reach kube-apiserver with the user's own token and nothing of the
//! proxy's. Two proofs allow it: kube-apiserver's word that it knows the token (`--token-passthrough`, by
//! `TokenReview` of `authentication.k8s.io/v1`), or our own verification of it (`--disable-impersonation`).
//!
//! kube-apiserver looks at a client certificate before it looks at a token, so these requests are of a type that the
//! proxy's own connections do not take.

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri};
use identity::VerifiedIdentity;
use serde::{Deserialize, Serialize};

use crate::apply::ask_again;
use crate::credential::BearerToken;
use crate::requested::RequestedImpersonation;
use crate::strip::StrippedRequest;

const KIND: &str = "TokenReview";

/// A token that kube-apiserver knows, by its own word. Remember it briefly: a token may be revoked.
#[derive(Debug)]
pub struct TokenReviewed {
    /// With the reviewed token; sensitive, so `Debug` hides it.
    authorization: HeaderValue,
    username: String,
}

/// Why a review proves nothing about a token. `Display` is for operators; the token is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewRefusal {
    /// What came back is not a `TokenReview`.
    #[error("the answer is not a TokenReview: {0}")]
    Malformed(String),
    /// `status.error`: kube-apiserver could not check the token.
    #[error("kube-apiserver could not check the token: {0}")]
    Unchecked(String),
    /// `status.authenticated` is not true.
    #[error("kube-apiserver does not know the token")]
    NotAuthenticated,
    /// No audience that was asked for is in `status.audiences`; none at all means that whoever answered does not
    /// look at audiences.
    #[error("the token is for the audiences {actual:?}, none of which is among {asked:?}")]
    Audience {
        /// `--token-passthrough-audiences`.
        asked: Vec<String>,
        /// What kube-apiserver says.
        actual: Vec<String>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'question> {
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'question>,
}

#[derive(Serialize)]
struct Spec<'question> {
    token: &'question str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    audiences: &'question [String],
}

/// What of the answer counts. `status` must be there: an echo of the question is no answer.
#[derive(Deserialize)]
struct Answer {
    kind: String,
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    user: User,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    error: String,
}

#[derive(Default, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

impl TokenReviewed {
    /// The body of `POST /apis/authentication.k8s.io/v1/tokenreviews`, as JSON. Without audiences kube-apiserver
    /// takes its own.
    #[must_use]
    pub fn body(token: &BearerToken, audiences: &[String]) -> Vec<u8> {
        let question = Question {
            api_version: "authentication.k8s.io/v1",
            kind: KIND,
            spec: Spec { token: token.expose(), audiences },
        };
        #[expect(clippy::expect_used, reason = "serde_json fails on maps with other keys than strings only")]
        serde_json::to_vec(&question).expect("strings and lists of strings")
    }

    /// Reads the answer to the review of `token` for `audiences`.
    ///
    /// # Errors
    /// [`ReviewRefusal`] unless kube-apiserver authenticated the token and, if any audience was asked for, names one
    /// of them: a server that does not look at audiences answers with none, and its yes is not for this one.
    pub fn from_review_json(token: &BearerToken, body: &[u8], audiences: &[String]) -> Result<Self, ReviewRefusal> {
        let answer: Answer =
            serde_json::from_slice(body).map_err(|error| ReviewRefusal::Malformed(error.to_string()))?;
        if answer.kind != KIND {
            return Err(ReviewRefusal::Malformed(format!("it is a {:?}", answer.kind)));
        }
        let Status { authenticated, user, audiences: actual, error } = answer.status;
        if !error.is_empty() {
            return Err(ReviewRefusal::Unchecked(error.replace(token.expose(), "[redacted]")));
        }
        if !authenticated {
            return Err(ReviewRefusal::NotAuthenticated);
        }
        if user.username.is_empty() {
            return Err(ReviewRefusal::Malformed("it names no user".to_owned()));
        }
        if !audiences.is_empty() && !audiences.iter().any(|asked| actual.contains(asked)) {
            return Err(ReviewRefusal::Audience { asked: audiences.to_vec(), actual });
        }
        Ok(Self { authorization: token.authorization(), username: user.username })
    }

    /// Whose token it is, as kube-apiserver says: for logs and audit.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }
}

/// A request with the user's own token, for connections without any credential of the proxy.
#[derive(Debug)]
pub struct PassthroughRequest {
    parts: Parts,
}

impl PassthroughRequest {
    /// With the token that kube-apiserver knows. What the client asked to be goes along as it was sent:
    /// kube-apiserver sees the user and reviews it itself.
    #[must_use]
    pub fn reviewed(
        reviewed: &TokenReviewed,
        request: StrippedRequest,
        requested: Option<RequestedImpersonation>,
    ) -> Self {
        Self::new(reviewed.authorization.clone(), request, requested)
    }

    /// With the token that was verified here: `token` must be the one that proved `identity`. What the client asked
    /// to be goes along as it was sent: kube-apiserver sees the user and reviews it itself.
    #[must_use]
    pub fn verified(
        _identity: &VerifiedIdentity,
        token: &BearerToken,
        request: StrippedRequest,
        requested: Option<RequestedImpersonation>,
    ) -> Self {
        Self::new(token.authorization(), request, requested)
    }

    fn new(authorization: HeaderValue, request: StrippedRequest, requested: Option<RequestedImpersonation>) -> Self {
        let mut parts = request.into_parts();
        parts.headers.insert(AUTHORIZATION, authorization);
        if let Some(requested) = requested {
            ask_again(&mut parts.headers, requested);
        }
        Self { parts }
    }

    /// The method, as the client sent it.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The path and query, as the client sent them.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// The headers as they go to kube-apiserver, but for its host name.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The request to send: to kube-apiserver, on connections without any credential of the proxy.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        self.parts
    }
}

#[cfg(test)]
mod tests;
