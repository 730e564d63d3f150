//! An IPAM plugin that is still at work when its host-device has been killed.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::runtime::Invocation;

use crate::node::{BINARY, Node, conf};

const LIMIT: Duration = Duration::from_secs(20);

fn start(node: &Node, invocation: &Invocation) -> Child {
    let mut process = invocation.process("ip");
    let mut child = process.args(["netns", "exec", node.host.name(), BINARY]).spawn().unwrap();
    // A configuration fits into the pipe.
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &invocation.stdin).unwrap();
    child
}

/// Whether the process has that file open.
fn has_open(pid: u32, path: &Path) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target == path)
}

#[test]
fn a_del_waits_for_the_ipam_plugin_of_a_killed_add() {
    let node = Node::new();
    let nic = node.nic();
    let gate = node.state.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let conf = conf(&[("ipam", json!({"type": "lease", "answer": "late"}))]);
    let mut add = start(&node, &node.invocation("ADD", &conf));
    // Opens when the IPAM plugin waits at the gate.
    let open = fs::OpenOptions::new().write(true).open(&gate).unwrap();
    add.kill().unwrap();
    add.wait().unwrap();
    let mut del = start(&node, &node.invocation("DEL", &conf));
    let lock = node.state.path().join("device/lock/c1-net1.lease.lock");
    let deadline = Instant::now() + LIMIT;
    while !has_open(del.id(), &lock) && del.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "DEL neither waits nor ends");
        std::thread::yield_now();
    }
    assert!(!node.state.path().join("lease-c1").exists(), "the IPAM plugin has not waited");
    drop(open);
    assert!(del.wait_with_output().unwrap().status.success());
    assert!(!node.state.path().join("lease-c1").exists(), "a lease that nobody gives back");
    assert_eq!((node.nic(), node.records()), (nic, Vec::new()));
}
