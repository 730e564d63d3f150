//! Each key that names a device, which of several counts, and what is said where it names none.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use testkit::runtime::Output;

use crate::node::{BINARY, Node};

const MAC: &str = "02:00:00:00:00:10";

/// A configuration that names the device by these keys alone.
pub(crate) fn by(keys: &[(&str, Value)]) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "n", "type": "host-device"});
    for (key, value) in keys {
        conf[key] = value.clone();
    }
    conf
}

/// In and out again; the link must be as before, and nothing recorded.
fn round_trip(node: &Node, conf: &Value) {
    let before = node.nic();
    let added = node.call("ADD", conf);
    assert_eq!(added.success()["interfaces"][0]["mac"], MAC, "{conf}");
    assert_eq!(node.host.link("nic0"), None);
    node.call("DEL", conf).success();
    assert_eq!(node.nic(), before, "{conf}");
    assert_eq!(node.records(), [""; 0]);
}

fn message(node: &Node, conf: &Value) -> (u64, String) {
    let refused = node.call("ADD", conf);
    let (code, msg) = refused.error();
    (code, msg.to_owned())
}

#[test]
fn a_name_or_an_alternative_name_of_any_length() {
    let node = Node::new();
    let longest = format!("enp0s31f6-{}", "x".repeat(117));
    node.host.ip(&["link", "property", "add", "dev", "nic0", "altname", &longest]);
    for name in ["nic0", "nic0-by-slot", &longest] {
        round_trip(&node, &by(&[("device", json!(name))]));
    }
    let longer = message(&node, &by(&[("device", json!("x".repeat(128)))]));
    assert_eq!(longer.0, 7);
    assert!(longer.1.contains("wanted 1 to 127 bytes"), "{}", longer.1);
    let refused = message(&node, &by(&[("device", json!("a-name-that-is-no-link's"))]));
    assert_eq!(refused, (999, "failed to find host device: Link not found".to_owned()));
}

#[test]
fn a_hardware_address_in_every_usual_form() {
    let node = Node::new();
    for mac in [MAC, "02-00-00-00-00-10", "0200.0000.0010", "02:00:00:00:00:10"] {
        round_trip(&node, &by(&[("hwaddr", json!(mac))]));
    }
}

#[test]
fn of_several_links_with_one_address_the_first_counts() {
    let node = Node::new();
    // Made later, so told of later; what is below it has its address.
    node.host.ip(&["link", "add", "link", "nic0", "name", "second", "address", MAC, "type", "macvlan"]);
    let keys = by(&[("hwaddr", json!(MAC))]);
    node.call("ADD", &keys).success();
    assert!(node.host.link("nic0").is_none() && node.host.link("second").is_some());
    node.call("DEL", &keys).success();
    assert!(node.host.link("nic0").is_some());
}

#[test]
fn a_hardware_address_that_no_link_has_or_that_is_none() {
    let node = Node::new();
    let (code, msg) = message(&node, &by(&[("hwaddr", json!("02:00:00:00:00:99"))]));
    assert_eq!(code, 999);
    assert!(msg.starts_with("failed to find host device: failed to find physical interface"), "{msg}");
    let refused = message(&node, &by(&[("hwaddr", json!("zz"))]));
    let text =
        r#"failed to find host device: failed to parse MAC address "zz": address zz: invalid MAC address"#;
    assert_eq!(refused, (7, text.to_owned()));
}

#[test]
fn a_kernel_path_leads_to_the_first_network_device_below_it() {
    let node = Node::new();
    let sysfs = with_sysfs(&node);
    // As a device with two ports shows them; only one of them is here.
    std::fs::create_dir_all(sysfs.path().join("devices/pci0000:00/0000:00:06.0/virtio3/net/nic0")).unwrap();
    let keys = by(&[("kernelpath", json!("/sys/devices/pci0000:00/0000:00:06.0/virtio3"))]);
    let before = node.nic();
    call(&node, &sysfs, "ADD", &keys).success();
    assert!(node.host.link("nic0").is_none());
    call(&node, &sysfs, "DEL", &keys).success();
    assert_eq!(node.nic(), before);
}

