//! A kill at every boundary of ADD, and of DEL, followed by one DEL.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use std::path::Path;

use serde_json::{Value, json};
use testkit::kill;
use testkit::netns::Namespace;

use crate::network::{connected, network};
use crate::node::{BINARY, Node, comes_to, conf};

/// What is killed, and on which node.
struct Sweep {
    command: &'static str,
    conf: Value,
    /// The exit code of a run that nobody kills.
    code: i32,
    /// What is there before the ADD.
    node: fn() -> Node,
    /// What happens between ADD and DEL.
    between: fn(&mut Node),
    /// How the link is to be afterwards, of how it was.
    after: fn(&Node, Value) -> Value,
}

/// An ADD with a lease, of a link that has addresses and routes on the host.
fn sweep(command: &'static str) -> Sweep {
    Sweep { command, conf: leased(&[]), code: 0, node: connected, between: |_| {}, after: |_, before| before }
}

fn leased(extra: &[(&str, Value)]) -> Value {
    conf(&[&[("ipam", json!({"type": "lease"}))], extra].concat())
}

/// The link with its addresses and routes, in whichever order the kernel made its own.
fn state(node: &Node) -> Value {
    let mut all = json!({"nic": node.nic(), "network": Value::Null});
    if !all["nic"].is_null() {
        all["network"] = network(node);
        for list in ["addresses", "routes", "routes6"] {
            all["network"][list].as_array_mut().unwrap().sort_by_key(ToString::to_string);
        }
    }
    all
}

impl Sweep {
    /// Runs `command` on the node and kills it before its `before`th changing call.
    fn killed(&self, node: &Node, command: &str, before: Option<usize>) -> kill::Trace {
        let invocation = node.invocation(command, &self.conf);
        let arguments = ["ip", "netns", "exec", node.host.name(), BINARY];
        kill::run(&arguments, &invocation.environment(), &invocation.stdin, Path::new(BINARY), before)
    }

    /// A node right before `command`, and what its link was.
    fn begin(&self) -> (Node, Value) {
        let mut node = (self.node)();
        let before = state(&node);
        if self.command == "DEL" {
            assert_eq!(self.killed(&node, "ADD", None).code, Some(0));
            (self.between)(&mut node);
        }
        (node, before)
    }

    /// Kills at each boundary and has one `undo` put all back.
    fn run(&self, undo: &str, conf: &Value) {
        for boundary in 0.. {
            let (node, before) = self.begin();
            let trace = self.killed(&node, self.command, Some(boundary));
            let told = format!("{} before call {boundary} of {:?}", self.command, trace.calls);
            let undone = node.call(undo, conf);
            assert!(undone.ok(), "{told}: {undone:?}");
            comes_to(&(self.after)(&node, before), || state(&node), &format!("{told}: {}", undone.stderr));
            let mut left = node.records();
            // What was not recorded yet is no attachment: its draft is for the next.
            left.retain(|path| undo != "GC" || Path::new(path).extension().is_none_or(|of| of != "new"));
            assert_eq!(left, [""; 0], "{told}");
            // How often a wait looks again is not the same in every run: it ends where one got to its end.
            if !trace.killed {
                assert_eq!(trace.code, Some(self.code), "{trace:?}");
                assert!(boundary >= 12, "{boundary} boundaries");
                return;
            }
        }
    }

    fn run_with_del(&self) {
        self.run("DEL", &self.conf);
    }
}

#[test]
fn an_add_killed_anywhere_is_undone_by_one_del() {
    sweep("ADD").run_with_del();
}

#[test]
fn a_del_killed_anywhere_is_finished_by_the_next() {
    sweep("DEL").run_with_del();
}

/// GC of a network none of whose attachments is valid.
#[test]
fn an_add_or_del_killed_anywhere_is_undone_by_gc() {
    for command in ["ADD", "DEL"] {
        sweep(command).run("GC", &leased(&[("cni.dev/valid-attachments", json!([]))]));
    }
}

/// The pod has a link of the index that the moved one would have kept, so that the record is amended after the move.
#[test]
fn an_add_that_amends_its_record_is_undone() {
    Sweep { node: with_its_index_taken, ..sweep("ADD") }.run_with_del();
}

fn with_its_index_taken() -> Node {
    let node = connected();
    let index = node.host.link("nic0").unwrap()["ifindex"].to_string();
    node.pod.ip(&["link", "add", "mine", "index", &index, "type", "veth", "peer", "name", "other"]);
    node
}

/// It comes home with the pod's index and address, and only its alias tells that it is the one.
#[test]
fn a_del_of_a_link_that_has_neither_its_index_nor_its_address_is_finished() {
    let between =
        |node: &mut Node| drop(node.pod.ip(&["link", "set", "net1", "address", "02:00:00:00:00:99"]));
    Sweep { node: with_its_index_taken, between, ..sweep("DEL") }.run_with_del();
}

/// Killed in the midst of its own rollback.
#[test]
fn an_add_that_fails_is_undone() {
    let conf = conf(&[("ipam", json!({"type": "lease", "mode": "refuse"}))]);
    Sweep { conf, code: 1, ..sweep("ADD") }.run_with_del();
}

#[test]
fn a_del_of_a_link_that_the_pod_changed_is_finished() {
    let between = |node: &mut Node| {
        node.pod.ip(&["link", "set", "net1", "down"]);
        node.pod.ip(&["link", "set", "net1", "name", "mine", "alias", "mine", "mtu", "1280"]);
        node.pod.ip(&["link", "set", "mine", "address", "02:00:00:00:00:99"]);
    };
    Sweep { between, ..sweep("DEL") }.run_with_del();
}

/// A veth dies with it.
#[test]
fn a_del_of_a_namespace_that_is_gone_is_finished() {
    let between = |node: &mut Node| drop(std::mem::replace(&mut node.pod, Namespace::new("next")));
    Sweep { between, after: |_, _| json!({"nic": null, "network": null}), ..sweep("DEL") }.run_with_del();
}

/// The link comes home under a name that the kernel chose, and the other keeps its own.
#[test]
fn a_del_of_a_link_whose_name_is_taken_is_finished() {
    let between = |node: &mut Node| drop(node.host.ip(&["link", "add", "nic0", "type", "bridge"]));
    let after = |node: &Node, before: Value| {
        let links = node.host.json(&["link", "show"]);
        let back: Vec<&Value> = links
            .as_array()
            .unwrap()
            .iter()
            .filter(|link| link["address"] == before["nic"]["address"])
            .collect();
        let home = back.first().is_some_and(|link| {
            link["ifname"].as_str().unwrap().starts_with("dev")
                && link["mtu"] == 1400
                && link["ifalias"] == "rack 7"
        });
        assert!(home && back.len() == 1, "{back:?}");
        assert_eq!(node.nic()["linkinfo"]["info_kind"], "bridge");
        state(node)
    };
    Sweep { between, after, ..sweep("DEL") }.run_with_del();
}
