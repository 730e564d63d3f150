//! Links of every kind that a namespace can hold without hardware: all that `ip` tells of link, addresses and routes before ADD
//! is what it tells after DEL.

use serde_json::{Value, json};

use crate::node::{Node, conf};

/// Adds a link called `dut` of a kind, up, with addresses and routes.
fn dut(node: &Node, add: &str) {
    let ip = |args: &str| node.host.ip(&args.split(' ').collect::<Vec<_>>());
    ip(add);
    ip("link set dut alias kept mtu 1380");
    ip("link property add dev dut altname dut-by-path");
    ip("link set dut up");
    ip("address add 192.0.2.10/24 brd + dev dut");
    ip("-6 address add 2001:db8::10/64 dev dut nodad");
    ip("route add 198.51.100.0/24 via 192.0.2.1 dev dut");
    ip("-6 route add 2001:db8:1::/48 via 2001:db8::1 dev dut");
}

/// `ip -d -j link`, `addr` and `route`, without what counts, what a carrier that comes a little later changes, and what the
/// kernel gives anew in each namespace.
fn told(node: &Node) -> Value {
    let mut all = json!({
        "link": node.host.json(&["link", "show", "dev", "dut"]),
        "addr": node.host.json(&["address", "show", "dev", "dut"])[0]["addr_info"],
        "route": node.host.json(&["route", "show", "table", "all", "dev", "dut"]),
        "route6": node.host.json(&["-6", "route", "show", "table", "all", "dev", "dut"]),
    });
    strip(&mut all);
    all
}

fn strip(value: &mut Value) {
    // Timers of a bridge run; a flag of a route or an address tells whether the carrier is there yet.
    const PASSING: [&str; 12] = [
        "operstate",
        "flags",
        "tentative",
        "ifindex",
        "gc_timer",
        "hello_timer",
        "tcn_timer",
        "topology_change_timer",
        "inet6_addr_gen_mode",
        "linkdown",
        "link_index",
        "tx_queue",
    ];
    match value {
        Value::Object(object) => {
            object.retain(|key, _| !PASSING.contains(&key.as_str()));
            object.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[test]
fn a_veth_and_a_macvlan_come_back_as_they_were() {
    for add in [
        "link add dut address 02:00:00:00:00:21 type veth peer name peer21",
        "link add link nic0 name dut address 02:00:00:00:00:22 type macvlan mode private",
    ] {
        let node = Node::new();
        dut(&node, add);
        let before = told(&node);
        for keys in [conf(&[("device", json!("dut"))]), conf(&[("device", json!("dut-by-path"))])] {
            node.call("ADD", &keys).success();
            assert!(node.host.link("dut").is_none() && node.pod.link("net1").is_some(), "{add}");
            let kind = &node.pod.link("net1").unwrap()["linkinfo"]["info_kind"];
            assert!(add.contains(kind.as_str().unwrap()), "{add}: {kind}");
            // The pod does as it likes.
            node.pod.ip(&["link", "set", "net1", "down"]);
            node.pod.ip(&["link", "set", "net1", "alias", "mine", "mtu", "1300"]);
            node.call("DEL", &keys).success();
            assert_eq!(told(&node), before, "{add}");
            assert_eq!(node.records(), [""; 0]);
        }
    }
}

/// Bridges and the like belong to the namespace in which they were made (`netns_immutable`).
#[test]
fn a_bridge_which_the_kernel_does_not_move_stays_as_it_was() {
    let node = Node::new();
    dut(&node, "link add dut address 02:00:00:00:00:23 type bridge ageing_time 4200 vlan_default_pvid 7");
    let before = told(&node);
    let refused = node.call("ADD", &conf(&[("device", json!("dut")), ("ipam", json!({"type": "lease"}))]));
    let (code, msg) = refused.error();
    assert_eq!(code, 999);
    let text = r#"failed to move link failed to move "net1" (host: "dut") to container NS: move link: invalid argument"#;
    assert!(msg.starts_with(text), "{msg}");
    assert_eq!(told(&node), before);
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn a_link_that_was_down_stays_down() {
    let node = Node::new();
    node.host.ip(&["link", "add", "dut", "type", "veth", "peer", "name", "peer21"]);
    let keys = conf(&[("device", json!("dut"))]);
    node.call("ADD", &keys).success();
    assert!(node.pod.link("net1").unwrap()["flags"].to_string().contains("\"UP\""));
    node.call("DEL", &keys).success();
    assert!(!node.host.link("dut").unwrap()["flags"].to_string().contains("\"UP\""));
}
