//! Which certificate is shown to whom, and what a handshake needs.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::{CipherSuite, ClientConfig, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use testkit::ca::{Ca, CertPair};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::options::TlsVersion;

fn settings(certificate: ServingCertificate) -> ServingSettings {
    ServingSettings {
        bind: ([127, 0, 0, 1], 0).into(),
        permit_port_sharing: false,
        certificate,
        sni_certificates: Vec::new(),
        min_tls_version: TlsVersion::Tls12,
        cipher_suites: None,
        key_exchange_groups: None,
        http2: true,
        http2_max_streams: 100,
        max_connections: 10,
        header_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        max_header_bytes: 65536,
        proxy_protocol_from: Vec::new(),
        forwarded_for_from: Vec::new(),
    }
}

fn write(dir: &Path, name: &str, pair: &CertPair) -> KeyPairFiles {
    let files = KeyPairFiles { certificate: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) };
    std::fs::write(&files.certificate, &pair.cert_pem).unwrap();
    std::fs::write(&files.key, &pair.key_pem).unwrap();
    files
}

fn leaf(pair: &CertPair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.cert_pem.as_bytes()).unwrap()
}

/// What a client that trusts `ca` sees: the server's certificate, the suite, and the protocol.
async fn handshake(
    certificates: &Arc<Certificates>,
    settings: &ServingSettings,
    ca: &Ca,
    name: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<(CertificateDer<'static>, CipherSuite, Option<Vec<u8>>)> {
    let acceptor = TlsAcceptor::from(Arc::new(certificates.server_config(settings).unwrap()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(async move { acceptor.accept(far).await.map(|_stream| ()) });
    let connecting = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), near);
    let outcome = connecting.await;
    let _either_side_may_say_no = server.await.unwrap();
    let stream = outcome?;
    let (_, session) = stream.get_ref();
    Ok((
        session.peer_certificates().unwrap()[0].clone().into_owned(),
        session.negotiated_cipher_suite().unwrap().suite(),
        session.alpn_protocol().map(<[u8]>::to_vec),
    ))
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[test]
fn a_wildcard_stands_for_one_label() {
    for (pattern, name, matches) in [
        ("*.example.com", "a.example.com", true),
        ("*.example.com", "A.Example.COM", true),
        ("*.example.com", "a.b.example.com", false),
        ("*.example.com", "example.com", false),
        ("*.example.com", ".example.com", false),
        ("*.com", "example.com", true),
        ("a*.example.com", "ab.example.com", false),
        ("example.com", "example.com", false),
    ] {
        assert_eq!(is_wildcard_of(pattern, name), matches, "{pattern} {name}");
    }
}

#[tokio::test]
async fn the_name_chooses_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    // Each certificate is good for every name, so that what is shown is the server's choice alone.
    let names = ["a.example.com", "b.example.com", "c.other.com"];
    let pair = || ca.issue_server(&names);
    let (default, exact, wildcard, own) = (pair(), pair(), pair(), ca.issue_server(&["c.other.com"]));
    let sni = |name: &str, pair: &CertPair, names: &[&str]| SniCertificate {
        files: write(dir.path(), name, pair),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let settings = ServingSettings {
        sni_certificates: vec![
            // It has the name too, but another pair is given for it.
            sni("unnamed", &ca.issue_server(&["a.example.com"]), &[]),
            sni("wildcard", &wildcard, &["*.example.com"]),
            sni("exact", &exact, &["a.example.com"]),
            sni("own", &own, &[]),
        ],
        ..settings(ServingCertificate::Files(write(dir.path(), "default", &default)))
    };
    let certificates = Certificates::new(&settings).unwrap();
    for (name, expected) in [
        ("a.example.com", &exact),
        ("b.example.com", &wildcard),
        // Its names are those in the certificate.
        ("c.other.com", &own),
    ] {
        let (shown, ..) = handshake(&certificates, &settings, &ca, name, BOTH).await.unwrap();
        assert_eq!(shown, leaf(expected), "{name}");
    }
    assert_eq!(certificates.files().len(), 10);
}

#[tokio::test]
async fn a_new_pair_is_served_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let (first, second) = (ca.issue_server(&["localhost"]), ca.issue_server(&["localhost"]));
    let settings = settings(ServingCertificate::Files(write(dir.path(), "tls", &first)));
    let certificates = Certificates::new(&settings).unwrap();
    let shown = async || handshake(&certificates, &settings, &ca, "localhost", BOTH).await.unwrap().0;
    assert_eq!(shown().await, leaf(&first));

    // The certificate is there already, its key not yet: the moment between two writes.
    std::fs::write(dir.path().join("tls.crt"), &second.cert_pem).unwrap();
    let error = certificates.reload().unwrap_err().to_string();
    assert!(error.contains("does not fit"), "{error}");
    assert_eq!(shown().await, leaf(&first));
    std::fs::write(dir.path().join("tls.key"), &second.key_pem).unwrap();
    certificates.reload().unwrap();
    assert_eq!(shown().await, leaf(&second));

    for (file, content) in [("tls.key", "nonsense"), ("tls.crt", ""), ("tls.crt", "nonsense")] {
        std::fs::write(dir.path().join(file), content).unwrap();
        assert!(certificates.reload().is_err(), "{file} {content:?}");
        assert_eq!(shown().await, leaf(&second));
    }
    std::fs::remove_file(dir.path().join("tls.crt")).unwrap();
    assert!(certificates.reload().is_err());
    assert_eq!(shown().await, leaf(&second));
}

#[test]
fn a_key_that_does_not_fit_stops_the_start_and_names_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let (one, other) = (ca.issue_server(&["localhost"]), ca.issue_server(&["localhost"]));
    let mixed = CertPair { cert_pem: one.cert_pem, key_pem: other.key_pem };
    let error = Certificates::new(&settings(ServingCertificate::Files(write(dir.path(), "tls", &mixed)))).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("tls.key") && error.contains("tls.crt"), "{error}");
    let missing = KeyPairFiles { certificate: dir.path().join("no.crt"), key: dir.path().join("no.key") };
    let error = Certificates::new(&settings(ServingCertificate::Files(missing))).unwrap_err();
    assert!(error.to_string().contains("no.crt"), "{error}");
}

