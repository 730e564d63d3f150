//! A look at the node that does not end: a pipe that nobody writes to, where the node has a file.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use testkit::kubelet::{Kubelet, State};
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, command, kubelet_root, node};
use crate::metrics::probe;
use crate::pools::{THREE, three};

/// Puts a pipe in the place of a file of the first VF.
fn clog(tree: &Tree) -> PathBuf {
    let file = tree.sys().join("bus/pci/devices/0000:3b:02.0/vendor");
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
    file
}

/// Waits until somebody reads from the pipe, who waits while this is open.
fn caught(pipe: &Path) -> File {
    let began = Instant::now();
    loop {
        match OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(pipe) {
            Ok(writer) => return writer,
            Err(error) => assert!(began.elapsed() < LIMIT, "nobody reads: {error}"),
        }
        std::thread::yield_now();
    }
}

fn spawn(tree: &Tree, arguments: &[&str]) -> Daemon {
    let mut command = command(tree, THREE);
    command.arg("--rescan-interval=50ms").args(arguments);
    Daemon::spawn(command)
}

fn alive(tree: &Tree) -> Option<i32> {
    probe(tree, &tree.root().join("control/sriovdp.sock"), "alive")
}

#[test]
fn a_signal_ends_it_at_the_first_look_and_at_a_later_one() {
    for later in [false, true] {
        let tree = node();
        let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
        let pipe = (!later).then(|| clog(&tree));
        let daemon = spawn(&tree, &["--look-timeout=1h"]);
        if later {
            kubelet.until("three pools", LIMIT, three).unwrap();
        }
        let _reading = caught(&pipe.unwrap_or_else(|| clog(&tree)));
        daemon.signal(Signal::SIGTERM);
        let (status, said) = daemon.end();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("SIGTERM: stopping"), "{said}");
    }
}

#[test]
fn what_is_known_stands_and_the_probe_fails_until_the_look_ends() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let mut daemon = spawn(&tree, &["--look-timeout=100ms"]);
    kubelet.until("three pools", LIMIT, three).unwrap();
    assert_eq!(alive(&tree), Some(0));
    let pipe = clog(&tree);
    let reading = caught(&pipe);
    daemon.says("a look at the node has not ended after 100ms");
    assert_eq!(alive(&tree), Some(1));
    let pod = Pod::new("default", "pod").container("app", &[("intel.com/vfio_vf", 1)]);
    kubelet.admit(&pod).unwrap();
    assert!(three(&kubelet.state()));
    fs::remove_file(&pipe).unwrap();
    fs::write(&pipe, "0x8086\n").unwrap();
    drop(reading);
    daemon.says("has ended");
    let began = Instant::now();
    while alive(&tree) != Some(0) {
        assert!(began.elapsed() < LIMIT);
    }
    kubelet.until("three pools again", LIMIT, three).unwrap();
}

/// What the new file asks of the devices nobody has looked at: by what is known they would all be refused.
#[test]
fn a_new_configuration_waits_for_the_look_that_it_needs() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let mut daemon = spawn(&tree, &["--look-timeout=100ms"]);
    kubelet.until("three pools", LIMIT, three).unwrap();
    let pipe = clog(&tree);
    let reading = caught(&pipe);
    daemon.says("a look at the node has not ended after 100ms");
    let config = r#"{"resourceList": [
        {"resourceName": "kernel_vf", "selectors": {"drivers": ["iavf"], "linkTypes": ["ether"]}}]}"#;
    fs::write(tree.root().join("config.json"), config).unwrap();
    daemon.says("generation 1 of the configuration stays: the node could not be looked at");
    assert!(three(&kubelet.state()), "{:?}", kubelet.state());
    fs::remove_file(&pipe).unwrap();
    fs::write(&pipe, "0x8086\n").unwrap();
    drop(reading);
    daemon.says("configuration read again generation=2");
    let ended =
        |state: &State| state.pools.get("intel.com/vfio_vf").is_none_or(|pool| pool.devices.is_empty());
    let state = kubelet.until("the end of the others", LIMIT, ended).unwrap();
    // Its devices were never gone.
    assert_eq!(state.pools["intel.com/kernel_vf"].lists, 1, "{state:?}");
}

/// The kubelet takes the connection, and that is all.
#[test]
fn a_silent_kubelet_is_not_waited_for_at_a_restart_and_nothing_held_moves() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let daemon = spawn(&tree, &[]);
    kubelet.until("three pools", LIMIT, three).unwrap();
    let pod = Pod::new("default", "pod").container("app", &[("intel.com/vfio_vf", 1)]);
    let held = kubelet.admit(&pod).unwrap()[0].devices[0].clone();
    daemon.signal(Signal::SIGTERM);
    daemon.end();
    let socket = tree.root().join("silent.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    // The pool of its pod comes last now, and others would take it.
    let config = r#"{"resourceList": [
        {"resourceName": "all_vfio", "selectors": {"drivers": ["vfio-pci"]}},
        {"resourceName": "vfio_vf", "selectors": {"pfNames": ["ens1f0"]}}]}"#;
    let mut command = command(&tree, config);
    command.arg("--pod-resources-socket").arg(&socket);
    let began = Instant::now();
    let _daemon = Daemon::spawn(command);
    let both = |state: &State| state.has("intel.com/all_vfio", 1) && state.has("intel.com/vfio_vf", 3);
    let state = kubelet.until("the pools", LIMIT, both).unwrap();
    // Where the kubelet is waited for it has two seconds for an answer.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(state.pools["intel.com/vfio_vf"].devices.contains_key(&held));
}
