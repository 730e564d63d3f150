//! The addresses and routes that a link has on the host: given back, or taken along.

use serde_json::{Value, json};

use crate::node::{Node, comes_to, conf};

/// A node whose link has addresses and routes of both families, one of them in a table of its own.
pub(crate) fn connected() -> Node {
    let node = Node::new();
    let ip = |args: &str| node.host.ip(&args.split(' ').collect::<Vec<_>>());
    ip("address add 192.0.2.10/24 brd + dev nic0");
    ip("address add 192.0.2.11/32 dev nic0 label nic0:a");
    ip("-6 address add 2001:db8::10/64 dev nic0 nodad");
    ip("route add 198.51.100.0/24 via 192.0.2.1 dev nic0 metric 50");
    ip("route add 203.0.113.0/24 dev nic0 table 7 src 192.0.2.10");
    ip("-6 route add 2001:db8:1::/48 via 2001:db8::1 dev nic0");
    // Its own address comes with its carrier.
    let has_its_own = || network(&node)["addresses"].to_string().contains("fe80::");
    comes_to(&json!(true), || json!(has_its_own()), "the link-local address");
    node
}

/// Addresses and routes as `ip` tells them, without what each namespace counts anew.
pub(crate) fn network(node: &Node) -> Value {
    let mut all = json!({
        "addresses": node.host.json(&["address", "show", "dev", "nic0"])[0]["addr_info"],
        "routes": node.host.json(&["route", "show", "table", "all", "dev", "nic0"]),
        "routes6": node.host.json(&["-6", "route", "show", "table", "all", "dev", "nic0"]),
    });
    for address in all["addresses"].as_array_mut().into_iter().flatten() {
        // Whether detection of duplicates is over yet is no property of the address.
        address.as_object_mut().map(|address| address.remove("tentative"));
    }
    // Nor is the address's own route, which comes when it is. `ip` tells those of both families in the first list.
    let is_own = |route: &Value| {
        let is_local = route["type"] == "local" && route["protocol"] == "kernel";
        is_local && route["dst"].as_str().is_some_and(|to| to.contains(':'))
    };
    for list in ["routes", "routes6"] {
        all[list].as_array_mut().into_iter().for_each(|routes| routes.retain(|route| !is_own(route)));
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
    comes_to(&before, || network(&node), "");
}

/// Routes that the kernel takes only when something else is there, or tells in another form than it was given them.
#[test]
fn of_every_form_are_given_back() {
    let node = connected();
    let ip = |args: &str| node.host.ip(&args.split(' ').collect::<Vec<_>>());
    // The second takes the mark off again: an address whose check for duplicates is over.
    ip("-6 address add 2001:db8::20/64 dev nic0 nodad");
    ip("-6 address change 2001:db8::20/64 dev nic0");
    ip("-6 route add 2001:db8:2::/48 via 2001:db8::1 dev nic0 src 2001:db8::20");
    ip(
        "route add 198.51.101.0/24 nexthop via 192.0.2.1 dev nic0 weight 3 nexthop via 192.0.2.2 dev nic0 onlink",
    );
    ip("-6 route add 2001:db8:3::/48 nexthop via 2001:db8::1 dev nic0 nexthop via 2001:db8::2 dev nic0");
    let told =
        |node: &Node| json!([network(node), ways(node, "198.51.101.0/24"), ways(node, "2001:db8:3::/48")]);
    let before = told(&node);
    node.call("ADD", &conf(&[])).success();
    assert_eq!(node.host.json(&["route", "show", "198.51.101.0/24"]), json!([]));
    let deleted = node.call("DEL", &conf(&[]));
    deleted.success();
    comes_to(&before, || told(&node), &deleted.stderr);
}

/// As an ENI with several private addresses has them.
#[test]
fn of_one_subnet_are_given_back_in_their_order() {
    let node = Node::new();
    let ip = |args: &str| node.host.ip(&args.split(' ').collect::<Vec<_>>());
    for last in [10, 12, 11] {
        ip(&format!("address add 192.0.2.{last}/24 brd + dev nic0"));
    }
    ip("route add 198.51.100.0/24 via 192.0.2.1 dev nic0 src 192.0.2.11");
    let before = network(&node);
    let added = node.call("ADD", &conf(&[("useInterfaceNetwork", json!(true))]));
    let addresses = added.success()["ips"].as_array().unwrap().iter().map(|ip| ip["address"].clone());
    assert_eq!(addresses.collect::<Value>(), json!(["192.0.2.10/24", "192.0.2.12/24", "192.0.2.11/24"]));
    let deleted = node.call("DEL", &conf(&[]));
    deleted.success();
    comes_to(&before, || network(&node), &deleted.stderr);
    assert_eq!(deleted.stderr, "");
}

/// What is this node's own by a route and not by an address, and a route that ends by itself.
#[test]
fn of_other_types_and_with_an_end_are_given_back() {
    let node = connected();
    let ip = |args: &str| node.host.ip(&args.split(' ').collect::<Vec<_>>());
    ip("route add local 198.51.105.0/24 dev nic0");
    ip("route add local 198.51.106.0/24 dev nic0 table local");
    ip("route add broadcast 198.51.107.255 dev nic0");
    ip("route add multicast 224.0.5.0/24 dev nic0");
    ip("-6 route add 2001:db8:5::/48 via 2001:db8::1 dev nic0 expires 2000");
    let told = || {
        let mut told = network(&node);
        // It goes on living, and `ip` tells seconds.
        for route in told["routes6"].as_array_mut().into_iter().flatten() {
            if let Some(left) = route.get_mut("expires") {
                *left = left.as_u64().is_some_and(|left| left > 1000).into();
            }
        }
        told
    };
    let before = told();
    assert!(before["routes6"].to_string().contains("expires"), "{before}");
    // None of them but the last is the pod's.
    let added = node.call("ADD", &conf(&[("useInterfaceNetwork", json!(true))]));
    let routes = added.success()["routes"].to_string();
    assert!(routes.contains("2001:db8:5::/48"), "{routes}");
    assert!(
        !["198.51.105", "198.51.106", "198.51.107", "224.0"].iter().any(|to| routes.contains(to)),
        "{routes}"
    );
    let deleted = node.call("DEL", &conf(&[]));
    deleted.success();
    comes_to(&before, told, &deleted.stderr);
}

/// As clouds do that give each NIC an address and no subnet.
#[test]
fn with_a_gateway_outside_of_every_subnet_are_taken_along() {
    let node = Node::new();
    let ip = |args: &str| node.host.ip(&args.split(' ').collect::<Vec<_>>());
    ip("address add 192.0.2.10/32 dev nic0");
    ip("route add 198.51.100.0/24 via 192.0.2.1 dev nic0 onlink");
    ip("route add 203.0.113.0/24 via inet6 fe80::1 dev nic0");
    let before = network(&node);
    let added = node.call("ADD", &conf(&[("useInterfaceNetwork", json!(true))]));
    // A gateway of the other family is nothing that a result can tell.
    assert_eq!(added.success()["routes"], json!([{"dst": "198.51.100.0/24", "gw": "192.0.2.1", "scope": 0}]));
    let inside = node.pod.json(&["route", "show", "198.51.100.0/24"]);
    assert_eq!(
        (&inside[0]["gateway"], inside[0]["flags"].to_string().contains("onlink")),
        (&json!("192.0.2.1"), true)
    );
    let deleted = node.call("DEL", &conf(&[]));
    deleted.success();
    comes_to(&before, || network(&node), &deleted.stderr);
}

/// As `NetworkManager` makes them: the address without the route to its subnet, and that by itself, marked as the kernel's own.
#[test]
fn of_a_subnet_that_the_kernel_was_told_to_make_no_route_for_are_given_back() {
    let node = Node::new();
    let ip = |args: &str| node.host.ip(&args.split(' ').collect::<Vec<_>>());
    ip("address add 192.0.2.10/24 dev nic0 noprefixroute");
    ip("route add 192.0.2.0/24 dev nic0 proto kernel scope link src 192.0.2.10 metric 100");
    ip("route add 198.51.100.0/24 via 192.0.2.1 dev nic0 metric 100");
    ip("-6 address add 2001:db8::10/64 dev nic0 nodad noprefixroute");
    ip("-6 route add 2001:db8::/64 dev nic0 proto kernel metric 100");
    ip("-6 route add 2001:db8:1::/48 via 2001:db8::1 dev nic0 metric 100");
    let before = network(&node);
    // A pod that takes the addresses along has the subnets' routes with them.
    let added = node.call("ADD", &conf(&[("useInterfaceNetwork", json!(true))]));
    assert_eq!(added.success()["routes"].as_array().map(Vec::len), Some(2));
    let deleted = node.call("DEL", &conf(&[]));
    deleted.success();
    comes_to(&before, || network(&node), &deleted.stderr);
}

/// A route of several ways, which `ip` does not show by its link.
fn ways(node: &Node, to: &str) -> Value {
    node.host.json(&[if to.contains(':') { "-6" } else { "-4" }, "route", "show", to])
}

/// As FRR makes them: the kernel drops the object with the link.
#[test]
fn through_a_nexthop_object_come_back_as_plain_ones() {
    let node = connected();
    let ip = |args: &str| node.host.ip(&args.split(' ').collect::<Vec<_>>());
    for (id, add) in
        [("8", "via 192.0.2.1"), ("9", "group 8"), ("18", "via 2001:db8::1"), ("19", "via 192.0.2.2")]
    {
        ip(&format!("nexthop add id {id} {add}{}", if add.contains("via") { " dev nic0" } else { "" }));
    }
    ip("nexthop add id 20 group 8/19");
    ip("route add 198.51.101.0/24 nhid 8");
    ip("route add 198.51.102.0/24 nhid 9");
    ip("route add 198.51.103.0/24 nhid 20");
    ip("-6 route add 2001:db8:2::/48 nhid 18");
    node.call("ADD", &conf(&[])).success();
    let deleted = node.call("DEL", &conf(&[]));
    deleted.success();
    for (to, gateway) in [
        ("198.51.101.0/24", "192.0.2.1"),
        ("198.51.102.0/24", "192.0.2.1"),
        ("2001:db8:2::/48", "2001:db8::1"),
    ] {
        assert_eq!(ways(&node, to)[0]["gateway"], gateway, "{to}: {}", deleted.stderr);
    }
    assert_eq!(ways(&node, "198.51.103.0/24")[0]["nexthops"].as_array().map(Vec::len), Some(2));
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn that_leave_by_other_links_too_are_told_of() {
    let node = connected();
    node.host.ip(&["address", "add", "203.0.113.9/24", "dev", "peer0"]);
    let both = "route add 198.51.101.0/24 nexthop via 192.0.2.1 dev nic0 nexthop via 203.0.113.1 dev peer0";
    node.host.ip(&both.split(' ').collect::<Vec<_>>());
    let added = node.call("ADD", &conf(&[]));
    added.success();
    assert!(added.stderr.contains("nic0: 1 of its routes leave by other links as well"), "{}", added.stderr);
    node.call("DEL", &conf(&[])).success();
}

/// Tried again it would fail again, and the pod would never go.
#[test]
fn that_the_kernel_does_not_take_any_more_are_told_of_and_keep_no_pod() {
    let node = connected();
    let nic = node.nic();
    node.call("ADD", &conf(&[])).success();
    let off = ["-qw", "net.ipv6.conf.all.disable_ipv6=1"];
    assert!(node.host.process(std::path::Path::new("sysctl")).args(off).status().unwrap().success());
    let deleted = node.call("DEL", &conf(&[]));
    deleted.success();
    for lost in ["address 2001:db8::10/64", "route 2001:db8:1::/48"] {
        assert!(
            deleted.stderr.contains(&format!("nic0: cannot put back its {lost}: ")),
            "{}",
            deleted.stderr
        );
    }
    assert_eq!((node.nic(), node.records()), (nic, Vec::new()));
    assert_eq!(node.host.json(&["route", "show", "198.51.100.0/24"])[0]["gateway"], "192.0.2.1");
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
    comes_to(&before, || network(&node), "");
}

/// IPv6 has no scope to tell that a route is on the link.
#[test]
fn on_the_link_stay_so_beside_a_gateway_of_ipams() {
    let node = connected();
    node.host.ip(&["-6", "route", "add", "2001:db8:2::/48", "dev", "nic0"]);
    let keys =
        [("useInterfaceNetwork", json!(true)), ("ipam", json!({"type": "lease", "answer": "gateways"}))];
    node.call("ADD", &conf(&keys)).success();
    let inside = |to| node.pod.json(&["-6", "route", "show", to])[0]["gateway"].clone();
    assert_eq!((inside("2001:db8:2::/48"), inside("2001:db8:1::/48")), (Value::Null, json!("2001:db8::1")));
    // IPAM's own route without a gateway gets IPAM's.
    assert_eq!(inside("2001:db8:f::/48"), "2001:db8::9");
    node.call("DEL", &conf(&keys)).success();
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
    comes_to(&before, || network(&node), "");
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
    // One that leaves by what stands on the link is the link's.
    for (above, adds) in [
        ("bridge0", &["link add bridge0 type bridge", "link set nic0 master bridge0"][..]),
        ("macvlan0", &["link add link nic0 name macvlan0 type macvlan"]),
    ] {
        let node = connected();
        let ip = |args: &str| node.host.ip(&args.split(' ').collect::<Vec<_>>());
        for add in adds {
            ip(add);
        }
        ip(&format!("link set {above} up"));
        ip(&format!("address add 203.0.113.9/24 dev {above}"));
        ip("route add default via 203.0.113.1");
        let refused = node.call("ADD", &conf(&[]));
        let text =
            format!("nic0 carries this node's default route (table 254), which leaves by {above} above it");
        assert!(refused.error().1.starts_with(&text), "{refused:?}");
        node.call("ADD", &conf(&[("allowDefaultRoute", json!(true))])).success();
    }
    // One that leaves by another link is no reason.
    let node = connected();
    node.host.ip(&["address", "add", "203.0.113.9/24", "dev", "peer0"]);
    node.host.ip(&["route", "add", "default", "via", "203.0.113.1"]);
    node.call("ADD", &conf(&[])).success();
}
