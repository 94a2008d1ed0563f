use std::time::{Duration, Instant};

use super::Allowance;

#[test]
fn made_up_key_ids_cause_a_few_fetches_and_then_one_every_few_seconds() {
    let start = Instant::now();
    let mut allowance = Allowance::new(start);
    let at_once = (0..100).filter(|_| allowance.take(start)).count();
    assert_eq!(at_once, 5);
    // A hundred a second for a minute.
    let in_a_minute = (0..6000).filter(|n| allowance.take(start + Duration::from_millis(10 * n))).count();
    assert!((11..=12).contains(&in_a_minute), "{in_a_minute}");
    // After a quiet time the burst is back, and not more than the burst.
    let later = start + Duration::from_secs(3600);
    assert_eq!((0..100).filter(|_| allowance.take(later)).count(), 5);
}