#[tokio::test]
async fn versions_and_suites_are_those_of_the_flags() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let base = settings(ServingCertificate::Files(write(dir.path(), "tls", &ca.issue_server(&["localhost"]))));
    let negotiated = async |settings: &ServingSettings, versions: &[&'static SupportedProtocolVersion]| {
        let certificates = Certificates::new(settings).unwrap();
        handshake(&certificates, settings, &ca, "localhost", versions)
            .await
            .map(|(_, suite, protocol)| (suite, protocol))
    };
    assert_eq!(negotiated(&base, BOTH).await.unwrap().1.as_deref(), Some(&b"h2"[..]));
    assert!(negotiated(&base, ONLY_12).await.is_ok());
    let strict = ServingSettings { min_tls_version: TlsVersion::Tls13, ..base.clone() };
    assert!(negotiated(&strict, BOTH).await.is_ok());
    assert!(negotiated(&strict, ONLY_12).await.is_err());

    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    let chosen = ServingSettings { cipher_suites: Some(vec![suite]), ..base.clone() };
    assert_eq!(negotiated(&chosen, ONLY_12).await.unwrap().0, suite.suite());

    let without_h2 = ServingSettings { http2: false, ..base };
    assert_eq!(negotiated(&without_h2, BOTH).await.unwrap().1.as_deref(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_self_signed_pair_is_kept_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let files = KeyPairFiles { certificate: dir.path().join("made/pair.crt"), key: dir.path().join("made/pair.key") };
    let settings = settings(ServingCertificate::SelfSigned(files.clone()));
    let first = Certificates::new(&settings).unwrap();
    assert_eq!(std::fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
    let second = Certificates::new(&settings).unwrap();
    let shown = |certificates: &Certificates| certificates.current.load().default.cert[0].clone();
    assert_eq!(shown(&first), shown(&second), "a second start makes another certificate");
    let names = names_of(&first.current.load().default);
    assert!(names.contains(&"localhost".to_owned()), "{names:?}");
}

#[test]
fn a_directory_that_cannot_be_written_leaves_the_pair_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the directory should be: not even root can write into it.
    std::fs::write(dir.path().join("file"), "").unwrap();
    let below = |name: &str| dir.path().join("file").join(name);
    let files = KeyPairFiles { certificate: below("pair.crt"), key: below("pair.key") };
    let certificates = Certificates::new(&settings(ServingCertificate::SelfSigned(files))).unwrap();
    assert!(certificates.files().is_empty());
    certificates.reload().unwrap();
}

#[test]
fn half_a_pair_of_an_earlier_start_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let files = KeyPairFiles { certificate: dir.path().join("pair.crt"), key: dir.path().join("pair.key") };
    let settings = settings(ServingCertificate::SelfSigned(files.clone()));
    Certificates::new(&settings).unwrap();
    // As a full disk left it.
    std::fs::write(&files.certificate, "").unwrap();
    Certificates::new(&settings).unwrap();
    assert!(std::fs::read_to_string(&files.certificate).unwrap().contains("BEGIN CERTIFICATE"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "a temporary file was left");
}
