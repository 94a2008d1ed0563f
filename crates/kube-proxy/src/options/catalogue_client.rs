//! The flags that say where kube-apiserver is and who the proxy is there, as kubectl has them; and those of logging.

use super::catalogue::{Flag, list, repeated, switch, text};

const OWN_IDENTITY: &str = "the proxy impersonates its users with its own identity, which cannot be impersonated as \
                            well; remove the flag, and give the proxy the credential it is to have";
const KLOG_FILES: &str = "logs go to standard error; collect them there";
const KLOG_FORM: &str = "it was about klog's own line format; see --log-format";

pub(super) const CLIENT: &[Flag] = &[
    text(
        "kubeconfig",
        "FILE",
        "Kubeconfig to use. Without this or any other flag of this section, the pod's service account is used; with \
         one of them, $KUBECONFIG, then ~/.kube/config, then the pod's service account",
    ),
    text("context", "NAME", "Context of the kubeconfig, instead of its current one"),
    text("cluster", "NAME", "Cluster of the kubeconfig, instead of the context's"),
    text("user", "NAME", "User of the kubeconfig, instead of the context's. exec and auth-provider users are refused"),
    text("namespace", "NAME", "Accepted for the kubeconfig's sake. The proxy has no namespace").short('n'),
    text("server", "URL", "kube-apiserver: https://host[:port][/prefix]").short('s'),
    text(
        "certificate-authority",
        "FILE",
        "PEM bundle that verifies kube-apiserver's certificate. Re-read when it changes",
    ),
    text("tls-server-name", "NAME", "Name to expect in kube-apiserver's certificate instead of the host of its URL"),
    switch("insecure-skip-tls-verify", "Do not verify kube-apiserver's certificate. For laboratories"),
    text("token", "TOKEN", "Bearer token of the proxy. Other processes of the host can see it: a token file is better"),
    text("client-certificate", "FILE", "PEM client certificate of the proxy. Re-read when it changes"),
    text("client-key", "FILE", "PEM key of --client-certificate"),
    text(
        "request-timeout",
        "DURATION",
        "How long one of the proxy's own calls (a review) may take; a bare number is seconds, 0 is no limit of this \
         flag's. It does not bound what users do",
    )
    .default("0"),
    text(
        "kube-client-qps",
        "RATE",
        "The proxy's own calls (reviews) each second, on average. Neither this nor --kube-client-burst: no limit. One \
         of the two: the other is as in client-go (5 each second, 10 at once)",
    )
    .default("0"),
    text("kube-client-burst", "COUNT", "The proxy's own calls at once, at most; see --kube-client-qps").default("0"),
    switch(
        "disable-compression",
        "Accepted. The proxy asks for no compression of its own, and leaves a client's alone",
    ),
    text("as-uid", "UID", "Refused: the proxy's own identity cannot be an impersonated one").refused(OWN_IDENTITY),
    repeated("as-user-extra", "KEY=VALUE", "Refused, like --as-uid").refused(OWN_IDENTITY),
];

pub(super) const LOGGING: &[Flag] = &[
    text(
        "v",
        "LEVEL",
        "Verbosity, 0 to 10: 0 and 1 log life-cycle steps and refusals, 2 to 4 each request as well, 5 and more everything",
    )
    .short('v')
    .default("0"),
    text("log-format", "text|json", "One readable line, or one JSON object, for each event").default("text"),
    text("logging-format", "text|json", "Another name of --log-format, which it replaces if it is given"),
    switch("version", "Print the version, and leave"),
    text("log-flush-frequency", "DURATION", "No effect: a line is written at once")
        .default("5s")
        .without_effect("every log line is written at once"),
    list("vmodule", "PATTERN=N,…", "No effect: it named source files")
        .without_effect("it named source files of the proxy that Keyway replaces; use --v"),
    switch("logtostderr", "No effect: logs always go to standard error").without_effect(KLOG_FILES),
    switch("alsologtostderr", "No effect: logs always go to standard error").without_effect(KLOG_FILES),
    text("stderrthreshold", "SEVERITY", "No effect: logs always go to standard error").without_effect(KLOG_FILES),
    text("log-dir", "DIRECTORY", "No effect: logs always go to standard error").without_effect(KLOG_FILES),
    text("log-file", "FILE", "No effect: logs always go to standard error").without_effect(KLOG_FILES),
    text("log-file-max-size", "MEGABYTES", "No effect: logs always go to standard error").without_effect(KLOG_FILES),
    text("log-backtrace-at", "FILE:LINE", "No effect: it named source files")
        .without_effect("it named a line of the proxy that Keyway replaces"),
    switch("add-dir-header", "No effect: it was about klog's line format").without_effect(KLOG_FORM),
    switch("skip-headers", "No effect: it was about klog's line format").without_effect(KLOG_FORM),
    switch("skip-log-headers", "No effect: it was about klog's line format").without_effect(KLOG_FORM),
    switch("one-output", "No effect: it was about klog's files").without_effect(KLOG_FILES),
];
