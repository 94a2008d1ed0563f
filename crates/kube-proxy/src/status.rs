//! Refusals and failures as `metav1.Status`, as kube-apiserver writes them, so that kubectl prints them well.
//!
//! Every refusal has two messages: the operator's, exact, for the log; and the client's, which says what the client
//! can act on and no more.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::body::ResponseBody;

/// A request that the proxy answers itself.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: StatusCode,
    /// For the log.
    pub(crate) operator: String,
    /// For the client.
    pub(crate) client: String,
    /// Seconds after which the client should try again.
    pub(crate) retry_after: Option<u32>,
    /// What was refused, where it is one thing.
    pub(crate) details: Option<Details>,
    /// What a 401 says of the credential.
    pub(crate) challenge: Challenge,
}

/// `metav1.StatusDetails`, as far as the proxy has something to say in them.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub(crate) kind: String,
    pub(crate) group: String,
    pub(crate) name: String,
}

/// RFC 6750 section 3.1: whoever sent no token is told no error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Challenge {
    #[default]
    InvalidToken,
    NoToken,
}

/// `metav1.Status`, as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireStatus<'refusal> {
    kind: &'static str,
    api_version: &'static str,
    metadata: serde_json::Map<String, serde_json::Value>,
    status: &'static str,
    message: &'refusal str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<WireDetails>,
    code: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireDetails {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(code: StatusCode, operator: impl Into<String>, client: impl Into<String>) -> Self {
        Self {
            code,
            operator: operator.into(),
            client: client.into(),
            retry_after: None,
            details: None,
            challenge: Challenge::default(),
        }
    }

    /// 401: the client must bring another token.
    pub(crate) fn unauthorized(operator: impl Into<String>, client: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, operator, client)
    }

    /// 503 that goes by itself.
    pub(crate) fn unavailable(operator: impl Into<String>, client: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, operator, client) }
    }

    /// The response, logged once: a client's bad input is nothing that wakes anybody.
    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let details = (self.details.is_some() || self.retry_after.is_some()).then(|| {
            let what = self.details.unwrap_or_default();
            WireDetails { name: what.name, group: what.group, kind: what.kind, retry_after_seconds: self.retry_after }
        });
        let status = WireStatus {
            kind: "Status",
            api_version: "v1",
            metadata: serde_json::Map::new(),
            status: "Failure",
            message: &self.client,
            reason: reason(self.code),
            details,
            code: self.code.as_u16(),
        };
        #[expect(clippy::expect_used, reason = "serde_json fails on maps with other keys than strings only")]
        let body = serde_json::to_vec(&status).expect("strings and numbers");
        let mut response = Response::new(ResponseBody::whole(body));
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        if self.code == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, challenge(self.challenge, &self.client));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// `reason` of the Status, by Kubernetes' `metav1.StatusReason`.
fn reason(code: StatusCode) -> Option<&'static str> {
    Some(match code {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::INTERNAL_SERVER_ERROR => "InternalError",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        StatusCode::GATEWAY_TIMEOUT => "Timeout",
        _ => return None,
    })
}

/// The challenge of RFC 6750 section 3. The description is a quoted-string, in which a quote would end it.
fn challenge(kind: Challenge, description: &str) -> HeaderValue {
    if kind == Challenge::NoToken {
        return HeaderValue::from_static("Bearer realm=\"kubernetes\"");
    }
    let safe: String = description
        .chars()
        .map(|c| if matches!(c, '"' | '\\') || !(' '..='~').contains(&c) { '\'' } else { c })
        .collect();
    HeaderValue::try_from(format!("Bearer realm=\"kubernetes\", error=\"invalid_token\", error_description=\"{safe}\""))
        .unwrap_or_else(|_impossible| HeaderValue::from_static("Bearer realm=\"kubernetes\""))
}

#[cfg(test)]
mod tests;
