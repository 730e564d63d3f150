//! The configuration changes while `sriovdp` runs.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use testkit::kubelet::{Kubelet, State, Tells};
use testkit::pod::Pod;

use crate::alive::{lists, often};
use crate::daemon::{Daemon, LIMIT, command, kubelet_root, names, node};
use crate::pools::ids;

/// Pools of VFs of `ens1f0`, by name and range.
pub(crate) fn pools(pools: &[(&str, &str)]) -> String {
    let pool = |(name, range): &(&str, &str)| {
        format!(r#"{{"resourceName":"{name}","selectors":{{"pfNames":["ens1f0#{range}"]}}}}"#)
    };
    format!(r#"{{"resourceList":[{}]}}"#, pools.iter().map(pool).collect::<Vec<_>>().join(","))
}

struct Node {
    tree: testkit::sysfs::Tree,
    kubelet: Kubelet,
    daemon: Daemon,
}

impl Node {
    fn new(config: &str) -> Self {
        let tree = node();
        let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
        // The slow clock has no part in this.
        let daemon = Daemon::spawn(command(&tree, config));
        Self { tree, kubelet, daemon }
    }

    fn until(&self, what: &str, wanted: impl FnMut(&State) -> bool + Send) -> State {
        self.kubelet.until(what, LIMIT, wanted).unwrap()
    }

    fn write(&self, config: &str) {
        self.tree.write("config.json", config);
    }
}

/// The inode of a pool's socket.
fn inode(kubelet: &Kubelet, pool: &str) -> u64 {
    let socket = format!("plugins_registry/intel.com_{pool}.sock");
    kubelet.root().join(socket).symlink_metadata().unwrap().ino()
}

#[test]
fn only_what_has_changed_is_touched() {
    let node = Node::new(&pools(&[("same", "0"), ("other", "1"), ("gone", "2")]));
    node.until("three pools", |state| {
        ["intel.com/same", "intel.com/other", "intel.com/gone"].iter().all(|pool| state.has(pool, 1))
    });
    let before = ["same", "other"].map(|pool| inode(&node.kubelet, pool));
    node.write(&pools(&[("new", "2"), ("same", "0"), ("other", "1,3")]));
    let state = node.until("the new pools", |state| {
        state.has("intel.com/new", 1)
            && state.has("intel.com/other", 2)
            && state.pools["intel.com/gone"].devices.is_empty()
            && !state.pools["intel.com/gone"].connected
    });
    assert_eq!(ids(&state, "intel.com/new"), ["0000:3b:02.2"], "what the pool that is gone had");
    assert_eq!(before, ["same", "other"].map(|pool| inode(&node.kubelet, pool)));
    let count = |pool: &str| (state.pools[pool].registrations, state.pools[pool].lists);
    assert_eq!((count("intel.com/same"), count("intel.com/other")), ((1, 1), (1, 2)));
    assert_eq!(count("intel.com/gone"), (1, 2), "its last list is empty");
    let sockets = ["intel.com_new.sock", "intel.com_other.sock", "intel.com_same.sock"];
    assert_eq!(names(&node.kubelet.root().join("plugins_registry")), sockets);
}

#[test]
fn a_pool_that_comes_back_is_served_again() {
    let (both, one) = (pools(&[("a", "0"), ("b", "1")]), pools(&[("a", "0")]));
    let node = Node::new(&both);
    for round in 1..=3 {
        node.until("both", |state| state.has("intel.com/a", 1) && state.has("intel.com/b", 1));
        node.write(&one);
        node.until("one", |state| !state.pools["intel.com/b"].connected);
        node.write(&both);
        let state = node.until("both again", |state| state.has("intel.com/b", 1));
        assert_eq!(state.pools["intel.com/b"].registrations, round + 1);
        assert_eq!(state.pools["intel.com/a"].lists, 1);
    }
}

#[test]
fn a_broken_file_leaves_the_last_good_one_in_force() {
    let mut node = Node::new(&pools(&[("a", "0")]));
    node.until("the pool", |state| state.has("intel.com/a", 1));
    for broken in ["{", "[]", r#"{"resourceList":[]}"#, r#"{"resourceList":[{"resourceName":"a.b"}]}"#] {
        node.write(broken);
        node.daemon.says("generation 1 of the configuration stays");
    }
    std::fs::remove_file(node.tree.root().join("config.json")).unwrap();
    node.daemon.says("generation 1 of the configuration stays");
    let state = node.kubelet.state();
    assert_eq!((lists(&state, "intel.com/a"), state.pools["intel.com/a"].lists), ((1, 1), 1));
    node.write(&pools(&[("a", "0-1")]));
    node.until("a good one", |state| state.has("intel.com/a", 2));
}

#[test]
fn a_pool_that_is_empty_after_a_change_says_why() {
    let mut node = Node::new(&pools(&[("a", "0")]));
    node.until("the pool", |state| state.has("intel.com/a", 1));
    node.write(&pools(&[("a", "0"), ("b", "7")]));
    node.daemon.says("wanted ens1f0#7");
    // Another wish with the same reason is told anew.
    node.write(&pools(&[("a", "0"), ("b", "8")]));
    node.daemon.says("wanted ens1f0#8");
}

#[test]
fn a_broken_pool_costs_its_own_change_alone() {
    let node = Node::new(&pools(&[("a", "0"), ("b", "1")]));
    node.until("both", |state| state.has("intel.com/a", 1) && state.has("intel.com/b", 1));
    let broken = pools(&[("a", "0"), ("b", "2-3")]).replace(r#"["ens1f0#0"]"#, r#""ens1f0#0""#);
    node.write(&broken);
    let state = node.until("the change of the other", |state| state.has("intel.com/b", 2));
    assert_eq!((lists(&state, "intel.com/a"), state.pools["intel.com/a"].lists), ((1, 1), 1));
}

#[test]
fn a_config_map_is_followed() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let dir = tree.root().join("etc");
    let publish = |stamp: &str, config: &str| {
        tree.write(Path::new("etc").join(stamp).join("node-1"), config);
        symlink(stamp, dir.join("..data_tmp")).unwrap();
        std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    };
    publish("..1", &pools(&[("a", "0")]));
    symlink("..data/node-1", dir.join("node-1")).unwrap();
    let mut command = command(&tree, "");
    command.arg("--config-file").arg(dir.join("node-1"));
    let _daemon = Daemon::spawn(command);
    kubelet.until("the first", LIMIT, |state| state.has("intel.com/a", 1)).unwrap();
    publish("..2", &pools(&[("a", "0-2")]));
    kubelet.until("the second", LIMIT, |state| state.has("intel.com/a", 3)).unwrap();
}

#[test]
fn a_pool_that_a_pod_has_a_device_of() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let _daemon = Daemon::spawn(often(&tree, &pools(&[("a", "0-1")])));
    kubelet.until("the pool", LIMIT, |state| state.has("intel.com/a", 2)).unwrap();
    let pod = Pod::new("default", "holder").container("app", &[("intel.com/a", 1)]);
    assert_eq!(kubelet.admit(&pod).unwrap()[0].devices, ["0000:3b:02.0"]);
    // Renamed: what the pod has is offered by nobody.
    tree.write("config.json", &pools(&[("b", "0-1")]));
    let wanted =
        |state: &State| lists(state, "intel.com/b") == (1, 1) && !state.pools["intel.com/a"].connected;
    let state = kubelet.until("the other pool", LIMIT, wanted).unwrap();
    assert_eq!(ids(&state, "intel.com/b"), ["0000:3b:02.1"]);
    // Back, with other selectors: it stays in the pool that it is held of, and is well.
    tree.write("config.json", &pools(&[("b", "0-1"), ("a", "2")]));
    let wanted = |state: &State| lists(state, "intel.com/a") == (2, 2);
    let state = kubelet.until("its own pool", LIMIT, wanted).unwrap();
    assert_eq!(ids(&state, "intel.com/a"), ["0000:3b:02.0", "0000:3b:02.2"]);
    assert_eq!(lists(&state, "intel.com/b"), (1, 1));
    assert!(kubelet.delete(&pod));
    let wanted =
        |state: &State| lists(state, "intel.com/a") == (1, 1) && lists(state, "intel.com/b") == (2, 2);
    kubelet.until("the end of the pod", LIMIT, wanted).unwrap();
}

#[test]
fn a_kubelet_that_gives_a_kept_device_away_is_refused_and_told() {
    let node = Node::new(&pools(&[("a", "0")]));
    node.until("the pool", |state| state.has("intel.com/a", 1));
    let pod = Pod::new("default", "first").container("app", &[("intel.com/a", 1)]);
    node.kubelet.admit(&pod).unwrap();
    node.write(&pools(&[("b", "0"), ("a", "1")]));
    node.until("the pool with what is held", |state| state.has("intel.com/a", 2));
    assert!(node.kubelet.delete(&pod));
    let next = Pod::new("default", "next").container("app", &[("intel.com/a", 1)]);
    let refused = format!("{:#}", node.kubelet.admit(&next).unwrap_err());
    assert!(refused.contains("does not choose it any more"), "{refused}");
    node.until("the move", |state| state.has("intel.com/a", 1) && state.has("intel.com/b", 1));
}

#[test]
fn what_was_held_before_the_start_counts() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let daemon = Daemon::spawn(often(&tree, &pools(&[("a", "0-1")])));
    kubelet.until("the pool", LIMIT, |state| state.has("intel.com/a", 2)).unwrap();
    let pod = Pod::new("default", "holder").container("app", &[("intel.com/a", 1)]);
    kubelet.admit(&pod).unwrap();
    drop(daemon);
    let _daemon = Daemon::spawn(often(&tree, &pools(&[("b", "0-1"), ("a", "2")])));
    let wanted =
        |state: &State| lists(state, "intel.com/a") == (2, 2) && lists(state, "intel.com/b") == (1, 1);
    let state = kubelet.until("both pools", LIMIT, wanted).unwrap();
    assert_eq!(ids(&state, "intel.com/a"), ["0000:3b:02.0", "0000:3b:02.2"]);
}

