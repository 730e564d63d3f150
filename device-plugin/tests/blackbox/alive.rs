//! The node changes while `sriovdp` runs: what the kubelet hears of it, and what it does not.

use std::process::Command;

use testkit::kubelet::{Kubelet, State, Tells};
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, command, kubelet_root, node};
use crate::pools::ids;

/// A tree of files tells of nothing, so it is looked at often.
pub(crate) fn often(tree: &Tree, config: &str) -> Command {
    let mut command = command(tree, config);
    command.arg("--rescan-interval=50ms");
    command
}

/// Devices of a pool, and how many of them are healthy.
pub(crate) fn lists(state: &State, resource: &str) -> (usize, usize) {
    state.pools.get(resource).map_or((0, 0), |pool| (pool.devices.len(), pool.healthy().len()))
}

const DRIVERS: &str = r#"{"resourceList": [
    {"resourceName": "kernel", "selectors": {"pfNames": ["ens1f0"], "drivers": ["iavf"]}},
    {"resourceName": "vfio", "selectors": {"pfNames": ["ens1f0"], "drivers": ["vfio-pci"]}},
    {"resourceName": "eni", "selectors": {"drivers": ["ena"], "linkTypes": ["ether"]}}]}"#;

const KERNEL: &str = "intel.com/kernel";
const VFIO: &str = "intel.com/vfio";
const ENI: &str = "intel.com/eni";

struct Node {
    tree: Tree,
    kubelet: Kubelet,
    daemon: Daemon,
}

impl Node {
    fn new(tree: Tree, config: &str) -> Self {
        let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
        let daemon = Daemon::spawn(often(&tree, config));
        Self { tree, kubelet, daemon }
    }

    fn until(&self, what: &str, wanted: impl FnMut(&State) -> bool + Send) -> State {
        self.kubelet.until(what, LIMIT, wanted).unwrap()
    }

    /// Two VFs of either driver, two ENIs.
    fn usual() -> Self {
        let node = Self::new(node(), DRIVERS);
        node.until("the pools", |state| state.has(KERNEL, 2) && state.has(VFIO, 2) && state.has(ENI, 2));
        node
    }

    fn holder(&self, resource: &str, count: usize) -> Pod {
        let pod = Pod::new("default", "holder").container("app", &[(resource, count)]);
        self.kubelet.admit(&pod).unwrap();
        pod
    }
}

#[test]
fn a_pool_that_empties_says_why_and_says_it_once() {
    let mut node = Node::usual();
    for vf in ["0000:3b:02.0", "0000:3b:02.1"] {
        node.tree.existing(vf).on_vfio(60);
    }
    node.daemon.says("empty pool");
    node.until("the last of the moves", |state| lists(state, KERNEL) == (0, 0) && state.has(VFIO, 4));
    // What comes and goes elsewhere is another number in the same reason.
    node.tree.vf("0000:3b:02.4", "0000:3b:00.0").on_vfio(61);
    node.until("another one", |state| state.has(VFIO, 5));
    // And this is another reason.
    node.tree.existing("0000:3b:02.4").unbound();
    node.until("its end", |state| state.has(VFIO, 4));
    node.daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let said = node.daemon.end().1;
    let why: Vec<&str> = said.lines().filter(|line| line.contains("empty pool")).collect();
    assert_eq!(why.len(), 2, "{said}");
    let refused = "intel.com/kernel devices=0 why=of 8 network functions: 1 left out (eth0 carries a default route); \
                   1 left out (4 VFs are enabled); 6 refused by drivers (found ena, wanted iavf)";
    assert!(why[0].contains(refused), "{said}");
    assert!(why[1].contains("1 left out (no driver is bound)"), "{said}");
}

#[test]
fn a_vf_comes_and_goes() {
    let node = Node::usual();
    node.tree.vf("0000:3b:02.4", "0000:3b:00.0").numa(1);
    node.until("the third VF, with its NUMA node", |state| {
        let vf = state.pools[KERNEL].devices.get("0000:3b:02.4");
        state.has(KERNEL, 3) && vf.is_some_and(|vf| vf.numa == [1])
    });
    node.tree.remove("0000:3b:02.4");
    node.until("its end", |state| lists(state, KERNEL) == (2, 2));
}

#[test]
fn another_driver_is_another_pool() {
    let node = Node::usual();
    node.tree.existing("0000:3b:02.0").on_vfio(50);
    let state =
        node.until("the move", |state| lists(state, KERNEL) == (1, 1) && lists(state, VFIO) == (3, 3));
    assert_eq!(ids(&state, VFIO)[0], "0000:3b:02.0");
    let pod = Pod::new("default", "dpdk").container("app", &[(VFIO, 3)]);
    let given = node.kubelet.admit(&pod).unwrap().remove(0);
    assert!(given.response.devices.iter().any(|node| node.host_path == "/dev/vfio/50"), "{given:?}");
}

#[test]
fn the_last_device_of_a_pool_goes_and_the_first_one_comes() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    let mut node = Node::new(tree, DRIVERS);
    node.daemon.says("nothing to offer");
    node.tree.vf("0000:3b:02.0", "0000:3b:00.0");
    node.until("the first VF", |state| state.has(KERNEL, 1));
    node.tree.remove("0000:3b:02.0");
    let state = node.until("its end", |state| lists(state, KERNEL) == (0, 0));
    assert!(state.pools[KERNEL].connected, "the pool waits for the next one");
    assert!(!state.pools.contains_key(VFIO), "never had a device");
    node.tree.vf("0000:3b:02.1", "0000:3b:00.0").on_vfio(51);
    let state = node.until("a VF of the other pool", |state| state.has(VFIO, 1));
    assert_eq!(state.pools[KERNEL].registrations, 1);
}

