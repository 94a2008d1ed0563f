//! What stands around a proxy under test: a CA, an issuer, the fake kube-apiserver, and clients.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tempfile::TempDir;
use testkit::ca::Ca;
use testkit::cluster::{Kubeconfig, UserAuth};
use testkit::issuer::Issuer;
use tokio_rustls::TlsAcceptor;

use super::client::Client;
use super::upstream::Upstream;

/// The audience of the tokens.
pub(crate) const CLIENT_ID: &str = "kubernetes";
/// Longer than any bench runs.
const TOKEN_SECONDS: i64 = 8 * 3600;
/// As long as a service account's: the proxy sends it with every request.
const OWN_TOKEN_BYTES: usize = 1000;

fn own_token() -> String {
    ('a'..='z').cycle().take(OWN_TOKEN_BYTES).collect()
}

/// The one cipher suite and key exchange of both ends, which makes them those of every contender on both its sides:
/// what Go's clients choose where the processor has AES. Otherwise the ratios would be those of ciphers.
pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    })
}

/// The rig. Its directory has `ca.pem`, `tls.crt`, `tls.key`, both of these in `tls.pem`, `issuer-ca.pem` and
/// `proxy.kubeconfig`.
pub(crate) struct Rig {
    pub(crate) client: Client,
    pub(crate) upstream: Upstream,
    pub(crate) issuer_url: String,
    /// For the proxies.
    pub(crate) core: usize,
    dir: TempDir,
    _issuer: Issuer,
}

impl Rig {
    /// Starts all of it.
    ///
    /// # Errors
    /// If a file or a port cannot be had.
    pub(crate) async fn start(core: usize) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("keyway-bench-").tempdir()?;
        let ca = Ca::new("bench-ca");
        let pair = ca.issue_server(&["localhost", "127.0.0.1"]);
        let issuer = Issuer::start(&Ca::new("bench-issuer-ca")).await;

        let chain = vec![CertificateDer::from_pem_slice(pair.cert_pem.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes())?;
        let builder =
            rustls::ServerConfig::builder_with_provider(crypto()).with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut tls = builder.with_no_client_auth().with_single_cert(chain, key)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let upstream = Upstream::start(TlsAcceptor::from(Arc::new(tls)), &own_token()).await?;

        for (name, content) in [
            ("ca.pem", ca.pem()),
            ("tls.crt", &pair.cert_pem),
            ("tls.key", &pair.key_pem),
            ("tls.pem", &format!("{}{}", pair.cert_pem, pair.key_pem)),
            ("issuer-ca.pem", issuer.ca_pem()),
        ] {
            std::fs::write(dir.path().join(name), content)?;
        }
        let server = format!("https://localhost:{}", upstream.port);
        let user = UserAuth::Token(own_token());
        let kubeconfig = Kubeconfig { server, ca_file: dir.path().join("ca.pem"), user };
        kubeconfig.write(&dir.path().join("proxy.kubeconfig"))?;

        let token = issuer.token().claim("sub", json!("0d1f")).claim("email", json!("myuser@example.com"));
        let token = token.claim("roles", json!(["any-employee-personal-device", "developers", "on-call"]));
        let token = token.aud(CLIENT_ID).expires_in(TOKEN_SECONDS).sign();
        let client = Client::new(ca.pem(), &token)?;
        Ok(Self { client, upstream, issuer_url: issuer.url().to_owned(), core, dir, _issuer: issuer })
    }

    /// The directory of its files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Client, Rig, own_token};
    use crate::bench::upstream::OBJECT_PATH;

    #[tokio::test]
    async fn another_body_is_a_failure() {
        let rig = Rig::start(0).await.unwrap();
        let mut connection = rig.client.connect(rig.upstream.port, OBJECT_PATH).await.unwrap();
        connection.get(&rig.upstream.object()).await.unwrap();
        let error = connection.get(&Bytes::from_static(b"{}")).await.unwrap_err();
        assert!(error.to_string().contains("another answer"), "{error:#}");
    }

    #[tokio::test]
    async fn the_kube_proxy_must_name_a_user() {
        let rig = Rig::start(0).await.unwrap();
        let ca = std::fs::read_to_string(rig.dir().join("ca.pem")).unwrap();
        let proxy = Client::new(&ca, &own_token()).unwrap();
        let mut connection = proxy.connect(rig.upstream.port, OBJECT_PATH).await.unwrap();
        let error = connection.get(&rig.upstream.object()).await.unwrap_err();
        assert!(error.to_string().contains("403"), "{error:#}");
    }
}
