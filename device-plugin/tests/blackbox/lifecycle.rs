//! A kubelet, its folders and our sockets that come, go and refuse: pools are back, none is given twice, nothing grows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use testkit::kubelet::{Kubelet, Options, State, direct};
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, command, kubelet_root, names, node};
use crate::kubelet_side::without_registry;
use crate::metrics;
use crate::pools::{THREE, three};

fn with(tree: &Tree, plugins_registry: bool) -> Kubelet {
    Kubelet::with(Options { root: kubelet_root(tree), plugins_registry }).unwrap()
}

fn folder(kubelet: &Kubelet, registry: bool) -> PathBuf {
    kubelet.root().join(if registry { "plugins_registry" } else { "device-plugins" })
}

/// The folder and all in it, at once: the daemon, which answers the first file that goes with a new one, makes none in it.
fn remove(folder: &Path) {
    let aside = folder.with_extension("removed");
    fs::rename(folder, &aside).unwrap();
    fs::remove_dir_all(aside).unwrap();
}

#[test]
fn a_socket_that_was_removed_is_back() {
    for registry in [true, false] {
        let tree = node();
        let kubelet = with(&tree, registry);
        let _daemon = Daemon::start(&tree, THREE);
        kubelet.until("three pools", LIMIT, three).unwrap();
        fs::remove_file(folder(&kubelet, registry).join("intel.com_vfio_vf.sock")).unwrap();
        let again = |state: &State| three(state) && state.pools["intel.com/vfio_vf"].registrations == 2;
        let state = kubelet.until("the pool again", LIMIT, again).unwrap();
        assert_eq!(state.pools["intel.com/kernel_vf"].registrations, 1, "the others are left alone");
    }
}

#[test]
fn the_folder_is_followed() {
    let tree = node();
    let kubelet = without_registry(&tree);
    let _daemon = Daemon::start(&tree, THREE);
    kubelet.until("three pools by the call", LIMIT, three).unwrap();
    drop(kubelet);
    // Another kubelet, that watches for plugins.
    let mut kubelet = with(&tree, true);
    kubelet.until("three pools in its folder", LIMIT, three).unwrap();
    assert!(!folder(&kubelet, false).join("intel.com_vfio_vf.sock").exists());

    kubelet.stop();
    remove(&folder(&kubelet, true));
    kubelet.resume().unwrap();
    kubelet.until("three pools in the folder that was made anew", LIMIT, three).unwrap();

    kubelet.stop();
    remove(kubelet.root());
    kubelet.resume().unwrap();
    kubelet.until("three pools where everything was made anew", LIMIT, three).unwrap();
}

