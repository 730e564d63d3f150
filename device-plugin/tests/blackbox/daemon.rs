//! A node with `sriovdp` on it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::sysfs::Tree;

/// How long anything may take that is expected to happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// The node that most tests use: a PF on NUMA node 1 with two VFs on `iavf` (.0, .1) and two on `vfio-pci` (.2, .3), and
/// three ENIs, of which the first carries the default route.
pub(crate) fn node() -> Tree {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0").numa(1);
    for index in 0..4 {
        let vf = tree.vf(&format!("0000:3b:02.{index}"), "0000:3b:00.0").numa(1);
        if index < 2 {
            vf.netdev(&format!("ens1f0v{index}"));
        } else {
            vf.on_vfio(50 + index);
        }
    }
    for (device, netdev) in ["eth0", "eth1", "eth2"].into_iter().enumerate() {
        tree.function(&format!("0000:00:0{}.0", 5 + device))
            .ids("1d0f", "ec20")
            .driver("ena")
            .netdev(netdev)
            .numa(0);
    }
    tree.default_route("eth0");
    tree
}

/// The kubelet's root on a node.
pub(crate) fn kubelet_root(tree: &Tree) -> PathBuf {
    tree.root().join("kubelet")
}

/// The directory of device-info files on a node.
pub(crate) fn devinfo(tree: &Tree) -> PathBuf {
    tree.root().join("run/devinfo/dp")
}

/// The command line for a node, with its configuration file written.
pub(crate) fn command(tree: &Tree, config: &str) -> Command {
    let file = tree.root().join("config.json");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sriovdp"));
    for (option, path) in [
        ("--kubelet-root", kubelet_root(tree)),
        ("--sysfs-root", tree.sys()),
        ("--dev-root", tree.dev()),
        ("--proc-root", tree.proc()),
        ("--devinfo-dir", devinfo(tree)),
        ("--cni-state-dir", tree.root().join("cni")),
        ("--control-socket", tree.root().join("control/sriovdp.sock")),
        ("--config-file", file),
    ] {
        command.arg(option).arg(path);
    }
    command
}

/// A running `sriovdp`. Killed when dropped; what it said is shown when the test fails.
pub(crate) struct Daemon {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Daemon {
    pub(crate) fn start(tree: &Tree, config: &str) -> Self {
        Self::spawn(command(tree, config))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines, said: Vec::new() }
    }

    /// Waits for a line that has `text` in it.
    pub(crate) fn says(&mut self, text: &str) {
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => self.said.push(line),
                Err(error) => panic!("{error} waiting for {text:?}"),
            }
            if self.said.last().is_some_and(|line| line.contains(text)) {
                return;
            }
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end: the exit status, and all that it said.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        // Its stderr is closed at its end, and no earlier.
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => self.said.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("{error} waiting for sriovdp to end"),
            }
        }
        let status = self.child.wait().unwrap();
        assert_ne!(status.signal(), Some(Signal::SIGABRT as i32), "sriovdp aborted");
        (status, self.said.join("\n"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.said.extend(self.lines.try_iter());
            eprintln!("sriovdp said:\n{}", self.said.join("\n"));
        }
    }
}

/// The names in a directory, sorted; none where it is not there.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
