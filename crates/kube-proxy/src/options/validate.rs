//! From values to settings: the rules that join several flags, as the proxies that Keyway replaces have them, and its
//! own.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::ArgMatches;
use identity::{OidcFlags, ReservedGroups};
use runtime::logging::LogFormat;
use secrecy::SecretString;

use super::settings::{
    AppSettings, IssuerFlags, IssuerSource, KeyPairFiles, LogSettings, OidcSettings, ReviewMemory, ReviewRate,
    ReviewSettings, ServingSettings, Settings, TokenPassthrough,
};
use super::values::Values;
use super::{Fault, Host, InvokedAs, go_syntax, tls};
use crate::kubeconfig::{self, ClientFlags};

/// The flags that describe one issuer, and so exclude `--authentication-config`.
const ISSUER_FLAGS: [&str; 9] = [
    "oidc-issuer-url",
    "oidc-client-id",
    "oidc-ca-file",
    "oidc-username-claim",
    "oidc-username-prefix",
    "oidc-groups-claim",
    "oidc-groups-prefix",
    "oidc-signing-algs",
    "oidc-required-claim",
];

/// The flags of which any one turns from the pod's service account to a kubeconfig (`ClientFlagsChanged` of the
/// proxies that Keyway replaces).
const KUBECONFIG_FLAGS: [&str; 12] = [
    "certificate-authority",
    "client-certificate",
    "client-key",
    "cluster",
    "context",
    "insecure-skip-tls-verify",
    "kubeconfig",
    "namespace",
    "request-timeout",
    "server",
    "token",
    "user",
];

/// client-go's own limits, for the one of the two flags that is not given.
const CLIENT_GO_QPS: f32 = 5.0;
const CLIENT_GO_BURST: u32 = 10;

/// kube-apiserver itself takes no more than this much header, and hyper needs no less than 8 KiB.
const HEADER_BYTES: std::ops::RangeInclusive<i64> = 8_192..=1_048_576;
const PORTS: std::ops::RangeInclusive<i64> = 1..=65_535;
const DEFAULT_HTTP2_STREAMS: u32 = 1_000;

pub(super) fn settings(matches: &ArgMatches, invoked_as: InvokedAs, host: &Host<'_>) -> Result<Settings, Vec<Fault>> {
    let mut values = Values::new(matches, host);
    let serving = serving(&mut values);
    let oidc = oidc(&mut values, invoked_as);
    let apiserver =
        kubeconfig::resolve(&client_flags(&mut values), host).map_err(|faults| values.faults.extend(faults));
    let reviews = reviews(&mut values);
    let app = app(&mut values);
    let logging = logging(&mut values);
    check_accepted_only(&mut values);

    if serving.bind.port() == app.readiness_probe_port && serving.bind.port() != 0 {
        values.fault("secure-port", format!("port {} is that of --readiness-probe-port", app.readiness_probe_port));
    }
    match apiserver {
        Ok(apiserver) if values.faults.is_empty() => {
            if !apiserver.has_credential() {
                values.warn("the proxy has no credential for kube-apiserver, which will not let it impersonate anyone");
            }
            if apiserver.tls.insecure {
                values.warn("kube-apiserver's certificate is not verified: whoever answers in its place becomes it");
            }
            Ok(Settings { serving, oidc, apiserver, reviews, app, logging, warnings: values.warnings })
        }
        _ => Err(values.faults),
    }
}

fn serving(values: &mut Values<'_>) -> ServingSettings {
    let min_tls_version = tls::min_version(values);
    let mut forwarded_for_from = values.networks("forwarded-for-from");
    forwarded_for_from.extend(values.networks("trusted-proxies"));
    let http2_max_streams = match values.integer("http2-max-streams-per-connection", 0..=1_000_000) {
        0 => DEFAULT_HTTP2_STREAMS,
        streams => streams,
    };
    ServingSettings {
        bind: bind(values),
        permit_port_sharing: values.switch("permit-port-sharing"),
        certificate: tls::certificate(values),
        sni_certificates: tls::sni_certificates(values),
        min_tls_version,
        cipher_suites: tls::cipher_suites(values, min_tls_version),
        key_exchange_groups: tls::key_exchange_groups(values),
        http2: !values.switch("disable-http2-serving"),
        http2_max_streams,
        max_connections: values.integer("max-connections", 1..=1_000_000),
        header_timeout: values.duration("header-timeout"),
        idle_timeout: values.duration("idle-timeout"),
        max_header_bytes: values.integer("max-header-bytes", HEADER_BYTES),
        proxy_protocol_from: values.networks("proxy-protocol-from"),
        forwarded_for_from,
    }
}

