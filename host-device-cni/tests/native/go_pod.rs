//! Pods that the Go plugin made: it keeps no record, only the host's name in the link's alias.

use serde_json::{Value, json};

use crate::node::{Node, conf};

/// The link in the pod as the Go plugin leaves it there.
fn moved_by_go(node: &Node) {
    node.host.ip(&["link", "set", "nic0", "netns", node.pod.name()]);
    node.pod.ip(&["link", "set", "nic0", "alias", "nic0"]);
    node.pod.ip(&["link", "set", "nic0", "name", "net1"]);
    node.pod.ip(&["link", "set", "net1", "up"]);
}

#[test]
fn is_undone_by_its_alias() {
    let node = Node::new();
    moved_by_go(&node);
    assert_eq!(node.call("DEL", &conf(&[])).success(), &Value::Null);
    assert_eq!(node.pod.link("net1"), None);
    assert_eq!(node.host.link("nic0").unwrap().get("ifalias"), None);
    node.call("DEL", &conf(&[])).success();
}

#[test]
fn a_link_that_the_configuration_does_not_name_stays() {
    let node = Node::new();
    moved_by_go(&node);
    node.call("DEL", &conf(&[("device", json!("another"))])).success();
    assert!(node.pod.link("net1").is_some());
}

#[test]
fn and_ours_carry_the_alias_by_which_the_go_plugin_undoes_them() {
    let node = Node::new();
    node.call("ADD", &conf(&[])).success();
    assert_eq!(node.pod.link("net1").unwrap()["ifalias"], "nic0");
}
