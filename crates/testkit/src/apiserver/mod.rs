//! A fake kube-apiserver on loopback: TLS, HTTP/2 through `h2` and HTTP/1.1 by hand, so that it can misbehave as no
//! server library would. It records what it saw, and answers as the test says.

mod exchange;
mod h1;
mod h2;
mod reviews;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use self::exchange::Exchange;
pub use self::reviews::{answer_reviews, whoever_asks_may};
use crate::ca::Ca;

/// How the server is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it offers by ALPN.
    pub alpn: &'static [&'static str],
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub max_streams: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alpn: &["h2", "http/1.1"], max_streams: 100 }
    }
}

/// What the server does with those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It serves them, those too that it kept waiting.
    Open,
    /// It accepts TCP, and says nothing.
    Silent,
}

/// What the server saw of one request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The number of its connection.
    pub connection: usize,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The method.
    pub method: Method,
    /// Path and query, as they came.
    pub target: String,
    /// The header.
    pub headers: HeaderMap,
    /// The body, as far as it was read.
    pub body: Bytes,
    /// How the body ended.
    pub end: BodyEnd,
}

impl Seen {
    /// The only value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// How the body of a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// Not yet, or nobody looked.
    Open,
    /// As it should: with END_STREAM, or with its whole length.
    Whole,
    /// By a reset or a close.
    Broken,
}

/// One connection that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenConnection {
    /// Its number, in the order of the handshakes.
    pub number: usize,
    /// Whether it speaks HTTP/2.
    pub is_h2: bool,
    /// Requests that are being answered.
    pub streams: usize,
}

/// What a test does to a connection.
#[derive(Clone, Copy, Debug)]
enum Command {
    GoAway,
    Drop,
}

type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;
type Handler = Arc<dyn Fn(Exchange) -> Answering + Send + Sync>;

struct Shared {
    handler: Handler,
    settings: Settings,
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<Vec<Arc<Connection>>>,
    accepted: AtomicUsize,
    handshakes: AtomicUsize,
    door: watch::Sender<Door>,
}

struct Connection {
    number: usize,
    is_h2: bool,
    streams: AtomicUsize,
    commands: mpsc::UnboundedSender<Command>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running server.
pub struct Apiserver {
    address: SocketAddr,
    ca_pem: String,
    shared: Arc<Shared>,
}

#[expect(clippy::expect_used, reason = "a test that has no server has nothing to say")]
impl Apiserver {
    /// Starts on a free port of loopback, with a certificate of `ca`. Each request is `handler`'s.
    pub async fn start<F>(ca: &Ca, settings: Settings, handler: impl Fn(Exchange) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let pair = ca.issue_server(&["localhost", "127.0.0.1"]);
        let certificate = CertificateDer::from_pem_slice(pair.cert_pem.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate and its key");
        config.alpn_protocols = settings.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let shared = Arc::new(Shared {
            handler: Arc::new(move |exchange| Box::pin(handler(exchange))),
            settings,
            seen: Mutex::default(),
            connections: Mutex::default(),
            accepted: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            door: watch::Sender::new(Door::Open),
        });
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), shared.clone()));
        Self { address, ca_pem: ca.pem().to_owned(), shared }
    }
}

impl Apiserver {
    /// Its URL, by address.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The CA of its certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Everything that it saw, in the order in which it came.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// What it saw whose target begins like that.
    pub fn seen_at(&self, target: &str) -> Vec<Seen> {
        lock(&self.shared.seen).iter().filter(|seen| seen.target.starts_with(target)).cloned().collect()
    }

    /// The connections that are open, oldest first.
    pub fn connections(&self) -> Vec<OpenConnection> {
        let open = |connection: &Arc<Connection>| OpenConnection {
            number: connection.number,
            is_h2: connection.is_h2,
            streams: connection.streams.load(Ordering::SeqCst),
        };
        lock(&self.shared.connections).iter().map(open).collect()
    }

    /// How many TCP connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Does with those who connect from now on as `door` says.
    pub fn set_door(&self, door: Door) {
        self.shared.door.send_replace(door);
    }

    /// Says GOAWAY(NO_ERROR) on every HTTP/2 connection, as a Go server that stops: streams that are open go on.
    pub fn go_away(&self) {
        self.command(Command::GoAway);
    }

    /// Closes every connection, in the middle of whatever it is.
    pub fn drop_connections(&self) {
        self.command(Command::Drop);
    }

    fn command(&self, command: Command) {
        for connection in lock(&self.shared.connections).iter() {
            let _gone_already = connection.commands.send(command);
        }
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move {
            let mut door = shared.door.subscribe();
            if door.wait_for(|door| *door == Door::Open).await.is_err() || tcp.set_nodelay(true).is_err() {
                return;
            }
            if let Ok(stream) = tls.accept(tcp).await {
                serve(stream, &shared).await;
            }
        });
    }
}

async fn serve(stream: TlsStream<TcpStream>, shared: &Arc<Shared>) {
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let (commands, received) = mpsc::unbounded_channel();
    let number = shared.handshakes.fetch_add(1, Ordering::SeqCst);
    let connection = Arc::new(Connection { number, is_h2, streams: AtomicUsize::new(0), commands });
    lock(&shared.connections).push(connection.clone());
    if is_h2 {
        h2::serve(stream, shared, &connection, received).await;
    } else {
        h1::serve(stream, shared, &connection, received).await;
    }
    lock(&shared.connections).retain(|open| open.number != number);
}
