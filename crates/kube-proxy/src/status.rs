//! Refusals and failures as `metav1.Status`, as kube-apiserver writes them, so that kubectl prints them well.
//!
//! Every refusal has two messages: the operator's, exact, for the log; and the client's, which says what the client
//! can act on and no more.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

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
#[derive(Debug)]
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
        let mut body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.client,
            "code": self.code.as_u16(),
        });
        if let Some(reason) = reason(self.code) {
            body["reason"] = reason.into();
        }
        if let Some(details) = &self.details {
            body["details"] = json!({"name": details.name, "kind": details.kind});
            if !details.group.is_empty() {
                body["details"]["group"] = details.group.clone().into();
            }
        }
        if let Some(seconds) = self.retry_after {
            body["details"]["retryAfterSeconds"] = seconds.into();
        }
        let mut response = Response::new(ResponseBody::whole(body.to_string()));
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
