//! The way to kube-apiserver: two pools of connections that never mix.
//!
//! [`Impersonating`] carries the proxy's own credential and takes nothing but an [`UpstreamRequest`], which only
//! `impersonation::apply` makes. [`Credentialless`] carries none and takes nothing but a [`PassthroughRequest`]:
//! kube-apiserver looks at a client certificate before it looks at a token, so on the proxy's own connections a
//! passed-through user would become the proxy.

mod connection;
mod connector;
mod credential;
mod dial;
mod pool;
mod send;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use impersonation::{PassthroughRequest, UpstreamRequest};

pub(crate) use connection::Lease;
pub use connector::{ConnectError, Pem, UpstreamTls};
pub(crate) use connector::{Connector, UpstreamIo};
pub use credential::{Credential, CredentialError};
pub(crate) use dial::keep_alive;
pub(crate) use send::{Leased, SendError};

use crate::body::{RequestBody, UpstreamBody};
use connection::Shape;
use pool::Pool;
use send::On;

/// The connections with the proxy's own credential.
#[derive(Clone)]
pub(crate) struct Impersonating(Lanes);

/// The connections without any credential of the proxy.
#[derive(Clone)]
pub(crate) struct Credentialless(Lanes);

/// Two pools to one server with one credential.
///
/// What a container writes (its log, and whatever is proxied to a pod, service or node) may come in frames of a byte
/// each. h2 counts what small frames cost while nobody reads them, and gives up a connection, with all its streams,
/// when that is too much. So such streams have connections of their own, with windows so small that all of them
/// together cannot reach that bound: 100 × 16 KiB × 256 is below a half of 2³¹.
#[derive(Clone)]
struct Lanes {
    kubernetes: Arc<Pool>,
    containers: Arc<Pool>,
}

impl Lanes {
    fn new(connector: Arc<Connector>) -> Self {
        Self {
            kubernetes: Pool::new(connector.clone(), Shape { stream_window: 256 * 1024, max_streams: 1000 }),
            containers: Pool::new(connector, Shape { stream_window: 16 * 1024, max_streams: 100 }),
        }
    }

    async fn send(&self, parts: Parts, body: RequestBody) -> Result<Leased, SendError> {
        let pool = if is_of_a_container(parts.uri.path()) { &self.containers } else { &self.kubernetes };
        send::send(pool, On::Shared, parts, body).await
    }

    async fn upgrade(&self, parts: Parts) -> Result<Response<UpstreamBody>, SendError> {
        let (response, _no_lease) = send::send(&self.kubernetes, On::ItsOwn, parts, RequestBody::Empty).await?;
        Ok(response)
    }

    fn sweep(&self, idle_for: Duration) {
        self.kubernetes.sweep(idle_for);
        self.containers.sweep(idle_for);
    }
}

/// `…/log` and `…/proxy/…`, as far as a path tells. A namespace or object of these names merely goes the other way.
fn is_of_a_container(path: &str) -> bool {
    path.ends_with("/log") || path.split('/').any(|segment| segment == "proxy")
}

impl Impersonating {
    pub(crate) fn new(connector: Arc<Connector>) -> Self {
        Self(Lanes::new(connector))
    }

    /// Forwards one impersonated request.
    pub(crate) async fn send(&self, request: UpstreamRequest, body: RequestBody) -> Result<Leased, SendError> {
        self.0.send(request.into_parts(), body).await
    }

    /// Forwards one impersonated request that asks for an upgrade, on an HTTP/1.1 connection of its own.
    pub(crate) async fn upgrade(&self, request: UpstreamRequest) -> Result<Response<UpstreamBody>, SendError> {
        self.0.upgrade(request.into_parts()).await
    }

    /// Asks kube-apiserver for a review, as the proxy itself.
    pub(crate) async fn review(&self, review: Review, body: Vec<u8>) -> Result<(http::StatusCode, Bytes), SendError> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(review.path());
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let (parts, ()) = request.into_parts();
        let (response, _lease) = self.0.send(parts, RequestBody::own(body)).await?;
        let status = response.status();
        let body = match response.into_body() {
            UpstreamBody::Whole(bytes) => bytes,
            UpstreamBody::Streamed(body) => {
                Limited::new(body, MAX_REVIEW_BYTES).collect().await.map_err(SendError::unreadable)?.to_bytes()
            }
        };
        Ok((status, body))
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        self.0.kubernetes.connector()
    }

    /// Closes idle connections and connections to a configuration that is no more; call it now and then.
    pub(crate) fn sweep(&self, idle_for: Duration) {
        self.0.sweep(idle_for);
    }
}

impl Credentialless {
    pub(crate) fn new(connector: Arc<Connector>) -> Self {
        Self(Lanes::new(connector))
    }

    /// Forwards one request with the user's own token and nothing of the proxy's.
    pub(crate) async fn send(&self, request: PassthroughRequest, body: RequestBody) -> Result<Leased, SendError> {
        self.0.send(request.into_parts(), body).await
    }

    /// Forwards one request that asks for an upgrade with the user's own token and nothing of the proxy's.
    pub(crate) async fn upgrade(&self, request: PassthroughRequest) -> Result<Response<UpstreamBody>, SendError> {
        self.0.upgrade(request.into_parts()).await
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        self.0.kubernetes.connector()
    }

    pub(crate) fn sweep(&self, idle_for: Duration) {
        self.0.sweep(idle_for);
    }
}

/// The questions that the proxy asks in its own name. There are no others: nothing else it does reaches
/// kube-apiserver without a user.
#[derive(Clone, Copy)]
pub(crate) enum Review {
    SubjectAccess,
    Token,
    /// What the proxy itself may do.
    OwnRules,
}

impl Review {
    fn path(self) -> &'static str {
        match self {
            Self::SubjectAccess => "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            Self::OwnRules => "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            Self::Token => "/apis/authentication.k8s.io/v1/tokenreviews",
        }
    }
}

/// A review that is larger than this is not one.
const MAX_REVIEW_BYTES: usize = 1 << 20;