#[test]
fn what_the_kubelet_would_not_see_is_not_sent() {
    let node = Node::usual();
    node.holder(KERNEL, 1);
    // As `sriov` does: the link is the pod's. It is an ENI's too, whose link type is then nobody's to tell.
    node.tree.existing("0000:3b:02.0").without_netdevs();
    node.tree.existing("0000:00:06.0").without_netdevs();
    node.tree.remove("0000:3b:02.3");
    // A look that sees this has seen the rest.
    let state = node.until("the end of another VF", |state| lists(state, VFIO) == (1, 1));
    assert_eq!((state.pools[KERNEL].lists, lists(&state, KERNEL)), (1, (2, 2)));
    assert_eq!((state.pools[ENI].lists, lists(&state, ENI)), (1, (2, 2)));
    assert_eq!(state.pools[VFIO].lists, 2);
}

#[test]
fn a_held_vf_that_is_gone_is_unhealthy_until_it_is_given_back() {
    let node = Node::usual();
    let pod = node.holder(KERNEL, 2);
    node.tree.remove("0000:3b:02.0");
    let state = node.until("its end", |state| lists(state, KERNEL) == (2, 1));
    assert!(!state.pools[KERNEL].devices["0000:3b:02.0"].healthy);
    assert_eq!(state.pools[KERNEL].devices["0000:3b:02.0"].numa, [1], "as it was");
    assert!(node.kubelet.delete(&pod));
    node.until("the end of the pod", |state| lists(state, KERNEL) == (1, 1));
}

#[test]
fn a_held_vf_on_another_driver_is_unhealthy_and_offered_by_nobody_else() {
    let node = Node::usual();
    let pod = node.holder(KERNEL, 2);
    node.tree.existing("0000:3b:02.1").on_vfio(51);
    let state = node.until("the other driver", |state| lists(state, KERNEL) == (2, 1));
    assert_eq!(lists(&state, VFIO), (2, 2));
    assert!(node.kubelet.delete(&pod));
    node.until("the move", |state| lists(state, KERNEL) == (1, 1) && lists(state, VFIO) == (3, 3));
}

#[test]
fn while_nobody_can_tell_who_holds_what_nothing_moves() {
    let node = Node::usual();
    node.kubelet.tells(Tells::Nothing).unwrap();
    node.tree.existing("0000:3b:02.1").on_vfio(51);
    let state = node.until("the other driver", |state| lists(state, KERNEL) == (2, 1));
    assert_eq!(lists(&state, VFIO), (2, 2));
    node.kubelet.tells(Tells::Everything).unwrap();
    node.until("the move", |state| lists(state, KERNEL) == (1, 1) && lists(state, VFIO) == (3, 3));
}

#[test]
fn what_was_just_given_is_held_although_the_kubelet_does_not_say_so() {
    let node = Node::usual();
    // Not by way of the kubelet's accounts: as one that has not written it down yet.
    let socket = node.kubelet.state().pools[KERNEL].socket.clone();
    testkit::kubelet::direct::allocate(&socket, &[&["0000:3b:02.1"]]).unwrap().unwrap();
    node.tree.existing("0000:3b:02.1").on_vfio(51);
    let state = node.until("the other driver", |state| lists(state, KERNEL) == (2, 1));
    assert_eq!(lists(&state, VFIO), (2, 2));
}

#[test]
fn a_default_route_takes_an_eni_away() {
    let node = Node::usual();
    node.tree.default_route("eth2");
    node.until("the node's own", |state| lists(state, ENI) == (1, 1));
}

#[test]
fn carrier_counts_where_the_pool_asks_for_it() {
    let tree = node();
    tree.write("sys/class/net/ens1f0/carrier", "1\n");
    let config = r#"{"resourceList": [
        {"resourceName": "asks", "pfCarrier": true, "selectors": {"pfNames": ["ens1f0#0-1"]}},
        {"resourceName": "not", "selectors": {"pfNames": ["ens1f0#2-3"]}}]}"#;
    let node = Node::new(tree, config);
    let both = |state: &State| state.has("intel.com/asks", 2) && state.has("intel.com/not", 2);
    node.until("carrier", both);
    node.tree.write("sys/class/net/ens1f0/carrier", "0\n");
    let state = node.until("no carrier", |state| lists(state, "intel.com/asks") == (2, 0));
    assert_eq!(state.pools["intel.com/not"].lists, 1);
    let socket = &state.pools["intel.com/asks"].socket;
    let refused = testkit::kubelet::direct::allocate(socket, &[&["0000:3b:02.0"]]).unwrap().unwrap_err();
    assert!(refused.message().contains("ens1f0 has no carrier"), "{refused}");
    node.tree.write("sys/class/net/ens1f0/carrier", "1\n");
    node.until("carrier again", both);
}

#[test]
fn a_pf_goes_with_its_vfs() {
    let node = Node::usual();
    let pod = node.holder(VFIO, 1);
    for index in 0..4 {
        node.tree.remove(&format!("0000:3b:02.{index}"));
    }
    node.tree.remove("0000:3b:00.0");
    let gone = |state: &State| lists(state, KERNEL) == (0, 0) && lists(state, VFIO) == (1, 0);
    node.until("the end of the PF", gone);
    assert!(node.kubelet.delete(&pod));
    node.until("the end of the pod", |state| lists(state, VFIO) == (0, 0));
}
