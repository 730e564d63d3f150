//! `--use-cdi`: specifications as files, names in answers, and nothing lost where several pools meet in one container.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use testkit::kubelet::{Kubelet, State};
use testkit::manifests;
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use crate::alive::{lists, often};
use crate::daemon::{Daemon, LIMIT, command, kubelet_root, names, node};
use crate::pools::{THREE, three};
use crate::reload::pools;

fn cdi_dir(tree: &Tree) -> PathBuf {
    tree.root().join("run/cdi")
}

fn start(tree: &Tree, config: &str) -> Daemon {
    let mut command = command(tree, config);
    command.arg("--use-cdi").arg("--cdi-dir").arg(cdi_dir(tree));
    Daemon::spawn(command)
}

#[test]
fn specifications_of_kernel_and_vfio_pools() {
    let tree = node();
    std::fs::create_dir_all(cdi_dir(&tree)).unwrap();
    std::fs::write(cdi_dir(&tree).join("sriov-dp-intel.com-net-pci-old.yaml"), "").unwrap();
    std::fs::write(cdi_dir(&tree).join("other.yaml"), "").unwrap();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let daemon = start(&tree, THREE);
    kubelet.until("three pools", LIMIT, three).unwrap();
    assert_eq!(
        names(&cdi_dir(&tree)),
        [
            "other.yaml",
            "sriov-dp-amazon.com-net-pci-sriov_dpdk_1.yaml",
            "sriov-dp-intel.com-net-pci-kernel_vf.yaml",
            "sriov-dp-intel.com-net-pci-vfio_vf.yaml"
        ]
    );
    let kernel = cdi_dir(&tree).join("sriov-dp-intel.com-net-pci-kernel_vf.yaml");
    assert_eq!(
        std::fs::read_to_string(kernel).unwrap(),
        r#"---
cdiVersion: "0.5.0"
devices:
- containerEdits:
    env:
    - "SLUICE_CDI_0000_3B_02_0=0000:3b:02.0"
  name: "0000:3b:02.0"
- containerEdits:
    env:
    - "SLUICE_CDI_0000_3B_02_1=0000:3b:02.1"
  name: "0000:3b:02.1"
kind: "intel.com/net-pci"
"#
    );
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(daemon.end().0.code(), Some(0));
    assert_eq!(names(&cdi_dir(&tree)).len(), 4, "running pods' devices stay described");
}

/// As a runtime reads the folder: the host paths of each device, by its full name.
fn described(tree: &Tree) -> BTreeMap<String, Vec<String>> {
    let mut devices = BTreeMap::new();
    for (_, spec) in manifests::below(&cdi_dir(tree)).unwrap() {
        assert_eq!(spec["cdiVersion"], "0.5.0");
        for device in spec["devices"].as_array().unwrap() {
            let edits = device["containerEdits"].as_object().unwrap();
            assert!(!edits.is_empty(), "empty edits are refused by every runtime");
            let nodes = edits.get("deviceNodes").and_then(|nodes| nodes.as_array()).into_iter().flatten();
            let paths = nodes.map(|node| node["hostPath"].as_str().unwrap().to_owned()).collect();
            let name = format!("{}={}", spec["kind"].as_str().unwrap(), device["name"].as_str().unwrap());
            assert!(devices.insert(name, paths).is_none(), "a name that stands twice is in conflict");
        }
    }
    devices
}

