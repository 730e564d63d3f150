//! Configurations that nobody would write: each is an error or a warning, and never a panic.

use std::process::Command;

use sriovdp::config::keys;
use testkit::sysfs::Tree;

use crate::daemon::{command, node};

/// Every value that is wrong for most keys.
const VALUES: [&str; 12] = [
    "1",
    "-1.5e999",
    "true",
    "\"\"",
    "\"x\"",
    "[]",
    "[[]]",
    "[null]",
    "[1]",
    "{}",
    r#"{"a": {"b": {}}}"#,
    "[\"\", \"\\u0000\"]",
];

/// Texts that are hardly JSON.
const TEXTS: [&str; 22] = [
    "",
    " ",
    "\0",
    "\u{feff}{}",
    "null",
    "true",
    "7",
    "\"x\"",
    "[",
    "]",
    "[]",
    "{",
    "}",
    "{\"",
    "{\"resourceList\"",
    "{\"resourceList\":}",
    "{\"resourceList\":[}",
    "{\"resourceList\":[{]}",
    "{\"resourceList\":[{}],}",
    "{\"resourceList\":[{\"resourceName\":\"\\ud800\"}]}",
    "// x\n{}",
    "{'resourceList':[]}",
];

fn malformed() -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = TEXTS.iter().map(|text| text.as_bytes().to_vec()).collect();
    for value in VALUES {
        for key in keys::POOL {
            let text = format!(r#"{{"resourceList": [{{"resourceName": "a", "{key}": {value}}}]}}"#);
            files.push(text.into_bytes());
        }
        for (key, _) in keys::SELECTOR {
            for (device_type, aux) in [("netDevice", ""), ("auxNetDevice", r#""auxTypes": ["sf"], "#)] {
                let text = format!(
                    r#"{{"resourceList": [{{"resourceName": "a", "deviceType": "{device_type}", "selectors": {{{aux}"{key}": {value}}}}}]}}"#
                );
                files.push(text.into_bytes());
            }
        }
        for list in ["resourceList", "RESOURCELIST"] {
            files.push(format!(r#"{{"{list}": {value}}}"#).into_bytes());
        }
    }
    let good = br#"{"resourceList": [{"resourceName": "a", "selectors": {"pfNames": ["pf0#0-3,x"], "isRdma": true}}]}"#;
    // Cut anywhere, and with one byte turned.
    files.extend((1..good.len() - 1).step_by(7).map(|end| good[..end].to_vec()));
    files.extend((0..good.len()).step_by(9).map(|at| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0xa5;
        bytes
    }));
    let deep = 200_000;
    files.push([vec![b'['; deep], vec![b']'; deep]].concat());
    files.push(format!("{}1{}", r#"{"a":"#.repeat(deep), "}".repeat(deep)).into_bytes());
    let many =
        format!(r#"{{"resourceName": "a", "selectors": {{"pfNames": ["pf0#{}"]}}}}"#, "9,".repeat(100_000));
    files.push(format!(r#"{{"resourceList": [{many}, {many}]}}"#).into_bytes());
    let ends =
        r#"{"resourceName": "a", "selectors": {"pfNames": ["pf0#0-4294967295,99999999999999999999"]}}"#;
    files.push(format!(r#"{{"resourceList": [{ends}, {ends}]}}"#).into_bytes());
    files
}

fn check(tree: &Tree, file: &[u8]) -> (Option<i32>, String) {
    let mut command: Command = command(tree, "");
    std::fs::write(tree.root().join("config.json"), file).unwrap();
    let done = command.args(["check", "--strict"]).output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    (done.status.code(), said)
}

#[test]
fn every_malformed_file_is_an_error_or_a_warning() {
    let tree = node();
    let files = malformed();
    assert!(files.len() > 500, "{}", files.len());
    let mut fine = 0;
    for file in &files {
        let (code, said) = check(&tree, file);
        let shown = String::from_utf8_lossy(&file[..file.len().min(200)]).into_owned();
        assert!(matches!(code, Some(0..=2)) && !said.contains("panicked"), "{shown}: {code:?} {said}");
        fine += u32::from(code == Some(0));
        assert!(said.contains("pool"), "{shown}: {said}");
    }
    // Turned bytes inside a string, `{}` for selectors, empty lists for a prefix or a selector's key: what is fine is fine.
    assert!(fine < 50, "{fine} of {}", files.len());
}

#[test]
fn the_daemon_ends_with_an_error_where_check_finds_one() {
    let tree = node();
    for file in malformed().iter().step_by(6) {
        let (code, _) = check(&tree, file);
        if code != Some(2) {
            continue;
        }
        let mut command: Command = command(&tree, "");
        std::fs::write(tree.root().join("config.json"), file).unwrap();
        // No kubelet is there, so that it ends in any case.
        let done = command.output().unwrap();
        assert!(matches!(done.status.code(), Some(1 | 2)), "{:?}", done.status);
        assert!(!String::from_utf8_lossy(&done.stderr).contains("panicked"));
    }
}
