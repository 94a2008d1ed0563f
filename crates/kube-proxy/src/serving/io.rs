//! A client's stream that tells whether the client has said something since its last request ended. That is the
//! difference between a client that is idle, which is fine, and one that sends a header byte by byte, which is not.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use super::connection::Connection;

/// The TLS stream of a client.
pub(crate) type ClientTls = TlsStream<TcpStream>;

/// A client's stream with its bookkeeping.
pub(crate) struct ClientIo {
    tls: ClientTls,
    connection: Arc<Connection>,
    closing: Closing,
}

/// How far the end of a connection has come.
enum Closing {
    /// It goes on, or may be closed at once.
    No,
    /// It goes on, and will be closed step by step.
    Lingers,
    /// Nothing more is sent; what the client still sends is thrown away.
    Draining(Pin<Box<Sleep>>),
}

/// How long a client may go on sending after the last word: as in Go's `net/http`.
const LINGER: Duration = Duration::from_millis(500);

impl ClientIo {
    pub(super) fn new(tls: ClientTls, connection: Arc<Connection>) -> Self {
        // Over HTTP/1.1 the response to a request that was not read to its end is the last one.
        let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Self { tls, connection, closing: if is_h2 { Closing::No } else { Closing::Lingers } }
    }

    /// The stream alone, for a tunnel.
    pub(crate) fn into_tls(self) -> ClientTls {
        self.tls
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.tls).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.connection.heard();
        }
        polled
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_flush(cx)
    }

    /// RFC 9112 section 9.6: to close with bytes that were not read is a reset, which may take away from the client the
    /// response that it has not read yet. So the server closes its side, and reads on for a while.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.closing, Closing::No | Closing::Lingers) {
            ready!(Pin::new(&mut this.tls).poll_shutdown(cx))?;
            if matches!(this.closing, Closing::Lingers) {
                this.closing = Closing::Draining(Box::pin(tokio::time::sleep(LINGER)));
            }
        }
        let Closing::Draining(over) = &mut this.closing else { return Poll::Ready(Ok(())) };
        let mut space = [0; 4096];
        while over.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut *this.tls.get_mut().0).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
        }
        this.closing = Closing::No;
        Poll::Ready(Ok(()))
    }
}
