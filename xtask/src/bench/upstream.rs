//! A fake kube-apiserver that costs as little as possible: one small object, and watches that say nothing until told.
//! HTTP/2 with kube-apiserver's limit of streams, HTTP/1.1 for whoever does not offer h2.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::gathered::Gathered;

/// The path of the object.
pub(crate) const OBJECT_PATH: &str = "/api/v1/namespaces/default/pods/hello-6d9f8c5b7c-x2x9k";
/// The path of the watches.
pub(crate) const WATCH_PATH: &str = "/api/v1/namespaces/default/pods?watch=true&resourceVersion=1";
/// kube-apiserver's `--http2-max-streams-per-connection`.
const MAX_STREAMS: u32 = 100;

/// The server.
pub(crate) struct Upstream {
    /// Where it listens, on loopback.
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// `Authorization` of the Kube Proxy itself: its requests must name a user.
    own_authorization: HeaderValue,
    object: Bytes,
    watches: Mutex<Vec<UnboundedSender<Bytes>>>,
    connections: AtomicU64,
}

impl Upstream {
    /// Starts on a free port; whoever shows `own_token` must impersonate.
    ///
    /// # Errors
    /// If there is no port.
    pub(crate) async fn start(tls: TlsAcceptor, own_token: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            own_authorization: HeaderValue::try_from(format!("Bearer {own_token}"))?,
            object: Bytes::from(object()),
            watches: Mutex::default(),
            connections: AtomicU64::new(0),
        });
        tokio::spawn(accept(listener, tls, shared.clone()));
        Ok(Self { port, shared })
    }

    /// The object, as it must arrive.
    pub(crate) fn object(&self) -> Bytes {
        self.shared.object.clone()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Sends `event` on every watch; how many there are.
    pub(crate) fn send(&self, event: &Bytes) -> usize {
        let mut watches = self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|watch| watch.send(event.clone()).is_ok());
        watches.len()
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(serve(tcp, tls.clone(), shared.clone()));
    }
}

/// A connection that ends, however it ends, shows at the client if it ends too early.
async fn serve(tcp: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) {
    let Ok(()) = tcp.set_nodelay(true) else { return };
    let Ok(stream) = tls.accept(tcp).await else { return };
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(Gathered(stream));
    let service = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(&shared, &request))));
    let _ended = if is_h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_concurrent_streams(MAX_STREAMS).serve_connection(io, service).await
    } else {
        http1::Builder::new().serve_connection(io, service).await
    };
}

fn answer(shared: &Shared, request: &Request<Incoming>) -> Response<Reply> {
    let is_the_proxy = request.headers().get(header::AUTHORIZATION) == Some(&shared.own_authorization);
    if is_the_proxy && !request.headers().contains_key("impersonate-user") {
        return reply(StatusCode::FORBIDDEN, Reply::Whole(None));
    }
    if request.uri().query().is_none() {
        return reply(StatusCode::OK, Reply::Whole(Some(shared.object.clone())));
    }
    let (sender, receiver) = unbounded_channel();
    // What there is already, as for an informer. nginx, moreover, keeps the header of an HTTP/2 answer until data comes.
    let _receiver_is_here = sender.send(event(0));
    shared.watches.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    let mut response = reply(StatusCode::OK, Reply::Events(receiver));
    // nginx gathers what it passes on unless told otherwise; an event must not wait for the next.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// With the headers that kube-apiserver sends.
fn reply(status: StatusCode, body: Reply) -> Response<Reply> {
    const HEADERS: [(HeaderName, HeaderValue); 5] = [
        (HeaderName::from_static("audit-id"), HeaderValue::from_static("5f9cf1a4-2d8f-4a39-9c3f-6b1f5f0f1c52")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private")),
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (
            HeaderName::from_static("x-kubernetes-pf-flowschema-uid"),
            HeaderValue::from_static("0c1c9f3e-7a3c-4a44-8a37-6a4f5e1f7c11"),
        ),
        (
            HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid"),
            HeaderValue::from_static("d1a1f6a2-55b3-4b1e-a8d9-0a8f6f0c1b22"),
        ),
    ];
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().extend(HEADERS);
    response
}

enum Reply {
    Whole(Option<Bytes>),
    Events(UnboundedReceiver<Bytes>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Events(events) => events.poll_recv(cx),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// About 1 KB; below the 1024 bytes up to which `Gathered` gathers.
fn object() -> String {
    let annotation = "x".repeat(510);
    pod("1", &annotation)
}

/// The watch event number `number`, about 600 bytes: a line. Number 0 is what a watch begins with.
pub(crate) fn event(number: usize) -> Bytes {
    let pod = pod(&number.to_string(), &"x".repeat(80));
    Bytes::from(format!("{{\"type\":\"MODIFIED\",\"object\":{pod}}}\n"))
}

fn pod(version: &str, annotation: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "hello-6d9f8c5b7c-x2x9k", "namespace": "default", "resourceVersion": version,
            "uid": "c9b1d9c5-1f0e-4f0e-8a51-3e2f6a7b8c9d", "creationTimestamp": "2026-11-24T08:00:00Z",
            "labels": { "app": "hello", "pod-template-hash": "6d9f8c5b7c" },
            "annotations": { "example.com/note": annotation },
        },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "hello", "image": "registry.example.com/hello:1.4" }] },
        "status": { "phase": "Running", "podIP": "10.0.0.17", "startTime": "2026-11-24T08:00:00Z" },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::{event, object};

    #[test]
    fn the_sizes_are_those_that_the_report_names() {
        assert!((980..=1023).contains(&object().len()), "{}", object().len());
        assert!((590..=610).contains(&event(1).len()), "{}", event(1).len());
    }
}
