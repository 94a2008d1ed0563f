//! The flags of the proxy itself, and of the issuers that it believes.

use super::catalogue::{Flag, list, repeated, switch, text};

pub(super) const PROXY: &[Flag] = &[
    switch(
        "disable-impersonation",
        "Forward a verified request with the user's own token, without impersonation. kube-apiserver must then accept \
         that token itself",
    ),
    switch(
        "token-passthrough",
        "Ask kube-apiserver (TokenReview) about a token that no issuer here vouches for, and forward the request with \
         that token, without impersonation, if it is valid",
    ),
    list(
        "token-passthrough-audiences",
        "AUDIENCE,…",
        "Audiences of which a passed-through token must carry one. Without any: kube-apiserver's own. Only with \
         --token-passthrough",
    ),
    text(
        "token-passthrough-request-timeout",
        "DURATION",
        "How long the TokenReview of a passed-through token may take; more than 0",
    )
    .default("10s"),
    text(
        "token-passthrough-cache-success-ttl",
        "DURATION",
        "How long a passed-through token that kube-apiserver knows is not reviewed again; 0 is not at all",
    )
    .default("10s"),
    text(
        "token-passthrough-cache-failure-ttl",
        "DURATION",
        "How long a token that kube-apiserver does not know is not reviewed again; 0 is not at all",
    )
    .default("10s"),
    switch(
        "extra-user-header-client-ip",
        "Send the client's address along as the extra remote-client-ip of the impersonated user",
    ),
    list(
        "extra-user-headers",
        "KEY=VALUE,…",
        "Extras to send along with every impersonated user. A key may come several times: key1=foo,key2=bar,key1=bar",
    ),
    list(
        "allow-reserved-groups",
        "GROUP,…",
        "Groups beginning with 'system:' that a token may carry. Every other one is refused, and every user name \
         beginning with 'system:' always is",
    ),
    text(
        "subject-access-review-timeout",
        "DURATION",
        "How long all SubjectAccessReviews of one request may take together; more than 0",
    )
    .default("5s"),
    text(
        "subject-access-review-cache-allow-ttl",
        "DURATION",
        "How long a right to impersonate is not asked about again; 0 is not at all",
    )
    .default("10s"),
    text(
        "subject-access-review-cache-deny-ttl",
        "DURATION",
        "How long a refusal to impersonate is not asked about again. 0 is not at all, so that whoever was just granted \
         the right need not wait",
    )
    .default("0"),
    text(
        "max-impersonation-header-values",
        "COUNT",
        "Users, groups, UIDs and extras that one request may ask to impersonate (kubectl --as …), all together; each is \
         a review",
    )
    .default("64"),
    text("readiness-probe-port", "PORT", "Port of the probes /ready and /live, over plain HTTP")
        .short('P')
        .default("8080"),
    switch(
        "readiness-require-all-issuers",
        "Be ready only when the keys of every issuer have been fetched. Otherwise those of one suffice",
    ),
    list(
        "forwarded-for-from",
        "CIDR,…",
        "Networks of proxies whose X-Forwarded-For is believed. Without any, the header is never read",
    ),
    list("trusted-proxies", "CIDR,…", "Another name of --forwarded-for-from; given both, both lists hold"),
    list(
        "proxy-protocol-from",
        "CIDR,…",
        "Networks of load balancers that begin every connection with a PROXY protocol v2 header, which they must then \
         send. From elsewhere it is not read",
    ),
    text("max-connections", "COUNT", "Client connections at one time. For a further one, one that does nothing is closed; if there is none, it waits")
        .default("10000"),
    text(
        "header-timeout",
        "DURATION",
        "How long a client may take for its TLS handshake, and for the header of a request",
    )
    .default("10s"),
    text("idle-timeout", "DURATION", "How long a client connection may stay open without a request").default("5m"),
    text("max-header-bytes", "BYTES", "Size of a request's header, at most; 8192 to 1048576").default("131072"),
    text(
        "flush-interval",
        "DURATION",
        "Accepted, and kept by doing better: every response is flushed as it comes, whatever the value",
    )
    .default("50ms"),
    text(
        "shutdown-grace-period",
        "DURATION",
        "How long requests under way may take to finish after SIGTERM. Keep it below terminationGracePeriodSeconds",
    )
    .default("25s"),
    text(
        "metrics-bind-address",
        "ADDRESS",
        "Accepted empty or as 0. This version has no metrics, and refuses to start where they are asked for",
    ),
    text("worker-threads", "COUNT", "Threads that serve requests; 0 is one for each core").default("0"),
];

pub(super) const ISSUERS: &[Flag] = &[
    text(
        "authentication-config",
        "FILE",
        "AuthenticationConfiguration (apiserver.config.k8s.io/v1 or v1beta1) with one or more issuers, re-read when it \
         changes. Not together with the --oidc flags, but for those of the client certificate",
    ),
    text("oidc-issuer-url", "URL", "The issuer: an https:// URL, exactly as the 'iss' claim has it"),
    text("oidc-client-id", "ID", "The audience ('aud' claim) that a token must carry"),
    text(
        "oidc-ca-file",
        "FILE",
        "PEM bundle that verifies the issuer's certificate. Without one: the roots of the host",
    ),
    text("oidc-username-claim", "CLAIM", "The claim that is the user name").default("sub"),
    text(
        "oidc-username-prefix",
        "PREFIX",
        "Put before every user name. Without one, claims other than 'email' get the issuer's URL and '#'; '-' is for \
         none. Called as kube-oidc-proxy, it is taken literally and is nothing by default",
    ),
    text("oidc-groups-claim", "CLAIM", "The claim that names the user's groups: a string, or an array of strings"),
    text("oidc-groups-prefix", "PREFIX", "Put before every group"),
    list(
        "oidc-signing-algs",
        "ALG,…",
        "JOSE algorithms to accept: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512",
    )
    .default("RS256"),
    repeated(
        "oidc-required-claim",
        "KEY=VALUE",
        "A claim that a token must carry with this value. Repeat the flag for several; they are not split at commas",
    ),
    text(
        "oidc-tls-client-cert-file",
        "FILE",
        "PEM client certificate to show to every issuer. Together with --oidc-tls-client-key-file",
    ),
    text("oidc-tls-client-key-file", "FILE", "PEM key of --oidc-tls-client-cert-file"),
];
