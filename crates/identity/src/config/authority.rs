//! `certificateAuthority` and `--oidc-ca-file`: PEM certificates (RFC 7468), checked before they are needed.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Nothing, or why `pem` is no bundle of CA certificates.
pub(super) fn flaw(pem: &str) -> Option<String> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = match certificate {
            Ok(certificate) => certificate,
            Err(error) => return Some(format!("is not valid PEM: {error}")),
        };
        count += 1;
        match X509Certificate::from_der(&certificate) {
            Ok(([], _)) => {}
            Ok(_) => return Some(format!("certificate {count} has bytes behind its end")),
            Err(error) => return Some(format!("certificate {count} is not an X.509 certificate: {error}")),
        }
    }
    (count == 0).then(|| "holds no certificate in PEM".to_owned())
}
