//! From a pod's annotation to the calls of its plugins, with plugins that write down what they are told.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Multus, Nad, Paths, Sandbox, network_status};
use crate::kubelet::Kubelet;
use crate::kubelet::fake::Plugin;
use crate::pod::Pod;

/// Writes a line per call to `log`; ADD answers with one interface, and `fails` names the calls that fail.
const PLUGIN: &str = r#"#!/bin/sh
read -r conf
dir=${0%/*}
echo "$CNI_COMMAND ${0##*/} $CNI_IFNAME $conf" >> "$dir/log"
case " $(cat "$dir/fails") " in *" $CNI_COMMAND-${0##*/} "*) echo '{"code":7,"msg":"told to","details":"d"}'; exit 1 ;; esac
[ "$CNI_COMMAND" = ADD ] && printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","sandbox":"%s"}],"by":"%s"}' \
    "$CNI_IFNAME" "$CNI_NETNS" "${0##*/}"
exit 0
"#;

struct Node {
    root: tempfile::TempDir,
    kubelet: Kubelet,
    _plugin: Plugin,
}

impl Node {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::fs::write(bin.join("fails"), "").unwrap();
        for name in ["first", "second"] {
            std::fs::write(bin.join(name), PLUGIN).unwrap();
            std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let kubelet = Kubelet::start(root.path().join("var/lib/kubelet")).unwrap();
        let socket = kubelet.root().join("plugins_registry/a.sock");
        let list = [("0000:01:00.1", true, 0), ("0000:01:00.2", true, 0)];
        let plugin = Plugin::plain(&socket, "x.com/a", &list);
        kubelet.until("the pool", Duration::from_secs(10), |state| state.has("x.com/a", 2)).unwrap();
        Self { root, kubelet, _plugin: plugin }
    }

    fn multus(&self) -> Multus {
        let bin = self.root.path().join("bin");
        let list = json!({"cniVersion": "1.0.0", "plugins": [{"type": "first"}, {"type": "second"}]});
        let single =
            json!({"type": "first", "cniVersion": "0.3.1", "capabilities": {"CNIDeviceInfoFile": true}});
        Multus::new(Paths::below(self.root.path(), &[&bin]))
            .nad(Nad::new("ns", "chain", list).resource("x.com/a"))
            .nad(Nad::new("ns", "one", single).resource("x.com/a"))
    }

    fn fail(&self, calls: &str) {
        std::fs::write(self.root.path().join("bin/fails"), calls).unwrap();
    }

    /// The calls since the last time: verb, plugin, interface, configuration.
    fn calls(&self) -> Vec<(String, Value)> {
        let log = self.root.path().join("bin/log");
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(&log);
        text.lines()
            .map(|line| {
                let at = line.find('{').unwrap();
                (line[..at].trim_end().to_owned(), serde_json::from_str(&line[at..]).unwrap())
            })
            .collect()
    }

    fn names(&self) -> Vec<String> {
        self.calls().into_iter().map(|(name, _)| name).collect()
    }
}

fn pod(annotation: &str, devices: usize) -> Pod {
    Pod::new("ns", "p").networks(annotation).container("c", &[("x.com/a", devices)])
}

#[test]
fn two_networks_with_a_device_each_and_back() {
    let node = Node::new();
    let (pod, sandbox) = (pod("chain,one@dp0", 2), Sandbox::new("c1", "/run/netns/p"));
    node.kubelet.admit(&pod).unwrap();
    let dp = node.root.path().join("var/run/k8s.cni.cncf.io/devinfo/dp");
    let cni = dp.with_file_name("cni");
    std::fs::create_dir_all(&dp).unwrap();
    let info = json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": "0000:01:00.2"}});
    std::fs::write(dp.join("x.com-a-0000:01:00.2-device.json"), info.to_string()).unwrap();

    let attachments = node.multus().add(&pod, &sandbox).unwrap();
    let device = |at: usize| attachments[at].device.as_deref().unwrap();
    assert_eq!((device(0), device(1)), ("0000:01:00.1", "0000:01:00.2"));
    assert_eq!(attachments[0].result["by"], "second");
    assert_eq!(
        network_status(&attachments),
        json!([{"name": "ns/chain", "interface": "net1", "dns": {}},
            {"name": "ns/one", "interface": "dp0", "dns": {}, "device-info": info}])
    );
    let calls = node.calls();
    let names: Vec<&str> = calls.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ADD first net1", "ADD second net1", "ADD first dp0"]);
    assert_eq!(calls[1].1["prevResult"]["by"], "first");
    assert_eq!(
        (&calls[1].1["pciBusID"], &calls[2].1["deviceID"]),
        (&json!("0000:01:00.1"), &json!("0000:01:00.2"))
    );
    let file = cni.join("ns-one-c1_dp0");
    assert_eq!(calls[2].1["runtimeConfig"], json!({"CNIDeviceInfoFile": file}));
    assert!(file.exists());

    node.multus().del(&pod, &sandbox).unwrap();
    let calls = node.calls();
    let names: Vec<&str> = calls.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["DEL first dp0", "DEL second net1", "DEL first net1"]);
    assert_eq!(calls[0].1.get("prevResult"), None, "0.3.1 is not told at DEL");
    assert_eq!(calls[2].1["prevResult"]["by"], "second");
    assert!(!file.exists());
    node.multus().del(&pod, &sandbox).unwrap();
    assert!(node.calls().is_empty(), "a second DEL finds no file and calls nobody");
}

