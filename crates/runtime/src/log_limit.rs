//! A bound on lines that clients cause: whoever sends bad requests must not fill the log, nor slow the process that
//! writes it. What is left out is counted, and the count is said with the next line.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A token bucket of log lines.
#[derive(Debug)]
pub struct LogLimit {
    burst: u32,
    refill: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: u32,
    refilled: Option<Instant>,
    left_out: u64,
}

impl LogLimit {
    /// `burst` lines at once, and then one each `refill`.
    #[must_use]
    pub const fn new(burst: u32, refill: Duration) -> Self {
        Self { burst, refill, state: Mutex::new(State { left: burst, refilled: None, left_out: 0 }) }
    }

    /// Whether a line may be written now, and if so, how many were left out since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = state.refilled.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let due = u32::try_from(since.as_nanos() / self.refill.as_nanos().max(1)).unwrap_or(u32::MAX);
        if state.left.saturating_add(due) >= self.burst {
            state.left = self.burst;
            state.refilled = Some(now);
        } else if due > 0 {
            state.left += due;
            state.refilled = state.refilled.map(|at| at + self.refill * due);
        }
        if state.left == 0 {
            state.left_out += 1;
            return None;
        }
        state.left -= 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_at_once_and_then_one_now_and_then() {
        let limit = LogLimit::new(3, Duration::from_secs(1));
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!([0; 5].map(|_| limit.admit(start)), [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(limit.admit(at(999)), None);
        assert_eq!(limit.admit(at(1000)), Some(3));
        assert_eq!(limit.admit(at(1001)), None);
        assert_eq!(limit.admit(at(2500)), Some(1));
        // The half second that was left over counts.
        assert_eq!(limit.admit(at(3000)), Some(0));
        // After a silence there is room for a burst again, and not for more.
        assert_eq!([0; 4].map(|_| limit.admit(at(60_000))), [Some(0), Some(0), Some(0), None]);
    }
}
