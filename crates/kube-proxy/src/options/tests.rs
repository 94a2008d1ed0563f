use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::catalogue::{self, Kind, Standing};
use super::{
    Exit, Fault, Host, InvokedAs, IssuerSource, KeyPairFiles, Options, ServingCertificate, Settings, TlsVersion,
    go_syntax, parse,
};
use crate::upstream::Credential;

/// A pod in which every file can be read but those below `/missing`.
fn in_pod(name: &str) -> Option<String> {
    match name {
        "KUBERNETES_SERVICE_HOST" => Some("10.96.0.1".to_owned()),
        "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
        _ => None,
    }
}

fn readable(path: &Path) -> io::Result<()> {
    if path.starts_with("/missing") { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
}

/// Nothing, so that nothing in it is wrong: what files say is for the tests that are about it.
fn content(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/etc/bad-ca.pem") => Ok("no certificate".to_owned()),
        Some("/etc/bad-auth.yaml") => Ok("jwt: []\nsurprise: 1\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn arguments(flags: &[&str]) -> Vec<OsString> {
    flags.iter().map(OsString::from).collect()
}

fn parsed(flags: &[&str]) -> Options {
    parse(InvokedAs::Keywayd, arguments(flags)).unwrap()
}

fn usage_faults(flags: &[&str]) -> Vec<String> {
    match parse(InvokedAs::Keywayd, arguments(flags)) {
        Err(Exit::Usage(faults)) => faults,
        other => panic!("{flags:?} gave {other:?}"),
    }
}

const ISSUER: [&str; 2] = ["--oidc-issuer-url=https://issuer.example.com", "--oidc-client-id=keyway"];

fn validated(flags: &[&str]) -> Result<Settings, Vec<Fault>> {
    validated_as(InvokedAs::Keywayd, flags)
}

fn validated_as(invoked_as: InvokedAs, flags: &[&str]) -> Result<Settings, Vec<Fault>> {
    let options = parse(invoked_as, arguments(flags)).unwrap();
    options.validate(invoked_as, &Host { env: &in_pod, readable: &readable, read: &content })
}

/// With an issuer.
fn settings(flags: &[&str]) -> Settings {
    validated(&[&ISSUER, flags].concat()).unwrap()
}

/// With an issuer; `flag: reason` of each fault.
fn faults(flags: &[&str]) -> Vec<String> {
    let faults = validated(&[&ISSUER, flags].concat()).unwrap_err();
    faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.reason)).collect()
}

#[track_caller]
fn refused(flags: &[&str], flag: &str, words: &str) {
    let faults = faults(flags);
    let wanted = format!("{flag}: ");
    assert!(faults.iter().any(|fault| fault.starts_with(&wanted) && fault.contains(words)), "{flags:?}: {faults:#?}");
}

#[test]
fn an_unknown_flag_is_named_with_the_one_that_was_meant() {
    for (given, said) in [
        ("--oidc-isuer-url=https://x", "unknown flag: --oidc-isuer-url; did you mean --oidc-issuer-url?"),
        ("--oidc_issuer_url=https://x", "unknown flag: --oidc_issuer_url; did you mean --oidc-issuer-url?"),
        ("--OIDC-issuer-url", "unknown flag: --OIDC-issuer-url; did you mean --oidc-issuer-url?"),
        ("-oidc-issuer-url=https://x", "unknown flag: -oidc-issuer-url; did you mean --oidc-issuer-url?"),
        ("--readiness-prob-port=1", "unknown flag: --readiness-prob-port; did you mean --readiness-probe-port?"),
        ("--audit-log-pth=x", "unknown flag: --audit-log-pth; did you mean --audit-log-path?"),
        ("--frobnicate", "unknown flag: --frobnicate"),
        ("-x", "unknown flag: -x"),
        ("--", ""),
    ] {
        match parse(InvokedAs::Keywayd, arguments(&[given])) {
            Err(exit @ Exit::Usage(_)) => {
                assert_eq!(exit.code(), 2);
                assert_eq!(exit.to_string(), format!("{said}\n--help lists all flags"));
            }
            Ok(_) => assert_eq!(given, "--"),
            Err(exit) => panic!("{given}: {exit:?}"),
        }
    }
}