#[test]
fn a_kernel_path_that_is_elsewhere_or_has_none() {
    let node = Node::new();
    let elsewhere = message(&node, &by(&[("kernelpath", json!("/etc"))]));
    let text = r#"failed to find host device: kernel device path "/etc" must be absolute and begin with /sys/devices/"#;
    assert_eq!(elsewhere, (7, text.to_owned()));
    for outside in ["sys/devices/virtual", "/sys/devices/../../etc", "/sys/devicesx"] {
        let (code, msg) = message(&node, &by(&[("kernelpath", json!(outside))]));
        assert!(
            code == 7 && msg.ends_with("must be absolute and begin with /sys/devices/"),
            "{outside}: {msg}"
        );
    }
    let (code, msg) = message(&node, &by(&[("kernelpath", json!("/sys/devices/system"))]));
    assert_eq!(code, 999);
    assert!(
        msg.starts_with("failed to find host device: failed to read directory /sys/devices/system/net"),
        "{msg}"
    );
}

/// A PCI function and an auxiliary device that have a veth for their network device.
pub(crate) fn with_sysfs(node: &Node) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let functions = root.path().join("bus/pci/devices");
    for (address, driver) in [("0000:00:06.0", "ena"), ("0000:00:07.0", "vfio-pci")] {
        let dir = functions.join(address);
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in [("vendor", "0x1d0f\n"), ("device", "0xec20\n"), ("class", "0x020000\n")] {
            std::fs::write(dir.join(name), text).unwrap();
        }
        symlink(format!("../drivers/{driver}"), dir.join("driver")).unwrap();
    }
    let net = |dir: std::path::PathBuf| std::fs::create_dir_all(dir.join("net/nic0")).unwrap();
    net(functions.join("0000:00:06.0"));
    net(root.path().join("bus/auxiliary/devices/mlx5_core.sf.4"));
    assert!(node.host.link("nic0").is_some());
    root
}

pub(crate) fn call(node: &Node, sysfs: &tempfile::TempDir, command: &str, conf: &Value) -> Output {
    let call = node.invocation(command, conf).env("SLUICE_SYSFS_ROOT", sysfs.path().to_string_lossy());
    call.run_in(&node.host, std::path::Path::new(BINARY))
}

#[test]
fn what_names_a_device_outright_comes_before_what_was_allocated_and_that_before_the_networks_own() {
    let node = Node::new();
    node.host.ip(&["link", "add", "other", "type", "veth", "peer", "name", "peer9"]);
    let sysfs = with_sysfs(&node);
    let allocated = json!({"deviceID": "0000:00:06.0"});
    for (keys, wanted) in [
        (
            vec![("device", json!("other")), ("hwaddr", json!(MAC)), ("runtimeConfig", allocated.clone())],
            "other",
        ),
        (vec![("hwaddr", json!(MAC)), ("kernelpath", json!("/sys/devices/none"))], "nic0"),
        (vec![("pciBusID", json!("0000:00:99.0")), ("runtimeConfig", allocated.clone())], "nic0"),
        (
            vec![
                ("runtimeConfig", json!({"deviceID": "mlx5_core.sf.4"})),
                ("pciBusID", json!("0000:00:99.0")),
            ],
            "nic0",
        ),
        (vec![("pciBusID", json!("0000:00:06.0"))], "nic0"),
    ] {
        let conf = by(&keys);
        call(&node, &sysfs, "ADD", &conf).success();
        assert_eq!(node.pod.link("net1").unwrap()["ifalias"], wanted, "{conf}");
        call(&node, &sysfs, "DEL", &conf).success();
        assert!(node.host.link(wanted).is_some(), "{conf}");
    }
    let first = by(&[("kernelpath", json!("/sys/devices/none")), ("pciBusID", json!("0000:00:06.0"))]);
    assert!(
        call(&node, &sysfs, "ADD", &first).error().1.contains("/devices/none/net: no network device there")
    );
}

