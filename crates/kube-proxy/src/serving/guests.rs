//! Who holds a place among `--max-connections`, and who gives one up when all are taken: first the oldest connection on
//! which nobody has proved who it is, then the one that has been without a request for the longest time. An outsider
//! cannot keep users out by holding connections open, whatever it says on them; nor can a user, with connections that it
//! does not use.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// The connections, oldest first.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    guests: VecDeque<Weak<Guest>>,
    /// How many there were when those that are gone were last left out.
    alive: usize,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Guest {
    began: Instant,
    proved: AtomicBool,
    /// Milliseconds from its beginning until its last request ended; [`BUSY`] while there is one.
    idle_since: AtomicU64,
    evicted: CancellationToken,
}

const BUSY: u64 = u64::MAX;

impl Guests {
    pub(super) fn admit(&self) -> Arc<Guest> {
        let guest = Arc::new(Guest {
            began: Instant::now(),
            proved: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            evicted: CancellationToken::new(),
        });
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.guests.len() > 2 * list.alive + 64 {
            list.guests.retain(|guest| guest.strong_count() > 0);
            list.alive = list.guests.len();
        }
        list.guests.push_back(Arc::downgrade(&guest));
        guest
    }

    /// Ends the connection that can best be done without; false if each has a request under way.
    pub(super) fn evict(&self) -> bool {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut longest_idle: Option<Arc<Guest>> = None;
        for guest in list.guests.iter().filter_map(Weak::upgrade).filter(|guest| !guest.evicted.is_cancelled()) {
            if !guest.has_proved() {
                guest.evicted.cancel();
                return true;
            }
            let idle_for = |guest: &Guest| guest.idle_for_milliseconds();
            if idle_for(&guest) > longest_idle.as_deref().and_then(idle_for) {
                longest_idle = Some(guest);
            }
        }
        if let Some(guest) = &longest_idle {
            guest.evicted.cancel();
        }
        longest_idle.is_some()
    }
}

impl Guest {
    /// A token has proved who is there.
    pub(super) fn prove(&self) {
        self.proved.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_proved(&self) -> bool {
        self.proved.load(Ordering::Relaxed)
    }

    /// Whether requests are under way, from now on.
    pub(super) fn set_busy(&self, busy: bool) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(BUSY - 1);
        self.idle_since.store(if busy { BUSY } else { now }, Ordering::Relaxed);
    }

    /// Nothing while a request is under way.
    fn idle_for_milliseconds(&self) -> Option<u64> {
        let since = Some(self.idle_since.load(Ordering::Relaxed)).filter(|since| *since != BUSY)?;
        Some(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(BUSY).saturating_sub(since))
    }

    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn is_evicted(guest: &Guest) -> bool {
        guest.evicted.is_cancelled()
    }

    #[test]
    fn the_oldest_that_has_proved_nothing_goes_first() {
        let guests = Guests::default();
        let [first, second, third] = [(); 3].map(|()| guests.admit());
        first.prove();
        assert!(guests.evict());
        assert!(is_evicted(&second) && !is_evicted(&first) && !is_evicted(&third));
        assert!(guests.evict());
        assert!(is_evicted(&third) && !is_evicted(&first));
    }

    #[test]
    fn then_the_one_that_is_idle_for_the_longest_time_and_none_that_is_busy() {
        let guests = Guests::default();
        let [long_idle, busy, short_idle] = [(); 3].map(|()| guests.admit());
        for guest in [&long_idle, &busy, &short_idle] {
            guest.prove();
            guest.set_busy(true);
        }
        assert!(!guests.evict(), "each has a request under way");
        long_idle.set_busy(false);
        let later = Instant::now() + Duration::from_millis(3);
        while Instant::now() < later {
            std::hint::spin_loop();
        }
        short_idle.set_busy(false);
        assert!(guests.evict());
        assert!(is_evicted(&long_idle) && !is_evicted(&short_idle));
        assert!(guests.evict());
        assert!(is_evicted(&short_idle) && !is_evicted(&busy));
        assert!(!guests.evict());
    }

    #[test]
    fn those_that_are_gone_take_no_memory() {
        let guests = Guests::default();
        let kept = guests.admit();
        for _ in 0..10_000 {
            drop(guests.admit());
        }
        assert!(guests.0.lock().unwrap().guests.len() < 200);
        assert!(guests.evict() && is_evicted(&kept));
    }
}
