//! ADDs that are refused before anything is touched: the error's code and text, and no file that was not there.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use serde_json::{Value, json};
use testkit::runtime::Invocation;

use crate::node::{AWAY, Node, PF, USERSPACE, VF, conf, living, run};

const PREFIX: &str = "SRIOV-CNI failed to load netconf: ";

/// Code, text and details of an ADD that must be refused and leave all as it was.
fn refused(node: &Node, call: &Invocation) -> (u64, String, String) {
    let before = node.files();
    let said = run(call);
    let (code, msg) = said.error();
    let error = said.json.as_ref().unwrap();
    assert_eq!(
        error["cniVersion"],
        serde_json::from_slice::<Value>(&call.stdin).unwrap()["cniVersion"],
        "{error}"
    );
    assert_eq!(said.code, Some(1));
    assert_eq!(node.files(), before, "{msg}");
    assert_eq!(node.asked(), "", "IPAM was asked: {msg}");
    (code, msg.to_owned(), error["details"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_configuration_that_makes_no_sense() {
    let node = Node::new();
    for (keys, text) in [
        (json!({"vlan": 4095}), "vlan id 4095 invalid: value must be in the range 0-4094"),
        (json!({"vlan": -1}), "vlan id -1 invalid: value must be in the range 0-4094"),
        (json!({"vlanQoS": 3}), "vlan id must be configured to set vlan QoS to a non-nil value"),
        (json!({"vlanProto": "802.1q"}), "vlan id must be configured to set vlan proto to a non-nil value"),
        (json!({"vlan": 5, "vlanQoS": 8}), "vlan QoS PCP 8 invalid: value must be in the range 0-7"),
        (
            json!({"vlan": 0, "vlanQoS": 1}),
            "non-zero vlan id must be configured to set vlan QoS to a non-zero value",
        ),
        (json!({"vlan": 5, "vlanProto": "q"}), "vlan Proto q invalid: value must be '802.1Q' or '802.1ad'"),
        (
            json!({"vlan": 0, "vlanProto": "802.1ad"}),
            "non-zero vlan id must be configured to set vlan proto 802.1ad",
        ),
        (json!({"link_state": "up"}), "invalid link_state value: up"),
        (json!({"mac": "zz"}), "address zz: invalid MAC address"),
        (
            json!({"runtimeConfig": {"mac": "00:00:00:00:00:00"}}),
            "MAC address 00:00:00:00:00:00 cannot be a station's: wanted six bytes, neither zero nor multicast",
        ),
        (json!({"vlan": "5"}), "vlan: invalid type: string \"5\", expected i64"),
        (json!({"mtu": 20}), "mtu 20 invalid: wanted 68 or more"),
        (
            json!({"strict": true, "max-tx-rate": 100}),
            r#"strict: unknown key "max-tx-rate" with 100 is passed over; did you mean "max_tx_rate"?"#,
        ),
        (
            json!({"strict": true, "trust": "true"}),
            r#"strict: trust "true" is taken for "off": wanted "on" or "off""#,
        ),
        (
            json!({"runtimeConfig": {"deviceID": AWAY}}),
            "the VF is not named alike: deviceID 0000:3b:02.0, runtimeConfig.deviceID 0000:3b:02.1; all that are there must \
             be the same",
        ),
        (
            json!({"deviceID": null, "if0": "lo", "if0name": "eth0"}),
            "\"if0name\" eth0 belongs to another interface of the pod: not eth0, eth1 or lo",
        ),
        (
            json!({"allmulti": true}),
            "allmulti needs \"trust\": \"on\": a PF passes no foreign multicast to a VF that it does not trust",
        ),
        (
            json!({"vlanTrunk": "100-200,300", "vlan": 7}),
            "vlanTrunk and a vlan above 0 exclude each other: a PF puts one tag on a VF's frames, or lets it tag them",
        ),
        (
            json!({"vlanTrunk": "300-100"}),
            "vlanTrunk 300-100: wanted VLANs and ranges of 1 to 4094 such as \"100-200,300\"",
        ),
    ] {
        let (code, msg, details) = refused(&node, &node.call("ADD", &conf(VF, &keys)));
        assert_eq!((code, msg.as_str(), details.as_str()), (7, &*format!("{PREFIX}LoadConf(): {text}"), ""));
    }
}

#[test]
fn arguments_that_the_go_plugin_refuses() {
    let node = Node::new();
    for (args, text) in [
        ("K8S_POD_NAME=x", r#"SRIOV-CNI failed to parse args: ARGS: unknown args ["K8S_POD_NAME=x"]"#),
        ("MAC", r#"SRIOV-CNI failed to parse args: ARGS: invalid pair "MAC""#),
    ] {
        let (code, msg, _) = refused(&node, &node.call("ADD", &conf(VF, &json!({}))).args(args));
        assert_eq!((code, msg.as_str()), (4, text));
    }
    let (code, msg, _) = refused(&node, &node.call("ADD", &conf(VF, &json!({}))).args("MAC=zz"));
    assert_eq!((code, msg), (7, format!("{PREFIX}LoadConf(): address zz: invalid MAC address")));
}

#[test]
fn a_missing_device_says_which_pod_and_what_must_agree() {
    let node = Node::new();
    let deviceless = conf(VF, &json!({"deviceID": null}));
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u";
    let (code, msg, details) = refused(&node, &node.call("ADD", &deviceless).args(args));
    assert_eq!((code, msg), (7, format!("{PREFIX}LoadConf(): VF pci addr is required")));
    assert_eq!(
        details,
        "pod shop/web-0 was given no device: neither deviceID nor runtimeConfig.deviceID came with network \"net\". The \
         pod's resource request and the network's annotation k8s.v1.cni.cncf.io/resourceName must name the same resource, \
         and the pod must request as many of it as it has networks with it"
    );
    let (_, _, details) = refused(&node, &node.call("ADD", &conf("", &json!({}))));
    assert!(details.starts_with("container c1 was given no device"), "{details}");
}

#[test]
fn a_device_that_is_no_usable_vf() {
    let node = Node::new();
    let cannot = |device: &str| refused(&node, &node.call("ADD", &conf(device, &json!({})))).1;
    let missing = cannot("0000:99:00.0");
    let text = format!(
        "{PREFIX}LoadConf(): failed to get VF information: \"no PCI function 0000:99:00.0 on this node"
    );
    assert!(missing.starts_with(&text), "{missing}");
    let no_vf = cannot(PF);
    assert!(no_vf.contains("is no VF: it has no physfn\"; use host-device"), "{no_vf}");
    assert_eq!(
        cannot(AWAY),
        format!(
            "{PREFIX}LoadConf(): the VF {AWAY} does not have a interface name or a dpdk driver: its driver is iavf, and its \
             network device, if any, is in another network namespace"
        )
    );
    let auxiliary = cannot("mlx5_core.sf.4");
    assert!(
        auxiliary.starts_with(&format!("{PREFIX}LoadConf(): failed to get VF information: \"")),
        "{auxiliary}"
    );
    // `lo` has no VFs: this is as far as a VF comes that the kernel does not know.
    assert_eq!(cannot(USERSPACE), "failed to get original vf information: failed to find vf 2");
}

#[test]
fn a_namespace_that_is_none() {
    let node = Node::new();
    let mut call = node.call("ADD", &conf(VF, &json!({})));
    call.netns = Some("/nonexistent/ns".to_owned());
    let text = r#"failed to open netns "/nonexistent/ns": failed to Statfs "/nonexistent/ns": no such file or directory"#;
    assert_eq!(refused(&node, &call).1, text);
    let file = node.path("ipam/told").display().to_string();
    call.netns = Some(file.clone());
    let msg = refused(&node, &call).1;
    assert!(
        msg.starts_with(&format!("failed to open netns \"{file}\": unknown FS magic on \"{file}\": ")),
        "{msg}"
    );
}

#[test]
fn a_vf_that_a_living_pod_has() {
    let node = Node::new();
    node.write(&format!("pci/{VF}"), &living());
    let mut call = node.call("ADD", &conf(VF, &json!({})));
    call.container_id = Some("c2".to_owned());
    call.netns = Some("/proc/self/ns/net".to_owned());
    let allocated = format!("{PREFIX}pci address {VF} is already allocated");
    assert_eq!(refused(&node, &call), (11, allocated, String::new()));
}

/// A known fault of Multus: one device for a default network and for one of the annotation.
#[test]
fn one_vf_for_two_interfaces_of_a_pod() {
    let node = Node::new();
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0";
    let mut call = node.call("ADD", &conf(VF, &json!({}))).args(args);
    call.ifname = Some("net2".to_owned());
    node.write(&format!("pci/{VF}"), &living());
    // The Go plugin's claim: a namespace and no owner.
    let (code, msg, details) = refused(&node, &call);
    assert_eq!((code, msg), (11, format!("{PREFIX}pci address {VF} is already allocated")));
    assert!(
        details.starts_with("pod shop/web-0 has this VF already, and a VF is one interface"),
        "{details}"
    );
    let owner = json!({"owner": {"containerId": "c1", "ifname": "net1"}, "netns": living()});
    node.write(&format!("pci/owner/{VF}"), &owner.to_string());
    let (code, msg, details) = refused(&node, &call);
    assert_eq!(
        (code, msg),
        (11, format!("{PREFIX}pci address {VF} is already allocated to net1 of container c1"))
    );
    assert!(details.contains("default network a resourceName of its own"), "{details}");
}

#[test]
fn what_a_pod_changed_whose_record_nobody_can_read_is_told() {
    let node = Node::new();
    let owner = json!({"owner": {"containerId": "c9", "ifname": "net1"}, "netns": "/run/netns/gone"});
    let told = format!("{USERSPACE}: net1 of container c9 is gone, and its record cannot be read");
    for (record, is_told) in [("c9-net1", true), (".c9-net1.corrupt", true), ("c8-net1", false)] {
        let _ = std::fs::remove_dir_all(node.state());
        node.write(&format!("pci/owner/{USERSPACE}"), &owner.to_string());
        node.write(record, "{");
        let said = node.run("ADD", &conf(USERSPACE, &json!({})));
        assert!(said.error().1.ends_with("failed to find vf 2"), "{said:?}");
        assert_eq!(said.stderr.contains(&told), is_told, "{record}: {}", said.stderr);
        // And an ADD that fails leaves it as unclean as it was.
        assert_eq!(node.state().join(format!("pci/owner/{USERSPACE}")).exists(), is_told, "{record}");
    }
}

#[test]
fn what_is_only_odd_is_told_and_goes_on() {
    let node = Node::new();
    let odd = json!({"max-tx-rate": 100, "if0": "lo", "if0name": "eth0", "dpdk": {"dpdk_driver": "ixgbevf"}});
    let said = node.run("ADD", &conf(USERSPACE, &odd));
    assert!(said.error().1.ends_with("failed to find vf 2"), "{said:?}");
    let warning = r#"level="warning" msg="unknown key \"max-tx-rate\" with 100 is passed over; did you mean \"max_tx_rate\"?""#;
    assert!(said.stderr.contains(warning), "{}", said.stderr);
    for key in ["if0", "if0name", "dpdk"] {
        let warning = format!("{key} is passed over: the VF is named by its address");
        assert!(said.stderr.contains(&warning), "{}", said.stderr);
    }
}