#[test]
fn every_version_of_the_protocol_answers_in_its_own_form() {
    let sysfs_node = Node::new();
    let sysfs = with_sysfs(&sysfs_node);
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let keys = [
            ("cniVersion", json!(version)),
            ("pciBusID", json!("0000:00:06.0")),
            ("ipam", json!({"type": "lease"})),
        ];
        let added = call(&sysfs_node, &sysfs, "ADD", &by(&keys));
        let result = added.success();
        assert_eq!(result["cniVersion"], version);
        let (address, pci) = match version {
            "0.1.0" | "0.2.0" => (&result["ip4"]["ip"], &Value::Null),
            "1.1.0" => (&result["ips"][0]["address"], &json!("0000:00:06.0")),
            _ => (&result["ips"][0]["address"], &Value::Null),
        };
        assert_eq!(address, "192.0.2.5/24", "{result}");
        assert_eq!(&result["interfaces"][0]["pciID"], pci, "{result}");
        call(&sysfs_node, &sysfs, "DEL", &by(&keys)).success();
    }
}

#[test]
fn the_eks_guides_configuration_byte_for_byte() {
    let node = Node::new();
    let sysfs = with_sysfs(&node);
    let before = node.nic();
    // Multus and the runtime add the network's name; without one no plugin may run.
    let guide = r#"{"cniVersion":"0.3.1","type":"host-device","pciBusID":"0000:00:06.0"}"#;
    let nameless = node.invocation("ADD", &Value::Null).stdin(guide);
    let refused = nameless.run_in(&node.host, std::path::Path::new(BINARY));
    assert_eq!(refused.error(), (7, "missing network name"));
    let named = guide.replacen('{', r#"{"name":"host-dev",""#, 1).replace(r#"""cni"#, r#""cni"#);
    let run = |command: &str| {
        let call = node.invocation(command, &Value::Null).stdin(named.clone());
        let call = call.env("SLUICE_SYSFS_ROOT", sysfs.path().to_string_lossy());
        call.run_in(&node.host, std::path::Path::new(BINARY))
    };
    let sandbox = node.pod.path().display().to_string();
    let result = format!(
        r#"{{
    "cniVersion": "0.3.1",
    "interfaces": [
        {{
            "name": "net1",
            "mac": "02:00:00:00:00:10",
            "sandbox": "{sandbox}"
        }}
    ],
    "dns": {{}}
}}"#
    );
    let added = run("ADD");
    added.success();
    assert_eq!(added.stdout, result);
    run("DEL").success();
    assert_eq!(node.nic(), before);
}

#[test]
fn a_function_under_a_userspace_driver_stays_and_its_addresses_are_told() {
    let node = Node::new();
    let sysfs = with_sysfs(&node);
    let keys = by(&[("pciBusID", json!("0000:00:07.0")), ("ipam", json!({"type": "lease"}))]);
    let added = call(&node, &sysfs, "ADD", &keys);
    let sandbox = node.pod.path().display().to_string();
    let result = added.success();
    assert_eq!(result["interfaces"], json!([{"name": "net1", "sandbox": sandbox, "pciID": "0000:00:07.0"}]));
    assert_eq!(result["ips"][0]["address"], "192.0.2.5/24");
    assert!(node.pod.link("net1").is_none());
    let mut checked = keys.clone();
    checked["prevResult"] = result.clone();
    call(&node, &sysfs, "CHECK", &checked).success();
    for _ in 0..2 {
        call(&node, &sysfs, "DEL", &keys).success();
    }
    assert_eq!(node.records(), [""; 0]);
    // A function that has gone is let go, too, and so are its addresses.
    let allocated =
        by(&[("runtimeConfig", json!({"deviceID": "0000:00:07.0"})), ("ipam", json!({"type": "lease"}))]);
    call(&node, &sysfs, "ADD", &allocated).success();
    assert!(node.state.path().join("lease-c1").exists());
    std::fs::remove_dir_all(sysfs.path().join("bus/pci/devices/0000:00:07.0")).unwrap();
    let deleted = call(&node, &sysfs, "DEL", &allocated);
    deleted.success();
    assert_eq!(node.records(), [""; 0]);
}
