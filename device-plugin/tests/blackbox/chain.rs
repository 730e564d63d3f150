//! The examples of `deploy/`, pod by pod, up to the call of the CNI plugin: `sriovdp`, the kubelet and Multus have to agree
//! on which function a pod has. The plugin is a script that only repeats what it was told.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::kubelet::Kubelet;
use testkit::multus::{Attachment, Multus, Nad, Paths, Sandbox};
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, devinfo, kubelet_root};
use crate::deploy::{configuration, documents, resources, rich_node, serves};

/// Its result holds its configuration, which is how that gets back to the test.
const PLUGIN: &str = r#"#!/bin/sh
conf=$(cat)
[ "$CNI_COMMAND" = ADD ] || exit 0
printf '{"interfaces":[{"name":"%s","sandbox":"%s"}],"told":%s}' "$CNI_IFNAME" "$CNI_NETNS" "$conf"
"#;

fn plugins(tree: &Tree) -> PathBuf {
    let bin = tree.root().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in ["sriov", "host-device"] {
        std::fs::write(bin.join(name), PLUGIN).unwrap();
        std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin
}

fn multus(tree: &Tree, folder: &str, kubelet: &Kubelet) -> Multus {
    let paths = Paths {
        bin_dirs: vec![plugins(tree)],
        pod_resources: kubelet.root().join("pod-resources/kubelet.sock"),
        devinfo: devinfo(tree).parent().unwrap().to_owned(),
        cni_dir: tree.root().join("multus"),
    };
    let networks = documents(folder, "NetworkAttachmentDefinition");
    let networks = networks.iter().map(|manifest| Nad::from_manifest(manifest).unwrap());
    networks.fold(Multus::new(paths), Multus::nad)
}

/// Brings one pod up: the ids in its environment, and its one attachment.
fn start(kubelet: &Kubelet, multus: &Multus, pod: &Pod) -> (String, Attachment) {
    let given = kubelet.admit(pod).unwrap();
    let (_, ids) = given[0].response.envs.iter().find(|(name, _)| !name.ends_with("_INFO")).unwrap();
    let sandbox = Sandbox::new(&pod.uid, Path::new("/run/netns").join(&pod.name));
    (ids.clone(), multus.add(pod, &sandbox).unwrap().remove(0))
}

#[test]
fn each_pod_is_attached_with_the_function_that_it_was_given() {
    for (folder, names) in
        [("examples/eks", &["eni-pod"][..]), ("examples/bare-metal", &["left", "right", "forwarder"])]
    {
        let tree = rich_node();
        let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
        let config = configuration(folder);
        let _daemon = Daemon::start(&tree, &config.to_string());
        kubelet.until(folder, LIMIT, serves(&resources(&config))).unwrap();
        let multus = multus(&tree, folder, &kubelet);
        let pods: Vec<Pod> =
            documents(folder, "Pod").iter().map(|manifest| Pod::from_manifest(manifest).unwrap()).collect();
        assert_eq!(pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), names);
        for pod in &pods {
            let (ids, attachment) = start(&kubelet, &multus, pod);
            let told = &attachment.result["told"];
            assert_eq!((&told["deviceID"], &told["pciBusID"]), (&json!(ids), &json!(ids)), "{}", pod.name);
            let info = json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": ids}});
            assert_eq!(attachment.status[0]["device-info"], info, "{}", pod.name);
            // Multus offers the file to whoever declares that he reads it.
            let file = told["runtimeConfig"]["CNIDeviceInfoFile"].as_str();
            assert_eq!(file.is_some(), told["capabilities"]["CNIDeviceInfoFile"] == true, "{}", pod.name);
            if pod.name == "right" {
                assert_eq!(attachment.ifname, "north");
                assert_eq!(told["runtimeConfig"]["mac"], Value::from("02:00:00:00:64:02"));
            }
        }
        for pod in &pods {
            multus.del(pod, &Sandbox { container_id: pod.uid.clone(), netns: None }).unwrap();
            assert!(kubelet.delete(pod));
        }
        assert!(crate::daemon::names(&devinfo(&tree).with_file_name("cni")).is_empty());
    }
}
