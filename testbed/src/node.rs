//! One boot of the emulated node, for one job: starts QEMU, hands its events on, and sees to its end.
//! Nothing outlives it: dropping a [`Node`] ends QEMU and removes its folder, and so does the end of this process.

use std::fs;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use anyhow::ensure;

use crate::event::Event;
use crate::event::Line;
use crate::event::Outcome;
use crate::image::Image;
use crate::initramfs;
use crate::qemu::Machine;
use crate::qmp::Qmp;
use crate::scratch::Scratch;

/// What to run in the node.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// One of the guest's jobs.
    pub name: &'a str,
    /// Only cases whose name contains this.
    pub filter: Option<&'a str>,
    /// Whether the node has an IOMMU.
    pub iommu: bool,
    /// After this the node is given up. A loaded host makes everything three times slower.
    pub limit: Duration,
}

impl Default for Job<'_> {
    fn default() -> Self {
        Self { name: "smoke", filter: None, iommu: true, limit: Duration::from_mins(10) }
    }
}

/// A running node.
pub struct Node {
    qemu: Child,
    wire: BufReader<UnixStream>,
    qmp: Qmp,
    scratch: Scratch,
    started: Instant,
    deadline: Instant,
    passed: usize,
    failed: usize,
}

/// How a node's run ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The job's exit status; none if the guest died without writing one.
    pub status: Option<i32>,
    /// Cases that passed.
    pub cases_passed: usize,
    /// Cases that failed.
    pub cases_failed: usize,
    /// From QEMU's start to its end.
    pub elapsed: Duration,
    /// The run's folder (`console.log`, `qemu.log`, `out/`), if it was kept: always after a failure.
    pub folder: Option<PathBuf>,
}

impl Finished {
    /// Whether the job ended well and no case failed.
    pub fn passed(&self) -> bool {
        self.status == Some(0) && self.cases_failed == 0
    }
}

impl Node {
    /// Starts the node. `share` is a folder that the guest sees read-only at `/share`; it holds the guest program
    /// itself, as `guest`, and whatever the job runs.
    pub fn boot(image: &Image, share: &Path, job: &Job<'_>) -> Result<Self> {
        let parameters = match job.filter {
            Some(filter) => format!("tb.run={} tb.filter={}", word(job.name)?, word(filter)?),
            None => format!("tb.run={}", word(job.name)?),
        };
        let scratch = Scratch::new("node")?;
        let folder = scratch.path();
        let out = folder.join("out");
        fs::create_dir(&out)?;
        let initramfs = folder.join("initramfs");
        initramfs::write(&initramfs, &share.join("guest"), &image.kernel.boot_modules)?;
        let machine = Machine {
            vmlinux: &image.kernel.vmlinux,
            initramfs: &initramfs,
            root: &image.root,
            modules: &image.kernel.modules,
            share,
            out: &out,
            console: &folder.join("console.log"),
            parameters: &parameters,
            iommu: job.iommu,
        };

        let (wire, qemu_wire) = UnixStream::pair()?;
        let (qmp, qemu_qmp) = UnixStream::pair()?;
        // The kernel ends QEMU when we end, even by SIGKILL: setpriv asks for that, then becomes QEMU.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]).args(machine.arguments());
        command.stdin(OwnedFd::from(qemu_wire)).stdout(OwnedFd::from(qemu_qmp));
        let started = Instant::now();
        let log = File::create(folder.join("qemu.log"))?;
        let qemu = command.stderr(Stdio::from(log)).spawn().context("cannot start QEMU")?;
        Ok(Self {
            qemu,
            wire: BufReader::new(wire),
            qmp: Qmp::new(qmp)?,
            scratch,
            started,
            deadline: started + job.limit,
            passed: 0,
            failed: 0,
        })
    }

    /// The next event; none when the node is over. Requests for changes to the hardware are served in between.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        while let Some(line) = self.read_line()? {
            match Line::parse(&line)? {
                Line::Qmp(command) => {
                    let reply = self.qmp.execute(&command)?;
                    self.wire
                        .get_mut()
                        .write_all(format!("{reply}\n").as_bytes())
                        .context("cannot answer the guest")?;
                }
                Line::Event(event) => {
                    if let Event::Case { outcome, .. } = &event {
                        self.passed += usize::from(*outcome == Outcome::Pass);
                        self.failed += usize::from(*outcome == Outcome::Fail);
                    }
                    return Ok(Some(event));
                }
            }
        }
        Ok(None)
    }

    /// Keeps the run's folder even after success.
    pub fn keep(&mut self) {
        self.scratch.keep();
    }

    /// The run's folder: `console.log`, `qemu.log`, and in `out/` what the guest wrote to `/out`.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Waits for the end, which follows the last event at once.
    pub fn finish(mut self) -> Result<Finished> {
        while self.next_event()?.is_some() {}
        self.qemu.wait().context("cannot wait for QEMU")?;
        let status = fs::read_to_string(self.folder().join("out/status")).ok();
        let status = status.and_then(|text| text.trim().parse().ok());
        let finished = Finished {
            status,
            cases_passed: self.passed,
            cases_failed: self.failed,
            elapsed: self.started.elapsed(),
            folder: None,
        };
        if status.is_none() {
            let last_words = self.last_words();
            self.keep();
            bail!("the node ended without a status; its folder is {}\n{last_words}", self.folder().display());
        }
        if !finished.passed() {
            self.keep();
        }
        let folder = self.scratch.is_kept().then(|| self.folder().to_owned());
        Ok(Finished { folder, ..finished })
    }

    fn read_line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let left = self.deadline.saturating_duration_since(Instant::now());
        let read = if left.is_zero() {
            Err(std::io::ErrorKind::TimedOut.into())
        } else {
            self.wire.get_ref().set_read_timeout(Some(left))?;
            self.wire.read_line(&mut line)
        };
        match read {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line)),
            Err(error) => {
                let last_words = self.last_words();
                self.keep();
                let folder = self.folder().display();
                Err(error).with_context(|| {
                    format!("the node said nothing before its limit; see {folder}\n{last_words}")
                })
            }
        }
    }

    /// The ends of QEMU's errors and of the guest's console.
    fn last_words(&self) -> String {
        let mut words = String::new();
        for name in ["qemu.log", "console.log"] {
            let bytes = fs::read(self.folder().join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(20)..] {
                words.extend(["  ", name, ": ", line, "\n"]);
            }
        }
        words
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Over already in the good case; both calls then do nothing.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// The kernel's command line is split at blanks, and a quote would join words.
fn word(text: &str) -> Result<&str> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    ensure!(!text.is_empty() && text.bytes().all(plain), "{text:?} does not fit on a kernel command line");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_one_word() {
        assert!(word("vlan/same").is_ok());
        assert!(word("two words").is_err());
        assert!(word("").is_err());
    }
}
