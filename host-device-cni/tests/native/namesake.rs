//! Two attachments whose records would have one file: container `c1` with `x-net1`, and container `c1-x` with `net1`.

use std::path::Path;

use serde_json::json;

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
