//! The peak resident set of one process, read at its end while its memory is still there.
//! It must not be used on a process that is timed.
//!
//! Not `ru_maxrss`: an exec carries the peak of the process that forked over into it (`exec_mmap`, fs/exec.c of Linux 6.12),
//! which for a small program is most of the figure.

use std::fs;
use std::process::Child;

use anyhow::{Context, Result, bail};
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What a process took, in KiB.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Peak {
    /// `VmHWM`: with the pages of its program, which every process of that program has in common.
    pub resident: u32,
    /// `RssAnon`: what is its own.
    pub own: u32,
}

/// A process that will stop right before its end.
pub struct Watched {
    pid: Pid,
}

impl Watched {
    /// Watches a process that has not ended yet.
    pub fn seize(child: &Child) -> Result<Self> {
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        ptrace::seize(pid, Options::PTRACE_O_TRACEEXIT).context("cannot trace; this needs root")?;
        Ok(Self { pid })
    }

    /// Waits for its end and reads what it took; the process is then let go.
    pub fn peak(&self) -> Result<Peak> {
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::__WALL))? {
                WaitStatus::PtraceEvent(..) => break,
                WaitStatus::Stopped(_, signal) => ptrace::cont(self.pid, signal)?,
                other => bail!("ended without stopping at its end: {other:?}"),
            }
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let field = |name: &str| -> Result<u32> {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix("kB"));
            Ok(value.with_context(|| format!("no {name} in the status"))?.trim().parse()?)
        };
        let peak = Peak { resident: field("VmHWM:")?, own: field("RssAnon:")? };
        ptrace::detach(self.pid, None)?;
        Ok(peak)
    }
}
