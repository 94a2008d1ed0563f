//! One issuer's keys as they are now: fetched in the background, again every few minutes, and at once when a token
//! names a key that is not known, but not more often than [`Allowance`] permits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use identity::Keys;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::fetch::Source;

/// How often keys are fetched without being asked for, so that a key that the issuer withdrew stops counting.
const PERIOD: Duration = Duration::from_secs(300);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How long a request waits for keys that are being fetched on its account.
const PATIENCE: Duration = Duration::from_secs(5);

/// The keys of one issuer.
pub(crate) struct Keyring {
    source: Source,
    keys: ArcSwapOption<Keys>,
    /// Rises with every change of the keys; shared by all keyrings, for the token cache looks at one number.
    generation: Arc<AtomicU64>,
    wanted: Notify,
    /// The number of the last fetch that began, and of the last one that finished.
    began: AtomicU64,
    finished: watch::Sender<u64>,
    demand: Mutex<Demand>,
}

/// Fetches that clients cause.
struct Demand {
    allowance: Allowance,
    /// The number of the fetch that was last asked for.
    asked: u64,
}

impl Keyring {
    /// Starts fetching, until `stop`.
    pub(crate) fn start(source: Source, generation: Arc<AtomicU64>, stop: CancellationToken) -> Arc<Self> {
        let keyring = Arc::new(Self {
            source,
            keys: ArcSwapOption::empty(),
            generation,
            wanted: Notify::new(),
            began: AtomicU64::new(0),
            finished: watch::Sender::new(0),
            demand: Mutex::new(Demand { allowance: Allowance::new(Instant::now()), asked: 0 }),
        });
        tokio::spawn(keyring.clone().run(stop));
        keyring
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The keys, or none as long as the issuer was never reached.
    pub(crate) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    /// Has the keys fetched because a token names a key that is not among `used`, and waits for them: those that came
    /// meanwhile, or nothing if the allowance is used up, the fetch takes too long, or the keys are the same as before.
    pub(crate) async fn newer(&self, used: Option<&Arc<Keys>>) -> Option<Arc<Keys>> {
        let newer = || self.keys().filter(|keys| used.is_none_or(|used| !Arc::ptr_eq(used, keys)));
        // Another request may have had them fetched while this one was verifying.
        if let Some(keys) = newer() {
            return Some(keys);
        }
        let mut finished = self.finished.subscribe();
        let number = match self.demand() {
            Some(number) => number,
            // Others have used up what may be asked for. What they asked for may bring this key too.
            None => self.began.load(Ordering::Acquire),
        };
        let _finished_or_not = tokio::time::timeout(PATIENCE, finished.wait_for(|&done| done >= number)).await;
        newer()
    }

    /// The number of a fetch that begins after now: one that others wait for already, or a new one if the allowance
    /// permits. A fetch under way is no help, for it may have asked before the issuer had the key.
    fn demand(&self) -> Option<u64> {
        let mut demand = self.demand.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.began.load(Ordering::Acquire) + 1;
        if demand.asked < next {
            if !demand.allowance.take(Instant::now()) {
                return None;
            }
            demand.asked = next;
            self.wanted.notify_one();
        }
        Some(next)
    }

    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut known = Vec::new();
        let mut retry = FIRST_RETRY;
        let mut failing = false;
        loop {
            let number = self.began.fetch_add(1, Ordering::AcqRel) + 1;
            let fetched = tokio::select! { () = stop.cancelled() => return, fetched = self.source.jwks() => fetched };
            let outcome = fetched.map_err(|error| error.to_string()).and_then(|bytes| {
                // Some issuers write their keys in another order each time.
                let members = members(&bytes);
                if members != known || self.keys.load().is_none() {
                    self.adopt(&bytes)?;
                    known = members;
                }
                Ok(())
            });
            let pause = match outcome {
                Ok(()) => {
                    if failing {
                        tracing::info!(issuer = %self.source.issuer, "the issuer's keys can be fetched again");
                    }
                    (failing, retry) = (false, FIRST_RETRY);
                    PERIOD
                }
                Err(error) => {
                    if !failing {
                        let known = self.keys.load().is_some();
                        tracing::warn!(issuer = %self.source.issuer, %error, keys_known = known, "cannot fetch the issuer's keys; trying on");
                    }
                    failing = true;
                    let pause = retry;
                    retry = (retry * 2).min(LONGEST_RETRY);
                    pause
                }
            };
            self.finished.send_replace(number);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    fn adopt(&self, bytes: &[u8]) -> Result<(), String> {
        let (keys, faults) = Keys::parse(bytes).map_err(|error| error.to_string())?;
        for fault in faults {
            tracing::info!(issuer = %self.source.issuer, %fault, "left out a key of the issuer's set");
        }
        tracing::info!(issuer = %self.source.issuer, keys = keys.len(), "the issuer's keys are loaded");
        self.keys.store(Some(Arc::new(keys)));
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

/// The members of a key set, each as one text, sorted: equal for equal sets.
fn members(jwks: &[u8]) -> Vec<String> {
    let document: serde_json::Value = serde_json::from_slice(jwks).unwrap_or_default();
    let keys = document.get("keys").and_then(serde_json::Value::as_array);
    let mut members: Vec<String> = keys.into_iter().flatten().map(ToString::to_string).collect();
    members.sort();
    members
}

/// A token bucket for fetches that clients cause: a few at once, so that a rotation is noticed in time, and then one
/// every few seconds, so that tokens with made-up key ids do not become a flood at the issuer.
struct Allowance {
    left: u32,
    refilled: Instant,
}

impl Allowance {
    const BURST: u32 = 5;
    const REFILL: Duration = Duration::from_secs(5);

    fn new(now: Instant) -> Self {
        Self { left: Self::BURST, refilled: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        while self.left < Self::BURST && now.duration_since(self.refilled) >= Self::REFILL {
            self.left += 1;
            self.refilled += Self::REFILL;
        }
        if self.left == Self::BURST {
            self.refilled = now;
        }
        let taken = self.left > 0;
        self.left -= u32::from(taken);
        taken
    }
}

#[cfg(test)]
mod tests;