fn bind(values: &mut Values<'_>) -> SocketAddr {
    let port = values.integer("secure-port", PORTS);
    let address = match values.text("bind-address").trim() {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        text => text.parse().unwrap_or_else(|_| {
            values.fault("bind-address", format!("'{text}' is not an IP address"));
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        }),
    };
    let address = if address.is_unspecified() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { address };
    SocketAddr::new(address, port)
}

fn oidc(values: &mut Values<'_>, invoked_as: InvokedAs) -> OidcSettings {
    let allow_reserved_groups: Vec<String> = values.list("allow-reserved-groups");
    for group in allow_reserved_groups.iter().filter(|group| !group.starts_with("system:")) {
        values.fault(
            "allow-reserved-groups",
            format!("'{group}' does not begin with 'system:', so it is not reserved and needs no permission"),
        );
    }
    let client_certificate = match (values.file("oidc-tls-client-cert-file"), values.file("oidc-tls-client-key-file")) {
        (Some(certificate), Some(key)) => Some(KeyPairFiles { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            values.fault("oidc-tls-client-key-file", "is required together with --oidc-tls-client-cert-file");
            None
        }
        (None, Some(_)) => {
            values.fault("oidc-tls-client-cert-file", "is required together with --oidc-tls-client-key-file");
            None
        }
    };
    let issuers = match values.file("authentication-config") {
        Some(file) => {
            for flag in ISSUER_FLAGS {
                if values.given(flag) {
                    values.fault(flag, "cannot be given together with --authentication-config, which says it all");
                }
            }
            if let Some(text) = values.content(&file)
                && let Err(faults) = identity::parse_authentication_config(&text, &ReservedGroups::default())
            {
                values.faults.extend(faults.into_iter().map(|fault| Fault {
                    path: "--authentication-config".to_owned(),
                    reason: format!("{}: {fault}", file.display()),
                }));
            }
            IssuerSource::AuthenticationConfig(file)
        }
        None => {
            let flags = issuer_flags(values, invoked_as);
            let ca_pem = flags.ca_file.as_deref().and_then(|file| values.content(file));
            check_rules(values, &OidcFlags { ca_pem, ..flags.oidc.clone() });
            IssuerSource::Flags(Box::new(flags))
        }
    };
    OidcSettings {
        issuers,
        client_certificate,
        allow_reserved_groups,
        readiness_require_all: values.switch("readiness-require-all-issuers"),
    }
}

/// What `identity` finds wrong with the flags, but for flags of which something was said already.
fn check_rules(values: &mut Values<'_>, flags: &OidcFlags) {
    if flags.issuer_url.is_empty() && flags.client_id.is_empty() {
        // No issuer is configured: that was said, and is all there is to say.
        return;
    }
    let Err(found) = identity::from_flags(flags, &ReservedGroups::default()) else { return };
    let known: Vec<String> = values.faults.iter().map(|fault| fault.path.clone()).collect();
    values.faults.extend(found.into_iter().filter(|fault| !known.contains(&fault.path)));
}

fn issuer_flags(values: &mut Values<'_>, invoked_as: InvokedAs) -> IssuerFlags {
    let flags = OidcFlags {
        issuer_url: values.text("oidc-issuer-url").to_owned(),
        client_id: values.text("oidc-client-id").to_owned(),
        ca_pem: None,
        username_claim: values.text("oidc-username-claim").to_owned(),
        username_prefix: values.optional("oidc-username-prefix"),
        groups_claim: values.optional("oidc-groups-claim"),
        groups_prefix: values.optional("oidc-groups-prefix"),
        signing_algs: values.list("oidc-signing-algs"),
        required_claims: required_claims(values),
        literal_username_prefix: invoked_as == InvokedAs::KubeOidcProxy,
    };
    match (flags.issuer_url.is_empty(), flags.client_id.is_empty()) {
        (true, true) => values.fault(
            "oidc-issuer-url",
            "no issuer is configured: give --oidc-issuer-url and --oidc-client-id, or --authentication-config",
        ),
        (true, false) => values.fault("oidc-issuer-url", "is required together with --oidc-client-id"),
        (false, true) => values.fault("oidc-client-id", "is required together with --oidc-issuer-url"),
        (false, false) => {}
    }
    // The replaced chart hands oidc.requiredClaims to the wrong flag.
    if flags.signing_algs.iter().any(|alg| alg.contains('=')) {
        values.fault(
            "oidc-signing-algs",
            "holds a claim where an algorithm should be; claims go to --oidc-required-claim",
        );
    }
    if invoked_as == InvokedAs::Keywayd {
        warn_of_prefix(values, &flags);
    }
    IssuerFlags { oidc: flags, ca_file: values.file("oidc-ca-file") }
}

/// Under its own name the proxy gives the prefix kube-apiserver's meaning. Who comes from kube-oidc-proxy has RBAC
/// bindings for the names that its literal meaning made.
fn warn_of_prefix(values: &mut Values<'_>, flags: &OidcFlags) {
    match flags.username_prefix.as_deref() {
        None if flags.username_claim != "email" => values.warn(format!(
            "user names get the prefix '{}#', as in kube-apiserver; kube-oidc-proxy gave them none. \
             --oidc-username-prefix=- gives none here",
            flags.issuer_url
        )),
        Some("-") => values.warn(
            "--oidc-username-prefix=- means no prefix, as in kube-apiserver; kube-oidc-proxy put a '-' before every name",
        ),
        _ => {}
    }
}

fn required_claims(values: &mut Values<'_>) -> Vec<(String, String)> {
    let mut claims: Vec<(String, String)> = Vec::new();
    for text in values.repeated("oidc-required-claim") {
        match text.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            None | Some(("", _)) => {
                values.fault("oidc-required-claim", format!("'{text}' is not of the form claim=value"))
            }
            // As in kube-apiserver, the last one counts.
            Some((key, value)) => match claims.iter_mut().find(|(known, _)| known == key) {
                Some(known) => value.clone_into(&mut known.1),
                None => claims.push((key.to_owned(), value.to_owned())),
            },
        }
    }
    claims
}

