//! Pods that the Go plugin made: it keeps no record, only the host's name in the link's alias.

use serde_json::{Value, json};

use crate::by_key::{by, call, with_sysfs};
use crate::node::{Node, conf};

const FUNCTION: &str = "bus/pci/devices/0000:00:06.0";
const SUBFUNCTION: &str = "bus/auxiliary/devices/mlx5_core.sf.4";

/// The link in the pod as the Go plugin leaves it there.
fn moved_by_go(node: &Node) {
    node.host.ip(&["link", "set", "nic0", "netns", node.pod.name()]);
    node.pod.ip(&["link", "set", "nic0", "alias", "nic0"]);
    node.pod.ip(&["link", "set", "nic0", "name", "net1"]);
    node.pod.ip(&["link", "set", "net1", "up"]);
}

#[test]
fn is_undone_by_its_alias() {
    let node = Node::new();
    moved_by_go(&node);
    assert_eq!(node.call("DEL", &conf(&[])).success(), &Value::Null);
    assert_eq!(node.pod.link("net1"), None);
    assert_eq!(node.host.link("nic0").unwrap().get("ifalias"), None);
    node.call("DEL", &conf(&[])).success();
}

/// The Go plugin too takes an alternative name, and sets the link's own as the alias.
#[test]
fn is_undone_where_the_configuration_has_an_alternative_name() {
    let node = Node::new();
    moved_by_go(&node);
    node.call("DEL", &conf(&[("device", json!("nic0-by-slot"))])).success();
    assert!(node.pod.link("net1").is_none() && node.host.link("nic0").is_some());
}

#[test]
fn a_link_that_the_configuration_does_not_name_stays() {
    let node = Node::new();
    moved_by_go(&node);
    node.call("DEL", &conf(&[("device", json!("another"))])).success();
    assert!(node.pod.link("net1").is_some());
}

#[test]
fn and_ours_carry_the_alias_by_which_the_go_plugin_undoes_them() {
    let node = Node::new();
    node.call("ADD", &conf(&[])).success();
    assert_eq!(node.pod.link("net1").unwrap()["ifalias"], "nic0");
}

/// A veth has no parent, as every link where the kernel is older than 5.14 (EKS with Amazon Linux 2, RHEL 8).
#[test]
fn is_undone_where_the_kernel_does_not_tell_the_device_of_a_link() {
    for (keys, place) in [
        (by(&[("pciBusID", json!("0000:00:06.0"))]), FUNCTION),
        (by(&[("runtimeConfig", json!({"deviceID": "mlx5_core.sf.4"}))]), SUBFUNCTION),
        (by(&[("kernelpath", json!("/sys/devices/virtio3"))]), "devices/virtio3"),
    ] {
        let node = Node::new();
        let sysfs = with_sysfs(&node);
        std::fs::create_dir_all(sysfs.path().join("devices/virtio3/net/nic0")).unwrap();
        moved_by_go(&node);
        // The device has its network device on the host: what is in the pod is another's.
        call(&node, &sysfs, "DEL", &keys).success();
        assert!(node.pod.link("net1").is_some(), "{keys}");
        std::fs::remove_dir(sysfs.path().join(place).join("net/nic0")).unwrap();
        call(&node, &sysfs, "DEL", &keys).success();
        assert_eq!(node.pod.link("net1"), None, "{keys}");
        let back = node.host.link("nic0").unwrap();
        assert_eq!((&back["address"], back.get("ifalias")), (&json!("02:00:00:00:00:10"), None), "{keys}");
    }
}

#[test]
fn a_link_without_an_alias_or_of_a_device_that_has_none_to_miss_stays() {
    let node = Node::new();
    let sysfs = with_sysfs(&node);
    moved_by_go(&node);
    let deleted = |address: &str| {
        call(&node, &sysfs, "DEL", &by(&[("pciBusID", json!(address))])).success();
        node.pod.link("net1").is_none()
    };
    // Under vfio-pci, and not on this node.
    assert!(!deleted("0000:00:07.0") && !deleted("0000:00:99.0"));
    let function = sysfs.path().join(FUNCTION);
    std::fs::remove_dir(function.join("net/nic0")).unwrap();
    // On the host, of its virtio device.
    let virtio = function.join("virtio3/net/nic5");
    std::fs::create_dir_all(&virtio).unwrap();
    assert!(!deleted("0000:00:06.0"));
    std::fs::remove_dir(virtio).unwrap();
    node.pod.ip(&["link", "set", "net1", "alias", ""]);
    assert!(!deleted("0000:00:06.0"));
    node.pod.ip(&["link", "set", "net1", "alias", "nic0"]);
    assert!(deleted("0000:00:06.0"));
}
