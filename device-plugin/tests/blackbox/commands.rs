//! `sriovdp list`, `explain` and `check`, and what the log looks like.

use std::process::{Command, Output};

use serde_json::Value;
use testkit::kubelet::Kubelet;
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, command, kubelet_root, node};
use crate::pools::{THREE, three};

fn run(tree: &Tree, config: &str, arguments: &[&str]) -> Output {
    command(tree, config).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn explain_says_for_every_device_what_became_of_it() {
    let tree = node();
    let names =
        "8086  Intel Corporation\n\t154c  Ethernet Virtual Function 700 Series\n1d0f  Amazon.com, Inc.\n";
    tree.write("pci.ids", names);
    let ids = tree.root().join("pci.ids");
    let done = run(&tree, THREE, &["explain", "--pci-ids", ids.to_str().unwrap()]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said = text(&done.stdout);
    for paragraph in [
        "function 0000:00:05.0  1d0f:ec20  ena  eth0  Amazon.com, Inc.\n  left out of every pool: eth0 carries a default route\n",
        "  intel.com/kernel_vf: pfNames: found no PF, wanted ens1f0#0-1\n",
        "vf 0000:3b:02.2  8086:154c  vfio-pci  Intel Corporation Ethernet Virtual Function 700 Series\n",
        "  intel.com/vfio_vf: takes it by selectors[0]\n",
        "  intel.com/vfio_vf: drivers: found iavf, wanted vfio-pci\n",
    ] {
        assert!(said.contains(paragraph), "{paragraph}\nis not in\n{said}");
    }
}

#[test]
fn explain_one_device_and_what_is_none() {
    let tree = node();
    let done = run(&tree, THREE, &["explain", "0000:3b:02.2", "--output=json"]);
    let json: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["pool"], "intel.com/vfio_vf");
    assert_eq!(json[0]["pools"][0]["refusedBy"][0]["key"], "vendors");
    let done = run(&tree, THREE, &["explain", "vfio_vf"]);
    assert!(text(&done.stdout).lines().filter(|line| line.starts_with("  ")).count() >= 8);
    let done = run(&tree, THREE, &["explain", "0000:99:00.0"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("no device, network device or pool \"0000:99:00.0\""));
}

#[test]
fn list_without_a_configuration_shows_what_is_there() {
    let tree = node();
    tree.sf("mlx5_core.sf.2", "0000:3b:00.0", 88, Some("ens1f0s88"));
    let absent = tree.root().join("absent.json");
    let done = run(&tree, "{}", &["list", "--config-file", absent.to_str().unwrap()]);
    assert!(done.status.success());
    let said = text(&done.stdout);
    assert_eq!(said.lines().count(), 1 + 5 + 3 + 1, "{said}");
    assert!(said.contains("mlx5_core.sf.2"), "{said}");
}

#[test]
fn check_finds_mistakes_and_its_code_says_how_bad_they_are() {
    let tree = node();
    let check = |config: &str, more: &[&str]| run(&tree, config, &[&["check"], more].concat());
    let good = check(THREE, &["--strict"]);
    assert_eq!(
        (good.status.code(), text(&good.stdout).as_str()),
        (Some(0), "3 pools, 0 errors, 0 warnings\n")
    );
    let odd = r#"{"resourceList": [{"resourceName": "a", "selectors": {"vendor": ["8086"], "devices": ["154C"]}}]}"#;
    assert_eq!(check(odd, &[]).status.code(), Some(0));
    assert_eq!(check(odd, &["--strict"]).status.code(), Some(1));
    let said = text(&check(odd, &[]).stdout);
    assert!(said.contains("is vendors meant?") && said.contains("is 154c meant?"), "{said}");
    assert!(said.ends_with("1 pool, 0 errors, 3 warnings\n"), "{said}");
    let bad = check(r#"{"resourceList": [{"resourceName": "a.b", "selectors": {}}]}"#, &["--output=json"]);
    assert_eq!(bad.status.code(), Some(2));
    let json: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!(json["findings"][0]["severity"], "error");
    let absent = run(&tree, THREE, &["check", "/nonexistent/config.json"]);
    assert_eq!(absent.status.code(), Some(2));
    assert!(text(&absent.stdout).contains("/nonexistent/config.json"));
}

#[test]
fn a_log_of_json_lines() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = THREE.replace("ens1f0#0-1", "none");
    let mut command = command(&tree, &config);
    command.arg("--log-format=json");
    let daemon = Daemon::spawn(command);
    kubelet.until("a pool", LIMIT, |state| state.has("intel.com/vfio_vf", 2)).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let lines: Vec<Value> =
        daemon.end().1.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let pool = |name: &str| lines.iter().find(|line| line["pool"] == name).unwrap();
    assert_eq!(pool("intel.com/vfio_vf")["devices"], 2);
    let empty = pool("intel.com/kernel_vf");
    assert_eq!((&empty["level"], &empty["message"]), (&"WARN".into(), &"empty pool".into()));
    assert!(empty["why"].as_str().unwrap().contains("refused by pfNames (found"), "{empty}");
    assert!(lines.iter().any(|line| line["reason"] == "carries a default route"));
}

#[test]
fn levels_have_an_effect() {
    let said = |level: &str| {
        let tree = node();
        let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
        let mut command = command(&tree, THREE);
        command.arg(format!("--log-level={level}"));
        let daemon = Daemon::spawn(command);
        kubelet.until("three pools", LIMIT, three).unwrap();
        daemon.signal(nix::sys::signal::Signal::SIGTERM);
        daemon.end().1.lines().filter(|line| line.contains(" INFO ")).count()
    };
    assert_eq!((said("error"), said("warn")), (0, 0));
    assert!(said("info") > 3 && said("10") > 3);
}

#[test]
fn a_thousand_vfs_are_started_in_few_lines() {
    let tree = Tree::generated(8, 128);
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let pools: Vec<String> = (0..16)
        .map(|pool| {
            format!(
                r#"{{"resourceName": "p{pool}", "selectors": {{"pfNames": ["pf{}#{}-{}"]}}}}"#,
                pool % 8,
                pool / 8 * 64,
                pool / 8 * 64 + 63
            )
        })
        .collect();
    let daemon = Daemon::start(&tree, &format!(r#"{{"resourceList": [{}]}}"#, pools.join(",")));
    let all =
        |state: &testkit::kubelet::State| (0..16).all(|pool| state.has(&format!("intel.com/p{pool}"), 64));
    kubelet.until("sixteen pools", LIMIT, all).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let lines = daemon.end().1.lines().count();
    assert!(lines < 50, "{lines} lines");
}

#[test]
fn the_version_and_the_help() {
    for (argument, word) in
        [("--version", "sriovdp 0."), ("-version", "sriovdp 0."), ("-h", "--allow-host-interfaces")]
    {
        let done = Command::new(env!("CARGO_BIN_EXE_sriovdp")).arg(argument).output().unwrap();
        assert!(done.status.success() && text(&done.stdout).contains(word), "{argument}");
    }
}
