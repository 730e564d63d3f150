//! The configuration is rewritten five hundred times while pods come and go: nothing is lost, nothing is given twice, and
//! memory stays what it was.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use testkit::kubelet::Kubelet;
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use crate::alive::lists;
use crate::daemon::{Daemon, LIMIT, command, kubelet_root};
use crate::reload::pools;

const REWRITES: usize = 500;
/// After as many, memory is what it will be.
const WARM: usize = 100;
const RESOURCES: [&str; 4] = ["intel.com/keep", "intel.com/a", "intel.com/b", "intel.com/c"];

/// A PF with sixteen VFs, and one with two that tell which configuration is in force.
fn node() -> Tree {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    tree.pf("0000:5e:00.0", "ens2f0");
    for vf in 0..16 {
        tree.vf(&format!("0000:3b:{:02x}.{}", 2 + vf / 8, vf % 8), "0000:3b:00.0");
    }
    for vf in 0..2 {
        tree.vf(&format!("0000:5e:02.{vf}"), "0000:5e:00.0");
    }
    tree
}

/// `keep` and the order stay; the others take VFs from each other, and `c` comes and goes.
fn config(generation: usize) -> String {
    let border = 5 + generation * 7 % 9;
    let (a, b) = (format!("4-{}", border - 1), format!("{border}-15"));
    let mut wanted = vec![("keep", "0-3"), ("a", &*a), ("b", &*b)];
    if generation % 2 == 1 {
        wanted.insert(1, ("c", "10-12"));
    }
    let mut file: Value = serde_json::from_str(&pools(&wanted)).unwrap();
    let tick = format!("ens2f0#0-{}", generation % 2);
    file["resourceList"]
        .as_array_mut()
        .unwrap()
        .push(json!({"resourceName": "tick", "selectors": {"pfNames": [tick]}}));
    file.to_string()
}

fn resident_kib(daemon: &Daemon) -> i64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(daemon.id().to_string()).join("status"));
    let status = status.unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Pods of one device each, two at a time.
struct Load<'a> {
    kubelet: &'a Kubelet,
    /// What all loads hold.
    held: &'a Mutex<BTreeSet<String>>,
    given: &'a AtomicUsize,
}

impl Load<'_> {
    fn run(&self, offset: usize, over: &AtomicBool) {
        let mut pods: Vec<(Pod, String)> = Vec::new();
        let mut number = offset;
        while !over.load(Ordering::Relaxed) {
            number += 1;
            let pod = Pod::new("default", &format!("pod-{number}"))
                .container("app", &[(RESOURCES[number % RESOURCES.len()], 1)]);
            // The pool may have gone, or the device moved, since the kubelet's last list: then the pod is refused.
            match self.kubelet.admit(&pod) {
                Ok(given) => {
                    let device = given[0].devices[0].clone();
                    assert!(self.held.lock().unwrap().insert(device.clone()), "{device} is given twice");
                    self.given.fetch_add(1, Ordering::Relaxed);
                    pods.push((pod, device));
                }
                Err(_) => drop(self.kubelet.delete(&pod)),
            }
            if pods.len() > 2 {
                self.end(pods.remove(0));
            }
        }
        for pod in pods {
            self.end(pod);
        }
    }

    fn end(&self, (pod, device): (Pod, String)) {
        self.held.lock().unwrap().remove(&device);
        assert!(self.kubelet.delete(&pod));
    }
}

#[test]
fn five_hundred_rewrites_under_load() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    // The end of pods is looked for as often as the clock ticks.
    let mut command = command(&tree, &config(0));
    command.args(["--rescan-interval=1s", "--log-level=warn"]);
    let daemon = Daemon::spawn(command);
    kubelet.until("the pools", LIMIT, |state| lists(state, "intel.com/tick") == (1, 1)).unwrap();
    let (held, given, over) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
    let load = Load { kubelet: &kubelet, held: &held, given: &given };
    let (mut warm, mut end) = (0, 0);
    std::thread::scope(|scope| {
        let loads = [0, 1_000_000].map(|offset| {
            let (load, over) = (&load, &over);
            scope.spawn(move || load.run(offset, over))
        });
        for generation in 1..=REWRITES {
            tree.write("config.json", &config(generation));
            let count = 1 + generation % 2;
            let in_force = |state: &_| lists(state, "intel.com/tick") == (count, count);
            kubelet.until(&format!("generation {generation}"), LIMIT, in_force).unwrap();
            match generation {
                WARM => warm = resident_kib(&daemon),
                REWRITES => end = resident_kib(&daemon),
                _ => {}
            }
        }
        over.store(true, Ordering::Relaxed);
        for load in loads {
            load.join().unwrap();
        }
    });
    assert!(end - warm <= 1024, "{warm} KiB after {WARM} rewrites, {end} KiB after {REWRITES}");
    let given = given.into_inner();
    println!("{given} pods; {warm} KiB after {WARM} rewrites, {end} KiB after {REWRITES}");
    assert!(given > REWRITES, "{given} pods had a device: no load");
    // Even generations have no `c`; border 5 + 500 * 7 % 9 = 13.
    let state = kubelet
        // What was given and taken back before the kubelet was asked counts as held for ten seconds.
        .until("the last configuration, and every pod's end", 3 * LIMIT, |state| {
            state.has("intel.com/keep", 4) && state.has("intel.com/a", 9) && state.has("intel.com/b", 3)
        })
        .unwrap();
    let keep = &state.pools["intel.com/keep"];
    assert_eq!((keep.registrations, keep.lists), (1, 1), "nothing has changed for it");
    assert!(!state.pools["intel.com/c"].connected);
}
