//! A pool of connections to one server, and leases on them.
//!
//! One HTTP/2 connection carries at most as many streams as the server allows (100 for kube-apiserver), and a watch
//! holds its stream for hours; so a request takes a lease on a connection with room, and a new connection is opened
//! when there is none. Servers that speak only HTTP/1.1 get a connection per request in flight, kept and reused.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Request;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::connector::{ConnectError, Connector};
use crate::body::RequestBody;

/// Per-stream flow-control window: what one slow client can make the proxy hold of one response.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Large enough that slow streams, all together, cannot starve the others of their connection.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 128;
const MAX_CONNECTIONS: usize = 4096;
/// Below this many streams a connection is not shared further while fewer than [`SPREAD`] connections are open: each
/// connection is driven by one task, and one task uses one core.
const SHARE_ABOVE: usize = 16;
/// How long a new connection may keep its SETTINGS to itself.
const SETTINGS_PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Pool {
    connector: Arc<Connector>,
    connections: Mutex<Vec<Arc<Connection>>>,
    /// One dial at a time: whoever waited looks for room first, for the dial may have made some.
    dialing: tokio::sync::Mutex<()>,
    /// How many connections to spread light load over.
    spread: usize,
    started: Instant,
}

/// The right to one stream of one connection, until it is dropped.
pub(crate) struct Lease {
    connection: Arc<Connection>,
}

pub(super) struct Connection {
    sender: Sender,
    in_flight: AtomicUsize,
    /// What the server allows, as it last said.
    max_streams: Arc<AtomicUsize>,
    /// Not to be used for anything new.
    retired: AtomicBool,
    generation: u64,
    /// Milliseconds since the pool began, when the last lease ended.
    last_used: AtomicU64,
    started: Instant,
    opened: Instant,
}

enum Sender {
    H2(http2::SendRequest<RequestBody>),
    H1(Mutex<http1::SendRequest<RequestBody>>),
}

impl Pool {
    pub(super) fn new(connector: Arc<Connector>) -> Arc<Self> {
        Arc::new(Self {
            connector,
            connections: Mutex::default(),
            dialing: tokio::sync::Mutex::default(),
            spread: std::thread::available_parallelism().map_or(1, usize::from),
            started: Instant::now(),
        })
    }

    pub(super) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// A lease on a connection with room; a connection is opened if there is none.
    pub(super) async fn lease(&self) -> Result<Lease, ConnectError> {
        if let Some(lease) = self.lease_open() {
            return Ok(lease);
        }
        let _turn = self.dialing.lock().await;
        if let Some(lease) = self.lease_open() {
            return Ok(lease);
        }
        if self.lock().len() >= MAX_CONNECTIONS {
            return Err(ConnectError::Exhausted(MAX_CONNECTIONS));
        }
        let connection = self.dial().await?;
        let lease = Lease::first(connection.clone());
        self.lock().push(connection);
        Ok(lease)
    }

    fn lease_open(&self) -> Option<Lease> {
        let generation = self.connector.generation();
        let mut connections = self.lock();
        connections.retain(|connection| connection.is_usable(generation) || connection.is_busy());
        let usable = || connections.iter().filter(|connection| connection.is_usable(generation));
        let best = usable().filter(|connection| connection.has_room()).min_by_key(|connection| connection.streams())?;
        if best.streams() >= SHARE_ABOVE && usable().count() < self.spread {
            return None;
        }
        best.try_lease()
    }

    pub(super) fn sweep(&self, idle_for: Duration) {
        let generation = self.connector.generation();
        let now = self.started.elapsed();
        let mut kept = 0;
        self.lock().retain(|connection| {
            let idle = now.saturating_sub(Duration::from_millis(connection.last_used.load(Ordering::Relaxed)));
            let keep = connection.is_busy() || (connection.is_usable(generation) && (idle < idle_for || kept == 0));
            kept += usize::from(keep);
            keep
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn dial(&self) -> Result<Arc<Connection>, ConnectError> {
        let generation = self.connector.generation();
        let io = self.connector.connect(&[b"h2", b"http/1.1"]).await?;
        let is_h2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(io);
        let max_streams = Arc::new(AtomicUsize::new(1));
        let failed = |source| ConnectError::Protocol { authority: self.connector.authority().to_owned(), source };
        let sender = if is_h2 {
            let (sender, driver) = h2_settings().handshake(io).await.map_err(failed)?;
            let driver = Settled::wait(driver, max_streams.clone()).await.map_err(|()| self.settings_timeout())?;
            tokio::spawn(driver.drive());
            Sender::H2(sender)
        } else {
            let (sender, driver) = http1::Builder::new().handshake(io).await.map_err(failed)?;
            tokio::spawn(async move {
                if let Err(error) = driver.await {
                    tracing::debug!(%error, "an upstream HTTP/1.1 connection ended");
                }
            });
            Sender::H1(Mutex::new(sender))
        };
        tracing::debug!(h2 = is_h2, max_streams = max_streams.load(Ordering::Relaxed), "connected to kube-apiserver");
        Ok(Arc::new(Connection {
            sender,
            in_flight: AtomicUsize::new(0),
            max_streams,
            retired: AtomicBool::new(false),
            generation,
            last_used: AtomicU64::new(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)),
            started: self.started,
            opened: Instant::now(),
        }))
    }

    fn settings_timeout(&self) -> ConnectError {
        let seconds = SETTINGS_PATIENCE.as_secs();
        ConnectError::TimedOut { authority: self.connector.authority().to_owned(), seconds }
    }
}

fn h2_settings() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(64 * 1024)
        .max_header_list_size(1 << 20)
        // Clients cancel, and frames of cancelled streams still arrive. These bounds are against a hostile peer; here
        // they would let one hostile client end the connection under everybody else's streams.
        .max_concurrent_reset_streams(4096)
        .max_local_error_reset_streams(None)
        // None may be opened before the server has said how many: see `Settled`.
        .initial_max_send_streams(0)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15))
        // A watch that is idle for hours lives on a connection that is not idle, so this costs only unused ones.
        .keep_alive_while_idle(true);
    builder
}

