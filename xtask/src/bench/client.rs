//! The clients: what kubectl sends, over HTTP/2 and TLS 1.3, with every answer checked.

use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::rig::crypto;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Client {
    tls: TlsConnector,
    authorization: String,
}

/// One connection; a clone is the same connection.
#[derive(Clone)]
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    parts: Parts,
}

impl Client {
    /// Clients that trust `ca_pem` and show `token`.
    ///
    /// # Errors
    /// If the CA is not one.
    pub(crate) fn new(ca_pem: &str, token: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
        let builder =
            rustls::ClientConfig::builder_with_provider(crypto()).with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Every kubectl is a new process, which has nothing to resume.
        config.resumption = Resumption::disabled();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), authorization: format!("Bearer {token}") })
    }

    /// Connects, for requests of `path`.
    ///
    /// # Errors
    /// If nobody listens there who speaks h2 and has a certificate for `localhost`.
    pub(crate) async fn connect(&self, port: u16, path: &str) -> anyhow::Result<Connection> {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        tcp.set_nodelay(true)?;
        let tls = self.tls.connect(ServerName::try_from("localhost")?, tcp).await?;
        if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
            bail!("the server does not speak HTTP/2");
        }
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        let request = Request::get(format!("https://localhost:{port}{path}"))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "kubectl/v1.37.2 (linux/amd64) kubernetes/bench")
            .body(())?;
        Ok(Connection { sender, parts: request.into_parts().0 })
    }
}

impl Connection {
    /// One GET; the answer must be `expected`.
    ///
    /// # Errors
    /// If it is anything else.
    pub(crate) async fn get(&mut self, expected: &Bytes) -> anyhow::Result<()> {
        let body = self.open().await?.into_body().collect().await.context("the answer broke off")?.to_bytes();
        if body != expected {
            bail!("another answer than the upstream gave: {} bytes instead of {}", body.len(), expected.len());
        }
        Ok(())
    }

    /// One GET, up to the header of its answer.
    ///
    /// # Errors
    /// If that is not a 200.
    pub(crate) async fn open(&mut self) -> anyhow::Result<Response<Incoming>> {
        let request = Request::from_parts(self.parts.clone(), Empty::new());
        self.sender.ready().await.context("the connection ended")?;
        let response = self.sender.send_request(request).await.context("no answer")?;
        if response.status() != StatusCode::OK {
            bail!("the answer is {}", response.status());
        }
        Ok(response)
    }
}
