//! The proxy's own certificate: from files that are read again when they change, by server name where several are
//! given, or self-signed when none is.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::options::{KeyPairFiles, ServingCertificate, ServingSettings, SniCertificate};

/// Where the certificates come from.
#[derive(Clone, Debug)]
struct Sources {
    default: Source,
    by_name: Vec<SniCertificate>,
}

#[derive(Clone, Debug)]
enum Source {
    Files(KeyPairFiles),
    /// Made once, at start; nothing to read again.
    Memory(Arc<CertifiedKey>),
}

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// rustls does not take the combination of versions and suites.
    #[error("the TLS settings do not fit together: {0}")]
    Settings(rustls::Error),
    /// No self-signed certificate could be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(rcgen::Error),
}

/// The certificates in use; replaced as a whole.
#[derive(Debug)]
pub(crate) struct Certificates {
    sources: Sources,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    default: Arc<CertifiedKey>,
    by_name: Vec<(String, Arc<CertifiedKey>)>,
}

impl Certificates {
    /// Loads every pair, or makes the self-signed one.
    pub(crate) fn new(settings: &ServingSettings) -> Result<Arc<Self>, TlsError> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        if let Some(suites) = &settings.cipher_suites {
            provider.cipher_suites.clone_from(suites);
        }
        if let Some(groups) = &settings.key_exchange_groups {
            provider.kx_groups.clone_from(groups);
        }
        let provider = Arc::new(provider);
        let names = self_signed_names(settings.bind.ip());
        let default = match &settings.certificate {
            ServingCertificate::Files(files) => Source::Files(files.clone()),
            ServingCertificate::SelfSigned(files) => self_signed_on_disk(files, &names, &provider)?,
            ServingCertificate::SelfSignedInMemory => Source::Memory(self_signed_in_memory(&names, &provider)?),
        };
        let sources = Sources { default, by_name: settings.sni_certificates.clone() };
        let loaded = load(&sources, &provider)?;
        Ok(Arc::new(Self { sources, provider, current: ArcSwap::from_pointee(loaded) }))
    }

    /// The TLS configuration that serves them.
    pub(crate) fn server_config(self: &Arc<Self>, settings: &ServingSettings) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&settings.min_tls_version.and_later())
            .map_err(TlsError::Settings)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        let offered: &[&[u8]] = if settings.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::Settings)?;
        Ok(config)
    }

    /// The files to watch.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let default = if let Source::Files(files) = &self.sources.default { Some(files) } else { None };
        let all = default.into_iter().chain(self.sources.by_name.iter().map(|sni| &sni.files));
        all.flat_map(|files| [files.certificate.clone(), files.key.clone()]).collect()
    }

    /// Reads the files again. On an error what was loaded before stays in use.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(load(&self.sources, &self.provider)?));
        Ok(())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.current.load();
        let Some(name) = hello.server_name() else { return Some(loaded.default.clone()) };
        let exact = loaded.by_name.iter().find(|(pattern, _)| pattern.eq_ignore_ascii_case(name));
        let found = exact.or_else(|| loaded.by_name.iter().find(|(pattern, _)| is_wildcard_of(pattern, name)));
        Some(found.map_or_else(|| loaded.default.clone(), |(_, certified)| certified.clone()))
    }
}

/// RFC 6125 section 6.4.3: a wildcard is the whole left-most label, and stands for one label.
fn is_wildcard_of(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix("*."), name.split_once('.')) {
        (Some(suffix), Some((label, rest))) => !label.is_empty() && suffix.eq_ignore_ascii_case(rest),
        _ => false,
    }
}

fn load(sources: &Sources, provider: &CryptoProvider) -> Result<Loaded, TlsError> {
    let default = match &sources.default {
        Source::Files(files) => certified(files, provider)?,
        Source::Memory(key) => key.clone(),
    };
    let (mut by_name, mut by_content) = (Vec::new(), Vec::new());
    for sni in &sources.by_name {
        let key = certified(&sni.files, provider)?;
        let named = |name| (name, key.clone());
        if sni.names.is_empty() {
            by_content.extend(names_of(&key).into_iter().map(named));
        } else {
            by_name.extend(sni.names.iter().cloned().map(named));
        }
    }
    // As in Go: names that were given count before names that a certificate has.
    by_name.append(&mut by_content);
    Ok(Loaded { default, by_name })
}

