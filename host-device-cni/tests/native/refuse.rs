//! ADDs that fail: each leaves no trace.

use serde_json::json;

use crate::node::{Node, conf};

/// The error of an ADD, after which the link must be as before and nothing recorded.
fn refused(node: &Node, conf: &serde_json::Value) -> (u64, String) {
    let before = node.nic();
    let added = node.call("ADD", conf);
    let (code, msg) = added.error();
    assert_eq!(node.nic(), before, "{msg}");
    assert_eq!(node.records(), [""; 0], "{msg}");
    (code, msg.to_owned())
}

#[test]
fn ipam_that_refuses_is_asked_to_release() {
    let node = Node::new();
    let refusing = conf(&[("ipam", json!({"type": "lease", "mode": "refuse"}))]);
    assert_eq!(refused(&node, &refusing), (11, "the pool is empty".to_owned()));
    let nothing = conf(&[("ipam", json!({"type": "lease", "mode": "nothing"}))]);
    assert_eq!(refused(&node, &nothing).1, "IPAM plugin returned missing IP config");
    let missing = conf(&[("ipam", json!({"type": "nope"}))]);
    assert!(refused(&node, &missing).1.starts_with("failed to find plugin \"nope\" in path ["));
}

#[test]
fn an_interface_of_the_pod_is_never_touched() {
    let node = Node::new();
    node.pod.ip(&["link", "add", "net1", "address", "02:00:00:00:00:77", "type", "bridge"]);
    let (_, msg) = refused(&node, &conf(&[]));
    assert!(
        msg.starts_with(r#"failed to move link failed to move "net1" (host: "nic0") to container NS: "#),
        "{msg}"
    );
    assert!(msg.contains("file exists"), "{msg}");
    assert_eq!(node.pod.link("net1").unwrap()["address"], "02:00:00:00:00:77");
}

#[test]
fn a_result_that_the_version_cannot_say_is_found_out_first() {
    let node = Node::new();
    let old = conf(&[("cniVersion", json!("0.1.0"))]);
    assert_eq!(refused(&node, &old).1, "cannot convert: no valid IP addresses");
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let node = Node::new();
    assert_eq!(
        refused(&node, &conf(&[("device", json!("nope"))])).1,
        "failed to find host device: Link not found"
    );
    let pci = json!({"cniVersion": "1.1.0", "name": "n", "type": "host-device", "pciBusID": "0000:99:00.0"});
    assert!(
        refused(&node, &pci)
            .1
            .starts_with("error with host device: no PCI function 0000:99:00.0 on this node")
    );
    let unknown = conf(&[("device", json!("")), ("runtimeConfig", json!({"deviceID": "mlx5_core.sf.4"}))]);
    assert_eq!(refused(&node, &unknown).1, "runtime config DeviceID mlx5_core.sf.4 not found or unsupported");
    let allocated = conf(&[("device", json!("")), ("runtimeConfig", json!({"deviceID": "0000:99:00.0"}))]);
    assert_eq!(refused(&node, &allocated).1, "runtime config DeviceID 0000:99:00.0 not found or unsupported");
}

#[test]
fn a_namespace_that_is_not_there_is_named() {
    let node = Node::new();
    let mut add = node.invocation("ADD", &conf(&[]));
    add.netns = Some("/run/netns/nope".to_owned());
    let added = add.run_in(&node.host, std::path::Path::new(crate::node::BINARY));
    let text = r#"failed to open netns "/run/netns/nope": failed to Statfs "/run/netns/nope": no such file or directory"#;
    assert_eq!(added.error().1, text);
}

#[test]
fn a_configuration_that_could_not_be_read_back_from_its_record() {
    let node = Node::new();
    let nested = |levels: usize| {
        let value = (2..levels).fold(json!([]), |inside, _| json!([inside]));
        conf(&[("deep", value)])
    };
    let before = node.nic();
    node.call("ADD", &nested(100)).success();
    node.call("DEL", &nested(100)).success();
    assert_eq!((node.nic(), node.records()), (before, Vec::new()));
    let (code, msg) = refused(&node, &nested(101));
    assert!(code == 7 && msg.contains("nests deeper than 100 levels"), "{msg}");
    node.call("DEL", &nested(101)).success();
    node.call("DEL", &nested(1000)).success();
}
