//! Attachments whose records cannot have a file of their own: container `c1-x` with `net1` beside container `c1` with `x-net1`, and
//! containers whose ids are too long.

use std::path::Path;

use serde_json::{Value, json};

use crate::node::{BINARY, Node, conf};

#[test]
fn the_second_is_refused_and_the_first_is_undone() {
    let node = Node::new();
    let before = node.nic();
    node.host.ip(&["link", "add", "nic1", "type", "veth", "peer", "name", "peer1"]);
    let mut first = node.invocation("ADD", &conf(&[]));
    first.ifname = Some("x-net1".to_owned());
    first.clone().run_in(&node.host, Path::new(BINARY)).success();
    let mut second = node.invocation("ADD", &conf(&[("device", json!("nic1"))]));
    second.container_id = Some("c1-x".to_owned());
    let refused = second.clone().run_in(&node.host, Path::new(BINARY));
    let (code, msg) = refused.error();
    let told = "net1 of container c1-x cannot be recorded: its file is that of x-net1 of container c1";
    assert_eq!((code, msg.starts_with(told)), (4, true), "{msg}");
    assert!(node.host.link("nic1").is_some());
    second.command("DEL").run_in(&node.host, Path::new(BINARY)).success();
    first.command("DEL").run_in(&node.host, Path::new(BINARY)).success();
    assert_eq!(node.nic(), before);
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn a_container_id_that_no_file_can_be_called_by() {
    let node = Node::new();
    let before = node.nic();
    let leased = conf(&[("ipam", json!({"type": "lease"}))]);
    // Too long for the lock that IPAM is asked under, for a draft and for the record; and for any path.
    for length in [240, 249, 256, 5000] {
        let call = |command: &str, keys: &Value| {
            let mut call = node.invocation(command, keys);
            call.container_id = Some("c".repeat(length));
            call.run_in(&node.host, Path::new(BINARY))
        };
        let refused = call("ADD", &leased);
        let (code, msg) = refused.error();
        assert_eq!((code, msg.contains(" cannot be recorded: ")), (4, true), "{length}: {msg}");
        assert_eq!((node.nic(), node.records()), (before.clone(), Vec::new()), "{length}");
        call("DEL", &conf(&[])).success();
    }
    let mut longest = node.invocation("ADD", &leased);
    longest.container_id = Some("c".repeat(239));
    longest.clone().run_in(&node.host, Path::new(BINARY)).success();
    longest.command("DEL").run_in(&node.host, Path::new(BINARY)).success();
    assert_eq!((node.nic(), node.records()), (before, Vec::new()));
}
