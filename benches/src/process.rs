//! A plugin's binary, run as a container runtime runs it: how long that takes, and how much memory.
//! It must not know which plugin it is.

use std::io::Write;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::runtime::Invocation;

use crate::memory;

/// One binary under comparison.
#[derive(Clone, Debug)]
pub struct Binary {
    /// What it is called in the figures.
    pub name: String,
    /// The program.
    pub path: PathBuf,
}

impl Binary {
    /// Reads `NAME=PATH`.
    pub fn parse(value: &str) -> Result<Self> {
        let (name, path) = value.split_once('=').context("wanted --binary=NAME=PATH")?;
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "{name}: there is no {}", path.display());
        Ok(Self { name: name.to_owned(), path })
    }

    /// From before the fork to after the end, with all that it said read.
    pub fn time(&self, invocation: &Invocation) -> Result<Duration> {
        time(|| self.finish(invocation, self.start(invocation)?))
    }

    /// All at once: until the last has ended.
    pub fn time_all(&self, invocations: &[Invocation]) -> Result<Duration> {
        time(|| {
            let started: Vec<Child> =
                invocations.iter().map(|invocation| self.start(invocation)).collect::<Result<_>>()?;
            // All are waited for, so that none is left to run into what comes next.
            let ended: Vec<Result<()>> = invocations
                .iter()
                .zip(started)
                .map(|(invocation, child)| self.finish(invocation, child))
                .collect();
            ended.into_iter().collect()
        })
    }

    /// The peak resident set of one run, apart from the timed ones, which tracing would slow down.
    pub fn peak_kib(&self, invocation: &Invocation) -> Result<u32> {
        let mut child = self.spawn(invocation)?;
        // It cannot end before its standard input does.
        let watched = memory::Watched::seize(&child)?;
        send(&mut child, invocation)?;
        let kib = watched.peak()?.resident;
        self.finish(invocation, child)?;
        Ok(kib)
    }

    fn start(&self, invocation: &Invocation) -> Result<Child> {
        let mut child = self.spawn(invocation)?;
        send(&mut child, invocation)?;
        Ok(child)
    }

    fn spawn(&self, invocation: &Invocation) -> Result<Child> {
        let started = invocation.process(&self.path).spawn();
        started.with_context(|| format!("cannot start {}", self.path.display()))
    }

    fn finish(&self, invocation: &Invocation, child: Child) -> Result<()> {
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let command = invocation.command.as_deref().unwrap_or_default();
        ensure!(output.status.success(), "{} {command} failed: {said}", self.name);
        Ok(())
    }
}

/// The configuration is smaller than a pipe holds, so that this never waits.
fn send(child: &mut Child, invocation: &Invocation) -> Result<()> {
    let mut stdin = child.stdin.take().context("no standard input")?;
    // VERSION does not read it.
    let _ = stdin.write_all(&invocation.stdin);
    Ok(())
}

/// How long `work` takes.
pub fn time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}
