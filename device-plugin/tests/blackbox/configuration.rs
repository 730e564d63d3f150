//! Configurations and command lines: those that cannot be served end the process, with a word and a code other than 0.

use testkit::kubelet::Kubelet;

use crate::daemon::{Daemon, LIMIT, command, kubelet_root, node};
use crate::pools::{THREE, three};

/// Starts with a configuration that must not work; what was said.
fn refused(config: &str) -> String {
    let tree = node();
    let _kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let (status, said) = Daemon::start(&tree, config).end();
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {config}\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn configurations_that_cannot_be_served() {
    let two = |second: &str| {
        format!(
            r#"{{"resourceList": [{{"resourceName": "a", "selectors": {{}}}}, {{{second}, "selectors": {{}}}}]}}"#
        )
    };
    for (config, word) in [
        ("", "config.json"),
        ("{", "config.json"),
        ("[]", "wanted an object"),
        (r#"{"resourceList": []}"#, "resourceList"),
        (r#"{"resourceList": [{"resourceName": "a", "selectors": {},}]}"#, "line"),
        (r#"{"resourceList": [{"resourceName": "a", "selectors": "x"}]}"#, "selectors"),
        (&two(r#""resourceName": "b.c""#), "b.c"),
        (&two(r#""resourceName": "a""#), "intel.com/a"),
        (&two(r#""resourceName": "b", "deviceType": "netdevice""#), "netdevice"),
        (&two(r#""excludeTopology": "true", "resourceName": "b""#), "excludeTopology"),
        (&two(r#""deviceType": "auxNetDevice", "resourceName": "b""#), "auxTypes"),
    ] {
        let said = refused(config);
        assert!(said.contains(word), "{config}: wanted {word:?} in:\n{said}");
    }
}

#[test]
fn a_configuration_that_is_not_there() {
    let tree = node();
    let mut command = command(&tree, THREE);
    command.arg("--config-file").arg(tree.root().join("absent.json"));
    // Of an option that is given twice the last one counts, as in the Go program.
    let (status, said) = Daemon::spawn(command).end();
    assert!(status.code().is_some_and(|code| code != 0) && said.contains("absent.json"), "{status}: {said}");
}

#[test]
fn one_bad_pool_does_not_keep_the_others_out() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [
        {"resourceName": "bad", "selectors": {"vendors": "8086"}},
        {"resourceName": "good", "selectors": {"drivers": ["iavf"]}}]}"#;
    let mut daemon = Daemon::start(&tree, config);
    daemon.says("\"bad\"");
    kubelet.until("the good one", LIMIT, |state| state.has("intel.com/good", 2)).unwrap();
}

#[test]
fn both_dialects_of_the_command_line() {
    for dialect in [
        &["--log-level=10", "--log-dir=sriovdp", "--resource-prefix=intel.com"][..],
        &["-v", "10", "-logtostderr", "-resource-prefix", "intel.com"],
        &["--v=10", "--logtostderr=true", "-alsologtostderr", "--stderrthreshold=INFO"],
    ] {
        let tree = node();
        let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
        let mut command = command(&tree, THREE);
        command.args(dialect);
        let _daemon = Daemon::spawn(command);
        kubelet.until(&format!("three pools with {dialect:?}"), LIMIT, three).unwrap();
    }
}

#[test]
fn an_option_that_is_none() {
    let tree = node();
    let mut command = command(&tree, THREE);
    command.arg("--no-such-option");
    let (status, said) = Daemon::spawn(command).end();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("no-such-option"), "{said}");
}
