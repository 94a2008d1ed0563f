//! One connection to kube-apiserver: name resolution, TCP, TLS. What it is made from (CA, client certificate, token)
//! is read again when it changes; connections made before keep what they have, and the pool retires them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::credential::{Credential, CredentialError, CurrentCredential};
use super::dial;

/// The stream under an upstream connection.
pub(crate) type UpstreamIo = TlsStream<TcpStream>;

/// PEM, or the file that holds it.
#[derive(Clone)]
pub enum Pem {
    /// PEM text.
    Inline(Vec<u8>),
    /// A file, read again when it changes.
    File(PathBuf),
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // It may be a private key.
            Self::Inline(_) => f.write_str("Inline(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl ConnectError {
    /// Whether trying again cannot help.
    pub(crate) fn is_hopeless(&self) -> bool {
        matches!(self, Self::Configuration(_) | Self::Credential(_) | Self::Exhausted(_))
    }
}

impl Pem {
    fn read(&self) -> Result<Vec<u8>, ConnectError> {
        match self {
            Self::Inline(bytes) => Ok(bytes.clone()),
            Self::File(path) => runtime::files::read(path)
                .map_err(|source| ConnectError::Configuration(format!("cannot read {}: {source}", path.display()))),
        }
    }

    /// Where it is, for messages.
    fn place(&self) -> String {
        match self {
            Self::Inline(_) => "in the kubeconfig".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    fn file(&self) -> Option<PathBuf> {
        if let Self::File(path) = self { Some(path.clone()) } else { None }
    }
}

/// How TLS to kube-apiserver is made.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTls {
    /// The CA bundle; the host's roots when absent.
    pub ca: Option<Pem>,
    /// The proxy's client certificate chain and key.
    pub client: Option<(Pem, Pem)>,
    /// The name to verify instead of the URL's host.
    pub server_name: Option<String>,
    /// Verify nothing. For laboratories.
    pub insecure: bool,
}

impl UpstreamTls {
    /// The content of everything that it names, in a fixed order.
    fn material(&self) -> Result<Vec<Vec<u8>>, ConnectError> {
        let client = self.client.iter().flat_map(|(chain, key)| [chain, key]);
        self.ca.iter().chain(client).map(Pem::read).collect()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file or value that the connection is made from is unusable. Nothing was dialled.
    #[error("{0}")]
    Configuration(String),
    /// The proxy's own token is unusable.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Name resolution, TCP, or TLS failed.
    #[error("cannot reach kube-apiserver at {authority}: {source}")]
    Unreachable {
        /// host:port as configured.
        authority: String,
        /// What the system or rustls said.
        source: std::io::Error,
    },
    /// The HTTP handshake failed.
    #[error("kube-apiserver at {authority} does not speak HTTP: {source}")]
    Protocol {
        /// host:port as configured.
        authority: String,
        /// What hyper said.
        source: hyper::Error,
    },
    /// Not even one attempt could be finished in time.
    #[error("no connection to kube-apiserver at {authority} in {seconds} s")]
    TimedOut {
        /// host:port as configured.
        authority: String,
        /// The bound.
        seconds: u64,
    },
    /// The pool holds as many connections as it may.
    #[error("all {0} connections to kube-apiserver are in use")]
    Exhausted(usize),
}

/// Makes connections of one kind: with the proxy's credential, or without.
pub(crate) struct Connector {
    authority: Authority,
    host: String,
    port: u16,
    prefix: String,
    server_name: ServerName<'static>,
    settings: UpstreamTls,
    credential: CurrentCredential,
    tls: ArcSwap<rustls::ClientConfig>,
    /// What `tls` was made from: a new token must not void connections.
    material: Mutex<Vec<Vec<u8>>>,
    /// Rises with every change of the TLS configuration.
    generation: AtomicU64,
}

impl Connector {
    /// `url` is kube-apiserver's `https://host[:port][/prefix]`.
    pub(crate) fn new(url: &Uri, tls: UpstreamTls, credential: Credential) -> Result<Self, ConnectError> {
        let wrong = |why: &str| ConnectError::Configuration(format!("the apiserver's URL {url} {why}"));
        if url.scheme() != Some(&Scheme::HTTPS) {
            return Err(wrong("must begin with https://"));
        }
        let authority = url.authority().cloned().ok_or_else(|| wrong("names no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = tls.server_name.clone().unwrap_or_else(|| host.clone());
        let server_name =
            ServerName::try_from(name.clone()).map_err(|_| wrong(&format!("has no valid server name ({name})")))?;
        let material = Mutex::new(tls.material()?);
        let config = ArcSwap::from_pointee(client_config(&tls)?);
        Ok(Self {
            port: authority.port_u16().unwrap_or(443),
            prefix: url.path().trim_end_matches('/').to_owned(),
            authority,
            host,
            server_name,
            settings: tls,
            credential: CurrentCredential::new(credential)?,
            tls: config,
            material,
            generation: AtomicU64::new(0),
        })
    }

    /// The same server, without anything of the proxy's own.
    pub(crate) fn without_credential(&self) -> Result<Self, ConnectError> {
        let url = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(self.authority.clone())
            .path_and_query(if self.prefix.is_empty() { "/" } else { &self.prefix })
            .build()
            .map_err(|error| ConnectError::Configuration(error.to_string()))?;
        let tls = UpstreamTls { client: None, ..self.settings.clone() };
        Self::new(&url, tls, Credential::None)
    }

    /// A fresh TLS connection that offers `alpn`.
    pub(crate) async fn connect(&self, alpn: &[&[u8]]) -> Result<UpstreamIo, ConnectError> {
        let mut config = rustls::ClientConfig::clone(&self.tls.load());
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let unreachable = |source| ConnectError::Unreachable { authority: self.authority.to_string(), source };
        let tcp = dial::tcp(&self.host, self.port).await.map_err(unreachable)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(self.server_name.clone(), tcp).await.map_err(unreachable)
    }

    /// Turns the path of a request into a URI of this server. The path and query stay as the client wrote them.
    pub(crate) fn uri(&self, of: &Uri) -> Result<Uri, http::Error> {
        let path = of.path_and_query().map_or("/", PathAndQuery::as_str);
        let builder = Uri::builder().scheme(Scheme::HTTPS).authority(self.authority.clone());
        if self.prefix.is_empty() {
            match of.path_and_query() {
                Some(path) => builder.path_and_query(path.clone()),
                None => builder.path_and_query("/"),
            }
        } else {
            builder.path_and_query(format!("{}{path}", self.prefix))
        }
        .build()
    }

    /// The `Host` of HTTP/1.1 requests.
    pub(crate) fn host_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.authority.as_str()).ok()
    }

