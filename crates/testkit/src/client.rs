//! Clients that show what really comes: over HTTP/2 the frames' own end, where hyper takes a stream that was reset with
//! NO_ERROR for one that ended; over HTTP/1.1 hyper's view.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Context as _;
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;

/// A TLS connection to `127.0.0.1:port` as `localhost`, which offers `alpn`.
///
/// # Errors
/// If nobody listens, or `ca_pem` does not vouch for who does.
pub async fn tls(port: u16, ca_pem: &str, alpn: &str) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    Ok(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, tcp).await?)
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1: one request at a time.
    H1,
    /// HTTP/2.
    H2,
}

impl Protocol {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::H1, Self::H2];
}

/// One connection.
pub struct Client {
    sender: Sender,
}

enum Sender {
    H1(hyper::client::conn::http1::SendRequest<Fed>),
    H2(h2::client::SendRequest<Bytes>),
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If there is no such server.
    pub async fn connect(protocol: Protocol, port: u16, ca_pem: &str) -> anyhow::Result<Self> {
        match protocol {
            Protocol::H1 => {
                let io = TokioIo::new(tls(port, ca_pem, "http/1.1").await?);
                let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
                tokio::spawn(connection);
                Ok(Self { sender: Sender::H1(sender) })
            }
            // So much that a window is never what a response waits for.
            Protocol::H2 => Self::h2_with_window(port, ca_pem, 1 << 20).await,
        }
    }

    /// Connects with HTTP/2, and lets each response have `window` bytes in flight.
    ///
    /// # Errors
    /// If there is no such server.
    pub async fn h2_with_window(port: u16, ca_pem: &str, window: u32) -> anyhow::Result<Self> {
        let io = tls(port, ca_pem, "h2").await?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .initial_connection_window_size(64 << 20)
            .handshake(io)
            .await?;
        tokio::spawn(connection);
        Ok(Self { sender: Sender::H2(sender) })
    }

    /// Sends a request with its whole body.
    ///
    /// # Errors
    /// If no response comes.
    pub async fn send(&mut self, request: Request<impl Into<Bytes>>) -> anyhow::Result<Answer> {
        let (parts, body) = request.into_parts();
        let body: Bytes = body.into();
        let request = Request::from_parts(parts, ());
        if body.is_empty() {
            return self.begin(request, true).await?.1.await?;
        }
        let (mut upload, answer) = self.begin(request, false).await?;
        // A server that answers before it has read everything need not read it.
        let sending = tokio::spawn(async move { upload.send(body).await && upload.end().await });
        let answer = answer.await?;
        if answer.is_err() {
            sending.abort();
        }
        answer
    }

    /// Sends a request whose body is still to come; the response comes to a task of its own. Without a
    /// `Content-Length` the body goes in chunks over HTTP/1.1.
    ///
    /// # Errors
    /// If the connection takes no request.
    pub async fn upload(&mut self, request: Request<()>) -> anyhow::Result<(Upload, Answering)> {
        self.begin(request, false).await
    }

    async fn begin(&mut self, mut request: Request<()>, is_whole: bool) -> anyhow::Result<(Upload, Answering)> {
        match &mut self.sender {
            Sender::H1(sender) => {
                let path = request.uri().path_and_query().context("a path")?.as_str().parse()?;
                *request.uri_mut() = path;
                *request.version_mut() = Version::HTTP_11;
                request.headers_mut().entry(header::HOST).or_insert(header::HeaderValue::from_static("localhost"));
                let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
                let (feed, fed) = mpsc::channel(1);
                let length = if is_whole { Some(0) } else { length };
                sender.ready().await?;
                let sending = sender.send_request(request.map(|()| Fed { pieces: fed, length }));
                let answering = tokio::spawn(async move { Ok(Answer::of_h1(sending.await?)) });
                Ok((Upload::H1(feed), answering))
            }
            Sender::H2(sender) => {
                *request.version_mut() = Version::HTTP_2;
                let mut sender = sender.clone().ready().await?;
                let (response, stream) = sender.send_request(request, is_whole)?;
                let answering = tokio::spawn(async move { Ok(Answer::of_h2(response.await?)) });
                Ok((Upload::H2(stream), answering))
            }
        }
    }
}

