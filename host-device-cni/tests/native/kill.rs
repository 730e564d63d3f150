//! A kill at every boundary of ADD, and of DEL, followed by one DEL.

use std::path::Path;

use serde_json::json;
use testkit::kill;

use crate::node::{BINARY, Node, conf};

/// Runs `command` on the node and kills it before its `before`th changing call.
fn killed(node: &Node, command: &str, before: Option<usize>) -> kill::Trace {
    let invocation = node.invocation(command, &conf(&[("ipam", json!({"type": "lease"}))]));
    let arguments = ["ip", "netns", "exec", node.host.name(), BINARY];
    kill::run(&arguments, &invocation.environment(), &invocation.stdin, Path::new(BINARY), before)
}

/// The number of boundaries, and what a whole run does.
fn boundaries(command: &str) -> usize {
    let node = Node::new();
    if command == "DEL" {
        assert_eq!(killed(&node, "ADD", None).code, Some(0));
    }
    let whole = killed(&node, command, None);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    whole.calls.len()
}

#[test]
fn an_add_killed_anywhere_is_undone_by_one_del() {
    let all = boundaries("ADD");
    assert!(all >= 12, "{all} boundaries");
    for before in 0..all {
        let node = Node::new();
        let nic = node.nic();
        let trace = killed(&node, "ADD", Some(before));
        assert!(trace.killed, "{before}: {trace:?}");
        let deleted = node.call("DEL", &conf(&[("ipam", json!({"type": "lease"}))]));
        assert!(deleted.ok(), "before call {before} of {:?}: {deleted:?}", trace.calls);
        assert_eq!(node.nic(), nic, "before call {before} of {:?}", trace.calls);
        assert_eq!(node.records(), [""; 0], "before call {before} of {:?}", trace.calls);
    }
}

#[test]
fn a_del_killed_anywhere_is_finished_by_the_next() {
    let all = boundaries("DEL");
    for before in 0..all {
        let node = Node::new();
        let nic = node.nic();
        assert_eq!(killed(&node, "ADD", None).code, Some(0));
        let trace = killed(&node, "DEL", Some(before));
        assert!(trace.killed, "{before}: {trace:?}");
        node.call("DEL", &conf(&[("ipam", json!({"type": "lease"}))])).success();
        assert_eq!(node.nic(), nic, "before call {before} of {:?}", trace.calls);
        assert_eq!(node.records(), [""; 0], "before call {before} of {:?}", trace.calls);
    }
}

/// GC of a network none of whose attachments is valid. What was not recorded yet is no attachment: its draft is for the next.
#[test]
fn an_add_or_del_killed_anywhere_is_undone_by_gc() {
    let unwanted = conf(&[("ipam", json!({"type": "lease"})), ("cni.dev/valid-attachments", json!([]))]);
    for command in ["ADD", "DEL"] {
        for before in 0..boundaries(command) {
            let node = Node::new();
            let nic = node.nic();
            if command == "DEL" {
                assert_eq!(killed(&node, "ADD", None).code, Some(0));
            }
            let trace = killed(&node, command, Some(before));
            assert!(trace.killed, "{command} {before}: {trace:?}");
            let told = format!("{command} before call {before} of {:?}", trace.calls);
            let collected = node.call("GC", &unwanted);
            assert!(collected.ok(), "{told}: {collected:?}");
            assert_eq!(node.nic(), nic, "{told}");
            let mut left = node.records();
            left.retain(|path| Path::new(path).extension().is_none_or(|of| of != "new"));
            assert_eq!(left, [""; 0], "{told}");
        }
    }
}
