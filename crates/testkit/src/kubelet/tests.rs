//! The stand-in against a small plugin in this process.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use kubelet_api::device_plugin::DevicePluginOptions;
use kubelet_api::pod_resources::PodResources;

use super::fake::Plugin;
use super::{Device, Kubelet, Options, State, get, list};
use crate::pod::Pod;

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn plugins_are_found_followed_and_let_go() {
    let root = tempfile::tempdir().unwrap();
    let registry = root.path().join("plugins_registry");
    std::fs::create_dir(&registry).unwrap();
    let early = Plugin::plain(&registry.join("a.sock"), "x.com/a", &[("1", true, 0), ("2", false, 1)]);
    std::fs::write(registry.join("no-socket"), "").unwrap();
    let kubelet = Kubelet::start(root.path()).unwrap();
    let state = kubelet.until("a's list", LIMIT, |state| state.has("x.com/a", 1)).unwrap();
    assert_eq!(state.pools["x.com/a"].devices["2"], Device { healthy: false, numa: vec![1] });
    assert_eq!(early.calls(), ["registered true "]);

    let late = Plugin::plain(&registry.join("b.sock"), "x.com/b", &[("3", true, 0)]);
    kubelet.until("b's list", LIMIT, |state| state.has("x.com/b", 1)).unwrap();
    late.devices.send(vec![("3", true, 0), ("4", true, 0)]).unwrap();
    let state = kubelet.until("b's second list", LIMIT, |state| state.has("x.com/b", 2)).unwrap();
    assert_eq!((state.pools["x.com/b"].lists, state.pools["x.com/b"].registrations), (2, 1));

    std::fs::remove_file(registry.join("a.sock")).unwrap();
    let gone =
        |state: &State| !state.pools["x.com/a"].connected && state.pools["x.com/a"].healthy().is_empty();
    kubelet.until("a to be let go", LIMIT, gone).unwrap();
    let _again = Plugin::plain(&registry.join("a.sock"), "x.com/a", &[("1", true, 0)]);
    let state = kubelet.until("a's return", LIMIT, |state| state.has("x.com/a", 1)).unwrap();
    assert_eq!(state.pools["x.com/a"].registrations, 2);

    drop(late);
    kubelet.until("b to be unhealthy", LIMIT, |state| !state.pools["x.com/b"].connected).unwrap();
}

#[test]
fn strangers_are_refused_and_told_so() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(root.path()).unwrap();
    let registry = root.path().join("plugins_registry");
    let _hidden = Plugin::plain(&registry.join(".hidden.sock"), "x.com/hidden", &[]);
    let csi = Plugin::serve(
        &registry.join("csi.sock"),
        "CSIPlugin",
        "x.com/a",
        DevicePluginOptions::default(),
        &[],
    );
    let state = kubelet.until("the refusal", LIMIT, |state| !state.refusals.is_empty()).unwrap();
    assert_eq!(state.refusals[0].1, r#"type is "CSIPlugin", wanted "DevicePlugin""#);
    assert_eq!(csi.calls(), [format!("registered false {}", state.refusals[0].1)]);
    assert!(state.pools.is_empty());
}

#[test]
fn register_works_without_a_registry() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::with(Options { root: root.path().into(), plugins_registry: false }).unwrap();
    assert!(!root.path().join("plugins_registry").exists());
    let dir = root.path().join("device-plugins");
    let _plugin = Plugin::plain(&dir.join("a.sock"), "x.com/a", &[("1", true, 0)]);
    let socket = dir.join("kubelet.sock");
    let refused = Plugin::register(&socket, "a.sock", "v1alpha1", "x.com/a").unwrap_err();
    assert!(refused.message().contains("v1beta1"), "{refused}");
    Plugin::register(&socket, "a.sock", "v1beta1", "x.com/a").unwrap();
    kubelet.until("the list", LIMIT, |state| state.has("x.com/a", 1)).unwrap();
    Plugin::register(&socket, "a.sock", "v1beta1", "x.com/a").unwrap();
    let again = |state: &State| state.has("x.com/a", 1) && state.pools["x.com/a"].registrations == 2;
    kubelet.until("the second registration", LIMIT, again).unwrap();
}

