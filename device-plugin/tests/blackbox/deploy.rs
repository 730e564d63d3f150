//! The files in `deploy/`: what users apply must be what the programs take.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::kubelet::{Kubelet, State};
use testkit::manifests;
use testkit::multus::Nad;
use testkit::pod::{NETWORKS, Pod};
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, kubelet_root};

pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The documents of one folder that are of `kind`.
pub(crate) fn documents(folder: &str, kind: &str) -> Vec<Value> {
    let all = manifests::below(&deploy().join(folder)).unwrap();
    all.into_iter().map(|(_, document)| document).filter(|document| document["kind"] == kind).collect()
}

/// The device plugin's configuration of one folder.
pub(crate) fn configuration(folder: &str) -> Value {
    let map = documents(folder, "ConfigMap").remove(0);
    assert_eq!(map["metadata"]["name"], "sriovdp-config");
    serde_json::from_str(map["data"]["config.json"].as_str().unwrap()).unwrap()
}

/// The names of the resources that a configuration makes.
pub(crate) fn resources(config: &Value) -> BTreeSet<String> {
    let pools = config["resourceList"].as_array().unwrap().iter();
    let prefix = |pool: &Value| pool["resourcePrefix"].as_str().unwrap_or("intel.com").to_owned();
    pools.map(|pool| format!("{}/{}", prefix(pool), pool["resourceName"].as_str().unwrap())).collect()
}

const EXAMPLES: [&str; 2] = ["examples/eks", "examples/bare-metal"];

#[test]
fn every_file_is_yaml_with_a_kind() {
    // A chart's files are templates: chart.rs has them.
    let of = |folder| manifests::below(&deploy().join(folder)).unwrap();
    let all = [of("base"), of("examples")].concat();
    assert!(all.len() > 10);
    for (path, document) in all {
        assert!(document["kind"].is_string() && document["apiVersion"].is_string(), "{}", path.display());
    }
}

#[test]
fn every_kustomization_names_files_that_are_there() {
    for folder in ["base", "examples/eks", "examples/bare-metal"] {
        let kustomization = documents(folder, "Kustomization").remove(0);
        let resources = kustomization["resources"].as_array().unwrap().iter();
        let patches = kustomization["patches"].as_array().into_iter().flatten().map(|patch| &patch["path"]);
        for path in resources.chain(patches) {
            assert!(deploy().join(folder).join(path.as_str().unwrap()).exists(), "{folder}: {path}");
        }
    }
}

#[test]
fn pods_networks_and_pools_of_an_example_name_each_other() {
    for folder in EXAMPLES {
        let pools = resources(&configuration(folder));
        let networks: Vec<Nad> = documents(folder, "NetworkAttachmentDefinition")
            .iter()
            .map(|manifest| Nad::from_manifest(manifest).unwrap())
            .collect();
        for network in &networks {
            assert!(pools.contains(network.resource.as_ref().unwrap()), "{folder}: {}", network.name);
            assert_eq!(network.config["name"], *network.name);
        }
        let pods = documents(folder, "Pod");
        assert!(!pods.is_empty());
        for pod in pods.iter().map(|manifest| Pod::from_manifest(manifest).unwrap()) {
            assert!(pod.containers[0].limits.keys().all(|resource| pools.contains(resource)), "{}", pod.name);
            let annotation = &pod.annotations[NETWORKS];
            let named = networks.iter().any(|network| annotation.contains(&network.name));
            assert!(named, "{}: {annotation}", pod.name);
        }
    }
}

#[test]
fn names_that_tools_look_for() {
    let daemon_sets = documents("base", "DaemonSet");
    let plugin =
        daemon_sets.iter().find(|set| set["metadata"]["name"] == "kube-sriov-device-plugin").unwrap();
    let spec = &plugin["spec"]["template"]["spec"];
    assert_eq!(plugin["spec"]["template"]["metadata"]["labels"]["app"], "sriovdp");
    assert_eq!(
        (&spec["serviceAccountName"], &spec["hostNetwork"]),
        (&"sriov-device-plugin".into(), &true.into())
    );
    assert_eq!(documents("base", "ServiceAccount")[0]["metadata"]["name"], "sriov-device-plugin");
    let mounts: BTreeSet<&str> = spec["containers"][0]["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    for path in ["/var/lib/kubelet/device-plugins", "/var/lib/kubelet/plugins_registry", "/etc/pcidp"] {
        assert!(mounts.contains(path), "{path}");
    }
    assert!(mounts.contains("/var/run/k8s.cni.cncf.io/devinfo/dp"));
}

