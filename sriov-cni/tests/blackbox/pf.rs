//! Networks of 2017, which name a PF: what is said where it has no VF to give.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use serde_json::{Value, json};

use crate::node::{AWAY, Node, USERSPACE, VF, run};

/// Code and text of an ADD as an old Multus calls for it: without a name and a version.
fn refused(node: &Node, conf: &Value) -> (u64, String) {
    let before = node.files();
    let said = run(&node.call("ADD", conf));
    let (code, msg) = said.error();
    assert_eq!(node.files(), before, "{msg}");
    (code, msg.strip_prefix("SRIOV-CNI failed to load netconf: LoadConf(): ").unwrap_or(msg).to_owned())
}

#[test]
fn a_pf_without_a_vf_to_give() {
    let node = Node::new();
    let of_2017 = json!({"type": "sriov", "if0": "enp12s0f1", "ipam": {"type": "told"}});
    assert_eq!(
        refused(&node, &of_2017),
        (999, "there is no PF enp12s0f1 in this network namespace; look at `ip link`".to_owned())
    );
    node.tree.pf("0000:5e:00.0", "enp94s0");
    let (_, msg) = refused(&node, &json!({"type": "sriov", "master": "enp94s0"}));
    assert!(msg.starts_with("PF enp94s0 (0000:5e:00.0) has no VFs; write how many"), "{msg}");
    let (_, msg) = refused(&node, &json!({"type": "sriov", "if0": "lo", "vf": 3}));
    assert_eq!(msg, "PF lo (0000:3b:00.0) has no vf 3: it has 3");
}

#[test]
fn each_vf_that_is_not_free_says_why() {
    let node = Node::new();
    let owner = json!({"owner": {"containerId": "c9", "ifname": "net1"}, "netns": crate::node::living()});
    node.write(&format!("pci/{VF}"), &crate::node::living());
    node.write(&format!("pci/owner/{VF}"), &owner.to_string());
    let (code, msg) = refused(&node, &json!({"type": "sriov", "if0": "lo", "l2enable": true}));
    assert_eq!(code, 11);
    let why = format!(
        "no VF of PF lo is free: vf 0: pci address {VF} is already allocated to net1 of container c9; vf 1: the VF {AWAY} \
         does not have a interface name or a dpdk driver: its driver is iavf, and its network device, if any, is in another \
         network namespace; vf 2: failed to get original vf information: failed to find vf 2"
    );
    assert_eq!(msg, why, "{USERSPACE}");
}

#[test]
fn only_such_a_network_may_lack_a_name() {
    let node = Node::new();
    let modern = run(&node.call("ADD", &json!({"cniVersion": "1.0.0", "type": "sriov", "deviceID": VF})));
    assert_eq!(modern.error(), (7, "missing network name"));
}
