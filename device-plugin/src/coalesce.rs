//! Many changes that come together are looked at once: when it is quiet again, or when it was not for too long.
//! It must not wait by itself: it says until when to.

use std::time::Duration;

use tokio::time::Instant;

/// A machine under load takes long for everything; it is not to be late beside.
const LONGEST_REST: Duration = Duration::from_millis(100);
/// A look that begins within this time of the one before is one of many, and rested after. What follows one that came alone
/// is often the rest of the same change: a driver is taken away, and then another bound.
const MANY: Duration = Duration::from_millis(250);

/// What was said since the last look, as points in time.
#[derive(Clone, Debug)]
pub(crate) struct Coalescer {
    quiet: Duration,
    longest: Duration,
    said: Option<Said>,
    not_before: Option<Instant>,
    /// When the last look was over.
    over: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Said {
    first: Instant,
    last: Instant,
}

impl Coalescer {
    /// A look is due when nothing was said for `quiet`, and at the latest `longest` after the first thing that was said.
    pub(crate) fn new(quiet: Duration, longest: Duration) -> Self {
        Self { quiet, longest, said: None, not_before: None, over: None }
    }

    /// Something was said.
    pub(crate) fn note(&mut self, now: Instant) {
        self.said = Some(Said { first: self.said.map_or(now, |said| said.first), last: now });
    }

    /// When the next look is due; `None` while there is nothing to look at.
    pub(crate) fn due(&self) -> Option<Instant> {
        let said = self.said?;
        let due = (said.last + self.quiet).min(said.first + self.longest);
        Some(self.not_before.map_or(due, |earliest| earliest.max(due)))
    }

    /// Waits until the next look is due, for ever where there is nothing to look at. May be given up and begun again.
    pub(crate) async fn wait(&self) {
        match self.due() {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// The look begins: what is said from now on is for the next one, which may be due when this one is over.
    pub(crate) fn begin(&mut self) {
        self.said = None;
    }

    /// The look is over. Where it followed another the next one leaves as much time to others as it `took`, within limits.
    pub(crate) fn rest(&mut self, now: Instant, took: Duration) {
        let one_of_many = self.over.is_some_and(|over| now < over + MANY + took);
        self.not_before = one_of_many.then(|| now + took.min(LONGEST_REST));
        self.over = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_millis(300);

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn due_when_it_is_quiet_again() {
        let (start, mut changes) = (Instant::now(), Coalescer::new(QUIET, LONGEST));
        assert_eq!(changes.due(), None);
        changes.note(start);
        assert_eq!(changes.due(), Some(after(start, 50)));
        changes.note(after(start, 40));
        assert_eq!(changes.due(), Some(after(start, 90)));
        changes.begin();
        assert_eq!(changes.due(), None);
    }

    #[test]
    fn a_storm_is_looked_at_while_it_lasts() {
        let (start, mut changes) = (Instant::now(), Coalescer::new(QUIET, LONGEST));
        for millis in (0..1000).step_by(10) {
            changes.note(after(start, millis));
        }
        assert_eq!(changes.due(), Some(after(start, 300)));
    }

    #[test]
    fn a_look_that_follows_another_is_followed_by_a_rest() {
        let (start, mut changes) = (Instant::now(), Coalescer::new(QUIET, LONGEST));
        changes.rest(start - Duration::from_millis(200), Duration::from_millis(70));
        changes.note(start);
        assert_eq!(changes.due(), Some(after(start, 50)), "the first came alone");
        changes.begin();
        changes.rest(start, Duration::from_millis(70));
        assert_eq!(changes.due(), None);
        changes.note(start);
        assert_eq!(changes.due(), Some(after(start, 70)), "quiet after 50, but not before the rest is over");
        changes.rest(start, Duration::from_secs(4));
        assert_eq!(changes.due(), Some(after(start, 100)));
        changes.begin();
        changes.rest(after(start, 400), Duration::from_millis(70));
        changes.note(after(start, 400));
        assert_eq!(changes.due(), Some(after(start, 450)), "it was quiet for a while");
    }
}
