//! The way to kube-apiserver: two pools of connections that never mix.
//!
//! [`Impersonating`] carries the proxy's own credential and takes nothing but an [`UpstreamRequest`], which only
//! `impersonation::apply` makes. [`Credentialless`] carries none and takes nothing but a [`PassthroughRequest`]:
//! kube-apiserver looks at a client certificate before it looks at a token, so on the proxy's own connections a
//! passed-through user would become the proxy.

mod connector;
mod credential;
mod dial;
mod pool;
mod send;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use impersonation::{PassthroughRequest, UpstreamRequest};

pub use connector::{ConnectError, Pem, UpstreamTls};
pub(crate) use connector::{Connector, UpstreamIo};
pub use credential::{Credential, CredentialError};
pub(crate) use dial::keep_alive;
pub(crate) use pool::Lease;
pub(crate) use send::SendError;

use crate::body::{RequestBody, UpstreamBody};
use pool::Pool;

/// The pool with the proxy's own credential.
#[derive(Clone)]
pub(crate) struct Impersonating(Arc<Pool>);

/// The pool without any credential of the proxy.
#[derive(Clone)]
pub(crate) struct Credentialless(Arc<Pool>);

/// A response, and the lease on the connection that it still comes from.
pub(crate) type Leased = (Response<UpstreamBody>, Option<Lease>);

impl Impersonating {
    pub(crate) fn new(connector: Arc<Connector>) -> Self {
        Self(Pool::new(connector))
    }

    /// Forwards one impersonated request.
    pub(crate) async fn send(&self, request: UpstreamRequest, body: RequestBody) -> Result<Leased, SendError> {
        send::send(&self.0, request.into_parts(), body).await
    }

    /// Forwards one impersonated request that asks for an upgrade, on an HTTP/1.1 connection of its own.
    pub(crate) async fn upgrade(&self, request: UpstreamRequest) -> Result<Response<Incoming>, SendError> {
        send::upgrade(&self.0, request.into_parts()).await
    }

    /// Asks kube-apiserver for a review, as the proxy itself.
    pub(crate) async fn review(&self, review: Review, body: Vec<u8>) -> Result<(http::StatusCode, Bytes), SendError> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(review.path());
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let (parts, ()) = request.into_parts();
        let (response, _lease) = send::send(&self.0, parts, RequestBody::Whole(Some(body.into()))).await?;
        let status = response.status();
        let body = match response.into_body() {
            UpstreamBody::Whole(bytes) => bytes,
            UpstreamBody::Streamed(body) => {
                Limited::new(body, MAX_REVIEW_BYTES).collect().await.map_err(SendError::review)?.to_bytes()
            }
        };
        Ok((status, body))
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        self.0.connector()
    }

    /// Closes idle connections and connections to a configuration that is no more; call it now and then.
    pub(crate) fn sweep(&self, idle_for: Duration) {
        self.0.sweep(idle_for);
    }
}

impl Credentialless {
    pub(crate) fn new(connector: Arc<Connector>) -> Self {
        Self(Pool::new(connector))
    }

    /// Forwards one request with the user's own token and nothing of the proxy's.
    pub(crate) async fn send(&self, request: PassthroughRequest, body: RequestBody) -> Result<Leased, SendError> {
        send::send(&self.0, request.into_parts(), body).await
    }

    /// Forwards one request that asks for an upgrade with the user's own token and nothing of the proxy's.
    pub(crate) async fn upgrade(&self, request: PassthroughRequest) -> Result<Response<Incoming>, SendError> {
        send::upgrade(&self.0, request.into_parts()).await
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        self.0.connector()
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
}

impl Review {
    fn path(self) -> &'static str {
        match self {
            Self::SubjectAccess => "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            Self::Token => "/apis/authentication.k8s.io/v1/tokenreviews",
        }
    }
}

/// A review that is larger than this is not one.
const MAX_REVIEW_BYTES: usize = 1 << 20;