fn client_flags(values: &mut Values<'_>) -> ClientFlags {
    ClientFlags {
        use_kubeconfig: KUBECONFIG_FLAGS.iter().any(|flag| values.given(flag)),
        kubeconfig: values.optional("kubeconfig").map(Into::into),
        context: values.optional("context"),
        cluster: values.optional("cluster"),
        user: values.optional("user"),
        server: values.optional("server"),
        tls_server_name: values.optional("tls-server-name"),
        certificate_authority: values.optional("certificate-authority").map(Into::into),
        insecure_skip_tls_verify: values.switch("insecure-skip-tls-verify"),
        token: values.optional("token").map(SecretString::from),
        client_certificate: values.optional("client-certificate").map(Into::into),
        client_key: values.optional("client-key").map(Into::into),
    }
}

fn reviews(values: &mut Values<'_>) -> ReviewSettings {
    let qps = match values.text("kube-client-qps").parse::<f32>() {
        Ok(qps) if qps.is_finite() => qps,
        _ => {
            let text = values.text("kube-client-qps");
            values.fault("kube-client-qps", format!("'{text}' is not a number"));
            0.0
        }
    };
    let burst: i64 = values.integer("kube-client-burst", i64::from(i32::MIN)..=i64::from(i32::MAX));
    let burst = u32::try_from(burst).ok().filter(|burst| *burst > 0);
    let qps = Some(qps).filter(|qps| *qps > 0.0);
    let rate = (qps.is_some() || burst.is_some())
        .then(|| ReviewRate { qps: qps.unwrap_or(CLIENT_GO_QPS), burst: burst.unwrap_or(CLIENT_GO_BURST) });
    ReviewSettings {
        subject_access_timeout: values.duration("subject-access-review-timeout"),
        call_timeout: request_timeout(values),
        rate,
        token_timeout: values.duration("token-passthrough-request-timeout"),
        memory: ReviewMemory {
            allowed: values.duration_or_none("subject-access-review-cache-allow-ttl"),
            denied: values.duration_or_none("subject-access-review-cache-deny-ttl"),
            token_accepted: values.duration_or_none("token-passthrough-cache-success-ttl"),
            token_refused: values.duration_or_none("token-passthrough-cache-failure-ttl"),
        },
    }
}