#[test]
fn a_refusal_is_told_and_harms_nobody() {
    // Kubernetes takes prefixes in lower case alone, and the Go plugin takes any.
    let config = r#"{"resourceList":[
        {"resourceName":"good","selectors":{"drivers":["vfio-pci"]}},
        {"resourceName":"bad","resourcePrefix":"Intel.com","selectors":{"drivers":["iavf"]}}]}"#;
    for registry in [true, false] {
        let tree = node();
        let kubelet = with(&tree, registry);
        let mut daemon = metrics::start(&tree, config);
        let refused = |state: &State| state.has("intel.com/good", 2) && !state.refusals.is_empty();
        kubelet.until("one pool and a refusal", LIMIT, refused).unwrap();
        daemon.says("is no name of an extended resource");
        let reasons = metrics::until(&tree, "GET /readyz", |_, body| body.contains("refused by the kubelet"));
        assert!(reasons.contains("pool Intel.com/bad: refused by the kubelet: "), "{reasons}");
        assert!(!reasons.contains("intel.com/good"), "{reasons}");
        let text = metrics::until(&tree, "GET /metrics", |_, _| true);
        assert!(text.contains(r#"sriovdp_registrations_total{resource="Intel.com/bad",outcome="refused"} "#));
        assert!(text.contains(r#"sriovdp_pool_registered{resource="Intel.com/bad"} 0"#));
        assert!(daemon.runs());
        let pod = Pod::new("default", "pod").container("app", &[("intel.com/good", 1)]);
        kubelet.admit(&pod).unwrap();
    }
}

#[test]
fn the_device_info_of_a_pod_outlives_the_daemon() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let daemon = Daemon::start(&tree, THREE);
    kubelet.until("three pools", LIMIT, three).unwrap();
    let pod = Pod::new("default", "pod").container("app", &[("intel.com/kernel_vf", 1)]);
    kubelet.admit(&pod).unwrap();
    let files = names(&crate::daemon::devinfo(&tree));
    assert_eq!(files.len(), 1);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    daemon.end();
    let _daemon = Daemon::start(&tree, THREE);
    kubelet.until("three pools again", LIMIT, three).unwrap();
    assert_eq!(names(&crate::daemon::devinfo(&tree)), files);
}

/// As a `DaemonSet` with a surge does it: the new one is there before the old one is told to go.
#[test]
fn a_rolling_restart_refuses_no_pod() {
    for registry in [true, false] {
        let tree = node();
        let kubelet = with(&tree, registry);
        let start = || {
            let mut command = command(&tree, THREE);
            command.arg("--handover");
            Daemon::spawn(command)
        };
        let mut admitted = 0;
        let mut admit = || {
            let pod =
                Pod::new("default", &format!("pod{admitted}")).container("app", &[("intel.com/vfio_vf", 1)]);
            kubelet.admit(&pod).unwrap();
            assert!(kubelet.delete(&pod));
            admitted += 1;
        };
        let mut old = start();
        kubelet.until("three pools", LIMIT, three).unwrap();
        for times in 2..6 {
            let new = start();
            let taken = |state: &State| {
                state.pools.values().all(|pool| pool.registrations == times && pool.lists > 0)
            };
            while !taken(&kubelet.state()) {
                admit();
            }
            old.signal(nix::sys::signal::Signal::SIGTERM);
            while old.runs() {
                admit();
            }
            old.end();
            old = new;
            admit();
            assert!(three(&kubelet.state()), "{:?}", kubelet.state());
        }
        let sockets = names(&folder(&kubelet, registry));
        assert_eq!(sockets.iter().filter(|name| name.contains(".com_")).count(), 3, "{sockets:?}");
    }
}

/// Memory of the daemon, in KiB.
fn resident(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Every device that a pod holds is held once.
fn none_twice(kubelet: &Kubelet) {
    let mut seen = BTreeSet::new();
    for (_, grants) in kubelet.ledger().pods() {
        for (id, _) in grants.iter().flat_map(|grant| &grant.devices) {
            assert!(seen.insert(id.clone()), "{id} twice");
        }
    }
}

/// Which of the pools' sockets goes this time: the same ones at every run.
fn victim(dir: &Path, round: usize) -> Option<PathBuf> {
    let sockets: Vec<String> = names(dir).into_iter().filter(|name| name.contains(".com_")).collect();
    let pick = round.wrapping_mul(2_654_435_761) >> 7;
    pick.is_multiple_of(3).then(|| sockets.get(pick % 5).map(|name| dir.join(name))).flatten()
}

#[test]
fn restarts_of_the_kubelet_and_sockets_that_go() {
    restarts(60);
}

#[test]
#[ignore = "a minute: the thousand restarts of which the test above is a part"]
fn a_thousand_restarts_of_the_kubelet() {
    restarts(500);
}

/// As many restarts in each of the two ways to be found.
fn restarts(rounds: usize) {
    for registry in [true, false] {
        let tree = node();
        let mut kubelet = with(&tree, registry);
        let daemon = Daemon::start(&tree, THREE);
        let mut warm = 0;
        for round in 0..rounds {
            kubelet.until("three pools", LIMIT, three).unwrap_or_else(|error| panic!("{round}: {error}"));
            if round == rounds / 5 {
                warm = resident(&daemon);
            }
            let pod =
                Pod::new("default", &format!("pod{round}")).container("app", &[("intel.com/vfio_vf", 1)]);
            // Two devices, and each pod stays for a round: there is always one free.
            if kubelet.admit(&pod).is_ok() {
                none_twice(&kubelet);
            }
            let last = format!("pod{}", round.wrapping_sub(1));
            let gone = kubelet.ledger().pods().find(|(pod, _)| pod.name == last).map(|(pod, _)| pod.clone());
            assert!(gone.is_none_or(|pod| kubelet.delete(&pod)));
            if let Some(victim) = victim(&folder(&kubelet, registry), round) {
                let _ = fs::remove_file(victim);
            }
            kubelet.restart().unwrap();
        }
        kubelet.until("three pools at last", LIMIT, three).unwrap();
        let grown = resident(&daemon).saturating_sub(warm);
        assert!(grown < 1024, "{grown} KiB more than after a fifth of the restarts");
    }
}

#[test]
fn questions_leave_nothing() {
    questions(1_500);
}

#[test]
#[ignore = "a minute: the ten thousand of which the test above is a part"]
fn ten_thousand_questions_leave_nothing() {
    questions(10_000);
}

fn questions(times: usize) {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let daemon = Daemon::start(&tree, THREE);
    kubelet.until("three pools", LIMIT, three).unwrap();
    let socket = folder(&kubelet, true).join("intel.com_vfio_vf.sock");
    direct::listen(&socket, times / 5).unwrap();
    let warm = resident(&daemon);
    direct::listen(&socket, times - times / 5).unwrap();
    let grown = resident(&daemon).saturating_sub(warm);
    assert!(grown < 1024, "{grown} KiB more than after a fifth of them");
    assert!(kubelet.state().has("intel.com/vfio_vf", 2), "the kubelet's own stream is as it was");
}
