//! STATUS: would an ADD find what it needs?
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use serde_json::{Value, json};
use testkit::runtime::Invocation;

use crate::node::{Node, PF, VF, conf, living, run};

/// A STATUS, which comes without a container.
fn status(node: &Node, keys: &Value) -> testkit::runtime::Output {
    let mut keys = keys.clone();
    if keys.get("deviceID").is_none() {
        keys["deviceID"] = Value::Null;
    }
    let call = node.call("STATUS", &conf(VF, &keys));
    run(&Invocation { container_id: None, netns: None, ifname: None, ..call })
}

fn unavailable(node: &Node, keys: &Value) -> (u64, String) {
    let said = status(node, keys);
    let (code, msg) = said.error();
    (code, msg.to_owned())
}

#[test]
fn a_node_that_is_ready_says_nothing() {
    let node = Node::new();
    for keys in [json!({}), json!({"if0": "lo"}), json!({"deviceID": VF}), json!({"ipam": {"type": "told"}})]
    {
        let said = status(&node, &keys);
        assert!(said.ok() && said.stdout.is_empty(), "{said:?}");
    }
    assert_eq!(node.asked(), "STATUS\n");
    assert_eq!(node.files(), []);
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    let node = Node::new();
    std::fs::write(node.state(), "a file").unwrap();
    let (code, msg) = unavailable(&node, &json!({}));
    assert_eq!(code, 50);
    assert!(
        msg.starts_with("SRIOV-CNI is not available: the state directory cannot be written: cannot "),
        "{msg}"
    );
}

#[test]
fn a_pf_that_is_not_there_or_has_no_vfs() {
    let node = Node::new();
    let (code, msg) = unavailable(&node, &json!({"if0": "enp12s0f1"}));
    assert_eq!((code, msg.contains("there is no PF enp12s0f1")), (50, true), "{msg}");
    assert_eq!(unavailable(&node, &json!({"if0": "lo", "vf": 9})).0, 50);
    assert_eq!(unavailable(&node, &json!({"deviceID": PF})).0, 50);
    // A pod of this network has a VF of the PF that is gone: its connection is, too.
    let record = json!({"sluice": {
        "version": 1, "owner": {"containerId": "c9", "ifname": "net1"}, "sandbox": {"path": living(), "id": null},
        "device": VF, "function": VF, "pf": null, "ipam": null, "config": {"name": "net"}, "undo": [],
    }});
    node.write("c9-net1", &record.to_string());
    node.write(&format!("pci/{VF}"), &living());
    let (code, msg) = unavailable(&node, &json!({"if0": "enp12s0f1"}));
    assert_eq!(code, 51, "{msg}");
    assert!(status(&node, &json!({})).ok());
    // Of a network that names none, as with a device plugin, the attachments say which it was.
    let mut lost = record.clone();
    lost["sluice"]["pf"] = json!({"address": "0000:5e:00.0", "vf": 0});
    node.write("c9-net1", &lost.to_string());
    let (code, msg) = unavailable(&node, &json!({}));
    assert_eq!((code, msg.contains("0000:5e:00.0")), (51, true), "{msg}");
    assert!(status(&node, &json!({"name": "other"})).ok());
    assert_eq!(unavailable(&node, &json!({"if0": "enp12s0f1", "name": "other"})).0, 50);
}

/// A NIC was replaced, and the DELs of its pods were lost, or IPAM did not take their addresses back.
#[test]
fn a_pf_that_is_not_there_any_more_is_missed_by_living_pods_alone() {
    let node = Node::new();
    let owner = json!({"containerId": "c9", "ifname": "net1"});
    let attached = |netns: &str| {
        let record = json!({"sluice": {
            "version": 1, "owner": owner, "sandbox": {"path": netns, "id": {"dev": 4, "ino": 7}}, "device": VF,
            "function": VF, "pf": {"address": "0000:5e:00.0", "vf": 0}, "ipam": "told", "config": {"name": "net"}, "undo": [],
        }});
        node.write("c9-net1", &record.to_string());
    };
    let claimed = |owner: &Value, netns: &str| {
        node.write(&format!("pci/{VF}"), netns);
        node.write(&format!("pci/owner/{VF}"), &json!({"owner": owner, "netns": netns}).to_string());
    };
    attached("/run/netns/gone");
    assert!(status(&node, &json!({})).ok(), "its addresses alone are left");
    claimed(&owner, "/run/netns/gone");
    assert!(status(&node, &json!({})).ok(), "its pod is gone");
    assert_eq!(unavailable(&node, &json!({"if0": "enp12s0f1"})).0, 50);
    claimed(&json!({"containerId": "c8", "ifname": "net1"}), &living());
    assert!(status(&node, &json!({})).ok(), "another pod has its VF");
}

#[test]
fn an_ipam_plugin_that_is_not_ready() {
    let node = Node::new();
    let said = status(&node, &json!({"ipam": {"type": "told", "mode": "down"}}));
    assert_eq!(said.error(), (50, "the pool is empty"));
    assert_eq!(said.json.as_ref().unwrap()["details"], "192.0.2.0/24");
    let (code, msg) = unavailable(&node, &json!({"ipam": {"type": "told", "mode": "old"}}));
    assert_eq!((code, msg.ends_with("IPAM plugin told: unknown CNI_COMMAND: STATUS")), (50, true), "{msg}");
    let (code, msg) = unavailable(&node, &json!({"if0": "gone", "ipam": {"type": "nope"}}));
    assert_eq!(code, 50);
    assert!(msg.contains("there is no PF gone") && msg.contains("failed to find plugin \"nope\""), "{msg}");
}

#[test]
fn a_configuration_that_no_add_would_take() {
    let node = Node::new();
    let (code, msg) = unavailable(&node, &json!({"vlan": 4095}));
    assert_eq!(code, 7, "{msg}");
}
