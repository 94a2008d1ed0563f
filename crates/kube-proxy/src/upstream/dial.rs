//! TCP to a host that may have several addresses: one after the other, a bounded time each, and keep-alives so that
//! a peer that vanished is noticed under a stream that has nothing to say.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

const PER_ADDRESS: Duration = Duration::from_secs(5);

/// Connects to the first address of `host` that answers.
pub(crate) async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in tokio::net::lookup_host((host, port)).await? {
        match one(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn one(address: SocketAddr) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect(address);
    let stream = tokio::time::timeout(PER_ADDRESS, connecting)
        .await
        .map_err(|_elapsed| io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")))??;
    stream.set_nodelay(true)?;
    keep_alive(&stream)?;
    Ok(stream)
}

/// A dead peer is noticed after 30 s of silence and three unanswered probes, 10 s apart; or, where something was sent
/// to it, when nothing of that was acknowledged for a minute. (A peer that merely does not read acknowledges.)
pub(crate) fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(60)))?;
    socket.set_tcp_keepalive(&probes.with_retries(3))
}
