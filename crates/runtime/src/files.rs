//! Files that change under a running server: certificates, token files, configuration.
//!
//! Kubernetes replaces projected files by swapping a symbolic link, editors replace them by a rename, and some
//! volumes give no inotify events at all. Reading the content again is the one way that works for all of them, and
//! these files are small.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Calls `changed` whenever the content of one of `paths` is not what it was, looking every `every`, until `stop`; and
/// again at each look until it says true, for what it could not use may be half written, or the failure a passing one.
/// A file that cannot be read counts as content of its own, so its disappearance and return are two changes.
/// Several files that change between two looks cause one call.
pub async fn on_change(
    paths: Vec<PathBuf>,
    every: Duration,
    stop: CancellationToken,
    mut changed: impl AsyncFnMut() -> bool,
) {
    let mut seen = fingerprint(&paths).await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let now = fingerprint(&paths).await;
        if now != seen && changed().await {
            seen = now;
        }
    }
}

async fn fingerprint(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        tokio::fs::read(path).await.ok().hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
