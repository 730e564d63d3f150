//! Links of every kind that a namespace can hold without hardware: all that `ip` tells of link, addresses and routes before ADD
//! is what it tells after DEL.

use std::path::Path;

use serde_json::{Value, json};

use crate::node::{Node, comes_to, conf};

/// Adds a link called `dut` of a kind, up, with addresses and routes.
fn dut(node: &Node, add: &str) {
    let ip = |args: &str| node.host.ip(&args.split(' ').collect::<Vec<_>>());
    ip(add);
    ip("link set dut alias kept mtu 1380 addrgenmode none");
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
    // Timers of a bridge run; a flag tells whether the carrier is there yet.
    const PASSING: [&str; 10] = [
        "operstate",
        "tentative",
        "ifindex",
        "gc_timer",
        "hello_timer",
        "tcn_timer",
        "topology_change_timer",
        "linkdown",
        "link_index",
        "tx_queue",
    ];
    match value {
        Value::Object(object) => {
            object.retain(|key, _| !PASSING.contains(&key.as_str()));
            object.values_mut().for_each(strip);
        }
        Value::Array(items) => {
            items.retain(|item| !["LOWER_UP", "NO-CARRIER", "linkdown"].iter().any(|flag| item == flag));
            items.iter_mut().for_each(strip);
        }
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
            node.pod.ip(&["link", "set", "net1", "promisc", "on", "allmulticast", "on", "arp", "off"]);
            node.pod.ip(&["link", "set", "net1", "multicast", "off", "txqueuelen", "99", "group", "3"]);
            if add.contains("macvlan") {
                // Of the two the one that can be.
                node.pod.ip(&["link", "set", "net1", "protodown", "on"]);
                node.pod.ip(&["link", "set", "net1", "protodown_reason", "0", "on"]);
            }
            node.pod.ip(&[
                "link",
                "set",
                "net1",
                "mode",
                "dormant",
                "gso_max_size",
                "9000",
                "gro_max_size",
                "9000",
            ]);
            node.call("DEL", &keys).success();
            comes_to(&before, || told(&node), add);
            assert_eq!(node.records(), [""; 0]);
        }
    }
}

