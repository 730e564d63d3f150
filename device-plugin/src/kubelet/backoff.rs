//! How long to wait before the next attempt: doubled each time, capped, and never the same for two pools.
//! It must not wait itself.

use std::time::Duration;

/// The kubelet's socket is there a moment before the kubelet listens.
const FIRST: Duration = Duration::from_millis(20);

/// What a kubelet that was down for an hour is waited for at most, once it is back without a sign.
const LONGEST: Duration = Duration::from_secs(30);

/// The pauses between attempts.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next pause: between half of what is due and all of it.
    pub(super) fn next(&mut self) -> Duration {
        let due = LONGEST.min(FIRST.saturating_mul(1 << self.attempts.min(16)));
        self.attempts = self.attempts.saturating_add(1);
        due.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// As if nothing had failed.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Whether a failure is worth another line in the log: not each of the hundreds of an hour.
    pub(super) fn worth_a_word(&self) -> bool {
        self.attempts == 0 || self.attempts.is_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_without_a_kubelet() {
        let (mut backoff, mut passed, mut words) = (Backoff::default(), Duration::ZERO, 0);
        let mut pauses = Vec::new();
        while passed < Duration::from_hours(1) {
            let pause = backoff.next();
            assert!(pause >= FIRST / 2 && pause <= LONGEST, "{pause:?}");
            words += u32::from(backoff.worth_a_word());
            pauses.push(pause);
            passed += pause;
        }
        assert!((120..300).contains(&pauses.len()), "{} attempts in an hour", pauses.len());
        assert!(words < 10, "{words} lines in an hour");
        assert!(pauses[0] <= FIRST && pauses[1] <= FIRST * 2, "quick at first: {pauses:?}");
        let late: std::collections::BTreeSet<_> = pauses[20..].iter().collect();
        assert!(late.len() > 10, "two pools do not knock together");
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn attempts_have_no_end() {
        let mut backoff = Backoff { attempts: u32::MAX - 1 };
        for _ in 0..3 {
            assert!(backoff.next() >= LONGEST / 2);
        }
    }
}
