//! Kill a process right before its Nth system call that changes something: every boundary at which a crash can fall.
//! It must not guess where those are: it traces them.
#![allow(clippy::expect_used, reason = "a test ends where its tools fail")]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What a traced process did.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The changing system calls that it began, in order.
    pub calls: Vec<&'static str>,
    /// True where it was killed before the call that was named.
    pub killed: bool,
    /// The exit code; `None` after a kill.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
}

/// Runs `arguments[0]` with `environment` on `stdin` and kills it when it begins its `before`th changing call, counted from
/// 0 and from the moment at which it runs `binary`: what leads there, `ip netns exec` say, does not count. `None` only
/// traces.
///
/// # Panics
/// Where the process cannot be started or traced.
pub fn run(
    arguments: &[&str],
    environment: &[(String, String)],
    stdin: &[u8],
    binary: &Path,
    before: Option<usize>,
) -> Trace {
    // The shell stops itself, so that it can be seized before it becomes what is to be traced.
    let mut child = Command::new("sh")
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start sh");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(stdin).expect("a configuration fits into a pipe");
    drop(input);
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    let mut trace = Trace { calls: Vec::new(), killed: false, code: None, stdout: String::new() };
    follow(pid, binary, before, &mut trace);
    let mut output = child.stdout.take().expect("a pipe");
    output.read_to_string(&mut trace.stdout).expect("text on stdout");
    // Reaped already by the tracer; this only tells the handle.
    let _ = child.wait();
    trace
}

fn follow(pid: Pid, binary: &Path, before: Option<usize>, trace: &mut Trace) {
    waitpid(pid, Some(WaitPidFlag::WUNTRACED)).expect("the shell stops itself");
    ptrace::seize(
        pid,
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL,
    )
    .expect("ptrace needs root");
    kill(pid, Signal::SIGCONT).expect("continue the shell");
    let mut entering = true;
    let mut inside = false;
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)).expect("wait for the traced process") {
            WaitStatus::Exited(_, code) => {
                trace.code = Some(code);
                return;
            }
            WaitStatus::Signaled(..) => return,
            WaitStatus::PtraceSyscall(_) => {
                let call = entering.then(|| changing(pid)).flatten().filter(|_| inside);
                entering = !entering;
                if let Some(call) = call {
                    if before == Some(trace.calls.len()) {
                        trace.killed = true;
                        kill(pid, Signal::SIGKILL).expect("kill the traced process");
                        // It dies at this stop: the call is not made.
                        let _ = waitpid(pid, Some(WaitPidFlag::__WALL));
                        return;
                    }
                    trace.calls.push(call);
                }
            }
            // The stop of an exec comes between its entry and its exit.
            WaitStatus::PtraceEvent(..) => {
                inside |= fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary);
            }
            WaitStatus::Stopped(_, signal) if signal != Signal::SIGCONT && signal != Signal::SIGTRAP => {
                let _ = ptrace::syscall(pid, signal);
                continue;
            }
            _ => {}
        }
        if ptrace::syscall(pid, None).is_err() {
            return;
        }
    }
}

/// The name of the call that the process is about to make, where that call can change something. Asking netlink looks like
/// changing from here and is counted too: more boundaries, not fewer.
fn changing(pid: Pid) -> Option<&'static str> {
    let line = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let mut words = line.split(' ');
    let number: i64 = words.next()?.parse().ok()?;
    let (_, name) = CHANGING.iter().find(|(found, _)| *found == number)?;
    let flags = words.nth(2).and_then(|word| i32::from_str_radix(word.trim_start_matches("0x"), 16).ok())?;
    let only_reads =
        number == libc::SYS_openat && flags & (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT) == 0;
    (!only_reads).then_some(name)
}

const CHANGING: &[(i64, &str)] = &[
    (libc::SYS_write, "write"),
    (libc::SYS_writev, "writev"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_setns, "setns"),
    (libc::SYS_clone, "clone"),
    (libc::SYS_clone3, "clone3"),
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_symlinkat, "symlinkat"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_mkdirat, "mkdirat"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, "rename"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, "mkdir"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// `dd` writes three blocks, each by one call.
    fn dd(before: Option<usize>) -> Trace {
        let binary = fs::canonicalize("/bin/dd").expect("coreutils");
        let arguments = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=3", "status=none"];
        let mut trace = run(&arguments, &[], b"", &binary, before);
        trace.calls.retain(|call| *call == "write");
        trace
    }

    #[test]
    fn every_boundary_can_be_hit() {
        let whole = dd(None);
        assert_eq!((whole.calls.len(), whole.code, whole.killed), (3, Some(0), false));
        let killed = dd(Some(0));
        assert_eq!((killed.calls.len(), killed.code, killed.killed), (0, None, true));
    }
}
