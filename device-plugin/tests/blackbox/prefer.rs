//! Pools with an allocation policy: the kubelet asks, and what it is told it gives.

use testkit::kubelet::Kubelet;
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, kubelet_root};

fn config(policy: &str) -> String {
    format!(
        r#"{{"resourceList":[{{"resourceName":"net","selectors":{{"devices":["154c"]}},"excludeTopology":true,
            "allocationPolicy":"{policy}"}}]}}"#
    )
}

fn pod(name: &str, devices: usize) -> Pod {
    Pod::new("default", name).container("app", &[("intel.com/net", devices)])
}

/// How many devices of each of two PFs a pod got.
fn shares(kubelet: &Kubelet, name: &str, devices: usize) -> [usize; 2] {
    let given = kubelet.admit(&pod(name, devices)).unwrap().remove(0).devices;
    ["0000", "0001"].map(|domain| given.iter().filter(|id| id.starts_with(domain)).count())
}

#[test]
fn the_policy_decides_and_may_change() {
    let tree = Tree::generated(2, 4);
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let _daemon = Daemon::start(&tree, &config("spread"));
    let state = kubelet.until("the pool", LIMIT, |state| state.has("intel.com/net", 8)).unwrap();
    assert!(state.pools["intel.com/net"].preferred_allocation);
    assert_eq!(shares(&kubelet, "spread", 2), [1, 1]);

    std::fs::write(tree.root().join("config.json"), config("packed")).unwrap();
    let again = |state: &testkit::kubelet::State| {
        state.has("intel.com/net", 8) && state.pools["intel.com/net"].lists == 2
    };
    kubelet.until("the pool with another policy", LIMIT, again).unwrap();
    assert_eq!(shares(&kubelet, "one", 1), [1, 0]);
    assert_eq!(shares(&kubelet, "three", 3), [0, 3], "the one with two left has not enough");

    std::fs::write(tree.root().join("config.json"), config("none")).unwrap();
    let silent = |state: &testkit::kubelet::State| {
        state.has("intel.com/net", 8) && !state.pools["intel.com/net"].preferred_allocation
    };
    let state = kubelet.until("the pool without a policy", LIMIT, silent).unwrap();
    assert_eq!(
        state.pools["intel.com/net"].registrations, 2,
        "the kubelet asks once for what a plugin can do"
    );
}
