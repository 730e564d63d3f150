//! What each driver and each of a selector's extras puts into a container: variables, nodes and device-info files, to the
//! byte.

use testkit::kubelet::{Kubelet, direct};
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, devinfo, kubelet_root, names};

/// What one pool of one device gives, on a node that `arrange` makes.
struct Given {
    ids: String,
    info: String,
    /// Host path and container path, where they differ `host>container`.
    nodes: Vec<String>,
    /// The device-info file, where one was written.
    file: Option<String>,
}

/// A PF `ens1f0` (0000:3b:00.0) with one VF 0000:3b:02.0 on `iavf`.
fn node() -> Tree {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    tree.vf("0000:3b:02.0", "0000:3b:00.0");
    tree
}

const VF: &str = "0000:3b:02.0";

/// Allocates `id` from the pool `intel.com/p` that has these members.
fn given(tree: &Tree, members: &str, id: &str) -> Given {
    let kubelet = Kubelet::start(kubelet_root(tree)).unwrap();
    let config = format!(r#"{{"resourceList": [{{"resourceName": "p", {members}}}]}}"#);
    let _daemon = Daemon::start(tree, &config);
    let state = kubelet.until("the pool", LIMIT, |state| state.pools.contains_key("intel.com/p")).unwrap();
    let socket = &state.pools["intel.com/p"].socket;
    let mut answer = direct::allocate(socket, &[&[id]]).unwrap().unwrap().remove(0);
    let mut env = |name: &str| answer.envs.remove(name).unwrap();
    let (ids, info) = (env("PCIDEVICE_INTEL_COM_P"), env("PCIDEVICE_INTEL_COM_P_INFO"));
    assert!(answer.envs.is_empty() && answer.mounts.is_empty() && answer.annotations.is_empty());
    let node = |node: &kubelet_api::device_plugin::DeviceSpec| {
        assert_eq!(node.permissions, "rw");
        let (host, container) = (&node.host_path, &node.container_path);
        if host == container { host.clone() } else { format!("{host}>{container}") }
    };
    let nodes = answer.devices.iter().map(node).collect();
    let files = names(&devinfo(tree));
    assert!(files.iter().all(|name| *name == format!("intel.com-p-{id}-device.json")), "{files:?}");
    let file = files.first().map(|name| std::fs::read_to_string(devinfo(tree).join(name)).unwrap());
    Given { ids, info, nodes, file }
}

#[test]
fn vendors_vfio_drivers_are_vfio() {
    for driver in ["vfio-pci", "mlx5_vfio_pci", "nvgrace_gpu_vfio_pci", "qat_vfio_pci", "vendor-vfio"] {
        let tree = node();
        tree.existing(VF).on_vfio(12).driver(driver);
        let given = given(&tree, r#""selectors": {"pfNames": ["ens1f0"]}"#, VF);
        assert_eq!(given.nodes, ["/dev/vfio/vfio", "/dev/vfio/12"], "{driver}");
        assert_eq!(
            given.info,
            r#"{"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"vfio":{"dev-mount":"/dev/vfio/12","mount":"/dev/vfio/vfio"}}}"#
        );
    }
}

#[test]
fn vfio_cdev_where_the_pool_asks() {
    let tree = node();
    tree.existing(VF).on_vfio(12);
    let given = given(&tree, r#""vfioCdev": true, "selectors": {"drivers": ["vfio-pci"]}"#, VF);
    assert_eq!(given.nodes, ["/dev/vfio/vfio", "/dev/vfio/12", "/dev/vfio/devices/vfio12", "/dev/iommu"]);
    assert_eq!(
        given.info,
        concat!(
            r#"{"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"vfio":{"cdev-mount":"/dev/vfio/devices/vfio12","#,
            r#""dev-mount":"/dev/vfio/12","iommu-mount":"/dev/iommu","mount":"/dev/vfio/vfio"}}}"#
        )
    );
}

#[test]
fn uio_drivers_and_their_first_answer() {
    for driver in ["uio", "igb_uio", "uio_pci_generic"] {
        let tree = node();
        tree.existing(VF).driver(driver).uio("uio7");
        let given = given(&tree, r#""selectors": {}"#, VF);
        assert_eq!(given.nodes, ["/dev/uio7"], "{driver}");
        assert_eq!(
            given.info,
            r#"{"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"uio":{"mount":"/dev/uio7"}}}"#
        );
        assert_eq!(
            given.file.unwrap(),
            r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.0"}}"#
        );
    }
}

#[test]
fn rdma() {
    let tree = node();
    tree.existing(VF).driver("mlx5_core").netdev("ens1f0v0").rdma("mlx5_2");
    tree.rdma_nodes("mlx5_2", 2);
    tree.rdma_nodes("mlx5_0", 0);
    let given = given(&tree, r#""selectors": {"isRdma": true}"#, VF);
    assert_eq!(
        given.nodes,
        ["issm2", "umad2", "uverbs2", "rdma_cm"].map(|name| format!("/dev/infiniband/{name}"))
    );
    assert_eq!(
        given.info,
        concat!(
            r#"{"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"rdma":{"issm":"/dev/infiniband/issm2","#,
            r#""rdma_cm":"/dev/infiniband/rdma_cm","rdma_dev":"mlx5_2","umad":"/dev/infiniband/umad2","#,
            r#""uverbs":"/dev/infiniband/uverbs2"}}}"#
        )
    );
    assert_eq!(
        given.file.unwrap(),
        r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.0","rdma-device":"mlx5_2"}}"#
    );
}

#[test]
fn several_rdma_devices_of_one_function() {
    let tree = node();
    tree.existing(VF).driver("mlx5_core").rdma("mlx5_2").rdma("mlx5_3");
    tree.rdma_nodes("mlx5_2", 2);
    tree.rdma_nodes("mlx5_3", 3);
    tree.write("sys/class/infiniband_cm/ucm3/ibdev", "mlx5_3\n");
    let given = given(&tree, r#""selectors": {"isRdma": true}"#, VF);
    assert_eq!(
        given.nodes,
        ["issm2", "umad2", "uverbs2", "rdma_cm", "ucm3", "issm3", "umad3", "uverbs3"]
            .map(|name| format!("/dev/infiniband/{name}"))
    );
    assert_eq!(
        given.info,
        concat!(
            r#"{"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"rdma":{"issm":"/dev/infiniband/issm3","#,
            r#""rdma_cm":"/dev/infiniband/rdma_cm","rdma_dev":"mlx5_2","umad":"/dev/infiniband/umad3","#,
            r#""uverbs":"/dev/infiniband/uverbs3"}}}"#
        )
    );
    assert!(given.file.unwrap().contains(r#""rdma-device":"mlx5_2,mlx5_3""#));
}

#[test]
fn rdma_cm_is_given_where_it_is_and_with_nothing_else_too() {
    let tree = node();
    tree.existing(VF).driver("mlx5_core").rdma("mlx5_2");
    tree.write("dev/infiniband/rdma_cm", "");
    let alone = given(&tree, r#""selectors": {"isRdma": true}"#, VF);
    assert_eq!(alone.nodes, ["/dev/infiniband/rdma_cm"]);
    assert!(alone.info.contains(r#""rdma":{"rdma_cm":"/dev/infiniband/rdma_cm","rdma_dev":"mlx5_2"}"#));
    let tree = node();
    tree.existing(VF).driver("mlx5_core").rdma("mlx5_2");
    tree.rdma_nodes("mlx5_2", 2);
    std::fs::remove_file(tree.dev().join("infiniband/rdma_cm")).unwrap();
    let without = given(&tree, r#""selectors": {"isRdma": true}"#, VF);
    assert_eq!(without.nodes, ["issm2", "umad2", "uverbs2"].map(|name| format!("/dev/infiniband/{name}")));
    assert!(!without.info.contains("rdma_cm"), "{}", without.info);
}

#[test]
fn a_device_is_rdma_only_by_the_selector_that_says_so() {
    let tree = node();
    tree.existing(VF).driver("mlx5_core").rdma("mlx5_2");
    tree.rdma_nodes("mlx5_2", 2);
    let given = given(&tree, r#""selectors": [{"drivers": ["mlx5_core"]}, {"isRdma": true}]"#, VF);
    assert_eq!((given.nodes.len(), given.ids.as_str()), (0, VF));
    assert!(!given.info.contains("rdma") && !given.file.unwrap().contains("rdma"));
}

#[test]
fn vhost_net_where_both_nodes_are_there() {
    let tree = node();
    tree.vhost_net();
    let given_both = given(&tree, r#""selectors": {"needVhostNet": true}"#, VF);
    assert_eq!(given_both.nodes, ["/dev/vhost-net", "/dev/net/tun"]);
    assert_eq!(
        given_both.info,
        r#"{"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"vhost":{"net-mount":"/dev/vhost-net","tun-mount":"/dev/net/tun"}}}"#
    );
    let tree = node();
    tree.write("dev/vhost-net", "");
    let given_one = given(&tree, r#""selectors": {"needVhostNet": true}"#, VF);
    assert_eq!(given_one.nodes, [""; 0]);
    assert!(!given_one.info.contains("vhost"));
}

#[test]
fn vdpa() {
    let tree = node();
    tree.vdpa(3, VF, "vhost_vdpa");
    let vhost = given(&tree, r#""selectors": {"vdpaType": "vhost"}"#, VF);
    assert_eq!(vhost.nodes, ["/dev/vhost-vdpa-3"]);
    assert_eq!(
        vhost.info,
        r#"{"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"vdpa":{"mount":"/dev/vhost-vdpa-3"}}}"#
    );
    assert_eq!(
        vhost.file.unwrap(),
        r#"{"type":"vdpa","version":"1.1.0","vdpa":{"parent-device":"vdpa3","driver":"vhost","path":"/dev/vhost-vdpa-3","pci-address":"0000:3b:02.0"}}"#
    );
    let tree = node();
    tree.vdpa(0, VF, "virtio_vdpa");
    let virtio = given(&tree, r#""selectors": {"vdpaType": "virtio"}"#, VF);
    assert_eq!(virtio.nodes, [""; 0]);
    assert_eq!(virtio.info, r#"{"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"vdpa":{}}}"#);
    assert_eq!(
        virtio.file.unwrap(),
        r#"{"type":"vdpa","version":"1.1.0","vdpa":{"parent-device":"vdpa0","driver":"virtio","pci-address":"0000:3b:02.0"}}"#
    );
}

#[test]
fn vhost_vdpa_without_its_node_is_refused() {
    let tree = node();
    tree.vdpa(3, VF, "vhost_vdpa");
    std::fs::remove_dir(tree.existing(VF).dir().join("vdpa3/vhost-vdpa-3")).unwrap();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let _daemon = Daemon::start(
        &tree,
        r#"{"resourceList": [{"resourceName": "p", "selectors": {"vdpaType": "vhost"}}]}"#,
    );
    let state = kubelet.until("the pool", LIMIT, |state| state.pools.contains_key("intel.com/p")).unwrap();
    let refused = direct::allocate(&state.pools["intel.com/p"].socket, &[&[VF]]).unwrap().unwrap_err();
    let said = "function 0000:3b:02.0: vDPA device vdpa3 has no vhost-vdpa node; look at the kernel log";
    assert_eq!(refused.message(), said);
    assert_eq!(names(&devinfo(&tree)), [""; 0], "nothing is written for it");
}

#[test]
fn a_subfunction() {
    let tree = node();
    tree.existing("0000:3b:00.0").driver("mlx5_core").numa(1);
    let dir = tree.sf("mlx5_core.sf.2", "0000:3b:00.0", 88, Some("ens1f0s88"));
    std::fs::create_dir_all(dir.join("infiniband/mlx5_5")).unwrap();
    tree.rdma_nodes("mlx5_5", 5);
    let given = given(
        &tree,
        r#""deviceType": "auxNetDevice", "selectors": {"auxTypes": ["sf"], "pfNames": ["ens1f0#80-90"], "isRdma": true},
           "additionalInfo": {"*": {"a": "1"}, "0000:3b:00.0": {"b": "<2>"}, "mlx5_core.sf.2": {"c": "3"}}"#,
        "mlx5_core.sf.2",
    );
    assert_eq!(given.ids, "mlx5_core.sf.2");
    assert_eq!(given.nodes.len(), 4);
    assert!(
        given.info.starts_with(
            r#"{"mlx5_core.sf.2":{"extra":{"a":"1","b":"\u003c2\u003e"},"generic":{"deviceID":"mlx5_core.sf.2"},"rdma":{"#
        ),
        "{}",
        given.info
    );
    assert_eq!(given.file, None);
}

#[test]
fn an_accelerator() {
    let tree = Tree::new();
    tree.function("0000:5e:00.0").class(0x12_00_00).on_vfio(40);
    let given = given(&tree, r#""deviceType": "accelerator", "selectors": {}"#, "0000:5e:00.0");
    assert_eq!(given.nodes, ["/dev/vfio/vfio", "/dev/vfio/40"]);
    assert_eq!(given.file, None);
}
