//! Upgraded connections: exec, attach, port-forward and cp, over SPDY/3.1 or WebSocket.
//!
//! RFC 9110 section 7.8: after 101 the connection is not HTTP any more. The proxy copies bytes both ways and passes
//! on how each side ends: a half-close as a half-close, a reset as a reset.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::UpstreamBody;
use crate::serving::{ClientIo, InFlight};
use crate::upstream::UpstreamIo;

const BUFFER: usize = 16 * 1024;
/// How long one direction goes on after the other could not: long enough for an exit code, not for a download.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Where tunnels run, and what ends them.
pub(crate) struct Tunnels {
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the shutdown grace period is nearly over.
    pub(crate) end: CancellationToken,
}

impl Tunnels {
    /// Joins the client's connection with that of an upstream response of 101, in the background.
    pub(crate) fn join(&self, client: OnUpgrade, upstream: &mut Response<UpstreamBody>, guard: InFlight) {
        debug_assert_eq!(upstream.status(), StatusCode::SWITCHING_PROTOCOLS);
        let upstream = hyper::upgrade::on(upstream);
        let end = self.end.clone();
        self.tasks.spawn(async move {
            let (client, upstream) = match tokio::try_join!(client, upstream) {
                Ok(both) => both,
                Err(error) => {
                    tracing::debug!(%error, "an upgrade did not come about");
                    return;
                }
            };
            relay(client, upstream, end).await;
            drop(guard);
        });
    }
}

async fn relay(client: Upgraded, upstream: Upgraded, end: CancellationToken) {
    let (Ok(client), Ok(upstream)) =
        (client.downcast::<TokioIo<ClientIo>>(), upstream.downcast::<TokioIo<UpstreamIo>>())
    else {
        tracing::error!("an upgraded connection is not of the kind that was served; this is a bug");
        return;
    };
    let mut client_tls = client.io.into_inner().into_tls();
    let mut upstream_tls = upstream.io.into_inner();
    let both = copy_both((&mut client_tls, client.read_buf), (&mut upstream_tls, upstream.read_buf), end).await;
    // Each side is told how the other one ended.
    if both.is_reset_by_upstream {
        reset(client_tls.get_ref().0);
    }
    if both.is_reset_by_client {
        reset(upstream_tls.get_ref().0);
    }
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ended {
    is_reset_by_client: bool,
    is_reset_by_upstream: bool,
}

/// How one direction ended.
enum Direction {
    /// The reader ended, and the writer was told.
    Closed,
    /// The reader broke off.
    ReadFailed(io::Error),
    /// The writer takes nothing more.
    WriteFailed(io::Error),
}

/// Copies both ways, each with what was read of it already, until both have ended or `end`: then both sides are closed
/// in good order.
///
/// Where one side takes nothing more, it may still have something to say: a command that does not read its input has
/// an exit code all the same.
async fn copy_both<C, U>(client: (&mut C, Bytes), upstream: (&mut U, Bytes), end: CancellationToken) -> Ended
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_client, mut to_client) = tokio::io::split(client.0);
    let (mut from_upstream, mut to_upstream) = tokio::io::split(upstream.0);
    let mut ended = Ended::default();
    let stopped = {
        let up = copy(&mut from_client, &mut to_upstream, client.1);
        let down = copy(&mut from_upstream, &mut to_client, upstream.1);
        let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
        let (mut up_open, mut down_open, mut last_words) = (true, true, None);
        loop {
            let deadline = async {
                match last_words {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let (outcome, is_reset) = tokio::select! {
                () = end.cancelled() => break true,
                () = deadline => break false,
                outcome = &mut up, if up_open => {
                    up_open = false;
                    (outcome, &mut ended.is_reset_by_client)
                }
                outcome = &mut down, if down_open => {
                    down_open = false;
                    (outcome, &mut ended.is_reset_by_upstream)
                }
            };
            match outcome {
                Direction::Closed => {}
                Direction::WriteFailed(error) => {
                    tracing::debug!(%error, "one side of a tunnel takes nothing more");
                    last_words = Some(tokio::time::Instant::now() + LAST_WORDS);
                }
                Direction::ReadFailed(error) => {
                    tracing::debug!(%error, "a tunnel was reset");
                    *is_reset = true;
                    break false;
                }
            }
            if !up_open && !down_open {
                break false;
            }
        }
    };
    if stopped {
        let (_best_effort, _too) = tokio::join!(to_client.shutdown(), to_upstream.shutdown());
    }
    ended
}

async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), early: Bytes) -> Direction {
    if let Err(error) = write(to, &early).await {
        return Direction::WriteFailed(error);
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(count) => count,
            Err(error) => return Direction::ReadFailed(error),
        };
        let outcome = match buffer.get(..count) {
            None | Some([]) => {
                return match to.shutdown().await {
                    Ok(()) => Direction::Closed,
                    Err(error) => Direction::WriteFailed(error),
                };
            }
            Some(data) => write(to, data).await,
        };
        if let Err(error) = outcome {
            return Direction::WriteFailed(error);
        }
    }
}

/// Writes and flushes: what came is not held back for more.
async fn write(to: &mut (impl AsyncWrite + Unpin), data: &[u8]) -> io::Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    to.write_all(data).await?;
    to.flush().await
}

/// Makes the close that follows a reset (RST), which is what the other side saw.
fn reset(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "cannot reset a connection");
    }
}

#[cfg(test)]
mod tests;