type H2Driver = http2::Connection<TokioIo<super::UpstreamIo>, RequestBody, TokioExecutor>;

/// An HTTP/2 connection whose server has said how many streams it allows. Streams beyond that number would wait
/// inside the connection for a watch to end, which it may never do.
struct Settled {
    driver: H2Driver,
    max_streams: Arc<AtomicUsize>,
}

impl Settled {
    async fn wait(driver: H2Driver, max_streams: Arc<AtomicUsize>) -> Result<Self, ()> {
        let deadline = Instant::now() + SETTINGS_PATIENCE;
        // hyper reports the value but not its arrival; SETTINGS is the first frame, so this loop turns once or twice.
        while driver.current_max_send_streams() == 0 {
            if Instant::now() > deadline {
                return Err(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        max_streams.store(driver.current_max_send_streams(), Ordering::Relaxed);
        Ok(Self { driver, max_streams })
    }

    async fn drive(self) {
        let Self { mut driver, max_streams } = self;
        let ended = std::future::poll_fn(|cx| {
            let polled = Pin::new(&mut driver).poll(cx);
            max_streams.store(driver.current_max_send_streams(), Ordering::Relaxed);
            if polled.is_pending() { Poll::Pending } else { polled }
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "an upstream HTTP/2 connection ended");
        }
    }
}

impl Connection {
    fn streams(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn is_busy(&self) -> bool {
        self.streams() > 0
    }

    fn is_usable(&self, generation: u64) -> bool {
        let closed = match &self.sender {
            Sender::H2(sender) => sender.is_closed(),
            Sender::H1(sender) => sender.lock().unwrap_or_else(PoisonError::into_inner).is_closed(),
        };
        !closed && self.generation == generation && !self.retired.load(Ordering::Relaxed)
    }

    fn has_room(&self) -> bool {
        let ready = match &self.sender {
            Sender::H2(_) => true,
            Sender::H1(sender) => sender.lock().unwrap_or_else(PoisonError::into_inner).is_ready(),
        };
        ready && self.streams() < self.max_streams.load(Ordering::Relaxed)
    }

    /// Leases are given out under the pool's lock, so room that was seen is still there.
    fn try_lease(self: &Arc<Self>) -> Option<Lease> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Lease { connection: self.clone() })
    }
}

impl Lease {
    fn first(connection: Arc<Connection>) -> Self {
        connection.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { connection }
    }

    /// Sends a request on this connection. A request that comes back in the error was never sent.
    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<http::Response<hyper::body::Incoming>, TrySendError<Request<RequestBody>>> {
        match &self.connection.sender {
            Sender::H2(sender) => sender.clone().try_send_request(request).await,
            Sender::H1(sender) => {
                let sending = sender.lock().unwrap_or_else(PoisonError::into_inner).try_send_request(request);
                sending.await
            }
        }
    }

    /// Whether requests on this connection name their target in full (`:authority`) or by path with a `Host`.
    pub(super) fn is_h2(&self) -> bool {
        matches!(self.connection.sender, Sender::H2(_))
    }

    /// How long ago the connection was opened.
    pub(super) fn age(&self) -> Duration {
        self.connection.opened.elapsed()
    }

    /// Gives the connection up for everything new; what runs on it goes on.
    pub(super) fn retire(&self) {
        self.connection.retired.store(true, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let connection = &self.connection;
        let now = u64::try_from(connection.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        connection.last_used.store(now, Ordering::Relaxed);
        connection.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
