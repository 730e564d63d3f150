//! What is answered where there is nothing attached: VERSION, DEL, CHECK and GC.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use serde_json::json;
use testkit::runtime::Invocation;

use crate::node::{Node, USERSPACE, VF, conf, run};

#[test]
fn version_and_a_call_by_hand_are_the_go_plugins() {
    let said = run(&Invocation::new("VERSION"));
    let versions = r#"{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}"#;
    assert_eq!(said.stdout, format!("{versions}\n"));
    let by_hand = run(&Invocation { command: None, ..Invocation::default() });
    assert_eq!(by_hand.error(), (4, "required env variables [CNI_COMMAND] missing"));
}

#[test]
fn a_del_of_nothing_releases_and_succeeds() {
    let node = Node::new();
    let network = |keys| conf(VF, &keys);
    for keys in [json!({}), json!({"deviceID": null}), json!({"vlan": 4095, "strict": true, "typo": 1})] {
        let mut call = node.call("DEL", &network(keys));
        call.netns = None;
        let said = run(&call);
        assert!(said.ok() && said.stdout.is_empty(), "{said:?}");
    }
    assert_eq!(node.asked(), "");
    node.run("DEL", &network(json!({"ipam": {"type": "told"}}))).success();
    assert_eq!(node.asked(), "DEL\n");
    // A network of layer 2 alone never had an address, whatever it says of IPAM.
    run(&node.call("DEL", &json!({"if0": "lo", "l2enable": true, "ipam": {"type": "told"}}))).success();
    run(&node.call("DEL", &json!({"if0": "lo", "ipam": {"type": "told"}}))).success();
    assert_eq!(node.asked(), "DEL\nDEL\n");
    assert_eq!(node.files(), []);
}

/// Nothing can have been recorded of it; IPAM is asked all the same.
#[test]
fn a_del_of_a_container_id_that_no_file_can_be_called_by() {
    let node = Node::new();
    for length in [240, 256, 5000] {
        let mut call = node.call("DEL", &conf(VF, &json!({"ipam": {"type": "told"}})));
        call.container_id = Some("c".repeat(length));
        run(&call).success();
    }
    assert_eq!(node.asked(), "DEL\n".repeat(3));
    assert_eq!(node.files(), []);
}

#[test]
fn a_check_needs_the_result_and_the_device() {
    let node = Node::new();
    let said = node.run("CHECK", &conf(USERSPACE, &json!({})));
    assert_eq!(said.error(), (7, "Required prevResult missing"));
    let said = node.run("CHECK", &conf("", &json!({})));
    assert!(said.error().1.ends_with("VF pci addr is required"), "{said:?}");
    let old = node.run("CHECK", &conf(VF, &json!({"cniVersion": "0.3.1"})));
    assert_eq!(old.error(), (1, "config version does not allow CHECK"));
}

#[test]
fn a_gc_wants_its_list() {
    let node = Node::new();
    let gc = |keys| {
        run(&Invocation {
            container_id: None,
            ifname: None,
            netns: None,
            ..node.call("GC", &conf(VF, &keys))
        })
    };
    assert_eq!(gc(json!({})).error().0, 7);
    assert!(gc(json!({"cni.dev/valid-attachments": [], "strict": true})).ok());
}
