//! Waiting for what the kernel or a daemon does in its own time.

use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::bail;

/// Short against what is waited for, long against what a look costs: sysfs reads, no forks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again until `look` finds something; fails after `limit`, naming `what` was waited for.
///
/// The one place that sleeps. sysfs attributes and other programs' sockets have nothing that could be watched instead.
#[expect(clippy::disallowed_methods, reason = "a bounded wait for what sends no event")]
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("no {what} within {} s", limit.as_secs());
        }
        std::thread::sleep(PAUSE);
    }
}
