//! The flags of the listener, as kube-apiserver has them.

use super::catalogue::{Flag, list, repeated, switch, text};

pub(super) const SERVING: &[Flag] = &[
    text(
        "bind-address",
        "IP",
        "Address to listen on. 0.0.0.0 or :: is every interface, by IPv4 and IPv6 (where the host has it)",
    )
    .default("0.0.0.0"),
    text("secure-port", "PORT", "Port to serve HTTPS on, 1 to 65535").default("6443"),
    text(
        "tls-cert-file",
        "FILE",
        "PEM certificate chain to serve with, the server's own first. Re-read when it changes. Without it, a \
         self-signed one is made in --cert-dir",
    ),
    text("tls-private-key-file", "FILE", "PEM key of --tls-cert-file"),
    text(
        "cert-dir",
        "DIRECTORY",
        "Where kube-oidc-proxy.crt and kube-oidc-proxy.key, the self-signed pair, are kept and reused. Empty: in memory \
         only. Not used with --tls-cert-file",
    )
    .default("/var/run/kubernetes"),
    repeated(
        "tls-sni-cert-key",
        "CERT,KEY[:NAME,…]",
        "A further certificate and key, for clients that ask for these names (*.example.com matches one label), or \
         for the names in it. Repeat the flag for several",
    ),
    text(
        "tls-min-version",
        "VERSION",
        "Oldest TLS to speak: VersionTLS12 or VersionTLS13. VersionTLS10 and VersionTLS11 mean 1.2, with a warning",
    )
    .default("VersionTLS12"),
    list(
        "tls-cipher-suites",
        "NAME,…",
        "Cipher suites of TLS 1.2, by their IANA names. Without any: all that are sound. Those of TLS 1.3 are always on",
    ),
    list(
        "tls-curve-preferences",
        "ID,…",
        "Key exchanges to allow, by number, in any order: 23 (P-256), 24 (P-384), 29 (X25519), 4587 \
         (SecP256r1MLKEM768), 4588 (X25519MLKEM768). Without any: X25519MLKEM768, X25519, P-256, P-384",
    ),
    switch("disable-http2-serving", "Offer HTTP/1.1 only"),
    text(
        "http2-max-streams-per-connection",
        "COUNT",
        "Requests at one time on one HTTP/2 connection; 0 is the default",
    )
    .default("1000"),
    switch("permit-address-sharing", "Bind with SO_REUSEADDR"),
    switch("permit-port-sharing", "Bind with SO_REUSEPORT: several processes may share the port"),
];
