//! ADD and DEL of a real NIC killed right before each system call that changes something; then one DEL.
//! The boundaries are traced, not guessed.

use std::fs;
use std::path::Path;

use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;
use testkit::kill;
use testkit::kill::Trace;

use super::conf;
use super::whole;
use crate::cni::Sandbox;
use crate::cni::accepted;
use crate::cni::address;
use crate::cni::call;
use crate::cni::program;
use crate::cni::same;
use crate::cni::told;
use crate::host::Function;

const STATE: &str = "/var/lib/cni/host-device";

/// What is killed.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Killed {
    Add,
    Del,
    /// A DEL after the pod's namespace has gone, which waits for the kernel to bring the NIC back.
    DelOfTheDead,
}

/// Kills at every `step`th boundary; after each one DEL must leave the NIC with its addresses and routes as it was, and no state
/// but the locks.
pub(super) fn run(nic: &Function, killed: Killed, step: usize) -> Result<String> {
    let name = whole::busy(nic)?;
    let swept = sweep(nic, &name, killed, step);
    whole::idle(&name)?;
    swept
}

fn sweep(nic: &Function, name: &str, killed: Killed, step: usize) -> Result<String> {
    let before = at_once(name)?;
    let keys =
        conf(&json!({"cniVersion": "1.0.0", "pciBusID": nic.address(), "ipam": address("198.51.100.7/24")}));
    let (mut kills, mut boundary) = (0, 0);
    let calls = loop {
        let pod = Sandbox::create("killed")?;
        let (id, path) = (pod.id.clone(), pod.netns.path());
        if killed != Killed::Add {
            pod.add(&keys)?;
        }
        let gone = killed == Killed::DelOfTheDead;
        let kept = if gone { pod.netns.delete().map(|()| None)? } else { Some(pod) };
        let command = if killed == Killed::Add { "ADD" } else { "DEL" };
        let trace = traced(command, &id, &path, &keys, boundary);
        let told = || format!("{command} killed before call {boundary} after {:?}", trace.calls);
        accepted(&call("DEL", &id, &path, &keys).run(program("host-device")))
            .map_err(|error| error.context(told()))?;
        same(&before, &at_once(name)?).map_err(|error| error.context(told()))?;
        ensure!(left()? == 0, "{}: state files are left", told());
        drop(kept);
        if !trace.killed {
            ensure!(trace.code == Some(0), "{command} under the tracer: {}", trace.stdout);
            ensure!(trace.calls.len() >= 12, "{} boundaries", trace.calls.len());
            break trace.calls;
        }
        kills += 1;
        boundary += step;
    };
    Ok(format!("{kills} kills, at every {step} of {} boundaries: {}", calls.len(), calls.join(" ")))
}

fn traced(command: &str, id: &str, netns: &Path, keys: &Value, before: usize) -> Trace {
    let call = call(command, id, netns, keys);
    let binary = program("host-device");
    kill::run(&[&binary.to_string_lossy()], &call.environment(), &call.stdin, &binary, Some(before))
}

/// What is told of the NIC, without what comes with its carrier: the kernel's own link-local address and its routes.
fn at_once(name: &str) -> Result<Value> {
    let mut told = told(name)?;
    let is_local = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default();
        text("local").starts_with("fe80:")
            || ["fe80:", "ff00:"].iter().any(|local| text("dst").starts_with(local))
    };
    for list in ["addresses", "routes", "routes6"] {
        told[list].as_array_mut().into_iter().for_each(|list| list.retain(|entry| !is_local(entry)));
    }
    Ok(told)
}

/// The state files but the locks.
fn left() -> Result<usize> {
    let root = Path::new(STATE);
    let mut left = 0;
    for dir in [".", "device/claim", "device/owner", "device/lock"] {
        let Ok(entries) = fs::read_dir(root.join(dir)) else { continue };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            left +=
                usize::from(path.is_file() && (!name.ends_with(".lock") || name.ends_with(".lease.lock")));
        }
    }
    Ok(left)
}
