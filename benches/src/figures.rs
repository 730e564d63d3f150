//! Percentiles of one subject's rounds, and the ratio of two subjects that ran in the same rounds.
//! It must not print.

use std::time::Duration;

/// The smallest sample that `percent` of all samples do not exceed (nearest rank); zero without samples.
pub fn percentile(samples: &[Duration], percent: usize) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The median of the ratios of each round. Both samples of a round met the same machine, so that its moods cancel out as
/// they do not in a ratio of two medians. NaN without rounds.
pub fn ratio(ours: &[Duration], theirs: &[Duration]) -> f64 {
    let rounds = ours.iter().zip(theirs);
    let mut ratios: Vec<f64> = rounds.map(|(ours, theirs)| ours.div_duration_f64(*theirs)).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(numbers: &[u64]) -> Vec<Duration> {
        numbers.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_percentile_is_a_sample() {
        let samples = millis(&[40, 10, 30, 20]);
        assert_eq!(percentile(&samples, 50), Duration::from_millis(20));
        assert_eq!(percentile(&samples, 99), Duration::from_millis(40));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn a_slow_round_does_not_move_the_ratio() {
        // The third round was ten times slower for both.
        let (ours, theirs) = (millis(&[1, 2, 10]), millis(&[2, 4, 20]));
        assert!((ratio(&ours, &theirs) - 0.5).abs() < 1e-9);
        assert!(ratio(&[], &[]).is_nan());
    }
}
