//! How long after a change the kubelet has heard of it: taken many times, shown as a distribution.
//! It must not fail because it took long; it waits a minute.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use testkit::kubelet::Kubelet;
use testkit::kubelet::State;

use crate::cluster::Cluster;

/// Generous: nothing may fail for a machine that is slow.
const LIMIT: Duration = Duration::from_mins(1);

pub(super) struct Timings<'a> {
    kubelet: &'a Kubelet,
    taken: BTreeMap<String, Vec<Duration>>,
}

impl<'a> Timings<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        Self { kubelet: &cluster.kubelet, taken: BTreeMap::new() }
    }

    /// Makes a change, which is done when `change` returns, and takes the time from then until the kubelet's state is the
    /// `wanted` one; nothing where it was so before.
    pub(super) fn take<T>(
        &mut self,
        what: &str,
        change: impl FnOnce() -> Result<T>,
        wanted: impl Fn(&State) -> bool + Send + Sync,
    ) -> Result<T> {
        let kubelet = self.kubelet;
        let (done, changed, heard) = std::thread::scope(|scope| {
            let heard = scope.spawn(|| kubelet.until(what, LIMIT, wanted).map(|_| Instant::now()));
            let done = change();
            let changed = Instant::now();
            (done, changed, heard.join())
        });
        let done = done.with_context(|| what.to_owned())?;
        let heard = heard.map_err(|_| anyhow::anyhow!("the thread that waited for {what} panicked"))??;
        self.taken.entry(what.to_owned()).or_default().push(heard.saturating_duration_since(changed));
        Ok(done)
    }

    /// A line for each change, in milliseconds.
    pub(super) fn table(&self) -> String {
        let mut lines = vec![format!(
            "{:<24} {:>5} {:>7} {:>7} {:>7} {:>7}",
            "change", "times", "min", "p50", "p99", "max"
        )];
        for (what, taken) in self.taken.iter().filter(|(what, _)| *what != "before") {
            let mut sorted = taken.clone();
            sorted.sort_unstable();
            let at = |part: usize| sorted[(sorted.len() - 1) * part / 100].as_millis();
            // Of so few the 99th of a hundred is the last.
            let p99 = sorted[(sorted.len() * 99).div_ceil(100) - 1].as_millis();
            lines.push(format!(
                "{what:<24} {:>5} {:>7} {:>7} {p99:>7} {:>7}",
                sorted.len(),
                at(0),
                at(50),
                at(100)
            ));
        }
        lines.join("\n")
    }
}
