use testkit::sysfs::Tree;

use super::*;
use crate::config::Config;
use crate::inventory::{Needs, Roots, scan};

/// The pools of a configuration on a node: resource names and device ids, and for empty pools why.
fn pools(tree: &Tree, config: &str) -> Vec<(Pool, Option<Why>)> {
    let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
    let config = Config::parse(config.as_bytes(), "intel.com").unwrap();
    unheld(&config.pools, &scan(&roots, &Needs::default()).unwrap().snapshot)
}

fn ids(pool: &Pool) -> Vec<String> {
    pool.devices.iter().map(|device| device.id().to_string()).collect()
}

/// One PF in use with four VFs, the last two on vfio-pci, and an idle PF.
fn node() -> Tree {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    for index in 0..4 {
        let vf = tree.vf(&format!("0000:3b:02.{index}"), "0000:3b:00.0");
        if index >= 2 {
            vf.on_vfio(50 + index);
        }
    }
    tree.pf("0000:3b:00.1", "ens1f1");
    tree
}

#[test]
fn the_first_pool_keeps_a_device() {
    let pools = pools(
        &node(),
        r#"{"resourceList":[
            {"resourceName":"a","selectors":{"pfNames":["ens1f0#0-1"]}},
            {"resourceName":"b","selectors":{}},
            {"resourceName":"c","selectors":{"drivers":["vfio-pci"]}}]}"#,
    );
    assert_eq!(ids(&pools[0].0), ["0000:3b:02.0", "0000:3b:02.1"]);
    assert_eq!(ids(&pools[1].0), ["0000:3b:00.1", "0000:3b:02.2", "0000:3b:02.3"]);
    assert_eq!(ids(&pools[2].0), [""; 0]);
    assert_eq!(
        pools[2].1.as_ref().unwrap().to_string(),
        "of 6 network functions: 1 left out (4 VFs are enabled); 3 refused by drivers (found i40e, wanted \
         vfio-pci); 2 taken before by intel.com/b"
    );
}

#[test]
fn any_selector_of_a_list_takes_a_device() {
    let pools = pools(
        &node(),
        r#"{"resourceList":[{"resourceName":"a","selectors":[
            {"pfNames":["ens1f0#0"]},{"rootDevices":["0000:3b:00.0#3"],"drivers":["vfio-pci"]}]}]}"#,
    );
    assert_eq!(ids(&pools[0].0), ["0000:3b:02.0", "0000:3b:02.3"]);
}

#[test]
fn a_pool_takes_its_own_kind() {
    let tree = node();
    tree.function("0000:5e:00.0").class(0x12_00_00).driver("vfio-pci");
    let pools = pools(
        &tree,
        r#"{"resourceList":[{"resourceName":"fec","deviceType":"accelerator","selectors":{"drivers":["vfio-pci"]}},
            {"resourceName":"net","selectors":{"drivers":["vfio-pci"]}}]}"#,
    );
    assert_eq!(ids(&pools[0].0), ["0000:5e:00.0"]);
    assert_eq!(ids(&pools[1].0), ["0000:3b:02.2", "0000:3b:02.3"]);
}

#[test]
fn the_primary_eni_stays() {
    let tree = Tree::new();
    for (address, netdev) in [("0000:00:05.0", "eth0"), ("0000:00:06.0", "eth1")] {
        tree.function(address).ids("1d0f", "ec20").driver("ena").netdev(netdev);
    }
    tree.default_route("eth0");
    let pools = pools(&tree, r#"{"resourceList":[{"resourceName":"ena","selectors":{"drivers":["ena"]}}]}"#);
    assert_eq!(ids(&pools[0].0), ["0000:00:06.0"]);
}

#[test]
fn why_there_is_nothing() {
    let pools = pools(&Tree::new(), r#"{"resourceList":[{"resourceName":"a","selectors":{}}]}"#);
    assert_eq!(pools[0].1.as_ref().unwrap().to_string(), "the node has no network functions");
}

/// To look at the device alone does not show the routes, and the kubelet may not have heard yet that it is unhealthy.
#[test]
fn a_held_device_that_the_nodes_traffic_has_come_to_is_not_given() {
    let tree = node();
    let (mut pool, _) =
        pools(&tree, r#"{"resourceList":[{"resourceName":"nic","selectors":{"pfNames":["ens1f0"]}}]}"#)
            .remove(0);
    let device = pool.get("0000:3b:02.0").unwrap().clone();
    let route = LeftOut::DefaultRoute { netdev: "ens1f0v0".into(), route: "ens1f0v0".into() };
    pool.ill.insert(device.id(), Ill::LeftOut(route));
    assert_eq!(
        pool.check(&device).unwrap_err().to_string(),
        "vf 0000:3b:02.0: pool \"nic\" cannot give it now: ens1f0v0 carries a default route"
    );
}

#[test]
fn a_rebound_device_is_unfit_and_says_so() {
    let tree = node();
    let (pool, _) =
        pools(&tree, r#"{"resourceList":[{"resourceName":"dpdk","selectors":{"drivers":["vfio-pci"]}}]}"#)
            .remove(0);
    let device = pool.get("0000:3b:02.2").unwrap();
    assert_eq!(pool.check(device), Ok(()));
    tree.existing("0000:3b:02.2").driver("iavf");
    let again = crate::inventory::reread(&pci::Sysfs::new(tree.sys()), device).unwrap();
    assert_eq!(
        pool.check(&again).unwrap_err().to_string(),
        "vf 0000:3b:02.2: driver is iavf, pool \"dpdk\" wants vfio-pci; bind it or add \"iavf\" to drivers"
    );
}
