//! Boots the emulated node for a job and shows what comes out of it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use anyhow::Result;
use anyhow::anyhow;
use testbed::Event;
use testbed::Finished;
use testbed::Image;
use testbed::Job;
use testbed::Node;
use testbed::Scratch;

use crate::cargo;

/// The job that looks over the node itself and runs none of our programs.
pub(crate) const SMOKE: &str = "smoke";

/// The job for a node without an IOMMU.
pub(crate) const NO_IOMMU: &str = "no-iommu";

/// A job on the hardware that it is about.
pub(crate) fn job<'a>(name: &'a str, filter: Option<&'a str>) -> Job<'a> {
    Job { name, filter, iommu: name != NO_IOMMU, ..Job::default() }
}

/// What it takes to boot a node any number of times.
pub(crate) struct Rig {
    image: Image,
    share: Scratch,
}

impl Rig {
    /// Builds the programs and, the first time, the node; side by side, for that one waits for downloads a lot.
    pub(crate) fn set_up(programs: &[&str]) -> Result<Self> {
        Scratch::sweep();
        eprintln!("Preparing the emulated node, and building what runs in it");
        std::thread::scope(|scope| {
            let image = scope.spawn(Image::prepare);
            let share = cargo::share(programs);
            let image = image.join().map_err(|_| anyhow!("preparing the node panicked"))?;
            Ok(Self { image: image?, share: share? })
        })
    }

    /// Gives the node one more program, as `/share/NAME`.
    pub(crate) fn add(&self, program: &Path, name: &str) -> Result<()> {
        let to = self.share.path().join(name);
        fs::create_dir_all(to.parent().unwrap_or(self.share.path()))?;
        fs::copy(program, &to).with_context(|| format!("cannot copy {} for the node", program.display()))?;
        Ok(())
    }

    /// Runs one job, handing each event to `show` as it comes.
    pub(crate) fn run(&self, job: &Job<'_>, mut show: impl FnMut(&Event)) -> Result<Finished> {
        let mut node = Node::boot(&self.image, self.share.path(), job)?;
        while let Some(event) = node.next_event()? {
            show(&event);
        }
        node.finish()
    }
}

/// `node JOB`: every event on stdout.
pub(crate) fn run(job: &str, filter: Option<&str>) -> Result<ExitCode> {
    let rig = Rig::set_up(if job == SMOKE { &[] } else { cargo::PROGRAMS })?;
    let finished = rig.run(&self::job(job, filter), print)?;
    println!(
        "{} passed, {} failed, {:.1} s",
        finished.cases_passed,
        finished.cases_failed,
        finished.elapsed.as_secs_f64()
    );
    Ok(conclude(&finished))
}

/// `demo`: the story alone; a case only if it failed.
pub(crate) fn demo() -> Result<ExitCode> {
    let rig = Rig::set_up(cargo::PROGRAMS)?;
    eprintln!("Booting the emulated node");
    let finished = rig.run(&Job { name: "demo", ..Job::default() }, |event| {
        if matches!(event, Event::Story(_) | Event::Case { outcome: testbed::Outcome::Fail, .. }) {
            print(event);
        }
    })?;
    Ok(conclude(&finished))
}

pub(crate) fn print(event: &Event) {
    // A reader that closed the pipe has seen enough; the run still ends with its own status.
    let _ = writeln!(std::io::stdout(), "{event}");
}

fn conclude(finished: &Finished) -> ExitCode {
    if let Some(folder) = &finished.folder {
        eprintln!("kept for a look: {}", folder.display());
    }
    if finished.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
