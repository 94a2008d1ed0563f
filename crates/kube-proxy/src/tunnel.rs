//! Upgraded connections: exec, attach, port-forward and cp, over SPDY/3.1 or WebSocket.
//!
//! RFC 9110 section 7.8: after 101 the connection is not HTTP any more. The proxy copies bytes both ways and passes
//! on how each side ends: a half-close as a half-close, a reset as a reset.

use std::io;

use http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::serving::{ClientIo, InFlight};
use crate::upstream::UpstreamIo;

const BUFFER: usize = 16 * 1024;

/// Where tunnels run, and what ends them.
pub(crate) struct Tunnels {
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the shutdown grace period is nearly over.
    pub(crate) end: CancellationToken,
}

impl Tunnels {
    /// Joins the client's connection with that of an upstream response of 101, in the background.
    pub(crate) fn join(&self, client: OnUpgrade, upstream: &mut Response<Incoming>, guard: InFlight) {
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
    let early = async {
        // What either side sent right behind its handshake was read with it.
        upstream_tls.write_all(&client.read_buf).await?;
        upstream_tls.flush().await?;
        client_tls.write_all(&upstream.read_buf).await?;
        client_tls.flush().await
    };
    let outcome = match early.await {
        Ok(()) => copy(&mut client_tls, &mut upstream_tls, end).await,
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a tunnel was reset");
        reset(client_tls.get_ref().0);
        reset(upstream_tls.get_ref().0);
    }
}

/// Copies both ways until both have ended, or `end`: then both sides are closed in good order.
async fn copy(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    upstream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    end: CancellationToken,
) -> io::Result<()> {
    tokio::select! {
        copied = tokio::io::copy_bidirectional_with_sizes(client, upstream, BUFFER, BUFFER) => return copied.map(|_| ()),
        () = end.cancelled() => {}
    }
    let (client, upstream) = tokio::join!(client.shutdown(), upstream.shutdown());
    client.and(upstream)
}

/// Makes the close that follows a reset (RST), which is what the other side saw.
fn reset(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)) {
        tracing::debug!(%error, "cannot reset a connection");
    }
}
