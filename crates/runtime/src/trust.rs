//! Trust roots: PEM bundles that an operator names, else the roots of the host.

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Why a set of trust roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The text is not PEM, or a certificate in it is broken.
    #[error("the CA bundle is not valid PEM: {0}")]
    Pem(rustls_pki_types::pem::Error),
    /// PEM without a single `CERTIFICATE` section.
    #[error("the CA bundle holds no certificate")]
    Empty,
    /// A certificate that cannot be a trust anchor.
    #[error("a certificate of the CA bundle cannot be a trust root: {0}")]
    Anchor(rustls::Error),
    /// Neither a bundle nor a usable certificate on the host.
    #[error("this host has no CA certificates (install ca-certificates, or name a CA file): {0}")]
    NoHostRoots(String),
}

/// The roots in a PEM bundle.
///
/// # Errors
/// If the bundle is not PEM, is empty, or one of its certificates is unusable: a bundle is taken whole or not at all.
pub fn roots_from_pem(pem: &[u8]) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(TrustError::Pem)?).map_err(TrustError::Anchor)?;
    }
    if roots.is_empty() { Err(TrustError::Empty) } else { Ok(roots) }
}

/// The roots of the host, as `SSL_CERT_FILE`, `SSL_CERT_DIR` and the system's store give them.
///
/// # Errors
/// If there is not one usable certificate.
pub fn host_roots() -> Result<RootCertStore, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _unusable) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TrustError::NoHostRoots(reasons.join("; ")));
    }
    Ok(roots)
}