#[test]
fn a_vfio_pool_to_the_byte() {
    let tree = node();
    tree.existing("0000:3b:02.3").noiommu_group(9);
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let _daemon = start(&tree, THREE);
    kubelet.until("three pools", LIMIT, three).unwrap();
    let file = cdi_dir(&tree).join("sriov-dp-intel.com-net-pci-vfio_vf.yaml");
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        r#"---
cdiVersion: "0.5.0"
devices:
- containerEdits:
    deviceNodes:
    - hostPath: "/dev/vfio/vfio"
      path: "/dev/vfio/vfio"
      permissions: "rw"
    - hostPath: "/dev/vfio/52"
      path: "/dev/vfio/52"
      permissions: "rw"
  name: "0000:3b:02.2"
- containerEdits:
    deviceNodes:
    - hostPath: "/dev/vfio/vfio"
      path: "/dev/vfio/vfio"
      permissions: "rw"
    - hostPath: "/dev/vfio/noiommu-9"
      path: "/dev/vfio/9"
      permissions: "rw"
  name: "0000:3b:02.3"
kind: "intel.com/net-pci"
"#
    );
    let pod = Pod::new("default", "pod").container("app", &[("intel.com/vfio_vf", 2)]);
    let given = kubelet.admit(&pod).unwrap().remove(0).response;
    let names = ["intel.com/net-pci=0000:3b:02.2", "intel.com/net-pci=0000:3b:02.3"];
    let annotation = ("cdi.k8s.io/intel.com_net-pci_vfio_vf".to_owned(), names.join(","));
    assert_eq!(given.annotations.into_iter().collect::<Vec<_>>(), [annotation]);
    assert_eq!(given.cdi_devices.into_iter().map(|device| device.name).collect::<Vec<_>>(), names);
    // The rest is as without CDI.
    assert_eq!(given.envs["PCIDEVICE_INTEL_COM_VFIO_VF"], "0000:3b:02.2,0000:3b:02.3");
    assert_eq!(
        given.envs["PCIDEVICE_INTEL_COM_VFIO_VF_INFO"],
        concat!(
            r#"{"0000:3b:02.2":{"generic":{"deviceID":"0000:3b:02.2"},"vfio":{"dev-mount":"/dev/vfio/52","mount":"/dev/vfio/vfio"}},"#,
            r#""0000:3b:02.3":{"generic":{"deviceID":"0000:3b:02.3"},"vfio":{"dev-mount":"/dev/vfio/9","mount":"/dev/vfio/vfio"}}}"#
        )
    );
}

#[test]
fn three_pools_of_one_class_in_one_container() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [
        {"resourceName": "a", "selectors": {"pfNames": ["ens1f0#0-1"]}},
        {"resourceName": "b", "selectors": {"pfNames": ["ens1f0#2"]}},
        {"resourceName": "c", "selectors": {"pfNames": ["ens1f0#3"]}}]}"#;
    let _daemon = start(&tree, config);
    kubelet
        .until("three pools", LIMIT, |state| {
            state.has("intel.com/a", 2) && state.has("intel.com/b", 1) && state.has("intel.com/c", 1)
        })
        .unwrap();
    let resources = [("intel.com/a", 2), ("intel.com/b", 1), ("intel.com/c", 1)];
    let allocations = kubelet.admit(&Pod::new("default", "pod").container("app", &resources)).unwrap();
    let described = described(&tree);
    // A kubelet merges the answers by key.
    let mut annotations = BTreeMap::new();
    let mut fields = Vec::new();
    for allocation in &allocations {
        assert!(allocation.response.devices.is_empty(), "the specification has them");
        assert!(!allocation.response.envs.is_empty());
        annotations.extend(allocation.response.annotations.clone());
        fields.extend(allocation.response.cdi_devices.iter().map(|device| device.name.clone()));
    }
    let mut named: Vec<String> =
        annotations.values().flat_map(|value| value.split(',')).map(str::to_owned).collect();
    named.sort();
    assert_eq!(named, [0, 1, 2, 3].map(|vf| format!("intel.com/net-pci=0000:3b:02.{vf}")));
    fields.sort();
    assert_eq!(fields, named);
    assert!(annotations.keys().all(|key| key.starts_with("cdi.k8s.io/intel.com_net-pci_")));
    assert!(named.iter().all(|name| described.contains_key(name)), "{described:?}");
    assert_eq!(described["intel.com/net-pci=0000:3b:02.2"], ["/dev/vfio/vfio", "/dev/vfio/52"]);
}

#[test]
fn a_specification_follows_a_renumbered_group() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let _daemon = start(&tree, THREE);
    kubelet.until("three pools", LIMIT, three).unwrap();
    assert_eq!(described(&tree)["intel.com/net-pci=0000:3b:02.2"][1], "/dev/vfio/52");
    tree.existing("0000:3b:02.2").iommu_group(77);
    kubelet.admit(&Pod::new("default", "pod").container("app", &[("intel.com/vfio_vf", 2)])).unwrap();
    let described = described(&tree);
    assert_eq!(described["intel.com/net-pci=0000:3b:02.2"][1], "/dev/vfio/77");
    assert_eq!(described["intel.com/net-pci=0000:3b:02.3"][1], "/dev/vfio/53");
}

