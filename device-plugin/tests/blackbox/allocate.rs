//! What a container is given with its devices: bytes that programs in the field parse.

use std::os::unix::fs::PermissionsExt;

use kubelet_api::device_plugin::ContainerAllocateResponse;
use testkit::kubelet::{Allocation, Kubelet, direct};
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, devinfo, kubelet_root, names, node};
use crate::pools::{THREE, three};

struct Node {
    tree: Tree,
    kubelet: Kubelet,
    _daemon: Daemon,
}

impl Node {
    fn new(tree: Tree) -> Self {
        let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
        let daemon = Daemon::start(&tree, THREE);
        kubelet.until("three pools", LIMIT, three).unwrap();
        Self { tree, kubelet, _daemon: daemon }
    }

    fn admit(&self, resource: &str, count: usize) -> Allocation {
        let pod = Pod::new("default", "pod").container("app", &[(resource, count)]);
        self.kubelet.admit(&pod).unwrap().remove(0)
    }

    fn refusal(&self, resource: &str, ids: &[&str]) -> String {
        let socket = &self.kubelet.state().pools[resource].socket;
        direct::allocate(socket, &[ids]).unwrap().unwrap_err().message().to_owned()
    }
}

/// Host path, container path and permissions of each device node.
fn nodes(allocation: &Allocation) -> Vec<(&str, &str, &str)> {
    let nodes = allocation.response.devices.iter();
    nodes.map(|n| (n.host_path.as_str(), n.container_path.as_str(), n.permissions.as_str())).collect()
}

fn envs(allocation: &Allocation) -> Vec<(&str, &str)> {
    allocation.response.envs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn a_kernel_function() {
    let node = Node::new(node());
    let given = node.admit("amazon.com/sriov_dpdk_1", 1);
    assert_eq!(
        envs(&given),
        [
            ("PCIDEVICE_AMAZON_COM_SRIOV_DPDK_1", "0000:00:06.0"),
            (
                "PCIDEVICE_AMAZON_COM_SRIOV_DPDK_1_INFO",
                r#"{"0000:00:06.0":{"generic":{"deviceID":"0000:00:06.0"}}}"#
            ),
        ]
    );
    assert_eq!(nodes(&given), []);
    assert!(given.response.mounts.is_empty() && given.response.annotations.is_empty());
    assert!(given.response.cdi_devices.is_empty());
}

#[test]
fn two_vfio_functions() {
    let node = Node::new(node());
    let given = node.admit("intel.com/vfio_vf", 2);
    let info = |id: &str, group: &str| {
        format!(
            r#""{id}":{{"generic":{{"deviceID":"{id}"}},"vfio":{{"dev-mount":"/dev/vfio/{group}","mount":"/dev/vfio/vfio"}}}}"#
        )
    };
    let infos = format!("{{{},{}}}", info("0000:3b:02.2", "52"), info("0000:3b:02.3", "53"));
    assert_eq!(
        envs(&given),
        [
            ("PCIDEVICE_INTEL_COM_VFIO_VF", "0000:3b:02.2,0000:3b:02.3"),
            ("PCIDEVICE_INTEL_COM_VFIO_VF_INFO", &infos)
        ]
    );
    assert_eq!(
        nodes(&given),
        [
            ("/dev/vfio/vfio", "/dev/vfio/vfio", "rw"),
            ("/dev/vfio/52", "/dev/vfio/52", "rw"),
            ("/dev/vfio/53", "/dev/vfio/53", "rw"),
        ]
    );
}

#[test]
fn vfio_without_an_iommu_as_on_ec2() {
    let tree = node();
    for index in [2, 3] {
        tree.existing(&format!("0000:3b:02.{index}")).noiommu_group(index);
    }
    let given = Node::new(tree).admit("intel.com/vfio_vf", 1);
    assert_eq!(
        nodes(&given),
        [("/dev/vfio/vfio", "/dev/vfio/vfio", "rw"), ("/dev/vfio/noiommu-2", "/dev/vfio/2", "rw")]
    );
}

#[test]
fn device_info_files() {
    let node = Node::new(node());
    node.admit("amazon.com/sriov_dpdk_1", 1);
    let dir = devinfo(&node.tree);
    assert_eq!(names(&dir), ["amazon.com-sriov_dpdk_1-0000:00:06.0-device.json"]);
    let file = dir.join("amazon.com-sriov_dpdk_1-0000:00:06.0-device.json");
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:00:06.0"}}"#
    );
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o444);
}

#[test]
fn each_container_of_a_request_gets_its_own_answer() {
    let node = Node::new(node());
    let socket = &node.kubelet.state().pools["intel.com/kernel_vf"].socket;
    let answers = direct::allocate(socket, &[&["0000:3b:02.1", "0000:3b:02.0"], &[], &["0000:3b:02.0"]])
        .unwrap()
        .unwrap();
    let lists: Vec<Option<&String>> =
        answers.iter().map(|answer| answer.envs.get("PCIDEVICE_INTEL_COM_KERNEL_VF")).collect();
    assert_eq!(lists[0].unwrap(), "0000:3b:02.1,0000:3b:02.0", "in the order of the request");
    assert_eq!(lists[2].unwrap(), "0000:3b:02.0");
    assert_eq!(answers.len(), 3);
    let nothing = [("PCIDEVICE_INTEL_COM_KERNEL_VF", ""), ("PCIDEVICE_INTEL_COM_KERNEL_VF_INFO", "{}")];
    let nothing = nothing.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let empty = ContainerAllocateResponse { envs: nothing.into(), ..ContainerAllocateResponse::default() };
    assert_eq!(answers[1], empty, "a container that asks for nothing");
}

#[test]
fn what_the_pool_does_not_have_is_refused() {
    let node = Node::new(node());
    for id in ["0000:3b:02.2", "0000:ff:00.0", "x", ""] {
        let said = node.refusal("intel.com/kernel_vf", &["0000:3b:02.0", id]);
        assert!(said.contains(&format!("{id:?}")) && said.contains("intel.com/kernel_vf"), "{id}: {said}");
    }
    assert!(names(&devinfo(&node.tree)).is_empty(), "nothing is written for a request that is refused");
}

#[test]
fn what_has_changed_since_is_refused() {
    let node = Node::new(node());
    node.tree.remove("0000:3b:02.0");
    let said = node.refusal("intel.com/kernel_vf", &["0000:3b:02.0"]);
    assert!(said.contains("0000:3b:02.0"), "{said}");
    node.tree.existing("0000:3b:02.2").driver("iavf");
    let said = node.refusal("intel.com/vfio_vf", &["0000:3b:02.2"]);
    assert!(said.contains("driver is iavf") && said.contains("vfio-pci"), "{said}");
    node.tree.existing("0000:00:06.0").driver("vfio-pci");
    let said = node.refusal("amazon.com/sriov_dpdk_1", &["0000:00:06.0"]);
    assert!(said.contains("driver is vfio-pci") && said.contains("ena"), "{said}");
}

#[test]
fn a_vfio_group_that_was_renumbered_is_read_anew() {
    let node = Node::new(node());
    node.tree.existing("0000:3b:02.2").iommu_group(77);
    assert_eq!(nodes(&node.admit("intel.com/vfio_vf", 1))[1].0, "/dev/vfio/77");
}
