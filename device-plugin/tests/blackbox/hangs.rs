//! A look at the node that does not end: a pipe that nobody writes to, where the node has a file.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use testkit::kubelet::Kubelet;
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
