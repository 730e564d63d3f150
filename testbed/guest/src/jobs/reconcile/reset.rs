//! A machine that is reset with attachments on it: the state directory is kept on a disk, all else begins anew.
//! The job goes on in the next boot, where it finds what it wrote before the reset.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use nix::unistd::sync;
use serde_json::Value;
use serde_json::json;

use super::Living;
use super::Vf;
use super::config;
use super::put_back;
use super::records;
use super::vfs;
use crate::cluster::Cluster;
use crate::cni::Sandbox;
use crate::cni::same;
use crate::host;
use crate::jobs::Cases;
use crate::report;

/// The CNI plugins' state, and its copy on the disk that outlives a reset. That disk is the host's, and each of its files costs a
/// call to there: nothing is to work on it whose time is taken.
const STATE: &str = "/var/lib/cni";
const DISK: &str = "/out/cni";
/// On the same disk.
const BEFORE: &str = "/out/before-the-reset.json";

fn copy(from: &str, to: &str) -> Result<()> {
    host::run(Command::new("cp").args(["--archive", "--no-target-directory", from, to]))
}

/// What was written before a reset, in the boot after it.
pub(super) fn remembered() -> Result<Option<Value>> {
    if !fs::exists(BEFORE)? {
        return Ok(None);
    }
    copy(DISK, STATE)?;
    Ok(Some(serde_json::from_slice(&fs::read(BEFORE)?)?))
}

/// Attaches a pod to each free VF, kernel and vfio-pci alike, and resets the machine. Does not return.
pub(super) fn before(free: &[&Vf]) -> Result<()> {
    let mut states = serde_json::Map::new();
    let mut pods = Vec::new();
    for vf in free {
        states.insert(vf.function.address().to_owned(), vf.state()?);
        let pod = Sandbox::create(&format!("reset-{}", pods.len()))?;
        pod.add(&vf.conf())?;
        pods.push(pod);
    }
    ensure!(records()? == free.len(), "{} records, wanted {}", records()?, free.len());
    copy(STATE, DISK)?;
    fs::write(BEFORE, json!({"states": states}).to_string())?;
    sync();
    // QEMU was told to end instead.
    report::qmp(&json!({"execute": "set-action", "arguments": {"reboot": "reset"}}))?;
    report::qmp(&json!({"execute": "system_reset"}))?;
    loop {
        std::thread::park();
    }
}

/// The boot after: no VF is there at first, nor any of the namespaces.
pub(super) fn after(cases: &mut Cases, before: &Value) -> Result<()> {
    let states = before["states"].as_object().context("no states before the reset")?;
    cases.run("after-a-reset-records-of-vfs-that-are-not-there-are-kept", || {
        ensure!(records()? == states.len(), "{} records, wanted {}", records()?, states.len());
        let mut cluster = Cluster::start(&config(), Vec::new())?;
        cluster.says("cannot put back yet")?;
        ensure!(records()? == states.len(), "{} records, wanted {}", records()?, states.len());
        cluster.stop()?;
        Ok(format!("{} records", states.len()))
    });
    let vfs = vfs()?;
    let free = vfs.iter().find(|vf| !states.contains_key(vf.function.address()) && !vf.is_vfio());
    let free = free.context("every VF has a record")?;
    // The first pod of the new boot, before the daemon.
    let living = Living::start(&[free])?;
    cases.run("after-a-reset-everything-is-put-back", || {
        let began = Instant::now();
        let cluster = Cluster::start(&config(), Vec::new())?;
        let took = put_back(began, living.records())?;
        for vf in &vfs {
            if let Some(before) = states.get(vf.function.address()) {
                same(before, &vf.state()?)?;
            }
        }
        living.untouched()?;
        cluster.stop()?;
        Ok(format!("{} VFs in {:.2} s of the start, a new pod's untouched", states.len(), took.as_secs_f64()))
    });
    Ok(())
}
