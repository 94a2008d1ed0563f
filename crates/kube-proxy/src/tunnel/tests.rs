//! How the ends of a tunnel's two sides are passed on.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{DuplexStream, ReadBuf, duplex};

use super::*;

/// A side whose reads fail once what was sent has been read, as after a reset.
struct Resetting(DuplexStream);

impl AsyncRead for Resetting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() == before => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            other => other,
        }
    }
}

impl AsyncWrite for Resetting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The two far ends of a running tunnel, and how it ends.
fn tunnel(
    early: (&'static [u8], &'static [u8]),
    end: CancellationToken,
) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<Ended>) {
    let (client, mut near_client) = duplex(64);
    let (upstream, mut near_upstream) = duplex(64);
    let (of_client, of_upstream) = (Bytes::from_static(early.0), Bytes::from_static(early.1));
    let running =
        tokio::spawn(
            async move { copy_both((&mut near_client, of_client), (&mut near_upstream, of_upstream), end).await },
        );
    (client, upstream, running)
}

async fn all(side: &mut DuplexStream) -> Vec<u8> {
    let mut data = Vec::new();
    side.read_to_end(&mut data).await.unwrap();
    data
}

#[tokio::test]
async fn a_half_close_is_a_half_close_and_the_other_direction_goes_on() {
    let (mut client, mut upstream, running) = tunnel((b"", b""), CancellationToken::new());
    client.write_all(b"input").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(all(&mut upstream).await, b"input");
    // Only now, after the input has ended, does the command answer; and more than the tunnel's buffers hold.
    let answer = vec![b'x'; 100_000];
    let writing = tokio::spawn(async move {
        upstream.write_all(&answer).await.unwrap();
        upstream.shutdown().await.unwrap();
    });
    assert_eq!(all(&mut client).await.len(), 100_000);
    writing.await.unwrap();
    assert_eq!(running.await.unwrap(), Ended::default());
}

#[tokio::test]
async fn what_was_read_with_the_handshake_goes_first() {
    let (mut client, mut upstream, running) = tunnel((b"from client ", b"from upstream "), CancellationToken::new());
    client.write_all(b"more").await.unwrap();
    client.shutdown().await.unwrap();
    upstream.write_all(b"more").await.unwrap();
    upstream.shutdown().await.unwrap();
    assert_eq!(all(&mut upstream).await, b"from client more");
    assert_eq!(all(&mut client).await, b"from upstream more");
    assert_eq!(running.await.unwrap(), Ended::default());
}

#[tokio::test]
async fn a_command_that_does_not_read_its_input_has_an_exit_code_all_the_same() {
    // The upstream side takes nothing any more, but still speaks: a pipe whose reader is gone, and one that is not.
    let (client, mut near_client) = duplex(64);
    let (gone, to_upstream) = duplex(64);
    drop(gone);
    let (from_upstream, mut exit_code) = tokio::io::simplex(64);
    let mut near_upstream = tokio::io::join(from_upstream, to_upstream);
    let running = tokio::spawn(async move {
        let end = CancellationToken::new();
        copy_both((&mut near_client, Bytes::new()), (&mut near_upstream, Bytes::new()), end).await
    });
    let (mut from_tunnel, mut input) = tokio::io::split(client);
    input.write_all(b"nobody reads this").await.unwrap();
    let waiting = tokio::spawn(async move {
        let mut said = Vec::new();
        from_tunnel.read_to_end(&mut said).await.unwrap();
        said
    });
    exit_code.write_all(b"exit code 0").await.unwrap();
    exit_code.shutdown().await.unwrap();
    assert_eq!(waiting.await.unwrap(), b"exit code 0");
    assert_eq!(running.await.unwrap(), Ended::default());
}

#[tokio::test]
async fn a_reset_is_told_to_the_other_side() {
    let (client, mut near_client) = duplex(64);
    let (upstream, near_upstream) = duplex(64);
    let mut near_upstream = Resetting(near_upstream);
    let running = tokio::spawn(async move {
        let end = CancellationToken::new();
        copy_both((&mut near_client, Bytes::new()), (&mut near_upstream, Bytes::new()), end).await
    });
    drop(upstream);
    let ended = running.await.unwrap();
    assert_eq!(ended, Ended { is_reset_by_upstream: true, is_reset_by_client: false });
    drop(client);
}

#[tokio::test]
async fn a_stop_closes_both_sides_in_good_order() {
    let end = CancellationToken::new();
    let (mut client, mut upstream, running) = tunnel((b"", b""), end.clone());
    client.write_all(b"before").await.unwrap();
    let mut read = [0; 6];
    upstream.read_exact(&mut read).await.unwrap();
    end.cancel();
    assert_eq!(all(&mut client).await, b"");
    assert_eq!(all(&mut upstream).await, b"");
    assert_eq!(running.await.unwrap(), Ended::default());
}