#[test]
fn a_failure_takes_back_what_was_added_and_itself() {
    let node = Node::new();
    let (pod, sandbox) = (pod("one,chain,one", 2), Sandbox::new("c1", "/run/netns/p"));
    node.kubelet.admit(&pod).unwrap();
    node.fail("ADD-second");
    let error = format!("{:#}", node.multus().add(&pod, &sandbox).unwrap_err());
    assert_eq!(error, "add ns/chain as net2: ADD second: code 7: told to; d");
    assert_eq!(
        node.names(),
        [
            "ADD first net1",
            "ADD first net2",
            "ADD second net2",
            "DEL second net2",
            "DEL first net2",
            "DEL first net1"
        ]
    );
    node.fail("DEL-second");
    let error = node.multus().del(&pod, &sandbox).unwrap_err().to_string();
    assert_eq!(error, "delete ns/chain as net2: DEL second: code 7: told to; d");
    assert_eq!(
        node.names(),
        ["DEL first net3", "DEL second net2", "DEL first net1"],
        "the others are still tried"
    );
}

#[test]
fn without_enough_devices_the_plugin_is_called_without_one() {
    let node = Node::new();
    let (pod, sandbox) = (pod("one,one", 1), Sandbox::new("c1", "/run/netns/p"));
    node.kubelet.admit(&pod).unwrap();
    let attachments = node.multus().add(&pod, &sandbox).unwrap();
    assert_eq!(attachments[1].device, None);
    assert_eq!(node.calls()[1].1.get("deviceID"), None);
}

#[test]
fn what_cannot_be_attached_is_said_before_any_call() {
    let node = Node::new();
    let sandbox = Sandbox::new("c1", "/run/netns/p");
    let error =
        |annotation: &str| format!("{:#}", node.multus().add(&pod(annotation, 1), &sandbox).unwrap_err());
    assert_eq!(error("nope"), "cannot find a network ns/nope");
    assert!(error("amazon.com/sriov_dpdk_1").contains("mismatch @ 'amazon.com'"));
    let multus = node.multus().nad(Nad::new("ns", "x", json!({"type": "absent"})));
    let error = format!("{:#}", multus.add(&pod("x", 1), &sandbox).unwrap_err());
    assert!(error.starts_with("add ns/x as net1: failed to find plugin \"absent\" in path"), "{error}");
    assert!(node.calls().is_empty());
}
