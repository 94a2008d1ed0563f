//! One client connection from its TLS handshake to its end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::guests::Guest;
use super::io::{ClientIo, ClientTls};
use super::{Limits, Server};
use crate::body::ResponseBody;
use crate::gather::{Flusher, gathering};

/// Rapid reset (CVE-2023-44487) with requests that get as far as kube-apiserver: a client that gives up this many
/// requests between two looks costs others more than it is worth.
const MAX_CANCELLED: usize = 500;

/// What requests of one connection share.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Where it came from, by the PROXY protocol where that is trusted.
    pub(crate) peer: IpAddr,
    in_flight: AtomicUsize,
    /// Whether bytes came while no request was in flight.
    heard: AtomicBool,
    /// Rises when a request ends, so that idleness is counted from then.
    ended: AtomicUsize,
    /// Requests that the client gave up before they were answered, since the connection was last looked at.
    cancelled: AtomicUsize,
    too_many_cancelled: Notify,
    guest: Arc<Guest>,
    /// The place among `max_connections`, kept as long as anything of the connection lives: an upgraded one too.
    _place: OwnedSemaphorePermit,
}

/// One request in flight on a connection.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Connection>);

impl Connection {
    fn new(peer: IpAddr, guest: Arc<Guest>, place: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self {
            peer,
            in_flight: AtomicUsize::new(0),
            heard: AtomicBool::new(false),
            ended: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            too_many_cancelled: Notify::new(),
            guest,
            _place: place,
        })
    }

    pub(super) fn heard(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0 {
            self.heard.store(true, Ordering::Relaxed);
        }
    }

    /// A token has proved who is there.
    pub(crate) fn prove(&self) {
        self.guest.prove();
    }

    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) == 0 {
            self.guest.set_busy(true);
        }
        self.heard.store(false, Ordering::Relaxed);
        InFlight(self.clone())
    }
}

/// Counts a request as cancelled when it is dropped before it was answered.
struct Unanswered<'a>(Option<&'a Connection>);

impl Unanswered<'_> {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0
            && connection.cancelled.fetch_add(1, Ordering::Relaxed) + 1 == MAX_CANCELLED
        {
            connection.too_many_cancelled.notify_one();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
        if self.0.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.guest.set_busy(false);
        }
    }
}

/// Serves requests until the client leaves, is idle too long, or the server drains.
pub(super) async fn serve(
    server: &Arc<Server>,
    tls: ClientTls,
    peer: IpAddr,
    guest: Arc<Guest>,
    place: OwnedSemaphorePermit,
) {
    let connection = Connection::new(peer, guest, place);
    let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = ClientIo::new(tls, connection.clone());
    let service = {
        let (stack, connection) = (server.stack.clone(), connection.clone());
        service_fn(move |request: Request<Incoming>| {
            let in_flight = connection.begin();
            let (stack, connection) = (stack.clone(), connection.clone());
            // Boxed, so that a stream which only forwards a watch does not keep room for the way it got there.
            Box::pin(async move {
                let unanswered = Unanswered(Some(&connection));
                let response = stack.answer(&connection, request).await;
                unanswered.answered();
                Ok::<_, Infallible>(response.map(|body: ResponseBody| body.holding(in_flight)))
            })
        })
    };
    let result = if is_h2 {
        let (io, flusher) = gathering(io);
        let serving = h2_settings(&server.limits).serve_connection(TokioIo::new(io), service);
        let mut gathered = Gathered { serving: Box::pin(serving), flusher, has_yielded: false };
        supervise(server, &connection, is_h2, &mut gathered, |gathered| gathered.serving.as_mut().graceful_shutdown())
            .await
    } else {
        let serving = h1_settings(&server.limits).serve_connection(TokioIo::new(io), service).with_upgrades();
        let mut serving = Box::pin(serving);
        supervise(server, &connection, is_h2, &mut serving, |serving| serving.as_mut().graceful_shutdown()).await
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a client connection ended");
    }
}

/// An HTTP/2 connection that writes what is ready once for each poll.
struct Gathered<C> {
    serving: Pin<Box<C>>,
    flusher: Flusher<ClientIo>,
    has_yielded: bool,
}

impl<C: Future> Future for Gathered<C> {
    type Output = C::Output;

    /// Lets others go first each time: a stream that has something to send wakes the connection, and tokio runs what was
    /// woken last next. One event for many watches would otherwise be as many writes.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.get_mut();
        this.has_yielded = !this.has_yielded;
        if this.has_yielded {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = this.serving.as_mut().poll(cx);
        this.flusher.flush();
        polled
    }
}

