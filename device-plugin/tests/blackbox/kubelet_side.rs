//! The life of sockets: kubelets that come back, plugins that end, sockets that were left behind.

use std::time::Instant;

use nix::sys::signal::Signal;
use testkit::kubelet::{Kubelet, Options};
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, kubelet_root, names, node};
use crate::pools::{THREE, three};

/// A kubelet that has no `plugins_registry`.
pub(crate) fn without_registry(tree: &Tree) -> Kubelet {
    Kubelet::with(Options { root: kubelet_root(tree), plugins_registry: false }).unwrap()
}

#[test]
fn pools_are_back_after_a_kubelet_restart() {
    let tree = node();
    let mut kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let _daemon = Daemon::start(&tree, THREE);
    kubelet.until("three pools", LIMIT, three).unwrap();
    let pod = Pod::new("default", "pod").container("app", &[("intel.com/kernel_vf", 1)]);
    kubelet.admit(&pod).unwrap();
    for _ in 0..3 {
        kubelet.restart().unwrap();
        kubelet.until("three pools again", LIMIT, three).unwrap();
    }
    let other = Pod::new("default", "other").container("app", &[("intel.com/kernel_vf", 1)]);
    assert_eq!(kubelet.admit(&other).unwrap()[0].devices, ["0000:3b:02.1"]);
}

#[test]
fn pools_are_back_after_a_kubelet_restart_without_a_registry() {
    let tree = node();
    let mut kubelet = without_registry(&tree);
    let _daemon = Daemon::start(&tree, THREE);
    kubelet.until("three pools", LIMIT, three).unwrap();
    for _ in 0..3 {
        kubelet.restart().unwrap();
        kubelet.until("three pools again", LIMIT, three).unwrap();
    }
}

/// It is waited for: the daemon may well start before the kubelet does.
#[test]
fn a_kubelet_that_comes_late_is_waited_for() {
    let tree = node();
    let mut kubelet = without_registry(&tree);
    kubelet.stop();
    let mut daemon = Daemon::start(&tree, THREE);
    daemon.says("device-plugins/kubelet.sock: Connection refused");
    assert!(daemon.runs());
    kubelet.resume().unwrap();
    kubelet.until("three pools", LIMIT, three).unwrap();
}

#[test]
fn sigterm_ends_it_cleanly_and_soon() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let tree = node();
        let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
        let daemon = Daemon::start(&tree, THREE);
        kubelet.until("three pools", LIMIT, three).unwrap();
        let began = Instant::now();
        daemon.signal(signal);
        let (status, said) = daemon.end();
        assert_eq!(status.code(), Some(0), "{signal}: {said}");
        assert!(began.elapsed().as_secs() < 2, "{signal}: {:?}, with open streams", began.elapsed());
        assert!(names(&kubelet.root().join("plugins_registry")).is_empty(), "{signal}");
        let gone = |state: &testkit::kubelet::State| state.pools.values().all(|pool| !pool.connected);
        kubelet.until("the end of the pools", LIMIT, gone).unwrap();
    }
}

#[test]
fn sigterm_without_a_registry() {
    let tree = node();
    let kubelet = without_registry(&tree);
    let daemon = Daemon::start(&tree, THREE);
    kubelet.until("three pools", LIMIT, three).unwrap();
    daemon.signal(Signal::SIGTERM);
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0), "{said}");
    let left = names(&kubelet.root().join("device-plugins"));
    assert_eq!(left, ["kubelet.sock", "kubelet_internal_checkpoint"]);
}

#[test]
fn the_sockets_of_a_killed_one_are_taken_over() {
    for registry in [true, false] {
        let tree = node();
        let kubelet =
            Kubelet::with(Options { root: kubelet_root(&tree), plugins_registry: registry }).unwrap();
        let daemon = Daemon::start(&tree, THREE);
        kubelet.until("three pools", LIMIT, three).unwrap();
        daemon.signal(Signal::SIGKILL);
        daemon.end();
        kubelet.until("no pool", LIMIT, |state| state.pools.values().all(|pool| !pool.connected)).unwrap();
        let _daemon = Daemon::start(&tree, THREE);
        kubelet.until("three pools again", LIMIT, three).unwrap();
    }
}
