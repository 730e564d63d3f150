//! The addresses and routes that a link has on the host: given back, or taken along.

use serde_json::{Value, json};

use crate::node::{Node, conf};

/// A node whose link has addresses and routes of both families, one of them in a table of its own.
fn connected() -> Node {
    let node = Node::new();
    let ip = |args: &str| node.host.ip(&args.split(' ').collect::<Vec<_>>());
    ip("address add 192.0.2.10/24 brd + dev nic0");
    ip("address add 192.0.2.11/32 dev nic0 label nic0:a");
    ip("-6 address add 2001:db8::10/64 dev nic0 nodad");
    ip("route add 198.51.100.0/24 via 192.0.2.1 dev nic0 metric 50");
    ip("route add 203.0.113.0/24 dev nic0 table 7 src 192.0.2.10");
    ip("-6 route add 2001:db8:1::/48 via 2001:db8::1 dev nic0");
    node
}

/// Addresses and routes as `ip` tells them, without what each namespace counts anew.
fn network(node: &Node) -> Value {
    let mut all = json!({
        "addresses": node.host.json(&["address", "show", "dev", "nic0"])[0]["addr_info"],
        "routes": node.host.json(&["route", "show", "table", "all", "dev", "nic0"]),
        "routes6": node.host.json(&["-6", "route", "show", "table", "all", "dev", "nic0"]),
    });
    for address in all["addresses"].as_array_mut().into_iter().flatten() {
        // Whether detection of duplicates is over yet is no property of the address.
        address.as_object_mut().map(|address| address.remove("tentative"));
    }
    all
}

#[test]
fn are_given_back() {
    let node = connected();
    let before = network(&node);
    node.call("ADD", &conf(&[])).success();
    let inside = node.pod.json(&["address", "show", "dev", "net1"]).to_string();
    assert!(!inside.contains("192.0.2.10"), "{inside}");
    node.call("DEL", &conf(&[])).success();
    assert_eq!(network(&node), before);
}

#[test]
fn stay_away_where_the_configuration_says_so() {
    let node = connected();
    let keys = [("restoreAddresses", json!(false))];
    node.call("ADD", &conf(&keys)).success();
    node.call("DEL", &conf(&keys)).success();
    let after = network(&node).to_string();
    assert!(!after.contains("192.0.2.10") && !after.contains("198.51.100.0"), "{after}");
}

#[test]
fn are_taken_along_and_reported() {
    let node = connected();
    let before = network(&node);
    let keys = [("useInterfaceNetwork", json!(true))];
    let added = node.call("ADD", &conf(&keys));
    let result = added.success();
    let addresses: Vec<&str> =
        result["ips"].as_array().unwrap().iter().filter_map(|ip| ip["address"].as_str()).collect();
    assert_eq!(addresses, ["192.0.2.10/24", "192.0.2.11/32", "2001:db8::10/64"]);
    assert_eq!(result["routes"].as_array().unwrap().len(), 3, "{result}");
    let route = node.pod.json(&["route", "show", "198.51.100.0/24"]);
    assert_eq!((&route[0]["gateway"], &route[0]["metric"]), (&json!("192.0.2.1"), &json!(50)));
    assert_eq!(node.pod.json(&["route", "show", "table", "7"])[0]["dst"], "203.0.113.0/24");
    node.call("DEL", &conf(&keys)).success();
    assert_eq!(network(&node), before);
}

#[test]
fn with_the_nodes_default_route_the_link_is_refused() {
    let node = connected();
    node.host.ip(&["route", "add", "default", "via", "192.0.2.1", "table", "9"]);
    let refused = node.call("ADD", &conf(&[]));
    let (_, msg) = refused.error();
    assert!(msg.starts_with("nic0 carries this node's default route (table 9)"), "{msg}");
    let before = network(&node);
    let keys = [("allowDefaultRoute", json!(true))];
    node.call("ADD", &conf(&keys)).success();
    node.call("DEL", &conf(&keys)).success();
    assert_eq!(network(&node), before);
}

#[test]
fn a_default_route_of_any_kind_is_seen() {
    for add in [
        "-6 route add default via 2001:db8::1 dev nic0 table 7",
        "route add default nexthop via 192.0.2.1 dev nic0 nexthop via 192.0.2.2 dev nic0",
        "route add default nhid 9",
    ] {
        let node = connected();
        node.host.ip(&["nexthop", "add", "id", "8", "via", "192.0.2.1", "dev", "nic0"]);
        node.host.ip(&["nexthop", "add", "id", "9", "group", "8"]);
        node.host.ip(&add.split(' ').collect::<Vec<_>>());
        let refused = node.call("ADD", &conf(&[]));
        assert!(
            refused.error().1.starts_with("nic0 carries this node's default route"),
            "{add}: {refused:?}"
        );
    }
    // One that leaves by another link is no reason.
    let node = connected();
    node.host.ip(&["address", "add", "203.0.113.9/24", "dev", "peer0"]);
    node.host.ip(&["route", "add", "default", "via", "203.0.113.1"]);
    node.call("ADD", &conf(&[])).success();
}
