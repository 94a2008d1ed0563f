//! The TLS flags of the listener: Go's names and numbers, in rustls' terms.

use std::path::PathBuf;

use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite};

use super::go_syntax;
use super::settings::{KeyPairFiles, ServingCertificate, SniCertificate, TlsVersion};
use super::values::Values;

/// The names of the pair in `--cert-dir`, as kube-oidc-proxy has them.
const PAIR_NAME: &str = "kube-oidc-proxy";

pub(super) fn certificate(values: &mut Values<'_>) -> ServingCertificate {
    match (values.file("tls-cert-file"), values.file("tls-private-key-file")) {
        (Some(certificate), Some(key)) => return ServingCertificate::Files(KeyPairFiles { certificate, key }),
        (Some(_), None) => values.fault("tls-private-key-file", "is required together with --tls-cert-file"),
        (None, Some(_)) => values.fault("tls-cert-file", "is required together with --tls-private-key-file"),
        (None, None) => {}
    }
    match values.optional("cert-dir").map(PathBuf::from) {
        Some(directory) => ServingCertificate::SelfSigned(KeyPairFiles {
            certificate: directory.join(format!("{PAIR_NAME}.crt")),
            key: directory.join(format!("{PAIR_NAME}.key")),
        }),
        None => ServingCertificate::SelfSignedInMemory,
    }
}

pub(super) fn sni_certificates(values: &mut Values<'_>) -> Vec<SniCertificate> {
    const FLAG: &str = "tls-sni-cert-key";
    let mut certificates = Vec::new();
    for text in values.repeated(FLAG) {
        match sni_certificate(text) {
            Ok(certificate) => {
                values.check_readable(FLAG, &certificate.files.certificate);
                values.check_readable(FLAG, &certificate.files.key);
                certificates.push(certificate);
            }
            Err(reason) => values.fault(FLAG, format!("'{text}': {reason}")),
        }
    }
    certificates
}

fn sni_certificate(text: &str) -> Result<SniCertificate, &'static str> {
    let (files, names) = text.split_once(':').map_or((text, None), |(files, names)| (files, Some(names)));
    let (certificate, key) =
        files.split_once(',').ok_or("write it like cert.pem,key.pem or cert.pem,key.pem:*.example.com")?;
    let (certificate, key) = (certificate.trim(), key.trim());
    if certificate.is_empty() || key.is_empty() || key.contains(',') {
        return Err("there must be two files in front of the colon");
    }
    let names: Vec<String> =
        names.map(|names| names.split(',').map(|name| name.trim().to_ascii_lowercase()).collect()).unwrap_or_default();
    if names.iter().any(String::is_empty) {
        return Err("there is an empty name behind the colon");
    }
    Ok(SniCertificate { files: KeyPairFiles { certificate: certificate.into(), key: key.into() }, names })
}

pub(super) fn min_version(values: &mut Values<'_>) -> TlsVersion {
    match values.text("tls-min-version") {
        "" | "VersionTLS12" => TlsVersion::Tls12,
        "VersionTLS13" => TlsVersion::Tls13,
        old @ ("VersionTLS10" | "VersionTLS11") => {
            values.warn(format!(
                "--tls-min-version={old}: TLS below 1.2 is broken and is not spoken; the minimum is 1.2"
            ));
            TlsVersion::Tls12
        }
        other => {
            values.fault(
                "tls-min-version",
                format!("'{other}' is none of VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13"),
            );
            TlsVersion::Tls12
        }
    }
}

/// As in Go, the flag chooses among the suites of TLS 1.2; the name of one of TLS 1.3 is accepted and changes nothing.
pub(super) fn cipher_suites(values: &mut Values<'_>, min_version: TlsVersion) -> Option<Vec<SupportedCipherSuite>> {
    const FLAG: &str = "tls-cipher-suites";
    let named = values.list(FLAG);
    if named.is_empty() {
        return None;
    }
    let mut chosen = Vec::new();
    for name in &named {
        match suite(name.trim()) {
            Some(suite) => chosen.push(suite.suite()),
            None => values.fault(
                FLAG,
                format!(
                    "'{name}' is not offered, because it is unknown, outdated or insecure; choose from {}",
                    suite_names()
                ),
            ),
        }
    }
    let offered: Vec<_> = aws_lc_rs::ALL_CIPHER_SUITES
        .iter()
        .filter(|suite| suite.tls13().is_some() || chosen.contains(&suite.suite()))
        .copied()
        .collect();
    if min_version == TlsVersion::Tls12 && offered.iter().all(|suite| suite.tls13().is_some()) {
        values.warn("--tls-cipher-suites names no suite of TLS 1.2: clients must speak TLS 1.3");
    }
    Some(offered)
}

fn suite(name: &str) -> Option<&'static SupportedCipherSuite> {
    // The names that Go had before the IANA registered these two.
    let name = match name {
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        name => name,
    };
    aws_lc_rs::ALL_CIPHER_SUITES.iter().find(|suite| iana_name(suite.suite()) == name)
}

/// rustls writes `TLS13_…` where the IANA writes `TLS_…`.
fn iana_name(suite: CipherSuite) -> String {
    format!("{suite:?}").replacen("TLS13_", "TLS_", 1)
}

fn suite_names() -> String {
    let names: Vec<_> = aws_lc_rs::ALL_CIPHER_SUITES.iter().map(|suite| iana_name(suite.suite())).collect();
    names.join(", ")
}

pub(super) fn key_exchange_groups(values: &mut Values<'_>) -> Option<Vec<&'static dyn SupportedKxGroup>> {
    const FLAG: &str = "tls-curve-preferences";
    let given = values.list(FLAG);
    if given.is_empty() {
        return None;
    }
    let mut chosen = Vec::new();
    for text in &given {
        let group = go_syntax::integer(text.trim()).ok().and_then(|id| u16::try_from(id).ok()).map(NamedGroup::from);
        match group {
            Some(group) if chosen.contains(&group) => values.fault(FLAG, format!("{text} is there twice")),
            Some(group) if groups().any(|known| known.name() == group) => chosen.push(group),
            _ => values.fault(FLAG, format!("'{text}' is not offered; choose from {}", group_names())),
        }
    }
    Some(groups().filter(|group| chosen.contains(&group.name())).collect())
}

/// What rustls can do, but for pure ML-KEM: without a classical part, its break would be the break of everything.
fn groups() -> impl Iterator<Item = &'static dyn SupportedKxGroup> {
    use aws_lc_rs::kx_group::{SECP256R1, SECP256R1MLKEM768, SECP384R1, X25519, X25519MLKEM768};
    [X25519MLKEM768, X25519, SECP256R1MLKEM768, SECP256R1, SECP384R1].into_iter()
}

fn group_names() -> String {
    let names: Vec<_> = groups().map(|group| format!("{} ({:?})", u16::from(group.name()), group.name())).collect();
    names.join(", ")
}
