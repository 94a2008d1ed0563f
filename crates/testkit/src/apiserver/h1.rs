//! HTTP/1.1 connections of the fake server, by hand.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};
use tokio_rustls::server::TlsStream;

use super::exchange::Wire;
use super::{BodyEnd, Command, Connection, Exchange, Seen, Shared};

pub(super) async fn serve(
    tls: TlsStream<TcpStream>,
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let line = Arc::new(Mutex::new(Line { tls, read: BytesMut::new(), then: Then::Next }));
    let serving = async {
        loop {
            let mut line = line.clone().lock_owned().await;
            match line.then {
                Then::Next => {}
                Then::Close => return,
                Then::Linger => {
                    // To close with unread bytes is a reset, which may overtake the answer.
                    let _gone_already = line.tls.shutdown().await;
                    while line.more().await.is_ok() {
                        line.read.clear();
                    }
                    return;
                }
            }
            let Some(head) = line.head().await else { return };
            let Some((seen, remaining)) = parse(&head, connection.number) else { return };
            // Unless the answer comes to its end, the connection does.
            line.then = Then::Close;
            let turn = Turn { line, remaining, in_chunks: false };
            (shared.handler)(Exchange::begin(seen, shared, connection, Wire::H1(turn))).await;
        }
    };
    let dropped = async { while !matches!(commands.recv().await, Some(Command::Drop) | None) {} };
    tokio::select! { () = serving => {} () = dropped => {} }
}

struct Line {
    tls: TlsStream<TcpStream>,
    read: BytesMut,
    then: Then,
}

/// What comes after an answer.
enum Then {
    Next,
    Close,
    /// Closing, as Go does it behind the answer to a request that was not read to its end.
    Linger,
}

impl Line {
    async fn more(&mut self) -> io::Result<()> {
        match self.tls.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Up to and with `end`.
    async fn until(&mut self, end: &[u8]) -> io::Result<Bytes> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end) {
                return Ok(self.read.split_to(at + end.len()).freeze());
            }
            self.more().await?;
        }
    }

    async fn head(&mut self) -> Option<String> {
        String::from_utf8(self.until(b"\r\n\r\n").await.ok()?.to_vec()).ok()
    }
}

/// What is left of the body of a request.
enum Remaining {
    Length(usize),
    Chunks,
}

fn parse(head: &str, connection: usize) -> Option<(Seen, Remaining)> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.parse::<Method>().ok()?, first.next()?.to_owned());
    let mut headers = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        headers.append(name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value.trim()).ok()?);
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let (remaining, end) = match length {
        _ if headers.contains_key(header::TRANSFER_ENCODING) => (Remaining::Chunks, BodyEnd::Open),
        Some(length) if length > 0 => (Remaining::Length(length), BodyEnd::Open),
        _ => (Remaining::Length(0), BodyEnd::Whole),
    };
    let seen = Seen { connection, version: Version::HTTP_11, method, target, headers, body: Bytes::new(), end };
    Some((seen, remaining))
}

/// One request on a connection, which is its own meanwhile.
pub(super) struct Turn {
    line: OwnedMutexGuard<Line>,
    remaining: Remaining,
    in_chunks: bool,
}

impl Turn {
    /// Some of the body; nothing at its end.
    pub(super) async fn receive(&mut self) -> io::Result<Option<Bytes>> {
        match &mut self.remaining {
            Remaining::Length(0) => Ok(None),
            Remaining::Length(left) => {
                if self.line.read.is_empty() {
                    self.line.more().await?;
                }
                let taken = self.line.read.len().min(*left);
                *left -= taken;
                Ok(Some(self.line.read.split_to(taken).freeze()))
            }
            Remaining::Chunks => {
                let size = self.line.until(b"\r\n").await?;
                let size = String::from_utf8_lossy(&size);
                let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
                while self.line.read.len() < size + 2 {
                    self.line.more().await?;
                }
                let chunk = self.line.read.split_to(size).freeze();
                let _line_end = self.line.read.split_to(2);
                if size == 0 {
                    self.remaining = Remaining::Length(0);
                    return Ok(None);
                }
                Ok(Some(chunk))
            }
        }
    }

    /// A whole answer. One that HTTP has no body for is its head alone; a length in the head is left as it is.
    pub(super) async fn whole(&mut self, mut response: Response<()>, body: &[u8], method: &Method) {
        let status = response.status();
        let has_body =
            *method != Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
        if has_body && !response.headers().contains_key(header::CONTENT_LENGTH) {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let written = self.write_raw(&[head(&response), body.to_vec()].concat()).await;
        self.line.then = match self.remaining {
            Remaining::Length(0) if written => Then::Next,
            _ if written => Then::Linger,
            _ => Then::Close,
        };
    }

    pub(super) async fn start(&mut self, response: &Response<()>) {
        let mut response = response.clone();
        let is_informational = response.status().is_informational();
        self.in_chunks = !is_informational && !response.headers().contains_key(header::CONTENT_LENGTH);
        if self.in_chunks {
            response.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        self.write_raw(&head(&response)).await;
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        if self.in_chunks {
            let size = format!("{:x}\r\n", bytes.len());
            return self.write_raw(&[size.as_bytes(), bytes, b"\r\n"].concat()).await;
        }
        self.write_raw(bytes).await
    }

    pub(super) async fn end(&mut self) {
        if !self.in_chunks || self.write_raw(b"0\r\n\r\n").await {
            self.line.then = Then::Next;
        }
    }

    pub(super) async fn write_raw(&mut self, bytes: &[u8]) -> bool {
        self.line.tls.write_all(bytes).await.is_ok() && self.line.tls.flush().await.is_ok()
    }

    pub(super) async fn read_raw(&mut self) -> io::Result<Bytes> {
        if self.line.read.is_empty() {
            let Line { tls, read, .. } = &mut *self.line;
            tls.read_buf(read).await?;
        }
        Ok(self.line.read.split().freeze())
    }

    pub(super) async fn half_close(&mut self) {
        let _gone_already = self.line.tls.shutdown().await;
    }

    /// Makes the close that follows a reset (RST).
    pub(super) fn reset_on_close(&self) {
        let _best_effort = SockRef::from(self.line.tls.get_ref().0).set_linger(Some(Duration::ZERO));
    }
}

fn head(response: &Response<()>) -> Vec<u8> {
    let status = response.status();
    let mut bytes =
        format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}
