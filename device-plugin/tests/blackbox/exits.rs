//! The table of exit codes in docs/device-plugin.md, row by row where no other file here has it: what ends the process on a
//! node that has to be changed, and how the commands that read a node end.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use testkit::kubelet::Kubelet;
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, command, kubelet_root, node};
use crate::pools::THREE;

/// The code and the last line of a process with a kubelet that wants it to run.
fn ended(tree: &Tree, arguments: &[&str]) -> (Option<i32>, String) {
    let _kubelet = Kubelet::start(kubelet_root(tree)).unwrap();
    let mut command = command(tree, THREE);
    command.args(arguments);
    let (status, said) = Daemon::spawn(command).end();
    (status.code(), said.lines().last().unwrap_or_default().to_owned())
}

fn run(tree: &Tree, config: &str, arguments: &[&str]) -> Output {
    command(tree, config).args(arguments).output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_node_that_cannot_be_read_is_1() {
    let tree = node();
    let nowhere = tree.root().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    for option in ["--sysfs-root", "--proc-root"] {
        let (code, last) = ended(&tree, &[option, nowhere]);
        assert_eq!(code, Some(1), "{option}: {last}");
        assert!(last.contains("ERROR") && last.contains(nowhere), "{option}: {last}");
        for arguments in [&["list", option, nowhere][..], &["explain", option, nowhere]] {
            let done = run(&tree, THREE, arguments);
            assert_eq!(done.status.code(), Some(1), "{arguments:?}: {}", said(&done.stderr));
            assert!(done.stdout.is_empty() && said(&done.stderr).contains(nowhere), "{arguments:?}");
        }
    }
}

#[test]
fn a_wrong_command_line_is_2_and_names_the_word() {
    let tree = node();
    for (arguments, word) in [
        (&["--use-cdi=maybe"][..], "maybe"),
        (&["-use-cdi=maybe"], "maybe"),
        (&["--log-level=loud"], "loud"),
        (&["--rescan-interval=1ms"], "1ms"),
        (&["--config-file"], "--config-file"),
        (&["serve"], "serve"),
        (&["list", "--output=yaml"], "yaml"),
        (&["explain", "a", "b"], "'b'"),
    ] {
        let done = run(&tree, THREE, arguments);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {}", said(&done.stderr));
        assert!(said(&done.stderr).contains(word), "{arguments:?}: {}", said(&done.stderr));
    }
}

#[test]
fn a_wrong_configuration_is_2_for_every_command() {
    let tree = node();
    for command in ["list", "explain", "check"] {
        let done = run(&tree, r#"{"resourceList": [{"resourceName": "a.b", "selectors": {}}]}"#, &[command]);
        assert_eq!(done.status.code(), Some(2), "{command}: {}", said(&done.stderr));
        assert!(said(&[done.stdout, done.stderr].concat()).contains("a.b"), "{command}");
    }
}

#[test]
fn what_a_command_found_is_0_whether_it_is_much_or_nothing() {
    for tree in [node(), Tree::new()] {
        for arguments in [&["list"][..], &["list", "--output=json"], &["explain"], &["explain", "-o", "json"]]
        {
            let done = run(&tree, THREE, arguments);
            assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", said(&done.stderr));
            if arguments.len() > 1 {
                let json: Value = serde_json::from_slice(&done.stdout).unwrap();
                let functions = Path::new(&tree.sys()).join("bus/pci/devices").read_dir().unwrap().count();
                // The PF's line of `explain` is there, too: it says why nobody takes it.
                assert_eq!(json.as_array().unwrap().len(), functions, "{arguments:?}: {json}");
            }
        }
    }
}

#[test]
fn list_as_json_names_the_pools() {
    let done = run(&node(), THREE, &["list", "--output", "json"]);
    let rows: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap();
    let pool = |address: &str| rows.iter().find(|row| row["address"] == address).unwrap()["pool"].clone();
    assert_eq!(pool("0000:00:06.0"), "amazon.com/sriov_dpdk_1");
    assert_eq!(pool("0000:3b:02.1"), "intel.com/kernel_vf");
    assert_eq!(pool("0000:3b:02.2"), "intel.com/vfio_vf");
    assert_eq!(pool("0000:00:05.0"), Value::Null);
}
