//! The end-to-end tests: the guest's jobs, each on a node of its own, as many nodes at once as the machine carries.
//! It must not know what a job tests; it hands out nodes and counts cases.

use std::fs;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use anyhow::Result;
use testbed::Event;
use testbed::Outcome;

use crate::cargo::PROGRAMS;
use crate::node;
use crate::node::Rig;
use crate::tally::Tally;

/// The longest first, so that none is left to run alone at the end.
const JOBS: &[&str] =
    &["sriov", "host-device", "alive", "reconcile", "demo", "device-plugin", node::NO_IOMMU, node::SMOKE];

/// What a node takes of the host's memory, QEMU's own part in it.
const NODE_KIB: u64 = 4 << 20;

/// Runs every job and counts its cases.
pub(crate) fn run(total: &mut Tally) -> Result<()> {
    let rig = Rig::set_up(PROGRAMS)?;
    let waiting = Mutex::new(JOBS.iter());
    let counted = Mutex::new(std::mem::take(total));
    // A node is emulated by one thread (`testbed/src/qemu.rs`), so that one more than there are processors gains nothing.
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let width = processors.min(room(available_kib())).min(JOBS.len());
    thread::scope(|scope| {
        for _ in 0..width {
            scope.spawn(|| {
                while let Some(job) = next(&waiting) {
                    one(&rig, job, &counted);
                }
            });
        }
    });
    *total = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(())
}

fn next<'a>(waiting: &Mutex<std::slice::Iter<'a, &'static str>>) -> Option<&'a &'static str> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).next()
}

fn one(rig: &Rig, job: &str, counted: &Mutex<Tally>) {
    println!("On the emulated node: {job}");
    let finished = rig.run(&node::job(job, None), |event| {
        // Counted as they come, so that they count even if the node dies later.
        if let Event::Case { outcome, .. } = event {
            count(counted, |total| {
                total.passed += usize::from(*outcome == Outcome::Pass);
                total.failed += usize::from(*outcome == Outcome::Fail);
            });
        }
        node::print(event);
    });
    match finished {
        Ok(finished) => {
            // A job that ends badly between two cases has failed, too.
            count(counted, |total| {
                total.failed += usize::from(!finished.passed() && finished.cases_failed == 0);
            });
            println!("Over after {:.0} s: {job}", finished.elapsed.as_secs_f64());
            if let Some(folder) = finished.folder {
                println!("kept for a look: {}", folder.display());
            }
        }
        Err(error) => count(counted, |total| total.note(job, Err(error))),
    }
}

fn count(counted: &Mutex<Tally>, add: impl FnOnce(&mut Tally)) {
    add(&mut counted.lock().unwrap_or_else(PoisonError::into_inner));
}

/// How many nodes fit, one at least: to try and fail says more than not to try.
fn room(available_kib: u64) -> usize {
    usize::try_from(available_kib / NODE_KIB).unwrap_or(usize::MAX).max(1)
}

/// Free memory and what the kernel would give up for more (proc(5)).
fn available_kib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_to_fit_into_memory() {
        assert_eq!(room(0), 1);
        assert_eq!(room(7 << 20), 1);
        assert_eq!(room(9 << 20), 2);
    }

    #[test]
    fn the_kernel_tells_how_much_is_available() {
        assert!(available_kib() > 0);
    }
}
