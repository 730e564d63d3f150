//! A DEL that has to wait: for the IPAM plugin of an ADD that was killed, for whoever else is at the device.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::runtime::Invocation;

use crate::node::{BINARY, Node, conf};

const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn start(node: &Node, invocation: &Invocation) -> Child {
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

/// Until the process has that file open, or has ended.
pub(crate) fn waits(process: &mut Child, path: &Path) {
    let deadline = Instant::now() + LIMIT;
    while !has_open(process.id(), path) && process.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it neither waits nor ends");
        std::thread::yield_now();
    }
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
    waits(&mut del, &node.state.path().join("device/lock/c1-net1.lease.lock"));
    assert!(!node.state.path().join("lease-c1").exists(), "the IPAM plugin has not waited");
    drop(open);
    assert!(del.wait_with_output().unwrap().status.success());
    assert!(!node.state.path().join("lease-c1").exists(), "a lease that nobody gives back");
    assert_eq!((node.nic(), node.records()), (nic, Vec::new()));
}

/// The record that it read before its turn came is another by then: the same names, in another namespace.
#[test]
fn a_del_that_waited_leaves_the_next_attachment_alone() {
    let node = Node::new();
    let conf = conf(&[]);
    node.call("ADD", &conf).success();
    let path = node.state.path().join("device/lock/nic0.lock");
    let lock = fs::OpenOptions::new().write(true).open(&path).unwrap();
    lock.lock().unwrap();
    let mut del = start(&node, &node.invocation("DEL", &conf));
    waits(&mut del, &path);
    let file = node.state.path().join("c1-net1");
    let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let was = record.clone();
    let inode = record["sluice"]["sandbox"]["id"]["ino"].as_u64().unwrap();
    record["sluice"]["sandbox"]["id"]["ino"] = (inode + 1).into();
    fs::write(&file, record.to_string()).unwrap();
    lock.unlock().unwrap();
    assert!(del.wait_with_output().unwrap().status.success());
    assert!(node.pod.link("net1").is_some(), "the next attachment's link was taken");
    fs::write(&file, was.to_string()).unwrap();
    node.call("DEL", &conf).success();
    assert!(node.pod.link("net1").is_none() && node.records().is_empty());
}

/// IPAM has answered by then: what became of the file must not cost the lease, nor the pod.
#[test]
fn a_lock_that_cannot_be_removed_does_not_undo_the_lease() {
    let node = Node::new();
    let nic = node.nic();
    let conf = conf(&[("ipam", json!({"type": "lease", "answer": "stuck"}))]);
    let added = node.call("ADD", &conf);
    assert_eq!(added.success()["ips"][0]["address"], "192.0.2.5/24");
    assert!(added.stderr.contains("going on with what lease answered"), "{}", added.stderr);
    fs::remove_dir(node.state.path().join("device/lock/c1-net1.lease.lock")).unwrap();
    node.call("DEL", &conf).success();
    assert!(!node.state.path().join("lease-c1").exists());
    assert_eq!((node.nic(), node.records()), (nic, Vec::new()));
}

/// The kernel gives a dead namespace's links back in its own time. Here the runtime has lost the namespace, so that nobody looks
/// there, and the test is the kernel.
#[test]
fn a_del_waits_for_the_link_of_a_record_that_cannot_be_read() {
    let node = Node::new();
    node.call("ADD", &conf(&[])).success();
    fs::write(node.state.path().join("c1-net1"), "{").unwrap();
    let mut del = node.invocation("DEL", &conf(&[]));
    del.netns = None;
    let del = start(&node, &del);
    let aside = node.state.path().join(".c1-net1.corrupt");
    let deadline = Instant::now() + LIMIT;
    while !aside.exists() {
        assert!(Instant::now() < deadline, "the record is not set aside");
        std::thread::yield_now();
    }
    node.pod.ip(&["link", "set", "net1", "netns", node.host.name()]);
    assert!(del.wait_with_output().unwrap().status.success());
    assert!(node.host.link("net1").is_none() && node.host.link("nic0").is_some());
    fs::remove_file(aside).unwrap();
    assert_eq!(node.records(), [""; 0]);
}
