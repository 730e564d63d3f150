//! Which link is the one: links of the host and of the pod that look like it are never touched.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use std::path::Path;

use serde_json::{Value, json};
use testkit::netns::Namespace;
use testkit::runtime::Invocation;

use crate::node::{BINARY, Node, conf};

#[test]
fn a_host_link_that_bears_the_name_as_its_alias_is_left_alone() {
    let node = Node::new();
    node.host.ip(&[
        "link",
        "add",
        "foo",
        "address",
        "02:aa:00:00:00:01",
        "mtu",
        "1234",
        "type",
        "veth",
        "peer",
        "name",
        "bar",
    ]);
    node.host.ip(&["link", "set", "foo", "alias", "nic0"]);
    let (nic, foo) = (node.nic(), node.host.link("foo"));
    node.call("ADD", &conf(&[])).success();
    node.call("DEL", &conf(&[])).success();
    assert_eq!((node.nic(), node.host.link("foo")), (nic.clone(), foo.clone()));
    node.pod.ip(&["link", "add", "net1", "type", "bridge"]);
    node.call("ADD", &conf(&[])).error();
    assert_eq!((node.nic(), node.host.link("foo")), (nic, foo));
}

#[test]
fn a_decoy_in_the_pod_does_not_come_to_the_host() {
    let node = Node::new();
    let before = node.nic();
    node.call("ADD", &conf(&[])).success();
    node.pod.ip(&["link", "add", "decoy", "type", "veth", "peer", "name", "other"]);
    node.pod.ip(&["link", "set", "decoy", "alias", "nic0"]);
    node.call("DEL", &conf(&[])).success();
    assert_eq!(node.nic(), before);
    assert!(node.pod.link("decoy").is_some() && node.pod.link("net1").is_none());
}

