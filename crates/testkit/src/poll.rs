//! Waiting for a condition with a deadline, which is what tests do instead of sleeping.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `check` gives something, and gives that.
///
/// # Panics
/// If it has not after `patience`.
pub async fn eventually<T>(what: &str, patience: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain until {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// What `future` gives.
///
/// # Panics
/// If it is not there after `patience`.
#[expect(clippy::panic, reason = "in a test it is the report")]
pub async fn within<F: Future>(what: &str, patience: Duration, future: F) -> F::Output {
    match tokio::time::timeout(patience, future).await {
        Ok(output) => output,
        Err(_elapsed) => panic!("{what} takes longer than {patience:?}"),
    }
}
