//! A link that the kernel gave back when its pod died, and that no DEL was called for: under the pod's name, with our alias.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use std::path::Path;

use serde_json::{Value, json};
use testkit::netns::Namespace;

use crate::node::{BINARY, Node, conf};
use crate::waiting::{start, waits};

/// Does by hand what the kernel does with hardware, which a veth is not: home under the pod's name, and the pod gone.
fn pod_dies(node: &mut Node) -> Namespace {
    node.pod.ip(&["link", "set", "net1", "down"]);
    node.pod.ip(&["link", "set", "net1", "netns", node.host.name()]);
    std::mem::replace(&mut node.pod, Namespace::new("next"))
}

fn next(node: &Node, keys: &Value) {
    let mut add = node.invocation("ADD", keys);
    add.container_id = Some("c2".to_owned());
    let added = add.clone().run_in(&node.host, Path::new(BINARY));
    added.success();
    assert!(
        added.stderr.contains("is gone without a DEL; putting the device back first"),
        "{}",
        added.stderr
    );
    assert_eq!(node.pod.link("net1").unwrap()["ifalias"], "nic0");
    add.command("DEL").run_in(&node.host, Path::new(BINARY)).success();
}

#[test]
fn is_found_by_its_name_by_an_alternative_one_and_by_its_address() {
    for (key, value) in [("device", "nic0"), ("device", "nic0-by-slot"), ("hwaddr", "02:00:00:00:00:10")] {
        let mut node = Node::new();
        let before = node.nic();
        let keys = conf(&[("device", Value::Null), (key, json!(value))]);
        node.call("ADD", &keys).success();
        let gone = pod_dies(&mut node);
        drop(gone);
        next(&node, &keys);
        assert_eq!(node.nic(), before, "{key}");
        assert_eq!(node.records(), [""; 0], "{key}");
    }
}

/// Its name is taken, so that putting it back gives it another, under which somebody else may be at it.
#[test]
fn is_locked_under_the_name_that_it_comes_to() {
    let mut node = Node::new();
    let keys = conf(&[("device", Value::Null), ("hwaddr", json!("02:00:00:00:00:10"))]);
    node.call("ADD", &keys).success();
    let gone = pod_dies(&mut node);
    drop(gone);
    node.host.ip(&["link", "add", "nic0", "type", "bridge"]);
    let path = node.state.path().join("device/lock/dev0.lock");
    let lock = std::fs::File::create(&path).unwrap();
    lock.lock().unwrap();
    let mut add = node.invocation("ADD", &keys);
    add.container_id = Some("c2".to_owned());
    let mut waiting = start(&node, &add);
    waits(&mut waiting, &path);
    assert_eq!(waiting.try_wait().unwrap(), None, "it did not wait");
    lock.unlock().unwrap();
    assert!(waiting.wait().unwrap().success());
    assert_eq!(node.pod.link("net1").unwrap()["ifalias"], "dev0");
    add.command("DEL").run_in(&node.host, Path::new(BINARY)).success();
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn is_another_pods_while_that_lives() {
    let node = Node::new();
    node.call("ADD", &conf(&[])).success();
    let other = Namespace::new("other");
    for keys in [conf(&[]), conf(&[("device", Value::Null), ("hwaddr", json!("02:00:00:00:00:10"))])] {
        let mut second = node.invocation("ADD", &keys);
        second.container_id = Some("c2".to_owned());
        second.netns = Some(other.path().display().to_string());
        let refused = second.run_in(&node.host, Path::new(BINARY));
        assert_eq!(refused.error(), (11, "pci address nic0 is already allocated to net1 of container c1"));
    }
    assert!(node.pod.link("net1").is_some());
}

#[test]
fn a_link_whose_alias_a_user_chose_is_itself() {
    let node = Node::new();
    node.host.ip(&["link", "add", "nic1", "type", "veth", "peer", "name", "peer1"]);
    node.host.ip(&["link", "set", "nic1", "alias", "nic0"]);
    node.call("ADD", &conf(&[])).success();
    let mut second = node.invocation("ADD", &conf(&[("device", json!("nic1"))]));
    (second.container_id, second.ifname) = (Some("c2".to_owned()), Some("net2".to_owned()));
    second.clone().run_in(&node.host, Path::new(BINARY)).success();
    assert_eq!(node.pod.link("net2").unwrap()["ifalias"], "nic1");
    second.command("DEL").run_in(&node.host, Path::new(BINARY)).success();
    assert_eq!(node.host.link("nic1").unwrap()["ifalias"], "nic0");
    node.call("DEL", &conf(&[])).success();
}
