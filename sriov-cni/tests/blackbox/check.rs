//! CHECK: what it says of a VF that the pod has lost.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use serde_json::{Value, json};

use crate::node::{Node, USERSPACE, VF, conf, living, run};

/// The message of a CHECK of `net1` of `c1`, for which the ADD promised a link of that VF.
fn complaint(node: &Node, device: &str) -> String {
    let promised = json!({"interfaces": [{"name": "net1", "sandbox": living()}]});
    let said = run(&node.call("CHECK", &conf(device, &json!({"prevResult": promised}))));
    said.error().1.to_owned()
}

fn record(device: &str, undo: &Value) -> String {
    let owner = json!({"containerId": "c1", "ifname": "net1"});
    let record = json!({
        "version": 1, "owner": owner, "sandbox": {"path": living(), "id": null}, "device": device, "function": device,
        "pf": null, "ipam": null, "config": {"name": "net"}, "undo": undo,
    });
    json!({"sluice": record}).to_string()
}

fn link() -> Value {
    json!({"link": {
        "name": "eth5", "index": 5, "pod_index": null, "parent": null, "kind": null, "port": null, "mac": null,
        "mtu": null, "alias": null, "alt_names": null,
    }})
}

#[test]
fn a_link_that_was_lost_to_a_userspace_driver() {
    let node = Node::new();
    node.write("c1-net1", &record(USERSPACE, &json!([link()])));
    assert_eq!(complaint(&node, USERSPACE), "Container Interface name in prevResult: net1 not found");
    // Where none was promised there is none to miss; and without a record the driver tells.
    for record in [record(USERSPACE, &json!([])), "{}".to_owned()] {
        node.write("c1-net1", &record);
        let promised = json!({"prevResult": {"interfaces": [{"name": "net1", "sandbox": living()}]}});
        run(&node.call("CHECK", &conf(USERSPACE, &promised))).success();
    }
}

#[test]
fn a_vf_that_another_attachment_has() {
    let node = Node::new();
    let owner = |container: &str| {
        json!({"owner": {"containerId": container, "ifname": "net1"}, "netns": living()}).to_string()
    };
    node.write(&format!("pci/{VF}"), &living());
    node.write(&format!("pci/owner/{VF}"), &owner("c9"));
    let lost = format!("VF {VF} is claimed by net1 of container c9; ");
    assert!(complaint(&node, VF).starts_with(&lost));
    node.write(&format!("pci/owner/{VF}"), &owner("c1"));
    assert!(!complaint(&node, VF).contains("is claimed"));
    // The Go plugin's claim has no owner.
    std::fs::remove_file(node.state().join(format!("pci/owner/{VF}"))).unwrap();
    assert!(!complaint(&node, VF).contains("is claimed"));
    node.write(&format!("pci/{VF}"), "/run/netns/another");
    assert!(complaint(&node, VF).starts_with(&format!("VF {VF} is claimed for /run/netns/another; ")));
}

#[test]
fn what_the_pf_does_not_hold_is_told_whatever_else_is_wrong() {
    let node = Node::new();
    let promised = json!({"interfaces": [{"name": "net1", "sandbox": living()}]});
    for (undo, keys, wrong) in [
        (
            json!([]),
            json!({"prevResult": promised, "ipam": {"type": "told", "mode": "down"}}),
            "the pool is empty",
        ),
        (
            json!([link()]),
            json!({"prevResult": {"interfaces": []}}),
            "Container interface name missing in prevResult: net1",
        ),
        (json!([]), json!({}), "Required prevResult missing"),
    ] {
        node.write("c1-net1", &record(VF, &undo));
        let alone = run(&node.call("CHECK", &conf(VF, &keys)));
        assert_eq!(alone.error().1, wrong);
        let mut keys = keys.clone();
        keys["vlan"] = json!(100);
        let both = run(&node.call("CHECK", &conf(VF, &keys)));
        let told = format!("VF {VF}: what the PF holds cannot be read: failed to find vf 0; {wrong}");
        assert!(both.error().1.starts_with(&told), "{both:?}");
    }
}