#[test]
fn every_fault_of_the_shape_is_reported_at_once() {
    let found = usage_faults(&["--tls-cert=a", "--token-passthrough", "false", "--wrong", "--context"]);
    assert_eq!(
        found,
        [
            "unknown flag: --tls-cert; did you mean --tls-cert-file?",
            "unexpected argument: false (a boolean takes its value behind an equals sign: --flag=false)",
            "unknown flag: --wrong",
            "flag needs a value: --context",
        ]
    );
    assert_eq!(usage_faults(&["--", "--v=1"]), ["unexpected argument: --v=1"]);
    assert_eq!(usage_faults(&["-v"]), ["flag needs a value: -v"]);
}

#[test]
fn no_secret_is_repeated() {
    let found = usage_faults(&["--tokn", "s3cret", "--tokn=s3cret"]);
    assert_eq!(found, ["unknown flag: --tokn; did you mean --token?"; 2]);
    assert!(!format!("{:?}", parsed(&["--token=s3cret"])).contains("s3cret"));
    let found = faults(&["--token=s3cret", "--server=https://me:s3cret@k x", "--kubeconfig="]);
    assert!(found.iter().all(|fault| !fault.contains("s3cret")), "{found:?}");
}

#[cfg(unix)]
#[test]
fn arguments_that_are_not_text_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = OsString::from_vec(b"--context=\xff".to_vec());
    assert!(matches!(parse(InvokedAs::Keywayd, [bytes]), Err(Exit::Usage(_))));
}

#[test]
fn every_fault_of_the_values_is_reported_at_once() {
    let found = validated(&[
        "--oidc-issuer-url=https://issuer.example.com",
        "--oidc-groups-prefix=system:",
        "--secure-port=0",
        "--idle-timeout=5",
        "--forwarded-for-from=10.0.0.0/33",
        "--tls-cert-file=/missing/tls.crt",
        "--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA",
        "--audit-log-path=-",
        "--extra-user-headers=key",
        "--token-passthrough=perhaps",
        "--server=http://10.0.0.1",
        "--bind-address=localhost",
        "--log-format=xml",
        "--flush-interval=soon",
    ])
    .unwrap_err();
    let flags: Vec<&str> = found.iter().map(|fault| fault.path.as_str()).collect();
    for flag in [
        "--oidc-client-id",
        "--oidc-groups-prefix",
        "--secure-port",
        "--idle-timeout",
        "--forwarded-for-from",
        "--tls-cert-file",
        "--tls-private-key-file",
        "--tls-cipher-suites",
        "--audit-log-path",
        "--extra-user-headers",
        "--token-passthrough",
        "--server",
        "--bind-address",
        "--log-format",
        "--flush-interval",
    ] {
        assert!(flags.contains(&flag), "{flag} is missing in {found:#?}");
    }
}

#[test]
fn no_audit_flag_is_taken_in_silence() {
    let audit: Vec<_> = catalogue::all().filter(|flag| flag.name.starts_with("audit-")).collect();
    assert_eq!(audit.len(), 33);
    for flag in audit {
        let given = if flag.kind == Kind::Switch { format!("--{}", flag.name) } else { format!("--{}=1", flag.name) };
        refused(&[&given], &format!("--{}", flag.name), "does not write audit events yet");
    }
}

#[test]
fn no_impersonation_of_the_proxy_itself() {
    refused(&["--as-uid=1"], "--as-uid", "own identity");
    refused(&["--as-user-extra=a=b"], "--as-user-extra", "own identity");
    assert_eq!(usage_faults(&["--as-xyzzy=root"]), ["unknown flag: --as-xyzzy"]);
}

