//! The binary on a directory like a node's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where its tools fail"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("sriov", "the new sriov"), ("host-device", "the new host-device")] {
            fs::create_dir_all(dir.path().join("image")).unwrap();
            fs::write(dir.path().join("image").join(name), text).unwrap();
        }
        fs::create_dir(dir.path().join("bin")).unwrap();
        Self { dir }
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.dir.path().join("bin").join(name)
    }

    fn command(&self, options: &[&str]) -> Command {
        let image = self.dir.path().join("image");
        let mut command = Command::new(env!("CARGO_BIN_EXE_install-cni"));
        command.args(options).arg(self.dir.path().join("bin"));
        command.arg(image.join("sriov")).arg(image.join("host-device"));
        command
    }

    fn run(&self) -> Output {
        self.command(&[]).output().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("bin")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn files_are_replaced_links_too_and_leftovers_swept() {
    let node = Node::new();
    fs::write(node.bin("bridge"), "another plugin").unwrap();
    fs::write(node.bin(".install-cni-abc"), "half").unwrap();
    fs::write(node.dir.path().join("multi-call"), "a shared binary").unwrap();
    symlink(node.dir.path().join("multi-call"), node.bin("host-device")).unwrap();
    let said = node.run();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(node.names(), ["bridge", "host-device", "sriov"]);
    assert_eq!(text(&node.bin("host-device")), "the new host-device");
    assert_eq!(
        text(&node.dir.path().join("multi-call")),
        "a shared binary",
        "what the link led to is left alone"
    );
    let placed = fs::symlink_metadata(node.bin("host-device")).unwrap();
    assert!(placed.is_file() && placed.permissions().mode() & 0o7777 == 0o755);

    let before = fs::metadata(node.bin("sriov")).unwrap().ino();
    assert!(node.run().status.success());
    assert_eq!(fs::metadata(node.bin("sriov")).unwrap().ino(), before, "an equal file is not written again");
}

#[test]
fn one_failure_does_not_keep_the_others_out() {
    let node = Node::new();
    fs::remove_file(node.dir.path().join("image/sriov")).unwrap();
    let said = node.run();
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("image/sriov"), "{said:?}");
    assert_eq!(node.names(), ["host-device"]);
}

#[test]
fn usage() {
    for args in [&[][..], &["--wait"], &["/tmp"], &["--help", "/tmp"]] {
        let said = Command::new(env!("CARGO_BIN_EXE_install-cni")).args(args).output().unwrap();
        assert_eq!(said.status.code(), Some(2), "{args:?}");
        assert!(said.stderr.starts_with(b"usage:"));
    }
}

#[test]
fn with_wait_it_stays_until_sigterm() {
    let node = Node::new();
    let mut child = node.command(&["--wait"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("sriov written"));
    assert!(lines.next().unwrap().unwrap().contains("host-device written"));
    assert!(child.try_wait().unwrap().is_none());
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}