/// A response that is awaited.
pub type Answering = tokio::task::JoinHandle<anyhow::Result<Answer>>;

/// The body of a request on its way.
pub enum Upload {
    /// Over HTTP/1.1.
    H1(mpsc::Sender<Option<Bytes>>),
    /// Over HTTP/2.
    H2(SendStream<Bytes>),
}

impl Upload {
    /// Sends some; false if nobody takes it any more.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> bool {
        let mut bytes: Bytes = bytes.into();
        match self {
            Self::H1(feed) => feed.send(Some(bytes)).await.is_ok(),
            Self::H2(stream) => {
                while !bytes.is_empty() {
                    stream.reserve_capacity(bytes.len());
                    let Some(Ok(capacity)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return false };
                    if stream.send_data(bytes.split_to(capacity.min(bytes.len())), false).is_err() {
                        return false;
                    }
                }
                true
            }
        }
    }

    /// Ends the body as it should be.
    pub async fn end(self) -> bool {
        match self {
            Self::H1(feed) => feed.send(None).await.is_ok(),
            Self::H2(mut stream) => stream.send_data(Bytes::new(), true).is_ok(),
        }
    }

    /// Breaks the body off: with `reason` over HTTP/2, and with the connection over HTTP/1.1.
    pub fn abort(self, reason: Reason) {
        if let Self::H2(mut stream) = self {
            stream.send_reset(reason);
        }
    }
}

/// A body out of a channel. Without a last `None` it is broken off.
struct Fed {
    pieces: mpsc::Receiver<Option<Bytes>>,
    length: Option<u64>,
}

impl Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.get_mut().pieces.poll_recv(cx).map(|piece| match piece {
            Some(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(None) => None,
            None => Some(Err(io::ErrorKind::BrokenPipe.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.length.map_or_else(hyper::body::SizeHint::default, hyper::body::SizeHint::with_exact)
    }
}

/// A response.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header.
    pub headers: HeaderMap,
    body: Arriving,
}

enum Arriving {
    H1(Incoming),
    H2(RecvStream),
}

/// A body that has come to its end.
#[derive(Debug)]
pub struct Whole {
    /// The data.
    pub bytes: Vec<u8>,
    /// The trailers.
    pub trailers: Option<HeaderMap>,
}

impl Whole {
    /// As text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Answer {
    fn of_h1(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body: Arriving::H1(body) }
    }

    fn of_h2(response: Response<RecvStream>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body: Arriving::H2(body) }
    }

    /// The only value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Some of the body; nothing at its end.
    ///
    /// # Errors
    /// If the body breaks off.
    pub async fn chunk(&mut self) -> anyhow::Result<Option<Bytes>> {
        match &mut self.body {
            Arriving::H1(body) => match body.frame().await.transpose()? {
                None => Ok(None),
                Some(frame) => Ok(Some(frame.into_data().unwrap_or_default())),
            },
            Arriving::H2(body) => match body.data().await.transpose()? {
                None => Ok(None),
                Some(bytes) => {
                    body.flow_control().release_capacity(bytes.len())?;
                    Ok(Some(bytes))
                }
            },
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// If it breaks off.
    pub async fn whole(mut self) -> anyhow::Result<Whole> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        let trailers = match &mut self.body {
            Arriving::H1(_) => None,
            Arriving::H2(body) => body.trailers().await?,
        };
        Ok(Whole { bytes, trailers })
    }

    /// Reads until `text` has come; false if the body ends before, in whatever way.
    pub async fn read_until(&mut self, text: &str) -> bool {
        let mut seen = Vec::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            seen.extend_from_slice(&chunk);
            if String::from_utf8_lossy(&seen).contains(text) {
                return true;
            }
        }
        false
    }
}
