//! Programs, run to their end or beside the caller.

use std::fs;
use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::watch;

/// How long a program that was asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// What a program that has ended left behind.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// The exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }
}

/// Runs a program whose failure is an answer, too.
pub(crate) fn attempt(command: &mut Command) -> Result<Done> {
    let output = command.output().with_context(|| format!("cannot start {}", line(command)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Done { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// Runs a program that must succeed, and returns its stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = attempt(command)?;
    if !done.succeeded() {
        let words = format!("{}\n{}", done.stderr.trim(), done.stdout.trim());
        bail!("`{}` failed with {:?}: {}", line(command), done.code, words.trim());
    }
    Ok(done.stdout)
}

/// [`output`] for programs that are run for what they do.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A program that runs beside the caller, its output in a file. Dropping it kills it.
pub(crate) struct Background {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Background {
    /// Starts it. stdin is empty; stdout and stderr go to one file under /out, kept with the results.
    pub(crate) fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = PathBuf::from(format!("/out/{:02}-{name}.log", NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {}", line(command)))?;
        Ok(Self { name: name.to_owned(), child, output: path })
    }

    /// What it has written so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Waits until `found` sees what it looks for in the output; fails if the program ends before.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut found: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        watch::until(&format!("{what} from {}", self.name), limit, || {
            // Asked first: what was written before the end is all in the file by then.
            let ended = self.child.try_wait()?;
            let text = self.text();
            match (found(&text), ended) {
                (Some(value), _) => Ok(Some(value)),
                (None, None) => Ok(None),
                (None, Some(status)) => {
                    bail!("{} ended ({status}) without {what}:\n{}", self.name, text.trim())
                }
            }
        })
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Waits for its end and returns all that it wrote.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<Done> {
        let child = &mut self.child;
        let status = watch::until(&format!("the end of {}", self.name), limit, || Ok(child.try_wait()?))?;
        Ok(Done { code: status.code(), stdout: self.text(), stderr: String::new() })
    }

    /// Asks it to end with SIGINT and returns all that it wrote.
    pub(crate) fn stop(self) -> Result<Done> {
        self.signal(Signal::SIGINT)?;
        self.finish(GRACE)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may be over already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
