//! What `--metrics-address` answers: probes and metrics.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use testkit::kubelet::Kubelet;
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, command, kubelet_root, node};
use crate::kubelet_side::without_registry;
use crate::pools::{THREE, three};

fn socket(tree: &Tree) -> PathBuf {
    tree.root().join("metrics.sock")
}

pub(crate) fn start(tree: &Tree, config: &str) -> Daemon {
    let mut command = command(tree, config);
    command.arg(format!("--metrics-address=unix:{}", socket(tree).display()));
    Daemon::spawn(command)
}

/// The status line and the body; `None` while nobody listens.
fn ask(socket: &Path, request: &str) -> Option<(String, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Some((head.lines().next().unwrap().to_owned(), body.to_owned()))
}

/// Asks until the answer is as wanted.
pub(crate) fn until(tree: &Tree, request: &str, wanted: impl Fn(&str, &str) -> bool) -> String {
    let began = Instant::now();
    loop {
        match ask(&socket(tree), request) {
            Some((status, body)) if wanted(&status, &body) => return body,
            answer => assert!(began.elapsed() < LIMIT, "{request}: {answer:?}"),
        }
        std::thread::yield_now();
    }
}

fn is_ok(status: &str, _: &str) -> bool {
    status == "HTTP/1.1 200 OK"
}

#[test]
fn ready_with_the_kubelet_and_not_before() {
    let tree = node();
    let mut kubelet = without_registry(&tree);
    kubelet.stop();
    let _daemon = start(&tree, THREE);
    let body =
        until(&tree, "GET /readyz", |status, body| status.contains(" 503 ") && body.contains("refused"));
    assert!(body.contains("pool intel.com/vfio_vf: cannot reach the kubelet on "), "{body}");
    until(&tree, "GET /healthz", is_ok);

    kubelet.resume().unwrap();
    kubelet.until("three pools", LIMIT, three).unwrap();
    assert_eq!(until(&tree, "GET /readyz", is_ok), "{\"ready\":true,\"reasons\":[]}\n");

    std::fs::write(tree.root().join("config.json"), "{").unwrap();
    let body = until(&tree, "GET /readyz", |status, body| is_ok(status, body) && body.contains("not JSON"));
    assert!(body.starts_with("{\"ready\":true,"), "{body}");

    kubelet.stop();
    until(&tree, "GET /readyz", |status, _| status.contains(" 503 "));
}

#[test]
fn metrics_follow_what_happens() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let daemon = start(&tree, THREE);
    kubelet.until("three pools", LIMIT, three).unwrap();
    let pod = Pod::new("default", "pod").container("app", &[("intel.com/kernel_vf", 1)]);
    kubelet.admit(&pod).unwrap();
    let text = until(&tree, "GET /metrics", |_, text| text.matches("sriovdp_pool_registered{").count() == 3);
    for line in [
        r#"sriovdp_allocations_total{resource="intel.com/kernel_vf",outcome="granted"} 1"#,
        r#"sriovdp_devices{resource="intel.com/vfio_vf",state="healthy",numa_node="1"} 2"#,
        "sriovdp_configuration_generation 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    for (request, status) in [
        ("GET /", "HTTP/1.1 404 Not Found"),
        ("POST /metrics", "HTTP/1.1 405 Method Not Allowed"),
        ("HEAD /metrics", "HTTP/1.1 200 OK"),
    ] {
        assert_eq!(ask(&socket(&tree), request).unwrap().0, status);
    }
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    daemon.end();
    assert!(!socket(&tree).exists());
}

#[test]
fn clients_that_say_nothing_keep_out_neither_probes_nor_the_kubelet() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let _daemon = start(&tree, THREE);
    kubelet.until("three pools", LIMIT, three).unwrap();
    until(&tree, "GET /healthz", is_ok);
    let _silent: Vec<UnixStream> = (0..400).map(|_| UnixStream::connect(socket(&tree)).unwrap()).collect();
    let asked = Instant::now();
    assert!(is_ok(&ask(&socket(&tree), "GET /healthz").unwrap().0, ""));
    assert!(asked.elapsed() < LIMIT / 2, "{:?}", asked.elapsed());
    let pod = Pod::new("default", "pod").container("app", &[("intel.com/kernel_vf", 1)]);
    kubelet.admit(&pod).unwrap();
}

/// The exit code of a probe that asks by a control socket.
pub(crate) fn probe(tree: &Tree, socket: &Path, which: &str) -> Option<i32> {
    let mut probe = std::process::Command::new(env!("CARGO_BIN_EXE_sriovdp"));
    probe.arg("--control-socket").arg(socket).arg(which).current_dir(tree.root());
    probe.output().unwrap().status.code()
}

#[test]
fn a_probe_hears_its_own_daemon_and_not_the_one_before_it() {
    let tree = node();
    let mut kubelet = without_registry(&tree);
    let _old = start(&tree, THREE);
    kubelet.until("three pools", LIMIT, three).unwrap();
    let of_old = tree.root().join("control/sriovdp.sock");
    assert_eq!((probe(&tree, &of_old, "alive"), probe(&tree, &of_old, "ready")), (Some(0), Some(0)));
    let of_new = tree.root().join("new/sriovdp.sock");
    assert_eq!(probe(&tree, &of_new, "alive"), Some(1));
    kubelet.stop();
    let mut command = command(&tree, THREE);
    command.arg("--handover").arg("--control-socket").arg(&of_new);
    let mut new = Daemon::spawn(command);
    new.says("trying again");
    assert_eq!((probe(&tree, &of_new, "alive"), probe(&tree, &of_new, "ready")), (Some(0), Some(1)));
    kubelet.resume().unwrap();
    let began = Instant::now();
    while probe(&tree, &of_new, "ready") != Some(0) {
        assert!(began.elapsed() < LIMIT);
    }
}
