//! Who is measured: a binary as a container runtime runs it, or the kernel alone.
//! It must not print.

use std::io::Write;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testkit::runtime::Invocation;

use crate::memory;
use crate::node::{IN_POD, Node, ON_HOST};

/// What is measured, in this order. VERSION does nothing, so that it tells what starting and ending a process costs.
pub(crate) const COMMANDS: [&str; 3] = ["VERSION", "ADD", "DEL"];

/// One that takes its turn in every round.
pub(crate) struct Subject {
    kind: Kind,
    samples: [Vec<Duration>; COMMANDS.len()],
    peak_kib: [Option<u32>; COMMANDS.len()],
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
        Self { kind, samples: Default::default(), peak_kib: Default::default() }
    }

    pub(crate) fn name(&self) -> &str {
        match &self.kind {
            Kind::Binary(binary) => &binary.name,
            Kind::BareMove => "bare move",
        }
    }

    /// How long each round's `command` took; nothing for what the subject does not have.
    pub(crate) fn samples(&self, command: &str) -> &[Duration] {
        &self.samples[position(command)]
    }

    /// The peak resident set in KiB.
    pub(crate) fn peak_kib(&self, command: &str) -> Option<u32> {
        self.peak_kib[position(command)]
    }

    /// Every command once, timed. Before and after each the link is looked for where it has to be.
    pub(crate) fn round(&mut self, node: &mut Node) -> Result<()> {
        if let Kind::Binary(binary) = &self.kind {
            let took = binary.time("VERSION", node)?;
            self.samples[position("VERSION")].push(took);
        }
        for command in ["ADD", "DEL"] {
            let link = node.ready(command)?;
            let took = match &self.kind {
                Kind::Binary(binary) => binary.time(command, node)?,
                Kind::BareMove => time(|| node.bare(command, link.index))?,
            };
            self.samples[position(command)].push(took);
        }
        Ok(())
    }

    /// ADD and DEL once, for their peak memory; apart from the timed rounds, which tracing would slow down.
    pub(crate) fn weigh(&mut self, node: &mut Node) -> Result<()> {
        let Kind::Binary(binary) = &self.kind else { return Ok(()) };
        for command in ["ADD", "DEL"] {
            node.ready(command)?;
            let invocation = binary.invocation(command, node);
            let mut child = binary.start(&invocation)?;
            // It cannot end before its standard input does.
            let watched = memory::Watched::seize(&child)?;
            send(&mut child, &invocation)?;
            let kib = watched.peak_kib()?;
            binary.finish(command, child)?;
            let peak = &mut self.peak_kib[position(command)];
            *peak = Some(peak.unwrap_or_default().max(kib));
        }
        Ok(())
    }
}

impl Binary {
    /// From before the fork to after the end, with all that it said read.
    fn time(&self, command: &str, node: &Node) -> Result<Duration> {
        let invocation = self.invocation(command, node);
        time(|| {
            let mut child = self.start(&invocation)?;
            send(&mut child, &invocation)?;
            self.finish(command, child)
        })
    }

    fn invocation(&self, command: &str, node: &Node) -> Invocation {
        let conf = json!({"cniVersion": "1.0.0", "name": "bench", "type": "host-device", "device": ON_HOST});
        Invocation::attachment(command, "bench", &node.pod_path().to_string_lossy(), IN_POD)
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
