//! One connection of a pool, and leases on its streams.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;

use super::connector::UpstreamIo;
use crate::body::RequestBody;
use crate::gather::{FlushingExecutor, Gathering, gathering};

/// As large as HTTP/2 allows, so that the windows of single streams are what bounds memory: a connection's window that
/// slow streams can use up, all together, starves the others. h2 also counts small unread frames against a half of
/// it, and gives the whole connection up when that is spent.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// How long a new connection may keep its SETTINGS to itself.
const SETTINGS_PATIENCE: Duration = Duration::from_secs(5);
/// How long a stream that was given up counts as one: kube-apiserver's handler may run on, and a Go server ends a
/// connection on which too many do.
const CANCELLED_COUNTS_FOR: Duration = Duration::from_secs(1);

/// What the streams of a pool's connections are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Flow-control window of each, bytes: what one slow client can make the proxy hold of one response.
    pub(super) stream_window: u32,
    /// At most so many on one connection, whatever its server allows: they would all end with it.
    pub(super) max_streams: usize,
}

pub(super) struct Connection {
    sender: Sender,
    in_flight: AtomicUsize,
    /// What the server allows, as it last said.
    max_streams: Arc<AtomicUsize>,
    /// Not to be used for anything new.
    retired: AtomicBool,
    /// That of the TLS configuration it was made with.
    generation: u64,
    opened: Instant,
    /// Milliseconds since it was opened, when the last lease ended.
    last_used: AtomicU64,
    /// To be told when a lease has ended.
    freed: Arc<Notify>,
}

enum Sender {
    H2(http2::SendRequest<RequestBody>),
    H1(Mutex<http1::SendRequest<RequestBody>>),
}

/// The right to one stream of one connection, until it is dropped.
pub(crate) struct Lease {
    connection: Arc<Connection>,
    /// Whether the response came to its end, so that the server is done with the stream.
    completed: bool,
}

/// What came of sending; a request that comes back in the error was never sent.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

impl Connection {
    /// Begins HTTP/2 on `io`, and waits until the server has said how many streams it allows: streams beyond that
    /// number would wait inside the connection for a watch to end, which it may never do.
    pub(super) async fn h2(
        io: UpstreamIo,
        shape: Shape,
        generation: u64,
        freed: Arc<Notify>,
    ) -> hyper::Result<Option<Self>> {
        let (io, flusher) = gathering(io);
        let executor = FlushingExecutor::new(&flusher);
        let (sender, driver) = h2_settings(shape.stream_window, executor).handshake(TokioIo::new(io)).await?;
        let deadline = Instant::now() + SETTINGS_PATIENCE;
        // hyper reports the value but not its arrival; SETTINGS is the first frame, so this loop turns once or twice.
        while driver.current_max_send_streams() == 0 {
            if Instant::now() > deadline || sender.is_closed() {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let max_streams = Arc::new(AtomicUsize::new(driver.current_max_send_streams().min(shape.max_streams)));
        tokio::spawn(drive(driver, max_streams.clone(), shape.max_streams));
        Ok(Some(Self::new(Sender::H2(sender), max_streams, generation, freed)))
    }

    /// Begins HTTP/1.1 on `io`: one request at a time.
    pub(super) async fn h1(io: UpstreamIo, generation: u64, freed: Arc<Notify>) -> hyper::Result<Self> {
        let (sender, driver) = http1::Builder::new().handshake(TokioIo::new(io)).await?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "an upstream HTTP/1.1 connection ended");
            }
        });
        Ok(Self::new(Sender::H1(Mutex::new(sender)), Arc::new(AtomicUsize::new(1)), generation, freed))
    }

    fn new(sender: Sender, max_streams: Arc<AtomicUsize>, generation: u64, freed: Arc<Notify>) -> Self {
        Self {
            sender,
            in_flight: AtomicUsize::new(0),
            max_streams,
            retired: AtomicBool::new(false),
            generation,
            opened: Instant::now(),
            last_used: AtomicU64::new(0),
            freed,
        }
    }

    pub(super) fn streams(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.streams() > 0
    }

    pub(super) fn is_usable(&self, generation: u64) -> bool {
        let closed = match &self.sender {
            Sender::H2(sender) => sender.is_closed(),
            Sender::H1(sender) => sender.lock().unwrap_or_else(PoisonError::into_inner).is_closed(),
        };
        !closed && self.generation == generation && !self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self) -> bool {
        let ready = match &self.sender {
            Sender::H2(_) => true,
            Sender::H1(sender) => sender.lock().unwrap_or_else(PoisonError::into_inner).is_ready(),
        };
        ready && self.streams() < self.max_streams.load(Ordering::Relaxed)
    }

    pub(super) fn max_streams(&self) -> usize {
        self.max_streams.load(Ordering::Relaxed)
    }

    pub(super) fn idle_for(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.last_used.load(Ordering::Relaxed)))
    }

    /// A lease; whether there is room was seen under the pool's lock.
    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Lease { connection: self.clone(), completed: false }
    }

    fn release(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_used.store(now, Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.freed.notify_one();
    }
}

impl Lease {
    pub(super) async fn send(&self, request: Request<RequestBody>) -> Sent {
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

    /// Gives the connection up for everything new; what runs on it goes on.
    pub(super) fn retire(&self) {
        self.connection.retired.store(true, Ordering::Relaxed);
    }

    /// The response has come to its end.
    pub(crate) fn complete(&mut self) {
        self.completed = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let connection = self.connection.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !self.completed && self.is_h2() => {
                runtime.spawn(async move {
                    tokio::time::sleep(CANCELLED_COUNTS_FOR).await;
                    connection.release();
                });
            }
            _ => connection.release(),
        }
    }
}

type Executor = FlushingExecutor<UpstreamIo>;

fn h2_settings(stream_window: u32, executor: Executor) -> http2::Builder<Executor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(64 * 1024)
        .max_header_list_size(1 << 20)
        // Clients cancel, and frames of cancelled streams still arrive. These bounds are against a hostile peer; here
        // they would let one hostile client end the connection under everybody else's streams.
        .max_concurrent_reset_streams(4096)
        .max_local_error_reset_streams(None)
        // None may be opened before the server has said how many: see `Connection::h2`.
        .initial_max_send_streams(0)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15))
        // A watch that is idle for hours lives on a connection that is not idle, so this costs only unused ones.
        .keep_alive_while_idle(true);
    builder
}

type Driver = http2::Connection<TokioIo<Gathering<UpstreamIo>>, RequestBody, Executor>;

async fn drive(mut driver: Driver, max_streams: Arc<AtomicUsize>, most: usize) {
    let ended = std::future::poll_fn(|cx| {
        let polled = Pin::new(&mut driver).poll(cx);
        max_streams.store(driver.current_max_send_streams().min(most), Ordering::Relaxed);
        if polled.is_pending() { Poll::Pending } else { polled }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "an upstream HTTP/2 connection ended");
    }
}