#[test]
fn durations_are_gos() {
    for wrong in ["", "5", "-", "s", ".s", "1", "5 s", "5sec", "1e3s", "١s", "--1s", "1h-5m", "1.2.3s", "0x5s", "never"]
    {
        assert!(go_syntax::duration(wrong).is_err(), "{wrong}");
    }
    assert!(go_syntax::duration("5").unwrap_err().contains("it lacks a unit"));
    assert!(go_syntax::duration("9999999h").unwrap_err().contains("too long"));
    assert!(go_syntax::duration(&format!("{}s", "9".repeat(60))).unwrap_err().contains("too long"));
    for (text, nanoseconds) in [
        ("0", 0),
        ("+0", 0),
        ("300ms", 300_000_000),
        ("1h30m", 5_400_000_000_000),
        ("-1s", -1_000_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("2us3µs4μs5ns", 9_005),
        ("1.0000000009s", 1_000_000_000),
    ] {
        assert_eq!(go_syntax::duration(text), Ok(nanoseconds), "{text}");
    }
    refused(&["--subject-access-review-timeout=0s"], "--subject-access-review-timeout", "more than 0");
    refused(&["--header-timeout=-1s"], "--header-timeout", "more than 0");
    refused(&["--shutdown-grace-period", "-1s"], "--shutdown-grace-period", "more than 0");
}

#[test]
fn booleans_and_integers_are_gos() {
    for (text, value) in [("1", true), ("T", true), ("True", true), ("0", false), ("f", false), ("FALSE", false)] {
        assert_eq!(go_syntax::boolean(text), Ok(value));
    }
    for wrong in ["", "yes", "tRUE", "on"] {
        assert!(go_syntax::boolean(wrong).is_err(), "{wrong}");
    }
    for (text, value) in [("0", 0), ("-5", -5), ("+5", 5), ("0x1F", 31), ("0o17", 15), ("017", 15), ("0b101", 5)] {
        assert_eq!(go_syntax::integer(text), Ok(value), "{text}");
    }
    for wrong in ["", "-", "--5", "0x", "0x-5", "5.0", "08", "1_", " 5", "99999999999999999999"] {
        assert!(go_syntax::integer(wrong).is_err(), "{wrong}");
    }
    refused(&["--token-passthrough="], "--token-passthrough", "neither true nor false");
    refused(&["--secure-port=65536"], "--secure-port", "between 1 and 65535");
    refused(&["--max-header-bytes=100"], "--max-header-bytes", "between 8192");
    refused(&["--max-connections=0"], "--max-connections", "between 1");
    refused(&["-P", "99999"], "--readiness-probe-port", "between 1");
    refused(&["--v=-1"], "--v", "between 0");
    refused(&["--kube-client-qps=many"], "--kube-client-qps", "not a number");
    refused(&["--kube-client-qps=NaN"], "--kube-client-qps", "not a number");
}

#[test]
fn lists_are_csv() {
    for (text, fields) in [
        ("", vec![]),
        ("a", vec!["a"]),
        ("a,b", vec!["a", "b"]),
        ("a,", vec!["a", ""]),
        ("\"a,b\",c", vec!["a,b", "c"]),
        ("\"say \"\"hi\"\"\"", vec!["say \"hi\""]),
        ("\"\"", vec![""]),
    ] {
        assert_eq!(go_syntax::fields(text).unwrap(), fields, "{text}");
    }
    for wrong in ["\"a", "a\"b", "\"a\"b", "\""] {
        assert!(go_syntax::fields(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn issuers_come_from_one_place() {
    for flag in [
        "--oidc-issuer-url=https://x",
        "--oidc-client-id=x",
        "--oidc-ca-file=x",
        "--oidc-username-claim=sub",
        "--oidc-username-prefix=",
        "--oidc-groups-claim=x",
        "--oidc-groups-prefix=x",
        "--oidc-signing-algs=RS256",
        "--oidc-required-claim=a=b",
    ] {
        let faults = validated(&["--authentication-config=/etc/auth.yaml", flag]).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].reason.contains("--authentication-config"), "{faults:?}");
    }
    let faults = validated(&[]).unwrap_err();
    assert!(faults[0].reason.contains("no issuer is configured"), "{faults:?}");
    assert_eq!(validated(&["--oidc-client-id=x"]).unwrap_err()[0].path, "--oidc-issuer-url");
    assert_eq!(validated(&["--oidc-issuer-url=https://x"]).unwrap_err()[0].path, "--oidc-client-id");
    assert_eq!(validated(&["--authentication-config=/missing/x"]).unwrap_err()[0].path, "--authentication-config");

    let settings = validated(&[
        "--authentication-config=/etc/auth.yaml",
        "--oidc-tls-client-cert-file=/c",
        "--oidc-tls-client-key-file=/k",
    ])
    .unwrap();
    assert_eq!(settings.oidc.issuers, IssuerSource::AuthenticationConfig("/etc/auth.yaml".into()));
    assert!(settings.oidc.client_certificate.is_some());
}

#[test]
fn what_files_say_is_checked_together_with_the_flags() {
    let found = validated(&["--authentication-config=/etc/bad-auth.yaml", "--secure-port=0"]).unwrap_err();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    for expected in
        ["--secure-port", "/etc/bad-auth.yaml: surprise", "/etc/bad-auth.yaml: apiVersion", "names no issuer"]
    {
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}: {found:?}");
    }
    refused(&["--oidc-ca-file=/etc/bad-ca.pem"], "--oidc-ca-file", "certificate");
    refused(&["--oidc-signing-algs=none"], "--oidc-signing-algs", "RS256");
    let plain = validated(&["--oidc-issuer-url=http://x", "--oidc-client-id=y"]).unwrap_err();
    assert_eq!(plain[0].to_string(), "--oidc-issuer-url: must begin with https://");
}

#[test]
fn reserved_identities_are_not_for_prefixes() {
    refused(&["--oidc-username-prefix=system:"], "--oidc-username-prefix", "reserves");
    refused(&["--oidc-groups-prefix=system:x"], "--oidc-groups-prefix", "reserves");
    refused(&["--allow-reserved-groups=system:a,admins"], "--allow-reserved-groups", "'admins'");
    assert_eq!(
        settings(&["--allow-reserved-groups=system:a,system:b"]).oidc.allow_reserved_groups,
        ["system:a", "system:b"]
    );
}

#[test]
fn flags_that_belong_together_are_refused_apart() {
    refused(&["--oidc-tls-client-cert-file=/c"], "--oidc-tls-client-key-file", "together");
    refused(&["--oidc-tls-client-key-file=/k"], "--oidc-tls-client-cert-file", "together");
    refused(&["--tls-private-key-file=/k"], "--tls-cert-file", "together");
    refused(&["--secure-port=8080"], "--secure-port", "--readiness-probe-port");
    refused(
        &["--disable-impersonation", "--extra-user-headers=a=b"],
        "--extra-user-headers",
        "--disable-impersonation",
    );
    refused(
        &["--disable-impersonation", "--extra-user-header-client-ip"],
        "--extra-user-header-client-ip",
        "--disable",
    );
    refused(&["--oidc-ca-file=/missing/ca.pem"], "--oidc-ca-file", "/missing/ca.pem");
    refused(&["--oidc-signing-algs=groups=admins"], "--oidc-signing-algs", "--oidc-required-claim");
    refused(&["--oidc-signing-algs="], "--oidc-signing-algs", "at least one");
    refused(&["--oidc-required-claim=hd"], "--oidc-required-claim", "claim=value");
    refused(&["--extra-user-headers==b"], "--extra-user-headers", "key=value");
    refused(&["--extra-user-headers=a=b=c"], "--extra-user-headers", "key=value");
}

#[test]
fn tls_takes_no_outdated_choice() {
    refused(&["--tls-cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA"], "--tls-cipher-suites", "TLS_AES_128_GCM_SHA256");
    refused(&["--tls-curve-preferences=25"], "--tls-curve-preferences", "4588 (X25519MLKEM768)");
    refused(&["--tls-curve-preferences=29,29"], "--tls-curve-preferences", "twice");
    refused(&["--tls-curve-preferences=-1"], "--tls-curve-preferences", "not offered");
    refused(&["--tls-min-version=1.2"], "--tls-min-version", "VersionTLS12");
    for wrong in ["a.crt", "a.crt,", ",a.key", "a,b,c", "a,b:", "a,b:x,,y"] {
        refused(&["--tls-sni-cert-key", wrong], "--tls-sni-cert-key", wrong);
    }
    refused(&["--tls-sni-cert-key=/missing/a,/missing/b"], "--tls-sni-cert-key", "/missing/b");

    let old = settings(&["--tls-min-version=VersionTLS10"]);
    assert_eq!(old.serving.min_tls_version, TlsVersion::Tls12);
    assert!(old.warnings.iter().any(|warning| warning.contains("VersionTLS10")));

    let serving = settings(&[
        "--tls-min-version=VersionTLS13",
        "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305,TLS_AES_128_GCM_SHA256",
        "--tls-curve-preferences=23,4588",
        "--tls-sni-cert-key=a.crt,a.key",
        "--tls-sni-cert-key=b.crt,b.key:*.Example.com,example.com",
    ])
    .serving;
    assert_eq!(serving.min_tls_version, TlsVersion::Tls13);
    let suites = serving.cipher_suites.unwrap();
    assert_eq!(suites.iter().filter(|suite| suite.tls13().is_none()).count(), 1);
    assert_eq!(suites.iter().filter(|suite| suite.tls13().is_some()).count(), 3);
    let groups: Vec<_> = serving.key_exchange_groups.unwrap().iter().map(|group| u16::from(group.name())).collect();
    assert_eq!(groups, [4588, 23]);
    assert_eq!(serving.sni_certificates[0].names, Vec::<String>::new());
    assert_eq!(serving.sni_certificates[1].names, ["*.example.com", "example.com"]);
}

#[test]
fn networks_are_networks() {
    refused(&["--proxy-protocol-from=10.0.0.0/8,lb.example.com"], "--proxy-protocol-from", "lb.example.com");
    refused(&["--trusted-proxies=10.0.0.1/33"], "--trusted-proxies", "10.0.0.1/33");
    let serving = settings(&[
        "--forwarded-for-from=10.1.2.3/8, fd00::/8",
        "--trusted-proxies=192.0.2.7",
        "--proxy-protocol-from=::1",
    ])
    .serving;
    let text: Vec<_> = serving.forwarded_for_from.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"]);
    assert_eq!(serving.proxy_protocol_from[0].to_string(), "::1/128");
}

#[test]
fn the_defaults_are_as_documented() {
    let settings = settings(&[]);
    assert_eq!(settings.serving.bind.to_string(), "[::]:6443");
    assert_eq!(
        settings.serving.certificate,
        ServingCertificate::SelfSigned(KeyPairFiles {
            certificate: "/var/run/kubernetes/kube-oidc-proxy.crt".into(),
            key: "/var/run/kubernetes/kube-oidc-proxy.key".into(),
        })
    );
    assert!(settings.serving.http2 && settings.serving.cipher_suites.is_none());
    assert_eq!(settings.serving.http2_max_streams, 1000);
    assert_eq!(settings.serving.max_header_bytes, 131_072);
    assert_eq!(settings.serving.idle_timeout, Duration::from_secs(300));
    assert_eq!(settings.app.readiness_probe_port, 8080);
    assert_eq!(settings.app.token_passthrough, None);
    assert_eq!(settings.app.worker_threads, None);
    assert_eq!(settings.reviews.subject_access_timeout, Duration::from_secs(5));
    assert_eq!((settings.reviews.call_timeout, settings.reviews.rate), (None, None));
    assert_eq!(settings.apiserver.url, "https://10.96.0.1:443/");
    assert!(matches!(settings.apiserver.credential, Credential::TokenFile(_)));
    let IssuerSource::Flags(issuer) = settings.oidc.issuers else { panic!() };
    assert_eq!(issuer.oidc.username_claim, "sub");
    assert_eq!(issuer.oidc.signing_algs, ["RS256"]);
    assert_eq!((issuer.oidc.username_prefix, issuer.oidc.groups_claim, issuer.ca_file), (None, None, None));
}

#[test]
fn flags_are_written_as_pflag_reads_them() {
    let settings = settings(&[
        "--secure-port",
        "7443",
        "--secure-port=8443",
        "--flush-interval",
        "-1s",
        "-v=4",
        "-v7",
        "--token-passthrough",
        "--token-passthrough-audiences=a,b",
        "--token-passthrough-audiences",
        "c",
        "--extra-user-headers=key1=foo,key2=bar,key1=bar",
        "--oidc-required-claim=a=x,y",
        "--oidc-required-claim= b = 1=2 ",
        "--oidc-required-claim=a=z",
        "--oidc-username-prefix",
        "-",
        "--oidc-signing-algs=ES256,ES384",
        "--disable-http2-serving=true",
        "--disable-http2-serving=0",
        "--kube-client-burst=20",
        "--bind-address=127.0.0.1",
        "--cert-dir=",
        "--http2-max-streams-per-connection=0",
        "--log-format=json",
    ]);
    assert_eq!(settings.serving.bind.to_string(), "127.0.0.1:8443");
    assert_eq!(settings.serving.certificate, ServingCertificate::SelfSignedInMemory);
    assert_eq!(settings.serving.http2_max_streams, 1000);
    assert!(settings.serving.http2);
    assert_eq!(settings.logging.verbosity, 7);
    assert_eq!(settings.app.token_passthrough.unwrap().audiences, ["a", "b", "c"]);
    let pairs =
        [("key1", "foo"), ("key2", "bar"), ("key1", "bar")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(settings.app.extra_user_headers, pairs);
    let rate = settings.reviews.rate.unwrap();
    assert_eq!((rate.qps, rate.burst), (5.0, 20));
    let IssuerSource::Flags(issuer) = settings.oidc.issuers else { panic!() };
    assert_eq!(
        issuer.oidc.required_claims,
        [("a", "z"), ("b", "1=2")].map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    assert_eq!(issuer.oidc.signing_algs, ["ES256", "ES384"]);
    assert_eq!(issuer.oidc.username_prefix.as_deref(), Some("-"));
}

#[test]
fn a_request_timeout_is_kubectls() {
    // With it the proxy looks for a kubeconfig, finds none, and is in a pod.
    assert_eq!(settings(&["--request-timeout=30"]).reviews.call_timeout, Some(Duration::from_secs(30)));
    assert_eq!(settings(&["--request-timeout=1m"]).reviews.call_timeout, Some(Duration::from_secs(60)));
    assert_eq!(settings(&["--request-timeout=0s"]).reviews.call_timeout, None);
    refused(&["--request-timeout=-1s"], "--request-timeout", "negative");
    refused(&["--request-timeout=soon"], "--request-timeout", "duration");
}

#[test]
fn the_prefix_means_what_the_name_of_the_program_says() {
    let literal = |invoked_as, flags: &[&str]| {
        let settings = validated_as(invoked_as, &[&ISSUER, flags].concat()).unwrap();
        let IssuerSource::Flags(issuer) = settings.oidc.issuers else { panic!() };
        (issuer.oidc.literal_username_prefix, settings.warnings.len())
    };
    assert_eq!(InvokedAs::from_program("/usr/bin/kube-oidc-proxy".as_ref()), InvokedAs::KubeOidcProxy);
    assert_eq!(InvokedAs::from_program("keywayd".as_ref()), InvokedAs::Keywayd);
    assert_eq!(InvokedAs::from_program("".as_ref()), InvokedAs::Keywayd);
    for flags in [&[][..], &["--oidc-username-prefix=-"]] {
        assert_eq!(literal(InvokedAs::KubeOidcProxy, flags), (true, 0));
        assert_eq!(literal(InvokedAs::Keywayd, flags), (false, 1));
    }
    for flags in [&["--oidc-username-claim=email"][..], &["--oidc-username-prefix=keyway:"]] {
        assert_eq!(literal(InvokedAs::Keywayd, flags), (false, 0));
    }
}

#[test]
fn what_does_nothing_warns() {
    let quiet = ["--oidc-username-claim=email"];
    let count = catalogue::all().filter(|flag| matches!(flag.standing, Standing::NoEffect(_))).count();
    assert_eq!(count, 13);
    for flag in catalogue::all().filter(|flag| matches!(flag.standing, Standing::NoEffect(_))) {
        let given = if flag.kind == Kind::Switch { format!("--{}", flag.name) } else { format!("--{}=1s", flag.name) };
        let warnings = settings(&[&quiet[..], &[&given]].concat()).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(&format!("--{} has no effect: ", flag.name)), "{warnings:?}");
    }
    assert_eq!(settings(&quiet).warnings, Vec::<String>::new());
    assert_eq!(settings(&[&quiet[..], &["--token-passthrough-audiences=a"]].concat()).warnings.len(), 1);
    assert_eq!(
        settings(&[&quiet[..], &["--insecure-skip-tls-verify", "--server=a", "--token=x"]].concat()).warnings.len(),
        1
    );
}

/// The arguments of the deployments that the charts of both replaced proxies make, with everything switched on, and of
/// the plain manifest.
#[test]
fn the_replaced_charts_start() {
    let manifest = [
        "--secure-port=443",
        "--tls-cert-file=/etc/oidc/tls/crt.pem",
        "--tls-private-key-file=/etc/oidc/tls/key.pem",
        "--oidc-client-id=kubernetes",
        "--oidc-issuer-url=https://issuer.example.com",
        "--oidc-username-claim=email",
        "--oidc-ca-file=/etc/oidc/oidc-ca.pem",
    ];
    let chart = [
        "--oidc-username-prefix=keyway:",
        "--oidc-groups-claim=groups",
        "--oidc-groups-prefix=keyway:",
        "--oidc-signing-algs=RS256,ES256",
        "--token-passthrough",
        "--token-passthrough-audiences=https://a,https://b",
        "--extra-user-header-client-ip",
        "--extra-user-headers=key1=foo,key2=bar,key1=bar",
        "--secure-port=8443",
        "--v=5",
    ];
    let newer = [
        "--oidc-tls-client-cert-file=/etc/oidc/client-tls/tls.crt",
        "--oidc-tls-client-key-file=/etc/oidc/client-tls/tls.key",
        "--readiness-require-all-issuers",
        "--oidc-required-claim=hd=example.com",
        "--trusted-proxies=10.0.0.0/8",
    ];
    let called_so = InvokedAs::KubeOidcProxy;
    for flags in [&manifest[..], &[&manifest[..], &chart].concat(), &[&manifest[..], &chart, &newer].concat()] {
        let settings = validated_as(called_so, flags).unwrap();
        assert_eq!(settings.warnings, Vec::<String>::new());
        assert!(matches!(settings.serving.certificate, ServingCertificate::Files(_)));
    }
    let config = [
        "--secure-port=8443",
        "--tls-cert-file=/etc/oidc/tls/crt.pem",
        "--tls-private-key-file=/etc/oidc/tls/key.pem",
        "--authentication-config=/etc/oidc/authentication-config.yaml",
    ];
    validated_as(called_so, &config).unwrap();
}

#[test]
fn version_and_help_leave_with_success() {
    let exit = parse(InvokedAs::KubeOidcProxy, arguments(&["--v=2", "--version"])).unwrap_err();
    assert_eq!(
        (exit.code(), exit.to_string()),
        (0, format!("kube-oidc-proxy version: v{}", env!("CARGO_PKG_VERSION")))
    );
    assert!(parsed(&["--version=false"]).validate(InvokedAs::Keywayd, &Host::this()).is_err());
    for flag in ["-h", "--help"] {
        let exit = parse(InvokedAs::Keywayd, arguments(&[flag])).unwrap_err();
        assert_eq!(exit.code(), 0);
        assert!(matches!(exit, Exit::Help(_)));
    }
}

/// The whole of `--help`. After a change that is meant, run the test with `UPDATE_GOLDEN=1`.
#[test]
fn help_is_as_it_was() {
    let help = catalogue::command(InvokedAs::Keywayd.usage()).term_width(100).render_long_help().to_string();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/options/help.golden.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &help).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&golden).unwrap(), help);
    assert!(help.starts_with("Authenticates users by OpenID Connect"));
    for (heading, _) in catalogue::SECTIONS {
        assert!(help.contains(&format!("\n{heading}:\n")), "{heading}");
    }
}

