//! Connections on which nobody has proved who it is yet. They take places among `--max-connections` like all others, so
//! they are bounded in time, and when every place is taken the oldest of them goes: an outsider cannot keep users out by
//! holding connections open, whatever it says on them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio_util::sync::CancellationToken;

/// The guests, oldest first. Those that have proved themselves or gone are forgotten as they come to the front.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<VecDeque<Weak<Guest>>>);

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Guest {
    proved: AtomicBool,
    evicted: CancellationToken,
}

impl Guests {
    pub(super) fn admit(&self) -> Arc<Guest> {
        let guest = Arc::new(Guest::default());
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while guests.front().is_some_and(|front| front.upgrade().is_none_or(|front| front.has_proved())) {
            guests.pop_front();
        }
        guests.push_back(Arc::downgrade(&guest));
        guest
    }

    /// Ends the oldest connection that has proved nothing; false if there is none.
    pub(super) fn evict_oldest(&self) -> bool {
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(front) = guests.pop_front() {
            if let Some(guest) = front.upgrade().filter(|guest| !guest.has_proved()) {
                guest.evicted.cancel();
                return true;
            }
        }
        false
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

    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_evicted(guest: &Guest) -> bool {
        guest.evicted.is_cancelled()
    }

    #[test]
    fn the_oldest_that_has_proved_nothing_goes() {
        let guests = Guests::default();
        let [first, second, third] = [(); 3].map(|()| guests.admit());
        first.prove();
        assert!(guests.evict_oldest());
        assert!(is_evicted(&second) && !is_evicted(&first) && !is_evicted(&third));
        drop(third);
        assert!(!guests.evict_oldest());
    }

    #[test]
    fn those_that_are_gone_take_no_memory() {
        let guests = Guests::default();
        for _ in 0..1000 {
            drop(guests.admit());
        }
        assert!(guests.0.lock().unwrap().len() <= 2);
    }
}