/// Drives `serving`, and ends it gracefully when it is idle or the server drains. What does not end gracefully within
/// the header timeout, with nothing in flight, is dropped.
async fn supervise<C>(
    server: &Server,
    connection: &Arc<Connection>,
    is_h2: bool,
    serving: &mut C,
    shut_down: impl Fn(&mut C),
) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>> + Unpin,
{
    let limits = &server.limits;
    let mut ending = false;
    let mut watch = Watch::new(limits, is_h2);
    loop {
        tokio::select! {
            result = &mut *serving => return result,
            () = server.draining.cancelled(), if !ending => {
                ending = true;
                shut_down(serving);
            }
            () = connection.too_many_cancelled.notified() => {
                tracing::info!(peer = %connection.peer, "closed a connection that cancels request after request");
                return Ok(());
            }
            () = tokio::time::sleep(watch.look_after()) => match watch.look(connection) {
                Verdict::Fine => {}
                Verdict::Silent if ending => return Ok(()),
                Verdict::Silent => {
                    ending = true;
                    shut_down(serving);
                }
                Verdict::Unproved => {
                    tracing::debug!(peer = %connection.peer, "nobody has proved who they are in time");
                    return Ok(());
                }
                Verdict::SlowHeader => {
                    tracing::debug!(peer = %connection.peer, "no whole request header in time");
                    return Ok(());
                }
            }
        }
    }
}

/// Looks at a connection every header timeout.
struct Watch {
    header_timeout: Duration,
    idle_timeout: Duration,
    ended: usize,
    silent_for: Duration,
    heard_before: bool,
    is_h2: bool,
    looks: u32,
}

enum Verdict {
    Fine,
    Silent,
    SlowHeader,
    Unproved,
}

/// So many looks may pass until a token has proved who is there: requests without one, and responses that nobody reads,
/// do not hold a place for longer.
const UNPROVED_LOOKS: u32 = 3;

impl Watch {
    fn new(limits: &Limits, is_h2: bool) -> Self {
        let (header_timeout, idle_timeout) = (limits.header_timeout, limits.idle_timeout);
        Self {
            header_timeout,
            idle_timeout,
            ended: 0,
            silent_for: Duration::ZERO,
            heard_before: false,
            is_h2,
            looks: 0,
        }
    }

    fn look_after(&self) -> Duration {
        self.header_timeout.min(self.idle_timeout)
    }

    fn look(&mut self, connection: &Connection) -> Verdict {
        connection.cancelled.store(0, Ordering::Relaxed);
        self.looks = self.looks.saturating_add(1);
        if self.looks >= UNPROVED_LOOKS && !connection.guest.has_proved() {
            return Verdict::Unproved;
        }
        let ended = connection.ended.load(Ordering::Relaxed);
        let busy = connection.in_flight.load(Ordering::Relaxed) > 0;
        if busy || ended != self.ended {
            (self.ended, self.silent_for, self.heard_before) = (ended, Duration::ZERO, false);
            return Verdict::Fine;
        }
        // Heard in the look before, and still no request: the header takes longer than it may. After its first
        // request an HTTP/2 client also says PING and acknowledgements, so there only the idle timeout counts.
        let heard = connection.heard.swap(false, Ordering::Relaxed);
        let slow = self.heard_before && heard && (!self.is_h2 || ended == 0);
        self.heard_before = heard;
        self.silent_for += self.look_after();
        match () {
            () if slow => Verdict::SlowHeader,
            () if self.silent_for >= self.idle_timeout => Verdict::Silent,
            () => Verdict::Fine,
        }
    }
}

fn h2_settings(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .max_frame_size(16 * 1024)
        .max_send_buf_size(64 * 1024)
        .max_header_list_size(limits.max_header_bytes)
        // Rapid reset (CVE-2023-44487): streams that a client opens and resets before they are answered.
        .max_pending_accept_reset_streams(Some(64))
        .max_local_error_reset_streams(Some(256))
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15))
        .auto_date_header(false);
    builder
}

fn h1_settings(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // `Watch` bounds the header: this timer would also close connections that are merely idle.
        .header_read_timeout(None)
        .max_headers(200)
        .max_buf_size(usize::try_from(limits.max_header_bytes).unwrap_or(usize::MAX).max(16 * 1024))
        .auto_date_header(false);
    builder
}
