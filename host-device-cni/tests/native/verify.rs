//! CHECK, STATUS and GC.

use serde_json::{Value, json};
use testkit::netns::Namespace;

use crate::by_key::{by, call, with_sysfs};
use crate::node::{Node, conf};

fn leased() -> Value {
    conf(&[("ipam", json!({"type": "lease"}))])
}

/// A pod with addresses, and the configuration of its CHECK.
fn attached() -> (Node, Value) {
    let node = Node::new();
    let added = node.call("ADD", &leased());
    let mut checked = leased();
    checked["prevResult"] = added.success().clone();
    (node, checked)
}

#[test]
fn a_pod_as_promised_passes() {
    let (node, checked) = attached();
    assert_eq!(node.call("CHECK", &checked).success(), &Value::Null);
}

#[test]
fn every_deviation_is_named() {
    let (node, checked) = attached();
    node.pod.ip(&["address", "del", "192.0.2.5/24", "dev", "net1"]);
    node.pod.ip(&["link", "set", "net1", "address", "02:00:00:00:00:55"]);
    let refused = node.call("CHECK", &checked);
    let (_, msg) = refused.error();
    for wanted in [
        "Interface net1 Mac 02:00:00:00:00:10 doesn't match container Mac: 02:00:00:00:00:55",
        "Failed to match addr 192.0.2.5/24 on interface net1",
        "Expected Route 198.51.100.0/24 not found in routing table",
    ] {
        assert!(msg.contains(wanted), "{msg}");
    }
    node.pod.ip(&["link", "set", "net1", "down"]);
    assert!(node.call("CHECK", &checked).error().1.contains("Interface net1 is down"));
    node.pod.ip(&["link", "set", "net1", "name", "other"]);
    assert!(node.call("CHECK", &checked).error().1.contains("net1 not found"));
}

#[test]
fn a_result_of_another_namespace_is_told_in_the_go_plugins_words() {
    let (node, mut checked) = attached();
    let said = |checked: &Value| node.call("CHECK", checked).error().1.to_owned();
    let wanted = node.pod.path().display().to_string();
    checked["prevResult"]["interfaces"][0]["sandbox"] = json!("/run/netns/other");
    let text = format!("Sandbox in prevResult /run/netns/other doesn't match configured netns: {wanted}");
    assert_eq!(said(&checked), text);
    checked["prevResult"]["interfaces"][0].as_object_mut().unwrap().remove("sandbox");
    let on_host = said(&checked);
    for text in [
        "Error: Container interface net1 should not be in host namespace".to_owned(),
        format!("Sandbox in prevResult  doesn't match configured netns: {wanted}"),
    ] {
        assert!(on_host.contains(&text), "{on_host}");
    }
    checked["prevResult"]["interfaces"][0]["name"] = json!("other");
    assert_eq!(said(&checked), "Container interface name missing in prevResult: net1");
}

#[test]
fn without_a_result_there_is_nothing_to_check() {
    let (node, _) = attached();
    assert_eq!(node.call("CHECK", &leased()).error().1, "Required prevResult missing");
}

#[test]
fn status_knows_whether_an_add_could_work() {
    let mut node = Node::new();
    let by_mac = by(&[("hwaddr", json!("02:00:00:00:00:10"))]);
    let said = |node: &Node| [conf(&[]), by_mac.clone()].map(|conf| node.call("STATUS", &conf).code);
    assert_eq!(said(&node), [Some(0); 2]);
    // Its own pod has it: that is how it is meant, for as long as the pod lives.
    node.call("ADD", &conf(&[])).success();
    assert_eq!(said(&node), [Some(0); 2]);
    drop(std::mem::replace(&mut node.pod, Namespace::new("pod")));
    assert_eq!(said(&node), [Some(1); 2]);
    assert_eq!(node.call("STATUS", &by_mac).error().0, 50);
}

#[test]
fn status_says_what_is_wrong_with_the_configuration() {
    let node = Node::new();
    node.call("STATUS", &by(&[])).success();
    for wrong in [("hwaddr", json!("zz")), ("kernelpath", json!("/etc")), ("pciBusID", json!("6.0"))] {
        assert_eq!(node.call("STATUS", &by(std::slice::from_ref(&wrong))).error().0, 7, "{wrong:?}");
    }
}