/// A change of the configuration beside, so that a look after it can be told.
fn look(tree: &testkit::sysfs::Tree, kubelet: &Kubelet, wanted: &[(&str, &str)], beside: (&str, usize)) {
    tree.write("config.json", &pools(wanted));
    let (pool, count) = (format!("intel.com/{}", beside.0), beside.1);
    kubelet.until("the next look", LIMIT, |state| state.has(&pool, count)).unwrap();
}

#[test]
fn a_kubelet_that_has_not_heard_of_its_pods_frees_nothing() {
    let tree = node();
    let mut kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let _daemon = Daemon::spawn(often(&tree, &pools(&[("a", "0")])));
    kubelet.until("the pool", LIMIT, |state| state.has("intel.com/a", 1)).unwrap();
    let pod = Pod::new("default", "holder").container("app", &[("intel.com/a", 1)]);
    kubelet.admit(&pod).unwrap();
    look(&tree, &kubelet, &[("b", "0-1")], ("b", 1));
    kubelet.tells(Tells::NoPods).unwrap();
    kubelet.restart().unwrap();
    kubelet.until("the pool again", LIMIT, |state| state.has("intel.com/b", 1)).unwrap();
    // Asked many times: what it had given is still held, in whatever configuration.
    for vfs in [2, 1, 2] {
        look(&tree, &kubelet, &[("b", &format!("0-{vfs}"))], ("b", vfs));
        assert!(!ids(&kubelet.state(), "intel.com/b").contains(&"0000:3b:02.0".to_owned()));
    }
    kubelet.tells(Tells::Everything).unwrap();
    look(&tree, &kubelet, &[("b", "0-3")], ("b", 3));
    assert!(kubelet.delete(&pod));
    kubelet.until("the end of the pod", LIMIT, |state| state.has("intel.com/b", 4)).unwrap();
}

