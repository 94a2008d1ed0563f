//! The probes of the kubelet, on a port of their own without TLS: `/live` answers as long as the process does,
//! `/ready` when requests can be served: the listener is up, keys are there, and nobody has asked us to stop.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::issuers::Issuers;

/// Probes are a handful of connections. The kubelet's must get through although others hold theirs open, so there is
/// room for many, and none for long.
const MAX_CONNECTIONS: usize = 1024;
const TIMEOUT: Duration = Duration::from_secs(2);

/// What readiness depends on.
pub(crate) struct Readiness {
    pub(crate) issuers: Arc<Issuers>,
    /// `--readiness-require-all-issuers`.
    pub(crate) require_all: bool,
    /// The listener accepts.
    pub(crate) serving: AtomicBool,
    /// The process is stopping.
    pub(crate) draining: CancellationToken,
}

impl Readiness {
    /// Nothing, or why requests should go elsewhere.
    fn check(&self) -> Result<(), String> {
        if self.draining.is_cancelled() {
            return Err("shutting down".to_owned());
        }
        if !self.serving.load(Ordering::Acquire) {
            return Err("not serving yet".to_owned());
        }
        let (with_keys, waiting) = self.issuers.readiness();
        if with_keys == 0 || (self.require_all && !waiting.is_empty()) {
            let mut text = String::from("the keys of these issuers could not be fetched yet:");
            for issuer in waiting {
                let _infallible = write!(text, " {issuer}");
            }
            return Err(text);
        }
        Ok(())
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, text) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/live") => (StatusCode::OK, "ok".to_owned()),
            (&Method::GET | &Method::HEAD, "/ready") => match self.check() {
                Ok(()) => (StatusCode::OK, "ok".to_owned()),
                Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
            },
            (_, "/live" | "/ready") => (StatusCode::METHOD_NOT_ALLOWED, "only GET".to_owned()),
            _ => (StatusCode::NOT_FOUND, "there is /ready and /live".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(text + "\n")));
        *response.status_mut() = status;
        response
    }
}

/// Serves the probes until `stop`, which is after the drain: `/ready` says no all the while.
pub(crate) async fn serve(listener: TcpListener, readiness: Arc<Readiness>, stop: CancellationToken) {
    let room = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! { () = stop.cancelled() => return, accepted = listener.accept() => accepted };
        let Ok((tcp, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let readiness = readiness.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = readiness.answer(&request);
                async { Ok::<_, Infallible>(response) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(TIMEOUT)
                .serve_connection(TokioIo::new(tcp), service);
            if let Err(error) = serving.await {
                tracing::debug!(%error, "a probe's connection ended");
            }
            drop(place);
        });
    }
}
