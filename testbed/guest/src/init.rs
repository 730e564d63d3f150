//! PID 1 of the node: prepares it, starts the job, reaps what is orphaned, and ends the machine with the job's status.
//! Reports no case itself; the job does.

use std::fs;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;

use anyhow::Context;
use anyhow::Result;
use nix::sys::reboot::RebootMode;
use nix::sys::reboot::reboot;
use nix::sys::wait::WaitStatus;
use nix::sys::wait::wait;
use nix::unistd::Pid;
use nix::unistd::sethostname;
use nix::unistd::sync;

use crate::host;
use crate::initramfs::attach;

/// The job's exit status when there was none to be had.
const NO_STATUS: u8 = 125;

/// QEMU's isa-debug-exit device: a byte written here ends QEMU at once.
const DEBUG_EXIT_PORT: u64 = 0x501;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Loaded at boot: no udev runs here that would find the NICs' drivers.
const DRIVERS: &[&str] = &["igb", "igbvf", "e1000e", "virtio_net"];

/// Does not return: the machine ends.
pub(crate) fn run() -> ExitCode {
    let status = match prepare().and_then(|()| job()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("init: {error:#}");
            NO_STATUS
        }
    };
    if let Err(error) = end(status) {
        eprintln!("init: {error:#}");
        let _ = reboot(RebootMode::RB_POWER_OFF);
    }
    ExitCode::FAILURE
}

fn prepare() -> Result<()> {
    attach("tmpfs", "run", "/run", "mode=755")?;
    attach("tmpfs", "tmp", "/tmp", "mode=1777")?;
    for folder in [
        "/run/lock",
        "/run/netns",
        "/dev/pts",
        "/dev/shm",
        "/dev/hugepages",
        "/var/lib/containerd",
        "/var/lib/cni",
    ] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
    }
    attach("devpts", "devpts", "/dev/pts", "")?;
    attach("tmpfs", "shm", "/dev/shm", "")?;
    attach("hugetlbfs", "huge", "/dev/hugepages", "pagesize=2M")?;
    attach("cgroup2", "cgroup2", "/sys/fs/cgroup", "")?;
    attach("bpf", "bpf", "/sys/fs/bpf", "")?;
    for controller in ["cpu", "memory", "pids", "io", "cpuset", "hugetlb"] {
        // Some may be off in this kernel; containerd says so when it misses one.
        let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", format!("+{controller}"));
    }
    // containerd's overlay snapshots cannot sit on an overlay, which the root is.
    attach("tmpfs", "containerd", "/var/lib/containerd", "")?;
    match std::os::unix::fs::symlink("/proc/self/fd", "/dev/fd") {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).context("cannot create /dev/fd");
        }
        _ => {}
    }
    sethostname("sluice-node").context("cannot set the host name")?;
    host::run(environment(Command::new("modprobe").arg("-a").args(DRIVERS)))?;
    host::run(environment(Command::new("ip").args(["link", "set", "lo", "up"])))
}

/// Runs the job that the kernel's command line names, and returns its exit status.
fn job() -> Result<u8> {
    let line = fs::read_to_string("/proc/cmdline")?;
    let name = parameter(&line, "tb.run").context("no tb.run= on the kernel's command line")?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["job", name]).args(parameter(&line, "tb.filter"));
    let child = environment(&mut command).stdin(Stdio::null()).spawn().context("cannot start the job")?;
    let child = Pid::from_raw(i32::try_from(child.id())?);
    // Everything that loses its parent in here becomes a child of ours.
    loop {
        match wait().context("cannot wait for the job")? {
            WaitStatus::Exited(pid, code) if pid == child => return Ok(u8::try_from(code)?),
            WaitStatus::Signaled(pid, signal, _) if pid == child => {
                eprintln!("init: the job was ended by {signal}");
                return Ok(128 + u8::try_from(signal as i32)?);
            }
            _ => {}
        }
    }
}

fn environment(command: &mut Command) -> &mut Command {
    command.env("PATH", PATH).env("HOME", "/root").env("TERM", "dumb")
}

fn parameter<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn end(status: u8) -> Result<()> {
    fs::write("/out/status", format!("{status}\n")).context("cannot write /out/status")?;
    sync();
    let port = OpenOptions::new().write(true).open("/dev/port").context("cannot open /dev/port")?;
    port.write_at(&[status], DEBUG_EXIT_PORT).context("cannot write to the exit port")?;
    anyhow::bail!("QEMU goes on after its exit port was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_by_their_whole_name() {
        let line = "console=ttyS0 tb.runner=no tb.run=smoke tb.filter=dpdk/x=1";
        assert_eq!(parameter(line, "tb.run"), Some("smoke"));
        assert_eq!(parameter(line, "tb.filter"), Some("dpdk/x=1"));
        assert_eq!(parameter(line, "tb.none"), None);
    }
}