fn certified(files: &KeyPairFiles, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let content = |path: &Path, reason: String| TlsError::Content { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_slice_iter(&read(&files.certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| content(&files.certificate, format!("not a PEM certificate chain: {error}")))?;
    if chain.is_empty() {
        return Err(content(&files.certificate, "holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|error| content(&files.key, format!("not a PEM private key: {error}")))?;
    CertifiedKey::from_der(chain, key, provider)
        .map(Arc::new)
        .map_err(|error| content(&files.key, format!("does not fit {}: {error}", files.certificate.display())))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    runtime::files::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

/// The DNS names of a certificate: the subject alternative names, else the common name.
fn names_of(certified: &CertifiedKey) -> Vec<String> {
    let Some(leaf) = certified.cert.first() else { return Vec::new() };
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let names: Vec<String> = match parsed.subject_alternative_name() {
        Ok(Some(san)) => san
            .value
            .general_names
            .iter()
            .filter_map(|name| if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None })
            .collect(),
        _ => Vec::new(),
    };
    if !names.is_empty() {
        return names;
    }
    parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok().map(str::to_owned)).collect()
}

/// The names of a self-signed certificate: what clients on this machine call it, and the address it listens on.
fn self_signed_names(bind: IpAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !bind.is_unspecified() && !bind.is_loopback() {
        names.push(bind.to_string());
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if !host.is_empty() && host != "localhost" {
        names.push(host.to_owned());
    }
    names
}

/// Takes the self-signed pair of an earlier start, or makes one. A directory that cannot be written leaves it in
/// memory, with a warning: clients that pin it must then be told anew at every start.
fn self_signed_on_disk(files: &KeyPairFiles, names: &[String], provider: &CryptoProvider) -> Result<Source, TlsError> {
    if files.certificate.exists() && files.key.exists() {
        match certified(files, provider) {
            Ok(_usable) => return Ok(Source::Files(files.clone())),
            Err(error) => {
                tracing::warn!(%error, "the self-signed certificate of an earlier start cannot be used; making a new one")
            }
        }
    }
    let (cert, key) = self_signed(names).map_err(TlsError::SelfSigned)?;
    let written = files
        .certificate
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| replace(&files.key, 0o600, &key.serialize_pem()))
        .and_then(|()| replace(&files.certificate, 0o644, &cert.pem()));
    match written {
        Ok(()) => {
            let certificate = files.certificate.display();
            tracing::info!(%certificate, "made a self-signed certificate, for no --tls-cert-file is given");
            Ok(Source::Files(files.clone()))
        }
        Err(error) => {
            let certificate = files.certificate.display();
            tracing::warn!(%certificate, %error, "cannot keep the self-signed certificate; it lives in memory");
            self_signed_in_memory(names, provider).map(Source::Memory)
        }
    }
}

fn self_signed_in_memory(names: &[String], provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let (cert, key) = self_signed(names).map_err(TlsError::SelfSigned)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    CertifiedKey::from_der(vec![cert.der().clone()], key, provider).map(Arc::new).map_err(TlsError::Settings)
}

fn self_signed(names: &[String]) -> Result<(rcgen::Certificate, rcgen::KeyPair), rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "kube-oidc-proxy");
    Ok((params.self_signed(&key)?, key))
}

/// Writes a file with these permissions, or leaves what was there: never a half of it, when the disk is full.
fn replace(path: &Path, mode: u32, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let fresh = path.with_extension("fresh");
    let mut options = std::fs::OpenOptions::new();
    let written = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&fresh, path));
    if written.is_err() {
        let _nothing_to_remove = std::fs::remove_file(&fresh);
    }
    written
}

#[cfg(test)]
mod tests;
