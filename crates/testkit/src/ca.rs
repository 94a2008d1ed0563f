//! A certificate authority for tests: ECDSA P-256, valid from an hour ago.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A CA that signs server and client certificates.
pub struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct CertPair {
    /// The certificate.
    pub cert_pem: String,
    /// The key, PKCS#8.
    pub key_pem: String,
}

impl Ca {
    /// A fresh CA.
    #[expect(clippy::expect_used, reason = "key generation and self-signing fail only without entropy")]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key pair");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).expect("a self-signed certificate");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// The CA's certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate for these names and addresses.
    pub fn issue_server(&self, names: &[&str]) -> CertPair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let common_name = names.first().cloned().unwrap_or_default();
        self.issue(names, &common_name, &[], ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client certificate: for Kubernetes the user `common_name` in the groups `organizations`.
    pub fn issue_client(&self, common_name: &str, organizations: &[&str]) -> CertPair {
        self.issue(Vec::new(), common_name, organizations, ExtendedKeyUsagePurpose::ClientAuth)
    }

    #[expect(clippy::expect_used, reason = "a test that cannot have a certificate has nothing to say")]
    fn issue(
        &self,
        names: Vec<String>,
        common_name: &str,
        groups: &[&str],
        usage: ExtendedKeyUsagePurpose,
    ) -> CertPair {
        let key = KeyPair::generate().expect("a key pair");
        let mut params = CertificateParams::new(names).expect("names that can be in a certificate");
        params.distinguished_name.push(DnType::CommonName, common_name);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).expect("a signed certificate");
        CertPair { cert_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}
