//! The audit flags of kube-apiserver, which the proxies that Keyway replaces share. This version does not audit. A proxy
//! that took them in silence would let an operator believe that it does, so each of them refuses the start.

use super::catalogue::{Flag, switch, text};

const NOT_YET: &str = "this version does not write audit events yet, so the flag is refused rather than ignored; remove \
                       every --audit flag, and let kube-apiserver audit (its events name the impersonated user)";

pub(super) const AUDIT: &[Flag] = &[
    text("audit-policy-file", "FILE", "Audit policy").refused(NOT_YET),
    text("audit-log-path", "FILE", "File for audit events").refused(NOT_YET),
    text("audit-log-format", "json|legacy", "Format of the file").refused(NOT_YET),
    text("audit-log-version", "GROUP/VERSION", "API version of the events in the file").refused(NOT_YET),
    text("audit-log-maxage", "DAYS", "Age of old files, at most").refused(NOT_YET),
    text("audit-log-maxbackup", "COUNT", "Number of old files, at most").refused(NOT_YET),
    text("audit-log-maxsize", "MEGABYTES", "Size of a file, at most").refused(NOT_YET),
    switch("audit-log-compress", "Compress old files").refused(NOT_YET),
    text("audit-webhook-config-file", "FILE", "Kubeconfig of the webhook").refused(NOT_YET),
    text("audit-webhook-version", "GROUP/VERSION", "API version of the events for the webhook").refused(NOT_YET),
    text("audit-webhook-initial-backoff", "DURATION", "Wait before the first retry").refused(NOT_YET),
    text("audit-webhook-batch-initial-backoff", "DURATION", "Old name of --audit-webhook-initial-backoff")
        .refused(NOT_YET),
    text("audit-log-mode", "batch|blocking|blocking-strict", "How events are sent").refused(NOT_YET),
    text("audit-log-batch-buffer-size", "COUNT", "Events that wait, at most").refused(NOT_YET),
    text("audit-log-batch-max-size", "COUNT", "Events in a batch, at most").refused(NOT_YET),
    text("audit-log-batch-max-wait", "DURATION", "Wait before a batch that is not full is sent").refused(NOT_YET),
    switch("audit-log-batch-throttle-enable", "Limit the batches each second").refused(NOT_YET),
    text("audit-log-batch-throttle-qps", "RATE", "Batches each second, on average").refused(NOT_YET),
    text("audit-log-batch-throttle-burst", "COUNT", "Batches at once, at most").refused(NOT_YET),
    switch("audit-log-truncate-enabled", "Cut large events and batches").refused(NOT_YET),
    text("audit-log-truncate-max-batch-size", "BYTES", "Size of a batch, at most").refused(NOT_YET),
    text("audit-log-truncate-max-event-size", "BYTES", "Size of an event, at most").refused(NOT_YET),
    text("audit-webhook-mode", "batch|blocking|blocking-strict", "How events are sent").refused(NOT_YET),
    text("audit-webhook-batch-buffer-size", "COUNT", "Events that wait, at most").refused(NOT_YET),
    text("audit-webhook-batch-max-size", "COUNT", "Events in a batch, at most").refused(NOT_YET),
    text("audit-webhook-batch-max-wait", "DURATION", "Wait before a batch that is not full is sent").refused(NOT_YET),
    switch("audit-webhook-batch-throttle-enable", "Limit the batches each second").refused(NOT_YET),
    text("audit-webhook-batch-throttle-qps", "RATE", "Batches each second, on average").refused(NOT_YET),
    text("audit-webhook-batch-throttle-burst", "COUNT", "Batches at once, at most").refused(NOT_YET),
    switch("audit-dynamic-configuration", "Sinks as objects in the cluster, which Kubernetes no longer has")
        .refused(NOT_YET),
    switch("audit-webhook-truncate-enabled", "Cut large events and batches").refused(NOT_YET),
    text("audit-webhook-truncate-max-batch-size", "BYTES", "Size of a batch, at most").refused(NOT_YET),
    text("audit-webhook-truncate-max-event-size", "BYTES", "Size of an event, at most").refused(NOT_YET),
];
