//! The jobs that a node is booted for, by name, and how their cases are run.
//! A case is one sentence that holds or does not; a job is a list of cases on one node, sharing what it set up.

use std::any::Any;
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use serde_json::Value;

use crate::report;
use crate::report::Outcome;

mod alive;
mod bench_sriov;
mod demo;
mod device_plugin;
mod host_device;
mod no_iommu;
mod reconcile;
mod smoke;
mod sriov;

/// A job: sets up what its cases share and runs them. Its own error is reported as one more failed case.
type Job = fn(&mut Cases) -> Result<()>;

const JOBS: &[(&str, Job)] = &[
    ("alive", alive::run),
    ("bench-sriov", bench_sriov::run),
    ("demo", demo::run),
    ("device-plugin", device_plugin::run),
    ("host-device", host_device::run),
    ("no-iommu", no_iommu::run),
    ("reconcile", reconcile::run),
    ("smoke", smoke::run),
    ("sriov", sriov::run),
];

/// Runs a job; fails if one of its cases did.
pub(crate) fn run(name: &str, filter: Option<&str>) -> ExitCode {
    if let Err(error) = report::open() {
        // By hand, in a shell: the lines go to stdout.
        eprintln!("{error:#}");
    }
    // Only the hook learns where a panic was; the console is kept with the results.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        PLACE.set(panic.location().map(ToString::to_string).unwrap_or_default());
    }));
    let mut cases = Cases { job: name.to_owned(), filter: filter.map(str::to_owned), failed: 0 };
    match JOBS.iter().find(|(job, _)| *job == name) {
        Some((_, job)) => cases.guarded("the job itself", Shown::Failure, job),
        None => cases.failed(&format!("no such job; there are {}", names())),
    }
    if cases.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The names of all jobs.
pub(crate) fn names() -> String {
    JOBS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Runs the cases of one job and reports each as it ends.
pub(crate) struct Cases {
    job: String,
    filter: Option<String>,
    failed: usize,
}

/// Whether a success is worth a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Always,
    Failure,
}

impl Cases {
    /// Runs one case unless the filter leaves it out. It passes if `body` returns `Ok`; what that holds is shown.
    /// An error or a panic (`assert!` is fine) fails it, and the job goes on.
    ///
    /// Returns whether the case failed not; those that were left out count as well.
    pub(crate) fn run<D: Detail>(&mut self, name: &str, body: impl FnOnce() -> Result<D>) -> bool {
        if !self.wants(name) {
            return true;
        }
        let before = self.failed;
        self.guarded(name, Shown::Always, |_| body());
        self.failed == before
    }

    /// Whether the filter lets this case through; asked before an expensive set-up for one case alone.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| format!("{}/{name}", self.job).contains(filter))
    }

    /// Runs a case that takes too long for every day: only where the filter is there and lets it through.
    pub(crate) fn run_if_asked<D: Detail>(&mut self, name: &str, body: impl FnOnce() -> Result<D>) {
        if self.filter.is_some() {
            self.run(name, body);
        }
    }

    /// Reports a fact that nothing is asserted of.
    pub(crate) fn info(&self, name: &str, detail: &str) {
        self.report(name, Outcome::Info, detail, Duration::ZERO);
    }

    fn guarded<D: Detail>(&mut self, name: &str, shown: Shown, body: impl FnOnce(&mut Self) -> Result<D>) {
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| body(self)));
        match result {
            Ok(Ok(_)) if shown == Shown::Failure => {}
            Ok(Ok(detail)) => self.report(name, Outcome::Pass, &detail.text(), started.elapsed()),
            Ok(Err(error)) => self.fail(name, &format!("{error:#}"), started.elapsed()),
            Err(panic) => {
                let place = PLACE.take();
                self.fail(
                    name,
                    &format!("panicked at {place}: {}", message(panic.as_ref())),
                    started.elapsed(),
                );
            }
        }
    }

    fn failed(&mut self, detail: &str) {
        self.fail("the job itself", detail, Duration::ZERO);
    }

    fn fail(&mut self, name: &str, detail: &str, took: Duration) {
        self.failed += 1;
        self.report(name, Outcome::Fail, detail, took);
    }

    fn report(&self, name: &str, outcome: Outcome, detail: &str, took: Duration) {
        let name = format!("{}/{name}", self.job);
        if let Err(error) = report::case(&name, outcome, detail, took) {
            // The host sees the end of the line, and counts a missing status as a failure.
            eprintln!("{name}: {error:#}");
        }
    }
}

thread_local! {
    /// Where the last panic was.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// What a case may return to be shown beside its name.
pub(crate) trait Detail {
    fn text(&self) -> String;
}

impl Detail for () {
    fn text(&self) -> String {
        String::new()
    }
}

impl Detail for &str {
    fn text(&self) -> String {
        (*self).to_owned()
    }
}

impl Detail for String {
    fn text(&self) -> String {
        self.clone()
    }
}

impl Detail for Value {
    fn text(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn cases(filter: Option<&str>) -> Cases {
        Cases { job: "job".to_owned(), filter: filter.map(str::to_owned), failed: 0 }
    }

    #[test]
    fn errors_and_panics_fail_the_case_and_the_job_goes_on() {
        let mut cases = cases(None);
        assert!(!cases.run("error", || -> Result<()> { bail!("no") }));
        assert!(!cases.run("panic", || -> Result<()> { panic!("no") }));
        assert!(cases.run("fine", || Ok("detail")));
        assert_eq!(cases.failed, 2);
    }

    #[test]
    fn the_filter_looks_at_the_whole_name() {
        let mut cases = cases(Some("b/vl"));
        assert!(cases.wants("vlan"));
        assert!(!cases.wants("mac"));
        assert!(cases.run("mac", || -> Result<()> { bail!("not run") }));
    }
}
