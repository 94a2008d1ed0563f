//! Medians and other quantiles.

use std::time::Duration;

/// The quantile `at` (0 to 1) of durations, in milliseconds.
pub(crate) fn quantile_ms(durations: &mut [Duration], at: f64) -> Option<f64> {
    durations.sort_unstable();
    nearest(durations, at).map(|duration| duration.as_secs_f64() * 1e3)
}

/// The median; of an even number of values the upper one.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    nearest(&values, 0.5)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
fn nearest<T: Copy>(sorted: &[T], at: f64) -> Option<T> {
    let index = (sorted.len() as f64 * at) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{median, quantile_ms};

    #[test]
    fn quantiles_are_values_that_occurred() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
        let mut durations: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile_ms(&mut durations, 0.5), Some(51.0));
        assert_eq!(quantile_ms(&mut durations, 0.99), Some(100.0));
        assert_eq!(quantile_ms(&mut durations, 1.0), Some(100.0));
    }
}
