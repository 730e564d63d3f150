//! The NIC that the node lives on: real routes in a network namespace, over a tree of functions whose network devices have
//! the same names.

use testkit::kubelet::{Kubelet, State};
use testkit::netns::Namespace;
use testkit::sysfs::Tree;

use std::process::Command;

use crate::daemon::{Daemon, LIMIT, command, kubelet_root};
use crate::pools::ids;

const POOL: &str = r#"{"resourceList": [{"resourceName": "eni", "selectors": {"drivers": ["ena"]}}]}"#;

/// An EC2 instance with two ENIs, `eth0` and `eth1`, both up with an address and without a default route.
fn two_enis() -> (Tree, Namespace) {
    let tree = Tree::new();
    let namespace = Namespace::new("sriovdp");
    for number in 0..2 {
        let netdev = format!("eth{number}");
        tree.function(&format!("0000:00:0{}.0", 5 + number))
            .ids("1d0f", "ec20")
            .driver("ena")
            .netdev(&netdev);
        namespace.ip(&["link", "add", &netdev, "type", "veth", "peer", "name", &format!("peer{number}")]);
        namespace.ip(&["link", "set", &format!("peer{number}"), "up"]);
        namespace.ip(&["link", "set", &netdev, "up"]);
        namespace.ip(&["address", "add", &format!("10.0.{number}.2/24"), "dev", &netdev]);
        namespace.ip(&["-6", "address", "add", &format!("fd00:{number}::2/64"), "dev", &netdev, "nodad"]);
    }
    (tree, namespace)
}

/// As in a pod with `hostNetwork`: the routes are those of the namespace.
fn inside(namespace: &Namespace, tree: &Tree, more: &[&str]) -> Command {
    let outside = command(tree, POOL);
    let mut inside = namespace.process(outside.get_program().as_ref());
    inside.args(outside.get_args()).args(["--proc-root", "/proc"]).args(more);
    inside
}

/// The ENIs that are offered, and what was said.
fn offered(namespace: &Namespace, tree: &Tree, more: &[&str]) -> (Vec<String>, String) {
    let kubelet = Kubelet::start(kubelet_root(tree)).unwrap();
    let daemon = Daemon::spawn(inside(namespace, tree, more));
    let listed = |state: &State| state.pools.get("intel.com/eni").is_some_and(|pool| pool.lists > 0);
    let state = kubelet.until("the pool", LIMIT, listed).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    (ids(&state, "intel.com/eni"), daemon.end().1)
}

/// With these routes only the second ENI is offered, and the log says why.
fn keeps_eth0(routes: &[&str]) {
    let (tree, namespace) = two_enis();
    for route in routes {
        namespace.ip(&route.split(' ').collect::<Vec<_>>());
    }
    let (offered, said) = offered(&namespace, &tree, &[]);
    assert_eq!(offered, ["0000:00:06.0"], "{routes:?}\n{said}");
    assert!(said.contains("carries a default route") && said.contains("0000:00:05.0 (eth0)"), "{said}");
}

#[test]
fn of_two_enis_exactly_one_is_offered() {
    keeps_eth0(&["route add default via 10.0.0.1 dev eth0"]);
}

#[test]
fn ipv6_counts() {
    keeps_eth0(&["-6 route add default via fd00:0::1 dev eth0"]);
}

#[test]
fn every_table_counts() {
    keeps_eth0(&["route add default via 10.0.0.1 dev eth0 table 1001"]);
    keeps_eth0(&["-6 route add default via fd00:0::1 dev eth0 table 77"]);
}

#[test]
fn a_way_out_among_several_counts() {
    keeps_eth0(&[
        "link add eth9 type ifb",
        "link set eth9 up",
        "address add 10.9.0.2/24 dev eth9",
        "route add default nexthop via 10.9.0.1 dev eth9 nexthop via 10.0.0.1 dev eth0",
    ]);
}

#[test]
fn a_nexthop_object_counts() {
    keeps_eth0(&["nexthop add id 7 via 10.0.0.1 dev eth0", "route add default nhid 7"]);
}

#[test]
fn a_route_that_leads_nowhere_does_not_count() {
    let (tree, namespace) = two_enis();
    namespace.ip(&["route", "add", "blackhole", "default", "table", "5"]);
    namespace.ip(&["-6", "route", "add", "unreachable", "default", "metric", "4278198272"]);
    namespace.ip(&["route", "add", "10.7.0.0/16", "via", "10.0.0.1", "dev", "eth0"]);
    assert_eq!(offered(&namespace, &tree, &[]).0, ["0000:00:05.0", "0000:00:06.0"]);
}

#[test]
fn lower_devices_of_what_has_the_route_count() {
    for (upper, between) in [("br0", None), ("br0", Some("bond0")), ("br0", Some("bond0.100"))] {
        let (tree, namespace) = two_enis();
        namespace.ip(&["link", "add", upper, "type", "bridge"]);
        namespace.ip(&["link", "set", upper, "up"]);
        namespace.ip(&["address", "add", "10.8.0.2/24", "dev", upper]);
        namespace.ip(&["route", "add", "default", "via", "10.8.0.1", "dev", upper]);
        tree.stack(upper, between.unwrap_or("eth0"));
        if let Some(between) = between {
            tree.stack(between, "eth0");
        }
        let (offered, said) = offered(&namespace, &tree, &[]);
        assert_eq!(offered, ["0000:00:06.0"], "{between:?}\n{said}");
    }
}

#[test]
fn an_operator_may_offer_it_all_the_same() {
    let (tree, namespace) = two_enis();
    namespace.ip(&["route", "add", "default", "via", "10.0.0.1", "dev", "eth0"]);
    let (both, _) = offered(&namespace, &tree, &["--allow-host-interfaces"]);
    assert_eq!(both, ["0000:00:05.0", "0000:00:06.0"]);
}

#[test]
fn explain_says_which_route_it_is() {
    let (tree, namespace) = two_enis();
    namespace.ip(&["link", "add", "br0", "type", "bridge"]);
    namespace.ip(&["link", "set", "br0", "up"]);
    namespace.ip(&["address", "add", "10.8.0.2/24", "dev", "br0"]);
    namespace.ip(&["route", "add", "default", "via", "10.8.0.1", "dev", "br0", "table", "9"]);
    tree.stack("br0", "eth0");
    let done = inside(&namespace, &tree, &["explain", "eth0"]).output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(said.contains("left out of every pool: eth0 carries the default route of br0"), "{said}");
}