#[test]
fn classes_of_accelerators_and_subfunctions() {
    let tree = Tree::new();
    tree.function("0000:5e:00.0").class(0x12_00_00).driver("x");
    tree.pf("0000:3b:00.0", "ens1f0");
    tree.sf("mlx5_core.sf.2", "0000:3b:00.0", 88, Some("ens1f0s88"));
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [
        {"resourceName": "fec", "deviceType": "accelerator", "selectors": {}},
        {"resourceName": "sf", "deviceType": "auxNetDevice", "selectors": {"auxTypes": ["sf"]}}]}"#;
    let _daemon = start(&tree, config);
    kubelet
        .until("both", LIMIT, |state| state.has("intel.com/fec", 1) && state.has("intel.com/sf", 1))
        .unwrap();
    let names: Vec<String> = described(&tree).into_keys().collect();
    assert_eq!(names, ["intel.com/net-accel=0000:5e:00.0", "intel.com/net-sf=mlx5_core.sf.2"]);
}

#[test]
fn what_cdi_cannot_name_ends_the_process() {
    let tree = node();
    let _kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config =
        r#"{"resourceList": [{"resourceName": "a", "resourcePrefix": "4g.example", "selectors": {}}]}"#;
    let (status, said) = start(&tree, config).end();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("\"4g.example\" is no CDI vendor"), "{said}");
    std::fs::write(tree.root().join("run"), "a file in the way").unwrap();
    let (status, said) = start(&tree, THREE).end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("is --cdi-dir writable?"), "{said}");
}

#[test]
fn the_files_follow_the_pools_and_no_device_is_in_two() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let mut command = often(&tree, &pools(&[("a", "0"), ("b", "1-2"), ("c", "3")]));
    command.arg("--use-cdi").arg("--cdi-dir").arg(cdi_dir(&tree));
    let _daemon = Daemon::spawn(command);
    kubelet.until("the pools", LIMIT, |state| state.has("intel.com/b", 2)).unwrap();
    let pod = Pod::new("default", "holder").container("app", &[("intel.com/b", 1)]);
    assert_eq!(kubelet.admit(&pod).unwrap()[0].devices, ["0000:3b:02.1"]);
    // `b` is no more, and `c` has nothing; a container of the pod may still be started again.
    tree.remove("0000:3b:02.3");
    tree.write("config.json", &pools(&[("a", "0-2"), ("c", "3")]));
    let moved = |state: &State| state.has("intel.com/a", 2) && lists(state, "intel.com/c") == (0, 0);
    kubelet.until("the moves", LIMIT, moved).unwrap();
    let (a, b) = ("sriov-dp-intel.com-net-pci-a.yaml", "sriov-dp-intel.com-net-pci-b.yaml");
    assert_eq!(names(&cdi_dir(&tree)), [a, b]);
    assert_eq!(specified(&tree, a), ["0000:3b:02.0", "0000:3b:02.2"]);
    assert_eq!(specified(&tree, b), ["0000:3b:02.1"]);
    assert!(kubelet.delete(&pod));
    kubelet.until("the end of the pod", LIMIT, |state| state.has("intel.com/a", 3)).unwrap();
    assert_eq!(names(&cdi_dir(&tree)), [a]);
    assert_eq!(specified(&tree, a), ["0000:3b:02.0", "0000:3b:02.1", "0000:3b:02.2"]);
}

