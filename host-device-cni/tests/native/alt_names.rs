//! Alternative names on the way home: a pod may give its link any that it likes, and the host may give away what the link had.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use serde_json::json;

use crate::node::{Node, conf};

#[test]
fn a_pod_cannot_keep_its_link_by_the_names_that_it_gives_it() {
    let node = Node::new();
    let before = node.nic();
    node.call("ADD", &conf(&[])).success();
    for taken in ["peer0", "nic0", "nobodys"] {
        node.pod.ip(&["link", "property", "add", "dev", "net1", "altname", taken]);
    }
    // One that is no text, either.
    let mut odd = Command::new("ip");
    odd.args(["-n", node.pod.name(), "link", "property", "add", "dev", "net1", "altname"]);
    assert!(odd.arg(OsStr::from_bytes(b"odd\xff")).status().unwrap().success());
    node.call("DEL", &conf(&[])).success();
    assert_eq!(node.nic(), before);
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn an_alternative_name_that_another_link_has_by_now_stays_its() {
    let node = Node::new();
    let before = node.nic();
    node.call("ADD", &conf(&[])).success();
    node.host.ip(&["link", "property", "add", "dev", "peer0", "altname", "nic0-by-slot"]);
    // What the way home needs a name for.
    let passing = format!("sluice{}", node.pod.link("net1").unwrap_or_default()["ifindex"]);
    node.pod.ip(&["link", "add", &passing, "type", "bridge"]);
    let deleted = node.call("DEL", &conf(&[]));
    deleted.success();
    let told = "nic0: cannot put back its alternative name nic0-by-slot: add alternative name: file exists";
    assert!(deleted.stderr.contains(told), "{}", deleted.stderr);
    let mut wanted = before.clone();
    wanted.as_object_mut().map(|link| link.remove("altnames"));
    assert_eq!(node.nic(), wanted);
    assert_eq!(before["altnames"], json!(["nic0-by-slot"]));
    assert_eq!(node.records(), [""; 0]);
}