#[test]
fn the_probes_ask_where_the_plugin_answers() {
    let daemon_sets = documents("base", "DaemonSet");
    let is_plugin = |set: &&Value| set["metadata"]["name"] == "kube-sriov-device-plugin";
    let template = &daemon_sets.iter().find(is_plugin).unwrap()["spec"]["template"];
    let container = &template["spec"]["containers"][0];
    let args = container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
    let cli = sriovdp::cli::Cli::read(["sriovdp"].into_iter().chain(args)).unwrap();
    let Some(sriovdp::web::Address::Tcp(address)) = cli.options.metrics_address else { panic!("no port") };
    // By the socket of the pod's own daemon: the port is the node's, and may be the old daemon's.
    let folder = cli.options.control_socket.parent().unwrap().to_str();
    let mounts = container["volumeMounts"].as_array().unwrap();
    let volume = &mounts.iter().find(|mount| mount["mountPath"].as_str() == folder).unwrap()["name"];
    let volumes = template["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|one| one["name"] == *volume && one["emptyDir"].is_object()));
    for probe in ["livenessProbe", "readinessProbe"] {
        let asked = container[probe]["exec"]["command"].as_array().unwrap().iter();
        let asked = sriovdp::cli::Cli::read(asked.map(|word| word.as_str().unwrap())).unwrap();
        assert_eq!(asked.options.control_socket, cli.options.control_socket);
        let is_asked = match probe {
            "livenessProbe" => matches!(asked.command, Some(sriovdp::cli::Command::Alive)),
            _ => matches!(asked.command, Some(sriovdp::cli::Command::Ready)),
        };
        assert!(is_asked, "{probe}: {:?}", asked.command);
    }
    let annotations = &template["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], address.port().to_string());
    assert!(container["ports"].is_null(), "a hostPort cannot surge");
}

/// Whether each of these resources has a healthy device.
pub(crate) fn serves(resources: &BTreeSet<String>) -> impl Fn(&State) -> bool + Send {
    let healthy =
        |state: &State, resource| state.pools.get(resource).is_some_and(|pool| !pool.healthy().is_empty());
    move |state| resources.iter().all(|resource| healthy(state, resource))
}

/// A node that has a function for every pool of every file.
pub(crate) fn rich_node() -> Tree {
    let tree = Tree::new();
    tree.function("0000:00:06.0").ids("1d0f", "ec20").driver("ena").netdev("eth1");
    tree.pf("0000:3b:00.0", "ens1f0");
    tree.vf("0000:3b:02.0", "0000:3b:00.0").netdev("ens1f0v0");
    tree.vf("0000:3b:02.1", "0000:3b:00.0").netdev("ens1f0v1");
    tree.pf("0000:3b:00.1", "ens1f1");
    tree.vf("0000:3b:0a.0", "0000:3b:00.1").on_vfio(60);
    tree
}

#[test]
fn sriovdp_serves_every_configuration_without_a_warning() {
    for folder in ["base", "examples/eks", "examples/bare-metal"] {
        let config = configuration(folder);
        let tree = rich_node();
        let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
        let daemon = Daemon::start(&tree, &config.to_string());
        let wanted = resources(&config);
        kubelet.until(&format!("the pools of {folder}"), LIMIT, serves(&wanted)).unwrap();
        daemon.signal(nix::sys::signal::Signal::SIGTERM);
        let (_, said) = daemon.end();
        assert!(!said.contains("WARN") && !said.contains("ERROR"), "{folder}: {said}");
    }
}
