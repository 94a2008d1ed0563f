//! What the flags mean, checked: the form that the rest of the proxy works with.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use identity::OidcFlags;
use ipnet::IpNet;
use runtime::logging::LogFormat;
use rustls::crypto::SupportedKxGroup;
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use crate::kubeconfig::ApiserverConfig;

/// Everything that the flags say.
#[derive(Debug)]
pub struct Settings {
    /// The listener, its TLS, and what bounds a client.
    pub serving: ServingSettings,
    /// Whose tokens are believed.
    pub oidc: OidcSettings,
    /// Where kube-apiserver is, and who the proxy is there.
    pub apiserver: ApiserverConfig,
    /// The proxy's own questions to kube-apiserver.
    pub reviews: ReviewSettings,
    /// What is done with a request, and the process around it.
    pub app: AppSettings,
    /// Log lines.
    pub logging: LogSettings,
    /// What is accepted but surprising; each to be logged as a WARN once, at start.
    pub warnings: Vec<String>,
}

/// The listener.
#[derive(Clone, Debug)]
pub struct ServingSettings {
    /// Where to listen. If the address is unspecified, it is `::`, and stands for every interface by IPv4 **and** IPv6
    /// (`IPV6_V6ONLY` off; `0.0.0.0` on a host without IPv6), as Go has it.
    pub bind: SocketAddr,
    /// `SO_REUSEPORT`.
    pub permit_port_sharing: bool,
    /// The certificate for clients that ask for no other.
    pub certificate: ServingCertificate,
    /// Further certificates, in the order given.
    pub sni_certificates: Vec<SniCertificate>,
    /// The oldest TLS to speak.
    pub min_tls_version: TlsVersion,
    /// What to offer instead of rustls' choice: the suites of TLS 1.2 that were named, and all those of TLS 1.3.
    pub cipher_suites: Option<Vec<SupportedCipherSuite>>,
    /// What to offer instead of rustls' choice, in rustls' order of preference.
    pub key_exchange_groups: Option<Vec<&'static dyn SupportedKxGroup>>,
    /// Offer h2 by ALPN.
    pub http2: bool,
    /// Streams on one HTTP/2 connection.
    pub http2_max_streams: u32,
    /// Connections at once.
    pub max_connections: usize,
    /// For the PROXY header, the TLS handshake, and the header of a request, each.
    pub header_timeout: Duration,
    /// A connection without a request is closed after this.
    pub idle_timeout: Duration,
    /// Size of the header of a request, in bytes; 8 KiB to 1 MiB.
    pub max_header_bytes: u32,
    /// Peers that begin each connection with a PROXY protocol v2 header.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub forwarded_for_from: Vec<IpNet>,
}

/// The certificate to serve with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServingCertificate {
    /// PEM files, to be re-read when they change.
    Files(KeyPairFiles),
    /// A self-signed pair in these files: used if they exist, else made and written there.
    SelfSigned(KeyPairFiles),
    /// A self-signed pair that lives as long as the process.
    SelfSignedInMemory,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPairFiles {
    /// The chain, the leaf first.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// A certificate for some names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SniCertificate {
    /// The files.
    pub files: KeyPairFiles,
    /// Host names (`*.` in front for one label) or IP addresses; if empty, the names in the certificate.
    pub names: Vec<String>,
}

/// The oldest TLS version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2 and 1.3.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

impl TlsVersion {
    /// This version and the later ones, for rustls.
    #[must_use]
    pub fn and_later(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls12 => vec![&rustls::version::TLS13, &rustls::version::TLS12],
            Self::Tls13 => vec![&rustls::version::TLS13],
        }
    }
}

/// Whose tokens are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcSettings {
    /// The issuers.
    pub issuers: IssuerSource,
    /// The client certificate to show to every issuer.
    pub client_certificate: Option<KeyPairFiles>,
    /// Groups beginning with `system:` that a token may carry.
    pub allow_reserved_groups: Vec<String>,
    /// Ready only with the keys of every issuer.
    pub readiness_require_all: bool,
}

/// Where the rules for tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerSource {
    /// One issuer, by flags.
    Flags(Box<IssuerFlags>),
    /// A file, to be re-read when it changes.
    AuthenticationConfig(PathBuf),
}

/// One issuer, as the flags describe it. The fields are those of kube-apiserver's flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerFlags {
    /// What they say of the tokens. Its `ca_pem` is empty: the file is read when the issuer is reached.
    pub oidc: OidcFlags,
    /// PEM roots; the host's when absent.
    pub ca_file: Option<PathBuf>,
}

/// The proxy's own questions to kube-apiserver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReviewSettings {
    /// For all SubjectAccessReviews of one request together.
    pub subject_access_timeout: Duration,
    /// For one call of any kind; no limit of its own when absent.
    pub call_timeout: Option<Duration>,
    /// Calls each second on average, and at once; unlimited when absent.
    pub rate: Option<ReviewRate>,
    /// For a TokenReview.
    pub token_timeout: Duration,
    /// How long answers hold.
    pub memory: ReviewMemory,
}

/// How long kube-apiserver's answers to reviews hold without asking again; zero is not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReviewMemory {
    /// A user may impersonate.
    pub allowed: Duration,
    /// A user may not.
    pub denied: Duration,
    /// A token is kube-apiserver's.
    pub token_accepted: Duration,
    /// A token is not.
    pub token_refused: Duration,
}

/// How often the proxy may ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReviewRate {
    /// Calls each second; above zero.
    pub qps: f32,
    /// Calls at once; above zero.
    pub burst: u32,
}

/// What is done with a request, and the process around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSettings {
    /// Forward a verified request with the user's own token.
    pub disable_impersonation: bool,
    /// Ask kube-apiserver about the tokens that nobody here vouches for.
    pub token_passthrough: Option<TokenPassthrough>,
    /// Extras for every impersonated user; a key may come several times.
    pub extra_user_headers: Vec<(String, String)>,
    /// Values that one request may ask to be impersonated.
    pub max_impersonation_values: usize,
    /// Send the client's address along as an extra.
    pub extra_user_header_client_ip: bool,
    /// Port of `/ready` and `/live`, on every interface.
    pub readiness_probe_port: u16,
    /// From SIGTERM to the end.
    pub shutdown_grace_period: Duration,
    /// Threads that serve requests; one for each core when absent.
    pub worker_threads: Option<NonZeroUsize>,
}

/// `--token-passthrough`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenPassthrough {
    /// A token must be meant for one of them; if empty, for kube-apiserver.
    pub audiences: Vec<String>,
}

/// Log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Their form.
    pub format: LogFormat,
    /// klog's scale, 0 to 10.
    pub verbosity: u8,
}
