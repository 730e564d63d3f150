//! ADD and DEL of a link that is there.

use serde_json::{Value, json};
use testkit::netns::Namespace;

use crate::node::{Node, conf};

#[test]
fn a_link_comes_back_as_it_was() {
    let node = Node::new();
    let before = node.nic();
    let added = node.call("ADD", &conf(&[]));
    let interface = &added.success()["interfaces"][0];
    let sandbox = node.pod.path().display().to_string();
    assert_eq!(
        *interface,
        json!({"name": "net1", "mac": "02:00:00:00:00:10", "mtu": 1400, "sandbox": sandbox})
    );
    assert_eq!(node.host.link("nic0"), None);
    let inside = node.pod.link("net1").unwrap();
    assert_eq!((&inside["ifalias"], inside["flags"].to_string().contains("\"UP\"")), (&json!("nic0"), true));

    assert_eq!(node.call("DEL", &conf(&[])).success(), &Value::Null);
    assert_eq!(node.nic(), before);
    assert!(node.host.link("nic0").unwrap()["flags"].to_string().contains("\"UP\""));
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn the_longest_alias_that_there_is_comes_back() {
    let node = Node::new();
    node.host.ip(&["link", "set", "nic0", "alias", &"a".repeat(255)]);
    let before = node.nic();
    node.call("ADD", &conf(&[])).success();
    node.call("DEL", &conf(&[])).success();
    assert_eq!(node.nic(), before);
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn a_second_del_and_one_without_a_namespace_succeed() {
    let node = Node::new();
    node.call("ADD", &conf(&[])).success();
    node.call("DEL", &conf(&[])).success();
    node.call("DEL", &conf(&[])).success();
    let mut without = node.invocation("DEL", &conf(&[]));
    without.netns = None;
    without.run_in(&node.host, std::path::Path::new(crate::node::BINARY)).success();
}

/// What the record knows of the pod's namespace is enough.
#[test]
fn a_del_without_a_namespace_or_with_a_path_that_is_none_puts_all_back() {
    let leased = conf(&[("ipam", json!({"type": "lease"}))]);
    for netns in [None, Some(""), Some("/etc/hostname"), Some("/run/netns/nope")] {
        let node = Node::new();
        let before = node.nic();
        node.call("ADD", &leased).success();
        assert!(node.state.path().join("lease-c1").exists());
        let mut del = node.invocation("DEL", &leased);
        del.netns = netns.map(str::to_owned);
        del.run_in(&node.host, std::path::Path::new(crate::node::BINARY)).success();
        // The lease is a file among them.
        assert_eq!((node.nic(), node.records()), (before, Vec::new()), "{netns:?}");
    }
}

#[test]
fn what_the_pod_did_to_the_link_is_undone() {
    let node = Node::new();
    let before = node.nic();
    node.call("ADD", &conf(&[])).success();
    node.pod.ip(&["link", "set", "net1", "down"]);
    node.pod.ip(&["link", "set", "net1", "name", "renamed", "address", "02:00:00:00:00:99", "mtu", "1300"]);
    node.call("DEL", &conf(&[])).success();
    assert_eq!(node.nic(), before);
}

#[test]
fn ipam_gives_addresses_routes_and_name_servers() {
    let node = Node::new();
    let with_ipam = conf(&[("ipam", json!({"type": "lease"}))]);
    let added = node.call("ADD", &with_ipam);
    let result = added.success();
    assert_eq!(result["ips"][0], json!({"address": "192.0.2.5/24", "gateway": "192.0.2.1", "interface": 0}));
    assert_eq!(result["dns"], json!({"nameservers": ["192.0.2.53"]}));
    let addresses = node.pod.json(&["addr", "show", "net1"]).to_string();
    for wanted in ["192.0.2.5", "192.0.2.255", "2001:db8::5"] {
        assert!(addresses.contains(wanted), "{addresses}");
    }
    let routes = node.pod.json(&["route", "show", "198.51.100.0/24"]);
    assert_eq!(routes[0]["gateway"], "192.0.2.1");
    node.call("DEL", &with_ipam).success();
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn ipam_sees_the_link_up_and_the_configuration_untouched() {
    let node = Node::new();
    let ipam = json!({"type": "lease", "mode": "needs-link", "configuration_path": "/var/lib/rancher/k3s", "Unknown": [1.0]});
    let keys = conf(&[("ipam", ipam)]);
    node.call("ADD", &keys).success();
    let seen: Value =
        serde_json::from_slice(&std::fs::read(node.state.path().join("conf")).unwrap()).unwrap();
    assert_eq!(seen, keys);
    std::fs::remove_file(node.state.path().join("conf")).unwrap();
    node.call("DEL", &keys).success();
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn a_link_that_the_pod_destroyed_is_let_go_and_its_lease_released() {
    let node = Node::new();
    let leased = conf(&[("ipam", json!({"type": "lease"}))]);
    node.call("ADD", &leased).success();
    let lease = node.state.path().join("lease-c1");
    assert!(lease.exists());
    node.pod.ip(&["link", "del", "net1"]);
    let deleted = node.call("DEL", &leased);
    deleted.success();
    assert!(deleted.stderr.contains("it is gone from this node"), "{}", deleted.stderr);
    assert!(!lease.exists());
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn run_by_hand_it_says_what_it_is() {
    let said = testkit::runtime::Invocation { command: None, ..Default::default() }.run(crate::node::BINARY);
    assert!(said.ok() && said.stdout.is_empty(), "{said:?}");
    assert!(said.stderr.starts_with("CNI plugin host-device v"), "{}", said.stderr);
    assert!(said.stderr.contains("CNI protocol versions supported: 0.1.0, 0.2.0,"), "{}", said.stderr);
}

#[test]
fn a_pod_that_has_the_host_name_itself_is_no_clash() {
    let node = Node::new();
    node.pod.ip(&["link", "add", "nic0", "type", "bridge"]);
    node.call("ADD", &conf(&[])).success();
    node.call("DEL", &conf(&[])).success();
    assert!(node.host.link("nic0").is_some() && node.pod.link("nic0").is_some());
}

#[test]
fn a_name_taken_on_the_host_meanwhile_is_told_and_the_link_comes_back() {
    let node = Node::new();
    node.call("ADD", &conf(&[])).success();
    node.host.ip(&["link", "add", "nic0", "type", "bridge"]);
    let deleted = node.call("DEL", &conf(&[]));
    deleted.success();
    assert!(deleted.stderr.contains("the name nic0 is taken on the host"), "{}", deleted.stderr);
    assert_eq!(node.pod.link("net1"), None);
    let back = node.host.json(&["link", "show"]);
    let back = back.as_array().unwrap().iter().find(|link| link["address"] == "02:00:00:00:00:10");
    assert!(back.is_some_and(|link| link["ifname"].as_str().unwrap().starts_with("dev")), "{back:?}");
}

#[test]
fn another_pod_does_not_get_what_a_living_pod_has() {
    let node = Node::new();
    node.call("ADD", &conf(&[])).success();
    let other = Namespace::new("other");
    let mut second = node.invocation("ADD", &conf(&[]));
    second.container_id = Some("c2".to_owned());
    second.netns = Some(other.path().display().to_string());
    let refused = second.run_in(&node.host, std::path::Path::new(crate::node::BINARY));
    assert!(!refused.ok(), "{refused:?}");
    assert!(node.pod.link("net1").is_some());
}