#[test]
fn the_command_is_sound() {
    catalogue::command(InvokedAs::KubeOidcProxy.usage()).debug_assert();
}

/// Every flag has a row `| `--name` … | default | …` in the documentation, with its default, and every row a flag.
#[test]
fn the_documentation_lists_every_flag() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/kube-proxy-flags.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut documented = Vec::new();
    for row in page.lines().filter(|line| line.starts_with("| `--")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [first, default, ..] = cells[..] else { panic!("{row}") };
        let mut names = first.split('`').filter(|name| name.starts_with('-'));
        let name = names.next().unwrap().trim_start_matches("--");
        if name == "help" {
            continue;
        }
        let flag = catalogue::by_name(name).unwrap_or_else(|| panic!("--{name} is documented, and unknown"));
        let short = names.next().map(|short| short.trim_start_matches('-').to_owned());
        assert_eq!(short, flag.short.map(String::from), "--{name}");
        let expected = match (flag.default, flag.kind) {
            ("", Kind::Switch) => "`false`".to_owned(),
            ("", _) => "—".to_owned(),
            (default, _) => format!("`{default}`"),
        };
        assert_eq!(default, expected, "--{name}");
        documented.push(flag.name);
    }
    let mut all: Vec<_> = catalogue::all().map(|flag| flag.name).collect();
    all.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, all);
}
