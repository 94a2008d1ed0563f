//! Files that change under a running server: certificates, token files, configuration.
//!
//! Kubernetes replaces projected files by swapping a symbolic link, editors replace them by a rename, and some
//! volumes give no inotify events at all. Reading the content again is the one way that works for all of them, and
//! these files are small.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
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
        let path = path.clone();
        let content = tokio::task::spawn_blocking(move || read(&path).ok()).await;
        content.unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}

/// No file that configures a server is larger.
const LARGEST: u64 = 4 << 20;

/// What a file says, if it is a regular one of at most 4 MiB: to read a device may never end, and a pipe may never begin.
///
/// # Errors
/// What the system says, or which of the two it is.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?;
    if !kind.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(content)
}

/// The same, as text.
///
/// # Errors
/// Also if it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_invalid| io::Error::other("it is not UTF-8 text"))
}

#[cfg(test)]
mod tests;
