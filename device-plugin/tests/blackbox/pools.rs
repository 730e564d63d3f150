//! Which resources the kubelet gets to see, and with which devices.

use testkit::kubelet::{Kubelet, State, direct};

use crate::daemon::{Daemon, LIMIT, command, kubelet_root, node};

/// One pool for each way of use. The first is the one of the AWS guides, to the letter.
pub(crate) const THREE: &str = r#"{"resourceList": [
    {"resourceName": "sriov_dpdk_1", "resourcePrefix": "amazon.com", "selectors":
        {"vendors": ["1d0f"], "devices": ["ec20"], "drivers": ["ena"], "pciAddresses": ["0000:00:06.0"]}},
    {"resourceName": "kernel_vf", "selectors": {"pfNames": ["ens1f0#0-1"]}},
    {"resourceName": "vfio_vf", "selectors": {"drivers": ["vfio-pci"], "pfNames": ["ens1f0"]}}]}"#;

/// The healthy devices of a pool.
pub(crate) fn ids(state: &State, resource: &str) -> Vec<String> {
    state.pools[resource].healthy().into_iter().map(str::to_owned).collect()
}

pub(crate) fn three(state: &State) -> bool {
    state.has("amazon.com/sriov_dpdk_1", 1)
        && state.has("intel.com/kernel_vf", 2)
        && state.has("intel.com/vfio_vf", 2)
}

#[test]
fn three_pools_through_the_registry() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let _daemon = Daemon::start(&tree, THREE);
    let state = kubelet.until("three pools", LIMIT, three).unwrap();
    assert_eq!(ids(&state, "amazon.com/sriov_dpdk_1"), ["0000:00:06.0"]);
    assert_eq!(ids(&state, "intel.com/kernel_vf"), ["0000:3b:02.0", "0000:3b:02.1"]);
    assert_eq!(ids(&state, "intel.com/vfio_vf"), ["0000:3b:02.2", "0000:3b:02.3"]);
    assert_eq!(state.pools["amazon.com/sriov_dpdk_1"].devices["0000:00:06.0"].numa, [0]);
    assert!(state.pools["intel.com/kernel_vf"].devices.values().all(|device| device.numa == [1]));
    assert!(state.refusals.is_empty(), "{:?}", state.refusals);

    let socket = kubelet.root().join("plugins_registry/amazon.com_sriov_dpdk_1.sock");
    let info = direct::info(&socket).unwrap();
    assert_eq!((info.r#type.as_str(), info.name.as_str()), ("DevicePlugin", "amazon.com/sriov_dpdk_1"));
    assert_eq!(info.endpoint, socket.to_str().unwrap());
    assert_eq!(info.supported_versions, ["v1alpha1", "v1beta1"]);
}

#[test]
fn plugins_may_be_there_before_the_kubelet() {
    let tree = node();
    std::fs::create_dir_all(kubelet_root(&tree).join("plugins_registry")).unwrap();
    std::fs::create_dir_all(kubelet_root(&tree).join("device-plugins")).unwrap();
    let _daemon = Daemon::start(&tree, THREE);
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    kubelet.until("three pools", LIMIT, three).unwrap();
}

#[test]
fn three_pools_through_register() {
    let tree = node();
    let kubelet = crate::kubelet_side::without_registry(&tree);
    let _daemon = Daemon::start(&tree, THREE);
    let state = kubelet.until("three pools", LIMIT, three).unwrap();
    let socket = kubelet.root().join("device-plugins/intel.com_vfio_vf.sock");
    assert_eq!(state.pools["intel.com/vfio_vf"].socket, socket);
    assert!(state.refusals.is_empty(), "{:?}", state.refusals);
    assert!(!kubelet.root().join("plugins_registry").exists());
}

#[test]
fn the_first_pool_of_the_file_keeps_a_device() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [
        {"resourceName": "some", "selectors": {"pfNames": ["ens1f0#1"]}},
        {"resourceName": "rest", "selectors": [{"pfNames": ["ens1f0#0,3"]}, {"vendors": ["8086"]}]}]}"#;
    let _daemon = Daemon::start(&tree, config);
    let both = |state: &State| state.has("intel.com/some", 1) && state.has("intel.com/rest", 3);
    let state = kubelet.until("both pools", LIMIT, both).unwrap();
    assert_eq!(ids(&state, "intel.com/some"), ["0000:3b:02.1"]);
    assert_eq!(ids(&state, "intel.com/rest"), ["0000:3b:02.0", "0000:3b:02.2", "0000:3b:02.3"]);
}

#[test]
fn the_nodes_own_eni_is_not_offered() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [{"resourceName": "eni", "selectors": {"drivers": ["ena"]}}]}"#;
    let _daemon = Daemon::start(&tree, config);
    let state = kubelet
        .until("the pool", LIMIT, |state| {
            state.pools.contains_key("intel.com/eni") && !state.pools["intel.com/eni"].devices.is_empty()
        })
        .unwrap();
    assert_eq!(ids(&state, "intel.com/eni"), ["0000:00:06.0", "0000:00:07.0"]);
}

#[test]
fn topology_may_be_left_out() {
    let tree = node();
    tree.existing("0000:00:07.0").numa(-1);
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [
        {"resourceName": "a", "excludeTopology": true, "selectors": {"pfNames": ["ens1f0"]}},
        {"resourceName": "b", "selectors": {"drivers": ["ena"]}}]}"#;
    let _daemon = Daemon::start(&tree, config);
    let both = |state: &State| state.has("intel.com/a", 4) && state.has("intel.com/b", 2);
    let state = kubelet.until("both pools", LIMIT, both).unwrap();
    assert!(state.pools["intel.com/a"].devices.values().all(|device| device.numa.is_empty()));
    let numa = |id: &str| state.pools["intel.com/b"].devices[id].numa.clone();
    assert_eq!((numa("0000:00:06.0"), numa("0000:00:07.0")), (vec![0], vec![]));
}

#[test]
fn the_prefix_of_the_command_line_is_the_default() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let mut command = command(&tree, THREE);
    command.arg("--resource-prefix=openshift.io");
    let _daemon = Daemon::spawn(command);
    let named =
        |state: &State| state.has("amazon.com/sriov_dpdk_1", 1) && state.has("openshift.io/kernel_vf", 2);
    kubelet.until("the pools", LIMIT, named).unwrap();
}

#[test]
fn an_empty_pool_is_not_registered_and_no_error() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [
        {"resourceName": "none", "selectors": {"vendors": ["15b3"]}},
        {"resourceName": "some", "selectors": {"drivers": ["iavf"]}}]}"#;
    let mut daemon = Daemon::start(&tree, config);
    let state = kubelet.until("the other pool", LIMIT, |state| state.has("intel.com/some", 2)).unwrap();
    assert!(!state.pools.contains_key("intel.com/none"));
    assert!(daemon.runs());
}
