//! Which requests go on until somebody ends them: watches and followed logs, as kube-apiserver's
//! `BasicLongRunningRequestCheck` tells them from the path and the query. Upgrades are long-running too; they are
//! known by their handshake.

use http::{Method, Uri};

/// Whether the response has no end of its own.
pub(crate) fn is_long_running(method: &Method, uri: &Uri) -> bool {
    if method != Method::GET {
        return false;
    }
    let path = uri.path();
    is_true(uri, "watch") || is_legacy_watch(path) || (path.ends_with("/log") && is_true(uri, "follow"))
}

/// `/api/v1/watch/…` and `/apis/<group>/<version>/watch/…`.
fn is_legacy_watch(path: &str) -> bool {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    match segments.next() {
        Some("api") => segments.nth(1) == Some("watch"),
        Some("apis") => segments.nth(2) == Some("watch"),
        _ => false,
    }
}

/// A query parameter that Go's `strconv.ParseBool`, or an empty value, makes true (`runtime.Convert_Slice_string_To_bool`).
fn is_true(uri: &Uri, name: &str) -> bool {
    let query = uri.query().unwrap_or_default();
    let value = query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    });
    value.is_some_and(|value| !matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False"))
}

#[cfg(test)]
mod tests;