#[test]
fn devices_are_given_once_and_reported() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(root.path()).unwrap();
    let options = DevicePluginOptions { pre_start_required: true, get_preferred_allocation_available: true };
    let list = [("0", true, 0), ("1", true, 1), ("2", true, 1), ("3", false, 1)];
    let socket = root.path().join("plugins_registry/a.sock");
    let plugin = Plugin::serve(&socket, "DevicePlugin", "x.com/a", options, &list);
    kubelet.until("the list", LIMIT, |state| state.has("x.com/a", 3)).unwrap();

    let two = Pod::new("ns", "two").container("side", &[]).container("main", &[("x.com/a", 2)]);
    let given = kubelet.admit(&two).unwrap();
    assert_eq!(given[0].devices, ["2", "1"]);
    assert_eq!(given[0].response.envs["DEVICES"], "2,1");
    assert!(plugin.calls().ends_with(&["prefer 1,2".into(), "allocate 2,1".into(), "start 2,1".into()]));

    let more = Pod::new("ns", "more").container("c", &[("x.com/a", 2)]);
    let refused = format!("{:#}", kubelet.admit(&more).unwrap_err());
    assert!(refused.ends_with("unavailable. Requested: 2, Available: 1"), "{refused}");

    let pod_resources = root.path().join("pod-resources/kubelet.sock");
    let listed = list_names(&list_pods(&pod_resources));
    let own = ("sriov-device-plugin".to_owned(), vec![]);
    assert_eq!(listed, [("two".to_owned(), vec!["2".to_owned(), "1".to_owned()]), own]);
    kubelet.tells(super::Tells::NoPods).unwrap();
    assert!(list_pods(&pod_resources).is_empty());
    let checkpoint = root.path().join("device-plugins/kubelet_internal_checkpoint");
    let noted = std::fs::read_to_string(&checkpoint).unwrap();
    assert!(noted.contains(&two.uid) && !noted.contains(&more.uid), "{noted}");
    kubelet.tells(super::Tells::Nothing).unwrap();
    assert!(super::list(&pod_resources).is_err() && !checkpoint.exists());
    kubelet.tells(super::Tells::Everything).unwrap();
    let one = get(&pod_resources, "ns", "two").unwrap();
    assert_eq!(one.containers[1].devices[0].topology.as_ref().unwrap().nodes[0].id, 1);
    assert!(get(&pod_resources, "ns", "more").is_err());

    assert!(kubelet.delete(&two));
    kubelet.admit(&more).unwrap();
}

#[test]
fn a_failed_pod_holds_nothing() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(root.path()).unwrap();
    let registry = root.path().join("plugins_registry");
    let _a = Plugin::plain(&registry.join("a.sock"), "x.com/a", &[("1", true, 0)]);
    let _b = Plugin::plain(&registry.join("b.sock"), "x.com/b", &[("broken", true, 0)]);
    kubelet.until("both", LIMIT, |state| state.has("x.com/a", 1) && state.has("x.com/b", 1)).unwrap();
    let pod = Pod::new("ns", "p").container("c", &[("x.com/a", 1), ("x.com/b", 1)]);
    let error = format!("{:#}", kubelet.admit(&pod).unwrap_err());
    assert!(error.starts_with("pod ns/p, container c, x.com/b: Allocate"), "{error}");
    assert!(kubelet.ledger().pods().next().is_none());
    assert!(kubelet.admit(&Pod::new("ns", "q").container("c", &[("x.com/c", 1)])).is_err());
}

#[test]
fn a_restart_forgets_plugins_and_keeps_allocations() {
    let root = tempfile::tempdir().unwrap();
    let mut kubelet = Kubelet::start(root.path()).unwrap();
    let plugin = Plugin::plain(
        &root.path().join("plugins_registry/a.sock"),
        "x.com/a",
        &[("1", true, 0), ("2", true, 0)],
    );
    let old_style = root.path().join("device-plugins/b.sock");
    let _old_style = Plugin::plain(&old_style, "x.com/b", &[("3", true, 0)]);
    kubelet.until("the list", LIMIT, |state| state.has("x.com/a", 2)).unwrap();
    let pod = Pod::new("ns", "p").container("c", &[("x.com/a", 1)]);
    kubelet.admit(&pod).unwrap();

    kubelet.stop();
    assert!(kubelet.state().pools.is_empty());
    let socket = root.path().join("device-plugins/kubelet.sock");
    assert!(socket.exists() && UnixStream::connect(&socket).is_err(), "a dead kubelet's socket stays, deaf");
    assert!(kubelet.admit(&Pod::new("ns", "q")).is_err());

    kubelet.resume().unwrap();
    assert!(!old_style.exists(), "a kubelet removes the sockets of device-plugins when it starts");
    kubelet.until("the plugin's return", LIMIT, |state| state.has("x.com/a", 2)).unwrap();
    let other = kubelet.admit(&Pod::new("ns", "q").container("c", &[("x.com/a", 1)])).unwrap();
    assert_eq!(other[0].devices, ["2"]);
    assert_eq!(plugin.calls().iter().filter(|call| call.starts_with("registered")).count(), 2);
}

#[tokio::test]
async fn callable_from_asynchronous_tests() {
    let root = tempfile::tempdir().unwrap();
    let mut kubelet = Kubelet::start(root.path()).unwrap();
    kubelet.admit(&Pod::new("ns", "p").container("c", &[])).unwrap();
    kubelet.restart().unwrap();
    assert_eq!(list_pods(&root.path().join("pod-resources/kubelet.sock")).len(), 2);
}

fn list_pods(socket: &Path) -> Vec<PodResources> {
    list(socket).unwrap()
}

fn list_names(pods: &[PodResources]) -> Vec<(String, Vec<String>)> {
    let ids = |pod: &PodResources| {
        pod.containers.iter().flat_map(|c| &c.devices).flat_map(|d| d.device_ids.clone()).collect()
    };
    pods.iter().map(|pod| (pod.name.clone(), ids(pod))).collect()
}
