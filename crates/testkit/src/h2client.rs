//! One HTTP/2 connection with a bearer token, for tests that need many streams on it.

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::client;

/// The connection.
#[derive(Clone)]
pub struct H2Client {
    sender: SendRequest<Empty<Bytes>>,
    authority: String,
    authorization: String,
}

impl H2Client {
    /// Connects to `127.0.0.1:port` as `localhost`.
    ///
    /// # Errors
    /// If there is no HTTP/2 server whose certificate `ca_pem` vouches for.
    pub async fn connect(port: u16, ca_pem: &str, token: &str) -> anyhow::Result<Self> {
        let tls = client::tls(port, ca_pem, "h2").await?;
        if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
            bail!("the server does not speak HTTP/2");
        }
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, authority: format!("localhost:{port}"), authorization: format!("Bearer {token}") })
    }

    /// GET, up to the response's headers.
    ///
    /// # Errors
    /// If the connection fails.
    pub async fn get(&self, path: &str) -> anyhow::Result<Response<Incoming>> {
        let request = Request::get(format!("https://{}{path}", self.authority))
            .header(header::AUTHORIZATION, &self.authorization)
            .body(Empty::new())?;
        self.sender.clone().send_request(request).await.context("no response")
    }

    /// Reads a body until `text` has come; false if it ends before.
    pub async fn read_until(response: &mut Response<Incoming>, text: &str) -> bool {
        let mut seen = Vec::new();
        while let Some(Ok(frame)) = response.body_mut().frame().await {
            if let Some(data) = frame.data_ref() {
                seen.extend_from_slice(data);
                if String::from_utf8_lossy(&seen).contains(text) {
                    return true;
                }
            }
        }
        false
    }
}