#[test]
fn status_says_what_ipam_says() {
    let node = Node::new();
    let with = |mode: &str| conf(&[("ipam", json!({"type": "lease", "mode": mode}))]);
    let said = node.call("STATUS", &with("ready"));
    assert!(said.ok() && said.stdout.is_empty(), "{said:?}");
    let asked = std::fs::read(node.state.path().join("conf")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&asked).unwrap(), with("ready"));
    let empty = node.call("STATUS", &with("empty"));
    assert_eq!(empty.error(), (50, "the pool is empty"));
    assert_eq!(empty.json.as_ref().unwrap()["details"], "192.0.2.0/24");
    let missing = node.call("STATUS", &conf(&[("ipam", json!({"type": "nope"}))]));
    assert!(missing.error().1.starts_with("failed to find plugin \"nope\" in path ["), "{missing:?}");
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn a_link_that_was_lost_to_a_userspace_driver_is_told() {
    let node = Node::new();
    let sysfs = with_sysfs(&node);
    let mut keys = by(&[("pciBusID", json!("0000:00:06.0"))]);
    keys["prevResult"] = call(&node, &sysfs, "ADD", &keys).success().clone();
    call(&node, &sysfs, "CHECK", &keys).success();
    node.pod.ip(&["link", "del", "net1"]);
    let driver = sysfs.path().join("bus/pci/devices/0000:00:06.0/driver");
    std::fs::remove_file(&driver).unwrap();
    std::os::unix::fs::symlink("../drivers/vfio-pci", driver).unwrap();
    assert!(call(&node, &sysfs, "CHECK", &keys).error().1.contains("net1 not found"));
}

fn collected(valid: &Value) -> Value {
    let mut conf = leased();
    conf["cni.dev/valid-attachments"] = valid.clone();
    conf
}

#[test]
fn gc_undoes_what_is_not_in_the_list_and_leaves_what_is() {
    let (node, _) = attached();
    let before = node.pod.link("net1");
    node.call("GC", &collected(&json!([{"containerID": "c1", "ifname": "net1"}]))).success();
    assert_eq!(node.pod.link("net1"), before);
    let mut other = collected(&json!([]));
    other["name"] = json!("another-network");
    node.call("GC", &other).success();
    assert_eq!(node.pod.link("net1"), before);

    node.call("GC", &collected(&json!([]))).success();
    assert!(node.pod.link("net1").is_none() && node.host.link("nic0").is_some());
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn gc_without_a_list_deletes_nothing() {
    let (node, _) = attached();
    let refused = node.call("GC", &leased());
    assert_eq!(refused.error(), (7, "GC needs the list cni.dev/valid-attachments, which may be empty"));
    assert!(node.pod.link("net1").is_some());
}

/// The kernel makes one route of two IPv6 ones that lead to the same place with one metric.
#[test]
fn a_route_that_leaves_by_another_interface_too_is_there() {
    let node = Node::new();
    node.host.ip(&["-6", "address", "add", "2001:db8::10/64", "dev", "nic0", "nodad"]);
    node.host.ip(&["-6", "route", "add", "2001:db8:1::/48", "via", "2001:db8::1", "dev", "nic0"]);
    let keys = [("useInterfaceNetwork", json!(true))];
    let result = node.call("ADD", &conf(&keys)).success().clone();
    let pod = |args: &str| node.pod.ip(&args.split(' ').collect::<Vec<_>>());
    pod("link add net2 type veth peer name peer2");
    pod("link set net2 up");
    pod("-6 address add 2001:db8:9::2/64 dev net2 nodad");
    pod("-6 route append 2001:db8:1::/48 via 2001:db8:9::1 dev net2");
    let ways = node.pod.json(&["-6", "route", "show", "2001:db8:1::/48"]);
    assert_eq!(ways[0]["nexthops"].as_array().map(Vec::len), Some(2), "{ways}");
    node.call("CHECK", &conf(&[keys[0].clone(), ("prevResult", result)])).success();
}