#[test]
fn the_last_pod_of_the_only_pool_ends_after_a_new_name() {
    let node = Node::new(&pools(&[("a", "0")]));
    node.until("the pool", |state| state.has("intel.com/a", 1));
    let pod = Pod::new("default", "holder").container("app", &[("intel.com/a", 1)]);
    node.kubelet.admit(&pod).unwrap();
    node.write(&pools(&[("b", "0")]));
    node.until("the end of the old name", |state| !state.pools["intel.com/a"].connected);
    // Nothing has it write its checkpoint any more but us.
    assert!(node.kubelet.delete(&pod));
    node.kubelet.until("the new name", 3 * LIMIT, |state| state.has("intel.com/b", 1)).unwrap();
}

#[test]
fn while_nobody_can_tell_what_was_in_a_pool_that_is_no_more_stays_away() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    kubelet.tells(Tells::Nothing).unwrap();
    let _daemon = Daemon::spawn(often(&tree, &pools(&[("a", "0")])));
    kubelet.until("the pool", LIMIT, |state| state.has("intel.com/a", 1)).unwrap();
    // Look after look, whichever names it has meanwhile.
    for vfs in 1..=3 {
        look(&tree, &kubelet, &[("b", &format!("0-{vfs}"))], ("b", vfs));
        assert!(!ids(&kubelet.state(), "intel.com/b").contains(&"0000:3b:02.0".to_owned()));
    }
    kubelet.tells(Tells::Everything).unwrap();
    kubelet.until("an answer", LIMIT, |state| state.has("intel.com/b", 4)).unwrap();
}

#[test]
fn a_file_behind_a_link_is_found_by_the_clock() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let mut command = often(&tree, "");
    tree.write("elsewhere/pools.json", &pools(&[("a", "0")]));
    std::fs::create_dir(tree.root().join("etc")).unwrap();
    let link = tree.root().join("etc/config.json");
    symlink("../elsewhere/pools.json", &link).unwrap();
    let _daemon = Daemon::spawn({
        command.arg("--config-file").arg(link);
        command
    });
    kubelet.until("the first", LIMIT, |state| state.has("intel.com/a", 1)).unwrap();
    tree.write("elsewhere/pools.json", &pools(&[("a", "0-2")]));
    kubelet.until("the second", LIMIT, |state| state.has("intel.com/a", 3)).unwrap();
}