/// What is below `/proc/sys/net` belongs to the link and the namespace: the move takes it, and what hangs on it.
#[test]
fn the_settings_of_ip_that_it_had_come_back() {
    const SET: [(&str, &str); 7] = [
        ("ipv6/conf/dut/accept_ra", "0"),
        ("ipv6/conf/dut/autoconf", "0"),
        ("ipv4/conf/dut/rp_filter", "2"),
        ("ipv4/conf/dut/arp_ignore", "1"),
        ("ipv4/conf/dut/arp_announce", "2"),
        ("ipv4/conf/dut/proxy_arp", "1"),
        ("ipv4/conf/dut/drop_gratuitous_arp", "1"),
    ];
    // With IPv6, without, and with it on a node that has none by default.
    for (without_ipv6, default) in [(false, "0"), (true, "0"), (false, "1")] {
        let node = Node::new();
        node.host.ip(&["link", "add", "dut", "type", "veth", "peer", "name", "peer21"]);
        let of_host = |key: &str, value: Option<&str>| {
            let path = format!("/proc/sys/net/{key}");
            let mut shell = node.host.process(Path::new("/bin/sh"));
            let done = match value {
                Some(value) => shell.args(["-c", "echo $1 > $0", &path, value]),
                None => shell.args(["-c", "cat $0", &path]),
            };
            let done = done.output().unwrap();
            assert!(done.status.success(), "{done:?}");
            String::from_utf8(done.stdout).unwrap()
        };
        of_host("ipv6/conf/default/disable_ipv6", Some(default));
        let disable = ("ipv6/conf/dut/disable_ipv6", if without_ipv6 { "1" } else { "0" });
        for (key, value) in SET.into_iter().chain([disable]) {
            of_host(key, Some(value));
        }
        node.host.ip(&["link", "set", "dut", "up"]);
        node.host.ip(&["link", "set", "peer21", "up"]);
        node.host.ip(&["address", "add", "192.0.2.10/24", "brd", "+", "dev", "dut"]);
        if !without_ipv6 {
            // As networkd makes them, which follows routers itself.
            node.host.ip(&[
                "-6",
                "route",
                "add",
                "2001:db8:7::/48",
                "via",
                "fe80::1",
                "dev",
                "dut",
                "proto",
                "ra",
            ]);
        }
        let settled = || {
            let told = told(&node);
            let has_its_own = told["addr"].to_string().contains("fe80::");
            json!([has_its_own, told])
        };
        comes_to(&json!(true), || json!(settled()[0] == json!(!without_ipv6)), "the link-local address");
        let before = settled();
        let keys = conf(&[("device", json!("dut"))]);
        node.call("ADD", &keys).success();
        // The kernel has no IPv6 on a link with less than 1280.
        node.pod.ip(&["link", "set", "net1", "mtu", "1000"]);
        let deleted = node.call("DEL", &keys);
        deleted.success();
        comes_to(&before, settled, &deleted.stderr);
        assert_eq!(deleted.stderr, "");
        for (key, value) in SET.into_iter().chain([disable]) {
            assert_eq!(of_host(key, None).trim(), value, "{key}");
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

/// The kernel takes it from its master with the move.
#[test]
fn a_port_is_its_masters_again() {
    let node = Node::new();
    node.host.ip(&["link", "add", "bridge0", "type", "bridge"]);
    node.host.ip(&["link", "set", "nic0", "master", "bridge0"]);
    let master = |node: &Node| (node.nic()["master"].clone(), node.nic()["flags"].clone());
    node.call("ADD", &conf(&[])).success();
    // A master of the pod's is none of the host's.
    node.pod.ip(&["link", "add", "mine", "type", "bridge"]);
    node.pod.ip(&["link", "set", "net1", "master", "mine"]);
    node.call("DEL", &conf(&[])).success();
    assert_eq!(master(&node), (json!("bridge0"), json!(true)));
    node.call("ADD", &conf(&[])).success();
    node.host.ip(&["link", "del", "bridge0"]);
    let deleted = node.call("DEL", &conf(&[]));
    deleted.success();
    assert!(
        deleted.stderr.contains("cannot put back its master bridge0: Link not found"),
        "{}",
        deleted.stderr
    );
    assert_eq!((master(&node), node.records()), ((Value::Null, json!(true)), Vec::new()));
}

/// Tried again it would fail again, and the pod would never go.
#[test]
fn what_the_kernel_does_not_take_back_is_told_and_keeps_no_pod() {
    let node = Node::new();
    dut(&node, "link add link nic0 name dut address 02:00:00:00:00:22 type macvlan mode private");
    let mut before = told(&node);
    let keys = conf(&[("device", json!("dut"))]);
    node.call("ADD", &keys).success();
    // What is below it has no room for that MTU any more, and another link has the alternative name.
    node.host.ip(&["link", "set", "nic0", "mtu", "1300"]);
    node.pod.ip(&["link", "property", "del", "dev", "net1", "altname", "dut-by-path"]);
    node.host.ip(&["link", "property", "add", "dev", "peer0", "altname", "dut-by-path"]);
    let deleted = node.call("DEL", &keys);
    deleted.success();
    for lost in ["MTU 1380", "alternative name dut-by-path"] {
        assert!(deleted.stderr.contains(&format!("dut: cannot put back its {lost}: ")), "{}", deleted.stderr);
    }
    before["link"][0]["mtu"] = json!(1300);
    before["link"][0].as_object_mut().unwrap().remove("altnames");
    comes_to(&before, || told(&node), "");
    assert_eq!(node.records(), [""; 0]);
}

/// The kernel begins with the namespace's own default for each link that comes, and makes the link-local address by it as soon as
/// that is up.
#[test]
fn a_link_local_address_is_made_as_before_whatever_is_the_hosts_default() {
    for (default, own) in [("1", "eui64"), ("1", "none"), ("2", "eui64"), ("3", "eui64"), ("0", "none")] {
        let node = Node::new();
        let mode = format!("net.ipv6.conf.default.addr_gen_mode={default}");
        let set = node.host.process(std::path::Path::new("sysctl")).args(["-qw", &mode]).status();
        assert!(set.unwrap().success());
        node.host.ip(&["link", "set", "nic0", "down"]);
        node.host.ip(&["link", "set", "nic0", "addrgenmode", own]);
        node.host.ip(&["link", "set", "nic0", "up"]);
        let told = || {
            let mut addresses = node.host.json(&["address", "show", "dev", "nic0"])[0]["addr_info"].take();
            strip(&mut addresses);
            json!([node.nic()["inet6_addr_gen_mode"], addresses])
        };
        let before = told();
        assert_eq!(before[1].as_array().map(Vec::len), Some(usize::from(own == "eui64")), "{before}");
        node.call("ADD", &conf(&[])).success();
        node.call("DEL", &conf(&[])).success();
        comes_to(&before, told, &format!("default {default}"));
    }
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