#[test]
fn a_second_add_does_not_overwrite_the_first_ones_record() {
    let node = Node::new();
    node.host.ip(&["link", "add", "nic1", "type", "veth", "peer", "name", "peer1"]);
    let before = node.nic();
    node.call("ADD", &conf(&[])).success();
    let (code, msg) = {
        let refused = node.call("ADD", &conf(&[("device", json!("nic1"))]));
        let (code, msg) = refused.error();
        (code, msg.to_owned())
    };
    assert_eq!((code, msg.as_str()), (11, "pci address nic0 is already allocated to net1 of container c1"));
    assert!(node.host.link("nic1").is_some());
    node.call("DEL", &conf(&[])).success();
    assert_eq!(node.nic(), before);
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn a_del_of_a_container_whose_record_has_the_same_file_name_touches_nothing() {
    let node = Node::new();
    let mut add = node.invocation("ADD", &conf(&[]));
    add.container_id = Some("c".to_owned());
    add.ifname = Some("x-net1".to_owned());
    add.run_in(&node.host, Path::new(BINARY)).success();
    let mut del = node.invocation("DEL", &conf(&[]));
    del.container_id = Some("c-x".to_owned());
    del.run_in(&node.host, Path::new(BINARY)).success();
    assert!(node.pod.link("x-net1").is_some());
    add.command("DEL").run_in(&node.host, Path::new(BINARY)).success();
    assert!(node.host.link("nic0").is_some());
}

#[test]
fn a_link_that_died_with_its_namespace_is_let_go() {
    let mut node = Node::new();
    node.call("ADD", &conf(&[])).success();
    let gone = std::mem::replace(&mut node.pod, Namespace::new("pod"));
    let mut del = node.invocation("DEL", &conf(&[]));
    del.netns = Some(gone.path().display().to_string());
    drop(gone);
    // Another link has the name by then.
    node.host.ip(&[
        "link",
        "add",
        "nic0",
        "address",
        "02:00:00:00:00:88",
        "type",
        "veth",
        "peer",
        "name",
        "peer8",
    ]);
    let other = node.host.link("nic0");
    let deleted = del.run_in(&node.host, Path::new(BINARY));
    deleted.success();
    assert!(deleted.stderr.contains("it is gone from this node"), "{}", deleted.stderr);
    assert_eq!(node.host.link("nic0"), other);
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn a_torn_record_is_set_aside_and_does_not_keep_the_pod() {
    let node = Node::new();
    node.call("ADD", &conf(&[])).success();
    let record = node.state.path().join("c1-net1");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, &text[..text.len() / 2]).unwrap();
    let deleted = node.call("DEL", &conf(&[]));
    deleted.success();
    assert!(deleted.stderr.contains("is no attachment record"), "{}", deleted.stderr);
    let aside = node.state.path().join(".c1-net1.corrupt");
    std::fs::remove_file(aside).unwrap();
    // The alias that it was given on its way in leads it home, and nobody has it any more.
    assert!(node.pod.link("net1").is_none() && node.host.link("nic0").is_some());
    assert_eq!(node.records(), [""; 0]);
}

/// Tears the record of an attachment, and has another's device locked, as by an ADD that waits for its IPAM plugin.
fn torn(node: &Node) -> std::fs::File {
    node.call("ADD", &conf(&[])).success();
    std::fs::write(node.state.path().join("c1-net1"), "{").unwrap();
    let at = |path: &str| node.state.path().join(path);
    std::fs::write(at("device/claim/eth7"), "/run/netns/other").unwrap();
    let lock = std::fs::File::create(at("device/lock/eth7.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

fn claims(node: &Node) -> Vec<String> {
    let entries = std::fs::read_dir(node.state.path().join("device/claim")).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn a_torn_record_whose_del_fails_is_dealt_with_by_the_next() {
    let node = Node::new();
    let _lock = torn(&node);
    // As the one before left it when it failed after that.
    std::fs::rename(node.state.path().join("c1-net1"), node.state.path().join(".c1-net1.corrupt")).unwrap();
    node.call("DEL", &conf(&[])).success();
    assert!(node.pod.link("net1").is_none() && node.host.link("nic0").is_some());
    assert_eq!(claims(&node), ["eth7"]);
}

/// The pod's namespace is gone, and DEL is called with its path.
fn del_of_the_dead(node: &mut Node) -> Invocation {
    let gone = std::mem::replace(&mut node.pod, Namespace::new("later"));
    let path = gone.path();
    drop(gone);
    Invocation::attachment("DEL", "c1", &path.to_string_lossy(), "net1")
        .env("SLUICE_STATE_DIR", node.state.path().to_string_lossy())
        .conf(&conf(&[]))
}

#[test]
fn a_torn_records_link_that_came_home_by_itself_has_its_name_again() {
    let mut node = Node::new();
    let _lock = torn(&node);
    // As the kernel does it for hardware: a veth would die with the namespace.
    node.pod.ip(&["link", "set", "net1", "netns", node.host.name()]);
    let del = del_of_the_dead(&mut node);
    del.run_in(&node.host, Path::new(BINARY)).success();
    assert_eq!(node.host.link("net1"), None);
    assert_eq!(node.host.link("nic0").unwrap().get("ifalias"), None);
    assert_eq!(claims(&node), ["eth7"]);
}

/// Its name is another's meanwhile, or the pod gave it one of its own: nobody may take it for clean.
#[test]
fn a_torn_records_link_that_cannot_have_its_name_again_stays_claimed() {
    for (name, taken) in [("net1", true), ("mine", false)] {
        let mut node = Node::new();
        let _lock = torn(&node);
        node.pod.ip(&["link", "set", "net1", "down"]);
        node.pod.ip(&["link", "set", "net1", "name", name, "netns", node.host.name()]);
        if taken {
            node.host.ip(&["link", "add", "nic0", "type", "bridge"]);
        }
        let del = del_of_the_dead(&mut node);
        let deleted = del.run_in(&node.host, Path::new(BINARY));
        deleted.success();
        assert!(
            deleted.stderr.contains("nic0: its record cannot be read, and its link"),
            "{}",
            deleted.stderr
        );
        // An operator has to know which files are the claim.
        let (_, files) = deleted.stderr.split_once("then remove ").unwrap();
        for file in files.trim_end().split(" and ") {
            assert!(Path::new(file).exists(), "{file}");
        }
        assert_eq!(node.host.link(name).unwrap()["ifalias"], "nic0");
        let mut claims = claims(&node);
        claims.sort();
        assert_eq!(claims, ["eth7", "nic0"], "{name}");
    }
}

#[test]
fn a_link_whose_alias_and_address_the_pod_changed_comes_home() {
    let node = Node::new();
    let before = node.nic();
    node.call("ADD", &conf(&[])).success();
    node.pod.ip(&["link", "set", "net1", "alias", "mine", "address", "02:00:00:00:00:99"]);
    // On its way it meets its own name and the pod's.
    node.host.ip(&["link", "add", "net1", "type", "bridge"]);
    node.call("DEL", &conf(&[])).success();
    assert_eq!((node.nic(), node.records()), (before, Vec::new()));
}

#[test]
fn a_device_id_that_is_a_path_names_no_file() {
    let node = Node::new();
    let victim = node.state.path().join("victim");
    std::fs::write(&victim, "/run/netns/gone").unwrap();
    let keys = [("device", Value::Null), ("runtimeConfig", json!({"deviceID": "../../victim"}))];
    let refused = node.call("ADD", &conf(&keys));
    assert_eq!(refused.error().1, "runtime config DeviceID ../../victim not found or unsupported");
    assert!(victim.exists());
    assert_eq!(std::fs::read_dir(node.state.path()).unwrap().count(), 1);
}

#[test]
fn a_link_may_be_called_like_our_directories() {
    let node = Node::new();
    for name in ["owner", "claim", "lock"] {
        node.host.ip(&["link", "add", name, "type", "veth", "peer", "name", "other"]);
        let keys = [("device", json!(name))];
        node.call("ADD", &conf(&keys)).success();
        node.call("DEL", &conf(&keys)).success();
        assert!(node.host.link(name).is_some());
        node.host.ip(&["link", "del", name]);
    }
}

#[test]
fn ipam_may_say_much_before_it_reads() {
    let node = Node::new();
    let keys = [("ipam", json!({"type": "lease"})), ("padding", json!("x".repeat(200_000)))];
    node.call("ADD", &conf(&keys)).success();
    node.call("DEL", &conf(&keys)).success();
}

/// A hardware link that is no PCI function's, a subfunction say, made of a veth's record.
#[test]
fn a_device_that_is_gone_from_its_bus_is_let_go() {
    let mut node = Node::new();
    node.call("ADD", &conf(&[])).success();
    let path = node.state.path().join("c1-net1");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for undo in record["sluice"]["undo"].as_array_mut().unwrap() {
        if let Some(link) = undo.get_mut("link") {
            (link["kind"], link["parent"]) = (Value::Null, json!("mlx5_core.sf.99"));
        }
    }
    std::fs::write(&path, record.to_string()).unwrap();
    let gone = std::mem::replace(&mut node.pod, Namespace::new("pod"));
    let mut del = node.invocation("DEL", &conf(&[]));
    del.netns = Some(gone.path().display().to_string());
    drop(gone);
    let deleted = del.run_in(&node.host, Path::new(BINARY));
    deleted.success();
    assert!(deleted.stderr.contains("it is gone from this node"), "{}", deleted.stderr);
    assert_eq!(node.records(), [""; 0]);
}

/// What a kill between the record and the move leaves, and another link of the kind that comes to the foretold index.
#[test]
fn another_link_at_the_foretold_index_stays_in_the_pod() {
    let node = Node::new();
    let before = node.nic();
    node.call("ADD", &conf(&[])).success();
    let index = node.pod.link("net1").unwrap()["ifindex"].to_string();
    node.pod.ip(&["link", "set", "net1", "down"]);
    node.pod.ip(&["link", "set", "net1", "name", "nic0"]);
    node.pod.ip(&["link", "set", "nic0", "alias", "rack 7", "netns", node.host.name()]);
    node.pod.ip(&["link", "add", "mine", "index", &index, "type", "veth", "peer", "name", "other"]);
    node.call("DEL", &conf(&[])).success();
    assert!(node.pod.link("mine").is_some(), "it was taken from the pod");
    assert_eq!((node.nic(), node.records()), (before, Vec::new()));
}