#[test]
fn a_restart_keeps_what_a_pod_needs() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let start = |config: &str| {
        let mut command = often(&tree, config);
        command.arg("--use-cdi").arg("--cdi-dir").arg(cdi_dir(&tree));
        Daemon::spawn(command)
    };
    let daemon = start(&pools(&[("a", "0"), ("b", "1-2"), ("c", "3")]));
    let all = |state: &State| ["a", "c"].iter().all(|pool| state.has(&format!("intel.com/{pool}"), 1));
    kubelet.until("the pools", LIMIT, |state| all(state) && state.has("intel.com/b", 2)).unwrap();
    let pod = Pod::new("default", "holder").container("app", &[("intel.com/b", 1), ("intel.com/c", 1)]);
    kubelet.admit(&pod).unwrap();
    drop(daemon);
    // `b` is no more, and `c` has nothing at this moment.
    tree.remove("0000:3b:02.3");
    let _daemon = start(&pools(&[("a", "0-2"), ("c", "3")]));
    kubelet.until("the move", LIMIT, |state| state.has("intel.com/a", 2)).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|pool| format!("sriov-dp-intel.com-net-pci-{pool}.yaml"));
    assert_eq!(names(&cdi_dir(&tree)), [&*a, &b, &c]);
    assert_eq!(specified(&tree, &a), ["0000:3b:02.0", "0000:3b:02.2"], "no device is in two");
    assert_eq!(specified(&tree, &b), ["0000:3b:02.1"]);
    assert_eq!(specified(&tree, &c), ["0000:3b:02.3"]);
    assert!(kubelet.delete(&pod));
    kubelet.until("the end of the pod", LIMIT, |state| state.has("intel.com/a", 3)).unwrap();
    assert_eq!(names(&cdi_dir(&tree)), [a]);
}

#[test]
fn a_file_that_could_not_be_written_is_tried_again() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let mut command = often(&tree, &pools(&[("a", "0")]));
    command.arg("--use-cdi").arg("--cdi-dir").arg(cdi_dir(&tree));
    let mut daemon = Daemon::spawn(command);
    kubelet.until("the pool", LIMIT, |state| state.has("intel.com/a", 1)).unwrap();
    let aside = tree.root().join("aside");
    std::fs::rename(cdi_dir(&tree), &aside).unwrap();
    std::fs::write(cdi_dir(&tree), "a file in the way").unwrap();
    tree.write("config.json", &pools(&[("a", "0-1")]));
    daemon.says("is --cdi-dir writable?");
    // Not once: at every look.
    daemon.says("is --cdi-dir writable?");
    std::fs::remove_file(cdi_dir(&tree)).unwrap();
    std::fs::rename(&aside, cdi_dir(&tree)).unwrap();
    let begin = Instant::now();
    while specified(&tree, "sriov-dp-intel.com-net-pci-a.yaml").len() < 2 {
        assert!(begin.elapsed() < LIMIT, "the file is never written");
        std::thread::yield_now();
    }
}

/// As a Go plugin does that ends while we serve.
#[test]
fn files_that_somebody_else_removes_are_written_again() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let mut command = often(&tree, &pools(&[("a", "0-1"), ("b", "2")]));
    command.arg("--use-cdi").arg("--cdi-dir").arg(cdi_dir(&tree));
    let _daemon = Daemon::spawn(command);
    let both = |state: &State| state.has("intel.com/a", 2) && state.has("intel.com/b", 1);
    kubelet.until("the pools", LIMIT, both).unwrap();
    let pod = Pod::new("default", "holder").container("app", &[("intel.com/b", 1)]);
    kubelet.admit(&pod).unwrap();
    // A pool that is no more has its file as long as a pod has its device.
    tree.write("config.json", &pools(&[("a", "0-1")]));
    kubelet.until("the end of the pool", LIMIT, |state| !state.pools["intel.com/b"].connected).unwrap();
    let files = ["a", "b"].map(|pool| format!("sriov-dp-intel.com-net-pci-{pool}.yaml"));
    let read = || files.each_ref().map(|file| std::fs::read_to_string(cdi_dir(&tree).join(file)).ok());
    let before = read();
    assert!(before.iter().all(Option::is_some), "{before:?}");
    for file in &files {
        std::fs::remove_file(cdi_dir(&tree).join(file)).unwrap();
    }
    let begin = Instant::now();
    while read() != before {
        assert!(begin.elapsed() < LIMIT, "a file is never written: {:?}", names(&cdi_dir(&tree)));
        std::thread::yield_now();
    }
    assert_eq!(kubelet.state().pools["intel.com/a"].lists, 1, "the kubelet hears nothing of it");
}

/// The devices of a specification.
fn specified(tree: &Tree, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(cdi_dir(tree).join(file)).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("  name: "));
    names.map(|name| name.trim_matches('"').to_owned()).collect()
}
