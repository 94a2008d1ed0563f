//! Every way in which the proxy says no, in the two messages that each has: the operator's and the client's.

use http::StatusCode;
use impersonation::{StripRefusal, Unrepresentable};

use crate::issuers::AuthenticationError;
use crate::reviews::ReviewError;
use crate::status::{Challenge, Details, Refusal};
use crate::upstream::SendError;

/// RFC 9110 section 2.5: in HTTP/1.0 a response that has no length ends with its connection, so a list that broke off
/// would look like a whole one.
pub(crate) fn http_1_0() -> Refusal {
    Refusal::new(
        StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        "a request in HTTP/1.0",
        "HTTP/1.0 is not served: use HTTP/1.1 or HTTP/2",
    )
}

/// A request that is not taken apart, because it is not what it should be.
pub(crate) fn strip(refusal: StripRefusal) -> Refusal {
    Refusal::new(refusal.status(), refusal.to_string(), refusal.client_message())
}

/// No bearer token. `scheme` is the one that came instead.
pub(crate) fn no_credential(scheme: Option<&str>) -> Refusal {
    let refusal = match scheme {
        None => Refusal::unauthorized(
            "no bearer token",
            "no bearer token: sign in, and use the kubeconfig that you were given",
        ),
        Some(scheme) => Refusal::unauthorized(
            format!("an Authorization of the scheme {scheme:?}"),
            "only bearer tokens are accepted",
        ),
    };
    Refusal { challenge: Challenge::NoToken, ..refusal }
}

/// A token that proves nobody.
pub(crate) fn authentication(error: &AuthenticationError) -> Refusal {
    match error {
        AuthenticationError::Rejected(rejection) => {
            Refusal::unauthorized(rejection.to_string(), rejection.client_message())
        }
        AuthenticationError::Opaque(rejection) => Refusal::unauthorized(error.to_string(), rejection.client_message()),
        AuthenticationError::UnknownIssuer(_) => {
            Refusal::unauthorized(error.to_string(), "the token is of an issuer that this cluster does not accept")
        }
        AuthenticationError::NoKeys(_) => Refusal::unavailable(
            error.to_string(),
            "the keys of the token's issuer could not be fetched yet; try again in a moment",
        ),
        AuthenticationError::Unrepresentable(error) => unrepresentable(error),
    }
}

/// A user whose name, groups or extra no header can carry unchanged.
pub(crate) fn unrepresentable(error: &Unrepresentable) -> Refusal {
    Refusal::unauthorized(error.to_string(), "the token's user or groups contain characters that cannot be passed on")
}

/// `--as` without a yes.
pub(crate) fn review(error: &ReviewError) -> Refusal {
    match error {
        ReviewError::Denied(denied) => {
            let details = Details {
                kind: denied.kind().to_owned(),
                group: denied.group().to_owned(),
                name: denied.name().to_owned(),
            };
            let refusal = Refusal::new(StatusCode::FORBIDDEN, denied.to_string(), denied.client_message());
            Refusal { details: Some(details), ..refusal }
        }
        ReviewError::Busy => Refusal {
            retry_after: Some(1),
            ..Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                error.to_string(),
                "too many requests wait for a review; try again",
            )
        },
        ReviewError::TimedOut(_) => Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            error.to_string(),
            "whether you may impersonate could not be found out in time; try again",
        ),
        ReviewError::Send(error) => upstream(error),
        ReviewError::Refused(_) | ReviewError::Status { .. } => Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
            "whether you may impersonate could not be found out; ask your administrator to look at the proxy's log",
        ),
    }
}

/// A token that is neither one of ours nor kube-apiserver's. The client hears why it is not one of ours.
pub(crate) fn passthrough(why_not_ours: &AuthenticationError, review: &ReviewError) -> Refusal {
    match review {
        ReviewError::Send(error) => upstream(error),
        ReviewError::Busy => self::review(review),
        ReviewError::TimedOut(_) => {
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, review.to_string(), "the token's review took too long; try again")
        }
        _ => {
            let ours = authentication(why_not_ours);
            Refusal { operator: format!("{}; and kube-apiserver: {review}", ours.operator), ..ours }
        }
    }
}

/// A request whose own body broke off. `how` is the operator's word on it.
pub(crate) fn client_body(how: &SendError) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        format!("the client's body broke off ({how})"),
        "the request's body broke off or is malformed",
    )
}

/// kube-apiserver cannot be reached, or does not take the proxy.
pub(crate) fn upstream(error: &SendError) -> Refusal {
    match error {
        SendError::Connect(_) => {
            // Without Retry-After: it was waited for already, and clients would wait as long again ten times.
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                error.to_string(),
                "the proxy cannot reach kube-apiserver; try again in a moment",
            )
        }
        SendError::Failed(_) => Refusal::new(
            StatusCode::BAD_GATEWAY,
            error.to_string(),
            "the connection to kube-apiserver failed while it handled this request; it may have been carried out",
        ),
        SendError::Unsent(_) | SendError::CredentialReplaced => {
            Refusal::unavailable(error.to_string(), "kube-apiserver did not take the request; try again")
        }
        SendError::ProxyUnauthorized => Refusal::new(
            StatusCode::BAD_GATEWAY,
            error.to_string(),
            "kube-apiserver does not accept the proxy (not your token); tell your administrator",
        ),
        SendError::Unaddressable(_) => {
            Refusal::new(StatusCode::BAD_REQUEST, error.to_string(), "the request's path is not valid")
        }
        SendError::Unreadable(_) => {
            Refusal::new(StatusCode::BAD_GATEWAY, error.to_string(), "kube-apiserver's answer broke off; try again")
        }
    }
}