    pub(crate) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        self.credential.header()
    }

    /// Whether connections present a client certificate.
    pub(crate) fn has_client_certificate(&self) -> bool {
        self.settings.client.is_some()
    }

    /// Reads the token again; true if it is another one now.
    pub(crate) fn reload_credential(&self) -> Result<bool, ConnectError> {
        Ok(self.credential.reload()?)
    }

    /// The generation of the TLS configuration: connections of an older one are to be retired.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The files to watch, and what to do when one changed.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let tls = &self.settings;
        let mut files: Vec<PathBuf> = self.credential.file().into_iter().collect();
        files.extend(tls.ca.as_ref().and_then(Pem::file));
        if let Some((chain, key)) = &tls.client {
            files.extend(chain.file());
            files.extend(key.file());
        }
        files
    }

    /// Reads everything again. On an error the old configuration stays in use.
    pub(crate) fn reload(&self) -> Result<(), ConnectError> {
        self.credential.reload()?;
        let material = self.settings.material()?;
        let mut current = self.material.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != material {
            self.tls.store(Arc::new(client_config(&self.settings)?));
            *current = material;
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }
}

fn client_config(settings: &UpstreamTls) -> Result<rustls::ClientConfig, ConnectError> {
    let bad = |error: &dyn std::fmt::Display| ConnectError::Configuration(error.to_string());
    let provider = runtime::crypto::provider();
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&error))?;
    let builder = if settings.insecure {
        builder.dangerous().with_custom_certificate_verifier(insecure_verifier(&provider))
    } else {
        let roots = match &settings.ca {
            Some(pem) => {
                let roots = runtime::trust::roots_from_pem(&pem.read()?);
                roots.map_err(|error| bad(&format!("kube-apiserver's CA ({}): {error}", pem.place())))
            }
            None => runtime::trust::host_roots().map_err(|error| bad(&error)),
        };
        builder.with_root_certificates(roots?)
    };
    let config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let (of_chain, of_key) = (chain.place(), key.place());
            let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain.read()?)
                .collect::<Result<_, _>>()
                .map_err(|error| bad(&format!("the client certificate ({of_chain}) is not valid PEM: {error}")))?;
            let key = PrivateKeyDer::from_pem_slice(&key.read()?)
                .map_err(|error| bad(&format!("the client key ({of_key}) is not valid PEM: {error}")))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                bad(&format!("the client certificate ({of_chain}) and key ({of_key}) do not fit: {error}"))
            })?
        }
    };
    Ok(config)
}

fn insecure_verifier(provider: &Arc<rustls::crypto::CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(insecure::AcceptAnything(provider.signature_verification_algorithms))
}

/// `--insecure-skip-tls-verify`, apart from everything else.
mod insecure {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub(super) struct AcceptAnything(pub(super) WebPkiSupportedAlgorithms);

    impl ServerCertVerifier for AcceptAnything {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, &self.0)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.0)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_schemes()
        }
    }
}
