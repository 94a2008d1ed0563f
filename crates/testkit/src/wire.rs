//! HTTP/1.1 by hand over TLS, without blocking: [`crate::raw`] for tests whose servers live in the same thread.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::tls;
use crate::raw::RawResponse;

/// An HTTP/1.1 connection by hand.
pub struct Wire {
    tls: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// If there is no such server.
    pub async fn connect(port: u16, ca_pem: &str) -> anyhow::Result<Self> {
        Ok(Self { tls: tls(port, ca_pem, "http/1.1").await?, read: Vec::new() })
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// If the other side is gone.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.tls.write_all(bytes.as_ref()).await?;
        self.tls.flush().await
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// If the other side is gone.
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.tls.shutdown().await
    }

    /// Resets the TCP connection (RST).
    pub fn reset(self) {
        let _best_effort = SockRef::from(self.tls.get_ref().0).set_linger(Some(Duration::ZERO));
    }

    /// Reads up to and with `text`, and gives all of that.
    ///
    /// # Errors
    /// If the connection ends before: [`io::ErrorKind::UnexpectedEof`] in whatever way it was closed.
    pub async fn until(&mut self, text: &str) -> io::Result<String> {
        loop {
            if let Some(at) = self.read.windows(text.len()).position(|window| window == text.as_bytes()) {
                let rest = self.read.split_off(at + text.len());
                let found = std::mem::replace(&mut self.read, rest);
                return Ok(String::from_utf8_lossy(&found).into_owned());
            }
            if self.tls.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// If the connection does not end in good order, with TLS's `close_notify`.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        self.tls.read_to_end(&mut self.read).await?;
        Ok(std::mem::take(&mut self.read))
    }

    /// Reads one response.
    ///
    /// # Errors
    /// If the connection ends before.
    pub async fn response(&mut self) -> io::Result<RawResponse> {
        loop {
            if let Some(response) = RawResponse::parse(&self.read) {
                self.read.clear();
                return Ok(response);
            }
            if self.tls.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
