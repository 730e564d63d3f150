//! Who is measured: a binary as a container runtime runs it, or the kernel alone.
//! It must not print.

use std::io::Write;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;
use testkit::runtime::Invocation;

use crate::node::{IN_POD, Lane};
use benches::memory::{Peak, Watched};

/// What is measured, in this order. VERSION does nothing, so that it tells what starting and ending a process costs.
pub(crate) const COMMANDS: [&str; 3] = ["VERSION", "ADD", "DEL"];

/// One that takes its turn in every round.
pub(crate) struct Subject {
    kind: Kind,
    samples: [Vec<Duration>; COMMANDS.len()],
    peaks: [Option<Peak>; COMMANDS.len()],
}

enum Kind {
    Binary(Binary),
    BareMove,
}

/// A `host-device` plugin.
pub(crate) struct Binary {
    /// What it is called in the figures.
    pub(crate) name: String,
    /// The program.
    pub(crate) path: PathBuf,
    /// Where it may keep records.
    pub(crate) state: PathBuf,
}

impl Subject {
    /// A plugin.
    pub(crate) fn binary(binary: Binary) -> Self {
        Self::of(Kind::Binary(binary))
    }

    /// The kernel's work alone: one message from a process that runs already. Nothing that moves a link can be faster.
    pub(crate) fn bare_move() -> Self {
        Self::of(Kind::BareMove)
    }

    fn of(kind: Kind) -> Self {
        Self { kind, samples: Default::default(), peaks: Default::default() }
    }

    pub(crate) fn name(&self) -> &str {
        match &self.kind {
            Kind::Binary(binary) => &binary.name,
            Kind::BareMove => "bare move",
        }
    }

    /// How long each `command` took; nothing for what the subject does not have.
    pub(crate) fn samples(&self, command: &str) -> &[Duration] {
        &self.samples[position(command)]
    }

    /// What it took of memory at most.
    pub(crate) fn peak(&self, command: &str) -> Option<Peak> {
        self.peaks[position(command)]
    }

    /// Forgets the times; what it took of memory stays.
    pub(crate) fn forget(&mut self) {
        self.samples = Default::default();
    }

    /// Every command once in each lane, all lanes at the same time, timed. Before and after each the link is looked for where
    /// it has to be.
    pub(crate) fn round(&mut self, lanes: &mut [Lane]) -> Result<()> {
        if let Kind::Binary(binary) = &self.kind {
            let took = at_once(lanes, |lane| binary.time("VERSION", lane))?;
            self.samples[position("VERSION")].extend(took);
        }
        for command in ["ADD", "DEL"] {
            let ready: Result<Vec<u32>> =
                lanes.iter_mut().map(|lane| Ok(lane.ready(command)?.index)).collect();
            let mut work: Vec<(&mut Lane, u32)> = lanes.iter_mut().zip(ready?).collect();
            rest(self.samples(command).len());
            let took = at_once(&mut work, |(lane, index)| match &self.kind {
                Kind::Binary(binary) => binary.time(command, lane),
                Kind::BareMove => time(|| lane.bare(command, *index)),
            })?;
            self.samples[position(command)].extend(took);
        }
        Ok(())
    }

    /// ADD and DEL once, for their peak memory; apart from the timed rounds, which tracing would slow down.
    pub(crate) fn weigh(&mut self, lane: &mut Lane) -> Result<()> {
        let Kind::Binary(binary) = &self.kind else { return Ok(()) };
        for command in ["ADD", "DEL"] {
            lane.ready(command)?;
            let invocation = binary.invocation(command, lane);
            let mut child = binary.start(&invocation)?;
            // It cannot end before its standard input does.
            let watched = Watched::seize(&child)?;
            send(&mut child, &invocation)?;
            let took = watched.peak()?;
            binary.finish(command, child)?;
            let peak = &mut self.peaks[position(command)];
            *peak = Some(peak.unwrap_or_default().max(took));
        }
        Ok(())
    }
}

/// Lets the kernel rest before a turn. A move waits for all that was to be freed by then (`rcu_barrier` in
/// `__dev_change_net_namespace`, net/core/dev.c of Linux 6.12), in steps of its tick: without a rest, for what the turn before
/// left behind. In thirds of a millisecond it is another each time, so that no turn begins at the same place between two ticks.
#[expect(clippy::disallowed_methods, reason = "the kernel does not say when it has freed everything")]
fn rest(turns: usize) {
    const REST: Duration = Duration::from_millis(60);
    const TICKS: Duration = Duration::from_millis(10);
    const PARTS: u32 = 30;
    let part = u32::try_from(turns).unwrap_or_default().wrapping_mul(7) % PARTS;
    std::thread::sleep(REST + TICKS * part / PARTS);
}

/// Does `work` in every lane, all beginning together. One lane needs no thread of its own.
fn at_once<L: Send>(
    lanes: &mut [L],
    work: impl Fn(&mut L) -> Result<Duration> + Sync,
) -> Result<Vec<Duration>> {
    if let [lane] = lanes {
        return Ok(vec![work(lane)?]);
    }
    let start = Barrier::new(lanes.len());
    std::thread::scope(|scope| {
        let begin = |lane| {
            let (start, work) = (&start, &work);
            // A thread begins in the network namespace of the one that starts it.
            scope.spawn(move || {
                start.wait();
                work(lane)
            })
        };
        let threads: Vec<_> = lanes.iter_mut().map(begin).collect();
        let ended = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.map(|ended| ended.map_err(|_| anyhow!("a lane's thread panicked"))?).collect()
    })
}

impl Binary {
    /// From before the fork to after the end, with all that it said read.
    fn time(&self, command: &str, lane: &Lane) -> Result<Duration> {
        let invocation = self.invocation(command, lane);
        time(|| {
            let mut child = self.start(&invocation)?;
            send(&mut child, &invocation)?;
            self.finish(command, child)
        })
    }

    fn invocation(&self, command: &str, lane: &Lane) -> Invocation {
        let conf =
            json!({"cniVersion": "1.0.0", "name": "bench", "type": "host-device", "device": lane.on_host});
        let id = format!("bench-{}", lane.on_host);
        Invocation::attachment(command, &id, &lane.pod_path.to_string_lossy(), IN_POD)
            .env("SLUICE_STATE_DIR", self.state.to_string_lossy())
            .conf(&conf)
    }

    fn start(&self, invocation: &Invocation) -> Result<Child> {
        invocation
            .process(&self.path)
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))
    }

    fn finish(&self, command: &str, child: Child) -> Result<()> {
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
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

fn time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn position(command: &str) -> usize {
    COMMANDS.iter().position(|known| *known == command).unwrap_or_default()
}
