//! The cases in which the Go plugin was watched, on one node, and what becomes of each.

use testkit::kubelet::{Kubelet, State};
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, kubelet_root};
use crate::pools::ids;

/// A PF `pf0` with four VFs on `iavf`, an idle PF `pf1` and two accelerators.
fn node() -> Tree {
    let tree = Tree::new();
    tree.pf("0000:01:00.0", "pf0");
    for vf in 0..4 {
        tree.vf(&format!("0000:01:10.{vf}"), "0000:01:00.0").netdev(&format!("pf0v{vf}"));
    }
    tree.pf("0000:01:00.1", "pf1");
    tree.function("0000:5e:00.0").class(0x12_00_00).ids("8086", "0d5c").driver("vfio-pci").iommu_group(1);
    tree.function("0000:5f:00.0").class(0x12_00_00).ids("8086", "0d5c").driver("vfio-pci").iommu_group(2);
    tree
}

const IDLE_PF: &str = "0000:01:00.1";

fn vfs(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|number| format!("0000:01:10.{number}")).collect()
}

/// The devices of each pool: those of `wanted`, and no other pool at all.
fn serves(pools: &str, wanted: &[(&str, Vec<String>)]) {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let _daemon = Daemon::start(&tree, &format!(r#"{{"resourceList": [{pools}]}}"#));
    let all = |state: &State| wanted.iter().all(|(pool, ids)| state.has(pool, ids.len()));
    let state = kubelet.until(pools, LIMIT, all).unwrap();
    for (pool, devices) in wanted {
        assert_eq!(ids(&state, pool), *devices, "{pool} of {pools}");
    }
    assert_eq!(state.pools.len(), wanted.len(), "{pools}: {:?}", state.pools.keys());
}

/// The process stays, says so, and registers nothing.
fn serves_nothing(pools: &str, reason: &str) {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let mut daemon = Daemon::start(&tree, &format!(r#"{{"resourceList": [{pools}]}}"#));
    daemon.says(reason);
    daemon.says("there is nothing to offer");
    assert!(daemon.runs() && kubelet.state().pools.is_empty(), "{pools}");
}

/// The process ends with this code, and its last words hold `word`.
fn ends(config: &str, code: i32, word: &str) {
    let tree = node();
    let _kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let (status, said) = Daemon::start(&tree, config).end();
    assert_eq!(status.code(), Some(code), "{config}: {said}");
    assert!(said.lines().last().unwrap().contains(word), "{config}: {said}");
}

fn pool(members: &str) -> String {
    format!(r#"{{"resourceName": "a", {members}}}"#)
}

#[test]
fn selectors_that_are_missing_or_null_take_everything() {
    // 01, 02: the Go plugin crashes.
    let everything = [vec![IDLE_PF.to_owned()], vfs(&[0, 1, 2, 3])].concat();
    for pools in [r#"{"resourceName": "a"}"#.to_owned(), pool(r#""selectors": null"#)] {
        serves(&pools, &[("intel.com/a", everything.clone())]);
    }
    serves(&pool(r#""selectors": {}"#), &[("intel.com/a", everything)]);
}

#[test]
fn pools_without_a_usable_selector() {
    // 03, 04: left out, and an error when there is no other. 05: the others are served.
    for selectors in ["[]", "[null]", r#""x""#, r#"{"vendors": "8086"}"#, r#"{"vendors": [8086]}"#] {
        let bad = pool(&format!(r#""selectors": {selectors}"#));
        ends(&format!(r#"{{"resourceList": [{bad}]}}"#), 2, "no pool of");
        let good = r#"{"resourceName": "b", "selectors": {"pfNames": ["pf0#0"]}}"#;
        serves(&format!("{bad}, {good}"), &[("intel.com/b", vfs(&[0]))]);
        serves(&format!("{good}, {bad}"), &[("intel.com/b", vfs(&[0]))]);
    }
}

#[test]
fn names_and_types_that_end_the_process() {
    let list = |pools: &str| format!(r#"{{"resourceList": [{pools}]}}"#);
    // 06, 25, 07, 10, 11, 23, 24.
    ends(&list(r#"{"resourceName": "a.b", "selectors": {}}"#), 2, "\"a.b\"");
    ends(&list(r#"{"selectors": {}}"#), 2, "resourceName is \"\"");
    ends(&list(&format!("{0}, {0}", pool(r#""selectors": {}"#))), 2, "intel.com/a");
    ends(&list(&pool(r#""deviceType": "netdevice", "selectors": {}"#)), 2, "\"netdevice\"");
    ends(&list(&pool(r#""selectors": {"isRdma": true, "vdpaType": "vhost"}"#)), 2, "isRdma and vdpaType");
    for types in [
        r#", "selectors": {"auxTypes": ["eth"]}"#,
        r#", "selectors": {}"#,
        r#", "selectors": [{"auxTypes": ["sf"]}, {}]"#,
    ] {
        ends(&list(&pool(&format!(r#""deviceType": "auxNetDevice"{types}"#))), 2, "auxTypes");
    }
    // 09, 20.
    ends("{", 2, "not JSON");
    ends(r#"{"resourceList": []}"#, 2, "resourceList is empty");
    ends("{}", 2, "resourceList is empty");
    // 29.
    let name = "x".repeat(100);
    ends(
        &list(&format!(r#"{{"resourceName": "{name}", "selectors": {{}}}}"#)),
        1,
        "bytes long, and the kernel takes 107",
    );
}

#[test]
fn one_name_under_two_prefixes_and_a_base_in_capitals() {
    // 08.
    serves(
        r#"{"resourceName": "a", "selectors": {"pfNames": ["pf0#0"]}},
           {"resourceName": "a", "resourcePrefix": "x.y", "selectors": {"pfNames": ["PF0#1-2"]}}"#,
        &[("intel.com/a", vfs(&[0])), ("x.y/a", vfs(&[1, 2]))],
    );
}

#[test]
fn ranges() {
    let of = |key: &str, entries: &str, numbers: &[u32]| {
        serves(&pool(&format!(r#""selectors": {{"{key}": [{entries}]}}"#)), &[("intel.com/a", vfs(numbers))]);
    };
    // 13, 14, 16, and the rest of the grammar.
    of("pfNames", r#""pf0#0", "pf0#3""#, &[0]);
    of("pfNames", r#""pf0#0,x,2""#, &[0]);
    of("rootDevices", r#""0000:01:00.0#2-3""#, &[2, 3]);
    of("rootDevices", r#""0000:01:00.0""#, &[0, 1, 2, 3]);
    of("pfNames", r#""pf1#0", "pf0#0-1,3""#, &[0, 1, 3]);
    of("pfNames", r#""pf0#3-1,2""#, &[2]);
    // 15, 17, 18, 19.
    for (selectors, key) in [
        (r#"{"pfNames": ["pf0#0#1"]}"#, "pfNames"),
        (r#"{"pfNames": ["pf1"]}"#, "pfNames"),
        (r#"{"pfNames": ["pf0# 1"]}"#, "pfNames"),
        (r#"{"pfNames": ["pf0#1-2-3"]}"#, "pfNames"),
        (r#"{"pciAddresses": ["01:10.0"]}"#, "pciAddresses"),
        (r#"{"pciAddresses": ["0000:01:1F.0"]}"#, "pciAddresses"),
        (r#"{"devices": ["154C"]}"#, "devices"),
        (r#"{"rootDevices": ["0000:01:00.1"]}"#, "rootDevices"),
        (r#"{"acpiIndexes": ["7"]}"#, "acpiIndexes"),
        (r#"{"linkTypes": ["infiniband"]}"#, "linkTypes"),
        (r#"{"pKeys": ["0x7fff"]}"#, "pKeys"),
        (r#"{"ddpProfiles": ["GTPv1-C/U"]}"#, "ddpProfiles"),
        (r#"{"isRdma": true}"#, "isRdma"),
        (r#"{"vdpaType": "vhost"}"#, "vdpaType"),
        (r#"{"vdpaType": "other"}"#, "vdpaType"),
    ] {
        serves_nothing(&pool(&format!(r#""selectors": {selectors}"#)), &format!("refused by {key} (found"));
    }
}

#[test]
fn the_first_pool_and_the_first_selector_keep_a_device() {
    // 12.
    serves(
        r#"{"resourceName": "a", "selectors": {"pfNames": ["pf0#0-1"]}},
           {"resourceName": "b", "selectors": {"vendors": ["8086"]}}"#,
        &[("intel.com/a", vfs(&[0, 1])), ("intel.com/b", [vec![IDLE_PF.into()], vfs(&[2, 3])].concat())],
    );
    // 22: acpiIndexes means nothing for accelerators.
    let accelerators = ["0000:5e:00.0".to_owned(), "0000:5f:00.0".to_owned()];
    serves(
        r#"{"resourceName": "a", "deviceType": "accelerator", "selectors": {"vendors": ["8086"], "acpiIndexes": ["1"]}},
           {"resourceName": "b", "deviceType": "accelerator", "selectors": {"devices": ["0d5c"]}}"#,
        &[("intel.com/a", accelerators.to_vec())],
    );
}

#[test]
fn keys_in_any_case_beside_keys_that_nobody_knows() {
    // 21.
    serves(
        r#"{"RESOURCENAME": "a", "SelectorObj": null, "sriovMode": true, "Selectors": {"pciaddresses": ["0000:01:10.2"], "bar": 1}}"#,
        &[("intel.com/a", vfs(&[2]))],
    );
}

#[test]
fn link_types_of_vfs_come_from_their_pf_and_idle_pfs_have_their_own() {
    // 26, with VFs whose network devices are in pods.
    let tree = node();
    for vf in 0..4 {
        tree.existing(&format!("0000:01:10.{vf}")).without_netdevs();
    }
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [{"resourceName": "a", "selectors": {"linkTypes": ["ether"]}}]}"#;
    let _daemon = Daemon::start(&tree, config);
    kubelet.until("the pool", LIMIT, |state| state.has("intel.com/a", 5)).unwrap();
}

#[test]
fn extras_are_those_of_the_selector_that_took_the_device() {
    // 28.
    let tree = node();
    tree.vhost_net();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [{"resourceName": "a", "selectors": [
        {"pfNames": ["pf0#0-1"]}, {"pfNames": ["pf0"], "needVhostNet": true}]}]}"#;
    let _daemon = Daemon::start(&tree, config);
    let state = kubelet.until("the pool", LIMIT, |state| state.has("intel.com/a", 4)).unwrap();
    let socket = &state.pools["intel.com/a"].socket;
    for (vf, nodes) in [(0, 0), (1, 0), (2, 2), (3, 2)] {
        let id = format!("0000:01:10.{vf}");
        let answer = testkit::kubelet::direct::allocate(socket, &[&[&id]]).unwrap().unwrap().remove(0);
        assert_eq!(answer.devices.len(), nodes, "{id}");
    }
}
