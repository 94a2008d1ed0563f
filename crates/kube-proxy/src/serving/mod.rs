//! The listener: TCP, the PROXY protocol where it is due, TLS, and HTTP/1.1 or HTTP/2, each with a bound on what a
//! slow, silent or hostile client can hold.

mod connection;
mod guests;
mod io;
pub(crate) mod listen;
pub(crate) mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use runtime::log_limit::LogLimit;
use rustls::AlertDescription;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use connection::{Connection, InFlight};
use guests::{Guest, Guests};
pub(crate) use io::{ClientIo, ClientTls};

use crate::client_address;
use crate::proxy_protocol::{self, Header, HeaderError};
use crate::stack::Stack;

/// What bounds a client. Times without a unit in their name are durations of silence or work.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Connections at once. For one more, one that does nothing is closed; if there is none, it waits.
    pub(crate) max_connections: usize,
    /// For the PROXY header, the TLS handshake, and the headers of a request, each.
    pub(crate) header_timeout: Duration,
    /// A connection without a request in flight is closed after this.
    pub(crate) idle_timeout: Duration,
    /// Request headers, all together, in bytes.
    pub(crate) max_header_bytes: u32,
    /// Streams on one HTTP/2 connection.
    pub(crate) max_streams: u32,
}

/// What the listener saw of clients that never became requests. Read by whoever exports it.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections that closed before they sent a byte: TCP health checks.
    pub probes: AtomicU64,
    /// TLS handshakes that failed.
    pub handshake_failures: AtomicU64,
    /// PROXY headers that were missing or malformed.
    pub proxy_header_failures: AtomicU64,
    /// Connections without a request, closed to make room for others.
    pub evicted: AtomicU64,
}

/// Everything that a connection needs.
pub(crate) struct Server {
    pub(crate) stack: Arc<Stack>,
    pub(crate) tls: TlsAcceptor,
    pub(crate) limits: Limits,
    pub(crate) proxy_protocol_from: Vec<IpNet>,
    pub(crate) counters: Arc<Counters>,
    /// Bounds the lines that refused connections cause.
    pub(crate) log_limit: LogLimit,
    /// Cancelled when the server begins to stop: connections finish what they have.
    pub(crate) draining: CancellationToken,
    /// Connections and upgraded streams that are still there.
    pub(crate) tasks: TaskTracker,
}

