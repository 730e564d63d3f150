//! How long after a change the kubelet has heard of it: taken many times, shown run by run and as a distribution.
//! It must not fail because one run took long: it waits a minute, and holds the median to the promise.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use testkit::kubelet::Kubelet;
use testkit::kubelet::State;

use crate::cluster::Cluster;

/// Generous: nothing may fail for a machine that is slow.
const LIMIT: Duration = Duration::from_mins(1);

/// The promise. The machine is emulated and shared, so that it is the median that must keep it.
pub(super) const PROMISE: Duration = Duration::from_secs(1);

/// From when on the time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// From before the write that causes the change.
    Cause,
    /// From when sysfs shows the change: what comes before is the hardware's and the kernel's own time, in which nobody can
    /// see it.
    Shown,
}

/// One run: the time from before the cause, and from when the change was to be seen.
#[derive(Clone, Copy, Debug)]
struct Run {
    cause: Duration,
    shown: Duration,
}

pub(super) struct Timings<'a> {
    kubelet: &'a Kubelet,
    taken: BTreeMap<String, (From, Vec<Run>)>,
}

impl<'a> Timings<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        Self { kubelet: &cluster.kubelet, taken: BTreeMap::new() }
    }

    /// Waits until the kubelet's state is the one from which a change is made.
    pub(super) fn before(&self, wanted: impl Fn(&State) -> bool + Send + Sync) -> Result<()> {
        self.kubelet.until("what is there before", LIMIT, wanted).map(|_| ())
    }

    /// Makes a change, which is to be seen when `change` returns, and takes the time until the kubelet's state is the `wanted`
    /// one.
    pub(super) fn take<T>(
        &mut self,
        (what, from): (&str, From),
        change: impl FnOnce() -> Result<T>,
        wanted: impl Fn(&State) -> bool + Send + Sync,
    ) -> Result<T> {
        let kubelet = self.kubelet;
        ensure!(!wanted(&kubelet.state()), "{what}: the kubelet's state is so already");
        let (begun, done, shown, heard) = std::thread::scope(|scope| {
            let heard = scope.spawn(|| kubelet.until(what, LIMIT, wanted).map(|_| Instant::now()));
            let begun = Instant::now();
            let done = change();
            (begun, done, Instant::now(), heard.join())
        });
        let done = done.with_context(|| what.to_owned())?;
        let heard = heard.map_err(|_| anyhow::anyhow!("the thread that waited for {what} panicked"))??;
        let since = |moment| heard.saturating_duration_since(moment);
        let run = Run { cause: since(begun), shown: since(shown) };
        self.taken.entry(what.to_owned()).or_insert((from, Vec::new())).1.push(run);
        Ok(done)
    }

    /// A line for each change, in milliseconds: the times that count, and beside them the others' median.
    pub(super) fn table(&self) -> String {
        let mut lines = vec![format!(
            "{:<24} {:>6} {:>5} {:>6} {:>6} {:>6} | {:>9} | runs in order",
            "change", "from", "times", "min", "p50", "max", "other p50"
        )];
        for (what, (from, taken)) in &self.taken {
            let (counts, other) = match from {
                From::Cause => (times(taken, From::Cause), times(taken, From::Shown)),
                From::Shown => (times(taken, From::Shown), times(taken, From::Cause)),
            };
            let sorted = sorted(&counts);
            let name = if *from == From::Cause { "cause" } else { "shown" };
            let runs: Vec<String> = counts.iter().map(|time| time.as_millis().to_string()).collect();
            lines.push(format!(
                "{what:<24} {name:>6} {:>5} {:>6} {:>6} {:>6} | {:>9} | {}",
                counts.len(),
                sorted[0].as_millis(),
                median(&counts).as_millis(),
                sorted[sorted.len() - 1].as_millis(),
                median(&other).as_millis(),
                runs.join(" ")
            ));
        }
        lines.join("\n")
    }

    /// Each change is in the stream within the promise, by the median of its runs; the longest of all is told.
    pub(super) fn keep_the_promise(&self) -> Result<String> {
        let mut longest = Duration::ZERO;
        for (what, (from, taken)) in &self.taken {
            let times = times(taken, *from);
            let middle = median(&times);
            ensure!(middle <= PROMISE, "{what}: the median is {middle:?}, the promise {PROMISE:?}");
            longest = longest.max(times.into_iter().max().unwrap_or_default());
        }
        Ok(format!("the longest of all took {} ms", longest.as_millis()))
    }
}

fn times(taken: &[Run], from: From) -> Vec<Duration> {
    let time = |run: &Run| if from == From::Cause { run.cause } else { run.shown };
    taken.iter().map(time).collect()
}

fn sorted(times: &[Duration]) -> Vec<Duration> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted
}

pub(super) fn median(times: &[Duration]) -> Duration {
    sorted(times)[(times.len() - 1) / 2]
}
