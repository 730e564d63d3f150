//! `logLevel` and `logFile`.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use serde_json::json;

use crate::node::{Node, VF, conf, living, run};

#[test]
fn a_file_gets_what_standard_error_would() {
    let node = Node::new();
    let log = node.path("var/log/sriov.log");
    let keys = json!({"vlan": 4095, "logFile": log.to_str().unwrap()});
    for _ in 0..2 {
        let said = node.run("ADD", &conf(VF, &keys));
        assert_eq!((said.error().0, said.stderr.as_str()), (7, ""));
    }
    let text = std::fs::read_to_string(log).unwrap();
    assert_eq!(text.lines().count(), 2);
    let line = text.lines().next().unwrap();
    let (time, rest) = line.strip_prefix("time=\"").unwrap().split_once("\" ").unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    assert_eq!(
        rest,
        format!(
            "level=\"error\" msg=\"SRIOV-CNI failed to load netconf: LoadConf(): vlan id 4095 invalid: value must be in the \
             range 0-4094\" cniName=\"sriov-cni\" containerID=\"c1\" netns=\"{}\" ifname=\"net1\"",
            living()
        )
    );
}

#[test]
fn a_level_writes_itself_and_what_is_graver() {
    let node = Node::new();
    let stderr = |level: &str| {
        let keys = json!({"deviceID": "0000:99:00.0", "logLevel": level, "typo": 1});
        let said = node.run("ADD", &conf(VF, &keys)).stderr;
        ["error", "warning", "debug"].map(|level| said.contains(&format!("level=\"{level}\"")))
    };
    assert_eq!(stderr("panic"), [false, false, false]);
    assert_eq!(stderr("error"), [true, false, false]);
    assert_eq!(stderr("warning"), [true, true, false]);
    assert_eq!(stderr("debug"), [true, true, true]);
    for odd in ["", "trace"] {
        assert_eq!(stderr(odd), [true, true, false]);
    }
    // Silent where all is well.
    let said = node.run("DEL", &conf(VF, &json!({})));
    assert!(said.ok() && said.stderr.is_empty(), "{said:?}");
}

#[test]
fn a_file_that_cannot_be_opened_stops_nothing() {
    let node = Node::new();
    let target = node.path("target");
    std::fs::write(&target, "kept").unwrap();
    let link = node.path("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for file in [link.to_str().unwrap(), node.dir.path().to_str().unwrap(), "/proc/nope/log"] {
        let said = run(&node.call("DEL", &conf(VF, &json!({"logFile": file, "ipam": {"type": "told"}}))));
        assert!(said.ok(), "{said:?}");
        let warning = format!("level=\"warning\" msg=\"cannot log to {file}: ");
        assert!(said.stderr.contains(&warning), "{}", said.stderr);
    }
    assert_eq!(std::fs::read_to_string(target).unwrap(), "kept");
    assert_eq!(node.asked(), "DEL\nDEL\nDEL\n");
}
