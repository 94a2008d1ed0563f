//! What the log says of a request: one line for each refusal, and at DEBUG one for each request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode, Uri};
use runtime::log_limit::LogLimit;

use crate::issuers::Authenticated;
use crate::status::Refusal;

/// A request as the log tells of it.
pub(crate) struct Trail {
    pub(crate) client: IpAddr,
    pub(crate) who: Who,
    /// The user of `kubectl --as`.
    pub(crate) wants_to_be: Option<String>,
    method: Method,
    uri: Uri,
    began: Instant,
}

/// Who asks.
pub(crate) enum Who {
    Nobody,
    /// By a token that was verified here.
    Proved(Arc<Authenticated>),
    /// By kube-apiserver's word on a token that passes through.
    Reviewed(String),
}

impl Trail {
    pub(crate) fn begin<B>(peer: IpAddr, request: &Request<B>) -> Self {
        Self {
            client: peer,
            who: Who::Nobody,
            wants_to_be: None,
            method: request.method().clone(),
            uri: request.uri().clone(),
            began: Instant::now(),
        }
    }

    fn user(&self) -> Option<&str> {
        match &self.who {
            Who::Nobody => None,
            Who::Proved(user) => Some(cut(user.identity.username())),
            Who::Reviewed(name) => Some(cut(name)),
        }
    }

    fn wants_to_be(&self) -> Option<&str> {
        self.wants_to_be.as_deref().map(cut)
    }

    /// Without the query, which may hold what a user typed.
    fn path(&self) -> &str {
        cut(self.uri.path())
    }
}

/// The beginning of what a client sent: whatever it is, a line has its bound.
pub(crate) fn cut(text: &str) -> &str {
    const LONGEST: usize = 300;
    text.char_indices().nth(LONGEST).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

/// Writes the lines, and not more of them than anybody can read: clients cause them.
pub(crate) struct TrailLog {
    refused: LogLimit,
    failed: LogLimit,
}

impl Default for TrailLog {
    fn default() -> Self {
        Self {
            refused: LogLimit::new(200, Duration::from_millis(50)),
            failed: LogLimit::new(20, Duration::from_millis(500)),
        }
    }
}

impl TrailLog {
    /// The response is kube-apiserver's; its status is the user's business.
    pub(crate) fn forwarded(&self, trail: &Trail, status: StatusCode) {
        tracing::debug!(
            client = %trail.client,
            method = cut(trail.method.as_str()),
            path = trail.path(),
            user = trail.user(),
            wants_to_be = trail.wants_to_be(),
            code = status.as_u16(),
            milliseconds = u64::try_from(trail.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "forwarded a request"
        );
    }

    /// At INFO what an operator may be asked about, at WARN what concerns the proxy itself.
    pub(crate) fn refused(&self, trail: &Trail, refusal: &Refusal) {
        let is_ours = refusal.code.is_server_error() && refusal.code != StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        let limit = if is_ours { &self.failed } else { &self.refused };
        let Some(left_out) = limit.admit(Instant::now()) else { return };
        let left_out = (left_out > 0).then_some(left_out);
        let (client, code, reason) = (trail.client, refusal.code.as_u16(), cut(&refusal.operator));
        let (method, path) = (cut(trail.method.as_str()), trail.path());
        let (user, wants_to_be) = (trail.user(), trail.wants_to_be());
        if is_ours {
            tracing::warn!(%client, method, path, user, wants_to_be, code, %reason, left_out, "could not forward a request");
        } else {
            tracing::info!(%client, method, path, user, wants_to_be, code, %reason, left_out, "refused a request");
        }
    }
}