/// kubectl's `--request-timeout`: a bare number is seconds.
fn request_timeout(values: &mut Values<'_>) -> Option<Duration> {
    let text = values.text("request-timeout");
    if let Ok(seconds) = text.parse::<u32>() {
        return (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
    }
    match go_syntax::duration(text).map(u64::try_from) {
        Ok(Ok(nanoseconds)) => (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds)),
        Ok(Err(_)) => {
            values.fault("request-timeout", "must not be negative");
            None
        }
        Err(reason) => {
            values.fault("request-timeout", reason);
            None
        }
    }
}

fn app(values: &mut Values<'_>) -> AppSettings {
    let audiences = values.list("token-passthrough-audiences");
    let token_passthrough = values.switch("token-passthrough");
    if !token_passthrough && !audiences.is_empty() {
        values.warn("--token-passthrough-audiences has no effect without --token-passthrough");
    }
    let app = AppSettings {
        disable_impersonation: values.switch("disable-impersonation"),
        token_passthrough: token_passthrough.then_some(TokenPassthrough { audiences }),
        extra_user_headers: extra_user_headers(values),
        max_impersonation_values: values.integer("max-impersonation-header-values", 1..=4_096),
        extra_user_header_client_ip: values.switch("extra-user-header-client-ip"),
        readiness_probe_port: values.integer("readiness-probe-port", PORTS),
        shutdown_grace_period: values.duration("shutdown-grace-period"),
        worker_threads: NonZeroUsize::new(values.integer("worker-threads", 0..=1_024)),
    };
    if app.disable_impersonation {
        for (set, flag) in [
            (app.extra_user_header_client_ip, "extra-user-header-client-ip"),
            (!app.extra_user_headers.is_empty(), "extra-user-headers"),
        ] {
            if set {
                values.fault(flag, "extras go with an impersonated user, and --disable-impersonation is set");
            }
        }
    }
    app
}

fn extra_user_headers(values: &mut Values<'_>) -> Vec<(String, String)> {
    let mut extras = Vec::new();
    for pair in values.list("extra-user-headers") {
        match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() && !value.contains('=') => {
                // A space behind a comma is a habit of writing, and a header name would have it percent-encoded.
                let (key, value) = (key.trim(), value.trim());
                match impersonation::check_extra(key, value) {
                    Ok(()) => extras.push((key.to_owned(), value.to_owned())),
                    Err(error) => values.fault("extra-user-headers", format!("'{pair}': {error}")),
                }
            }
            _ => values.fault("extra-user-headers", format!("'{pair}' is not of the form key=value")),
        }
    }
    extras
}

fn logging(values: &mut Values<'_>) -> LogSettings {
    // RafPe's name for it counts if it is given.
    let flag = if values.given("logging-format") { "logging-format" } else { "log-format" };
    let format = match values.text(flag) {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => {
            values.fault(flag, format!("'{other}' is neither text nor json"));
            LogFormat::Text
        }
    };
    let verbosity: u32 = values.integer("v", 0..=i64::from(i32::MAX));
    LogSettings { format, verbosity: u8::try_from(verbosity.min(10)).unwrap_or(10) }
}

/// Flags whose value is not used must still have one that means something: a typing error is one everywhere.
fn check_accepted_only(values: &mut Values<'_>) {
    for flag in ["flush-interval", "log-flush-frequency"] {
        if let Err(reason) = go_syntax::duration(values.text(flag)) {
            values.fault(flag, reason);
        }
    }
    if !matches!(values.text("metrics-bind-address"), "" | "0") {
        values.fault("metrics-bind-address", "there are no metrics yet: leave it out, or set it to 0");
    }
    values.switch("disable-compression");
    values.switch("version");
}
