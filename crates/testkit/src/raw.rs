//! Clients that write what they like: bytes over TLS, and HTTP/2 frames by hand.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

/// A TLS connection to loopback for hand-written bytes. Reads give up after ten seconds.
pub struct RawTls {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl RawTls {
    /// Connects to `127.0.0.1:port`, trusts `ca_pem`, and offers `alpn`.
    ///
    /// # Errors
    /// If nobody listens, or the handshake fails.
    pub fn connect(port: u16, ca_pem: &str, alpn: &str) -> io::Result<Self> {
        Self::connect_after(port, ca_pem, alpn, &[])
    }

    /// The same, with bytes in front of the TLS handshake: a PROXY protocol header.
    ///
    /// # Errors
    /// If nobody listens, or the handshake fails.
    pub fn connect_after(port: u16, ca_pem: &str, alpn: &str, before: &[u8]) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut tcp = TcpStream::connect(("127.0.0.1", port))?;
        tcp.write_all(before)?;
        tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
        tcp.set_nodelay(true)?;
        let mut stream = StreamOwned::new(tls, tcp);
        stream.flush()?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream })
    }

    /// The serving certificate that was shown, DER.
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        self.stream.conn.peer_certificates()?.first().map(|certificate| certificate.to_vec())
    }

    /// How long a read waits.
    ///
    /// # Errors
    /// If the socket is gone.
    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.sock.set_read_timeout(Some(timeout))
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// If the other side is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads some bytes; none at the end.
    ///
    /// # Errors
    /// If the other side resets or says nothing in time.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 16 * 1024];
        let length = match self.stream.read(&mut buffer) {
            // A close without close_notify is an end for this client.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            other => other?,
        };
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Reads until the other side closes, or is silent for the read timeout.
    pub fn receive_all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Ok(bytes) = self.receive() {
            if bytes.is_empty() {
                break;
            }
            all.extend(bytes);
        }
        all
    }

    /// Reads one HTTP/1.1 response with a Content-Length or in chunks: status and body.
    ///
    /// # Errors
    /// If there is none in time.
    pub fn response(&mut self) -> io::Result<RawResponse> {
        let mut bytes = Vec::new();
        loop {
            if let Some(response) = RawResponse::parse(&bytes) {
                return Ok(response);
            }
            let more = self.receive()?;
            if more.is_empty() {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed after {text:?}")));
            }
            bytes.extend(more);
        }
    }
}

/// One HTTP/1.1 response.
#[derive(Clone, Debug)]
pub struct RawResponse {
    /// The status code.
    pub status: u16,
    /// The header lines.
    pub head: String,
    /// The body, without chunk framing.
    pub body: String,
}

impl RawResponse {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let lower = head.to_ascii_lowercase();
        let body = if lower.contains("transfer-encoding: chunked") {
            dechunk(rest)?
        } else {
            let length =
                lower.split("content-length: ").nth(1).and_then(|tail| tail.lines().next()?.trim().parse().ok());
            rest.get(..length.unwrap_or(0))?.to_owned()
        };
        Some(Self { status, head: head.to_owned(), body })
    }
}

fn dechunk(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, tail) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(tail.get(..size)?);
        rest = tail.get(size + 2..)?;
    }
}

/// HTTP/2 frames (RFC 9113 section 4.1), written by hand.
pub mod frames {
    /// The client's connection preface, with an empty SETTINGS.
    pub fn preface() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(0x4, 0, 0, &[]));
        bytes
    }

    /// Any frame.
    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// HEADERS with END_HEADERS, and END_STREAM if `end`.
    pub fn headers(stream: u32, fields: &[(&str, &str)], end: bool) -> Vec<u8> {
        frame(0x1, 0x4 | u8::from(end), stream, &block(fields))
    }

    /// RST_STREAM with CANCEL.
    pub fn reset(stream: u32) -> Vec<u8> {
        frame(0x3, 0, stream, &8_u32.to_be_bytes())
    }

    /// A header block of literals without indexing (RFC 7541 section 6.2.2), without Huffman coding.
    pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in fields {
            bytes.push(0);
            string(&mut bytes, name);
            string(&mut bytes, value);
        }
        bytes
    }

    fn string(bytes: &mut Vec<u8>, text: &str) {
        let mut length = text.len();
        if length < 127 {
            bytes.push(u8::try_from(length).unwrap_or(0));
        } else {
            bytes.push(127);
            length -= 127;
            while length >= 128 {
                bytes.push(u8::try_from(length % 128).unwrap_or(0) | 0x80);
                length /= 128;
            }
            bytes.push(u8::try_from(length).unwrap_or(0));
        }
        bytes.extend(text.as_bytes());
    }
}