/// Accepts connections until the server drains.
pub(crate) async fn accept(server: Arc<Server>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(server.limits.max_connections));
    let guests = Guests::default();
    loop {
        let accepted = async {
            let accepted = listener.accept().await;
            if room.available_permits() == 0 {
                make_room(&server, &guests);
            }
            // A closed semaphore would be the only error, and nobody closes it.
            let place = room.clone().acquire_owned().await.ok()?;
            Some((place, accepted))
        };
        let accepted = tokio::select! {
            () = server.draining.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            None => return,
            Some((place, Ok((tcp, peer)))) => {
                server.counters.accepted.fetch_add(1, Ordering::Relaxed);
                server.tasks.spawn(serve(server.clone(), tcp, peer, guests.admit(), place));
            }
            Some((_place, Err(error))) => {
                // Out of file descriptors, most likely: waiting is all that helps.
                if server.log_limit.admit(Instant::now()).is_some() {
                    tracing::warn!(%error, "cannot accept a connection");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Every place is taken: the connection that can best be done without goes.
fn make_room(server: &Server, guests: &Guests) {
    let evicted = guests.evict();
    server.counters.evicted.fetch_add(u64::from(evicted), Ordering::Relaxed);
    if let Some(left_out) = server.log_limit.admit(Instant::now()) {
        let max = server.limits.max_connections;
        tracing::warn!(max, evicted, left_out, "all --max-connections are in use");
    }
}

async fn serve(server: Arc<Server>, tcp: TcpStream, peer: SocketAddr, guest: Arc<Guest>, place: OwnedSemaphorePermit) {
    tokio::select! {
        () = serve_guest(&server, tcp, peer, guest.clone(), place) => {}
        () = guest.evicted() => tracing::debug!(%peer, "closed a connection to make room"),
    }
}

async fn serve_guest(
    server: &Arc<Server>,
    mut tcp: TcpStream,
    peer: SocketAddr,
    guest: Arc<Guest>,
    place: OwnedSemaphorePermit,
) {
    if let Err(error) = tcp.set_nodelay(true).and_then(|()| crate::upstream::keep_alive(&tcp)) {
        tracing::debug!(%peer, %error, "the connection was gone before it began");
        return;
    }
    let header_timeout = server.limits.header_timeout;
    let Ok(client) = tokio::time::timeout(header_timeout, client_of(server, &mut tcp, peer)).await else {
        tracing::debug!(%peer, "no PROXY header in time");
        return;
    };
    let Some(client) = client else { return };
    let Ok(stream) = tokio::time::timeout(header_timeout, handshake(server, tcp, client)).await else {
        server.counters.handshake_failures.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%client, "no TLS handshake in time");
        return;
    };
    if let Some(stream) = stream {
        connection::serve(server, stream, client, guest, place).await;
    }
}

/// The address that the connection came from, by its PROXY header where one is due.
async fn client_of(server: &Server, tcp: &mut TcpStream, peer: SocketAddr) -> Option<IpAddr> {
    let address = peer.ip().to_canonical();
    if !client_address::is_in(address, &server.proxy_protocol_from) {
        return Some(address);
    }
    match proxy_protocol::read(tcp).await {
        Ok(Header::Proxied(source)) => Some(source.ip()),
        Ok(Header::Local) => Some(address),
        Err(HeaderError::Io(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            server.counters.probes.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, "a TCP probe: closed before the PROXY header");
            None
        }
        Err(error) => {
            server.counters.proxy_header_failures.fetch_add(1, Ordering::Relaxed);
            if let Some(left_out) = server.log_limit.admit(Instant::now()) {
                tracing::info!(%peer, %error, left_out, "refused a connection");
            }
            None
        }
    }
}

/// The first byte of every TLS connection (RFC 8446 section 5.1: a record of the type handshake).
const TLS_HANDSHAKE: u8 = 22;

async fn handshake(server: &Server, mut tcp: TcpStream, client: IpAddr) -> Option<ClientTls> {
    // Looked at before rustls does, for it would answer with an alert that is noise to whoever speaks no TLS.
    let mut first = [0];
    match tcp.peek(&mut first).await {
        Ok(0) | Err(_) => {
            server.counters.probes.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%client, "a TCP probe: closed before the TLS handshake");
            return None;
        }
        Ok(_) if first != [TLS_HANDSHAKE] => {
            server.counters.handshake_failures.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%client, "plain HTTP, or no TLS at all, on the TLS port");
            say_https(&mut tcp).await;
            return None;
        }
        Ok(_) => {}
    }
    let error = match server.tls.accept(tcp).await {
        Ok(stream) => return Some(stream),
        Err(error) => error,
    };
    server.counters.handshake_failures.fetch_add(1, Ordering::Relaxed);
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired),
        )) => {
            if let Some(left_out) = server.log_limit.admit(Instant::now()) {
                tracing::info!(%client, ?alert, left_out, "the client does not accept our certificate: give it the CA that signed --tls-cert-file");
            }
        }
        _ => tracing::debug!(%client, %error, "the TLS handshake failed"),
    }
    None
}

/// Answers whoever spoke plain HTTP to the TLS port, as Go's servers do.
async fn say_https(tcp: &mut TcpStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const ANSWER: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
        This port speaks HTTPS; the request was not TLS.\n";
    // What came is read first: to close with unread bytes is a reset, which may overtake the answer.
    let mut request = [0; 4096];
    let _whatever_it_was = tcp.read(&mut request).await;
    let _best_effort = tcp.write_all(ANSWER).await;
    let _best_effort = tcp.shutdown().await;
}
