//! ADD and DEL killed right before each system call that changes something; then whoever is to clear up after it.
//! The boundaries are traced, not guessed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use anyhow::bail;
use anyhow::ensure;
use attachment::Host;
use attachment::Leftover;
use attachment::Life;
use attachment::Paths;
use attachment::Store;
use attachment::Undone;
use serde_json::Value;
use serde_json::json;
use testkit::kill;
use testkit::kill::Trace;

use super::Bench;
use super::Cases;
use crate::cni::CNI_PATH;
use crate::cni::Sandbox;
use crate::cni::accepted;
use crate::cni::address;
use crate::cni::merged;
use crate::cni::program;
use crate::cni::same;
use crate::cni::sriov;
use crate::host::Function;
use crate::host::ip;

/// Who clears up after a kill.
pub(super) type Undo = fn(&Sandbox, &Value) -> Result<()>;

const DEL: (&str, Undo) = ("DEL", Sandbox::del);
const GC: (&str, Undo) = ("GC", gc);
const RECONCILER: (&str, Undo) = ("the reconciler", reconcile);
const EACH: [(&str, Undo); 3] = [DEL, GC, RECONCILER];

/// Every attachment of the network is unwanted. Debian's IPAM plugins know no GC, and nothing before 1.1.0 has one; the record's own IPAM plugin is asked for a DEL all the same.
pub(super) fn gc(pod: &Sandbox, conf: &Value) -> Result<()> {
    let unwanted = json!({"cniVersion": "1.1.0", "ipam": {}, "cni.dev/valid-attachments": []});
    let unwanted = merged(conf.clone(), unwanted);
    accepted(&pod.run("GC", &unwanted)).map(drop)
}

/// The namespace dies, and no DEL ever comes: what `sriovdp` does of its own accord every 30 s, by the same calls. A draft that
/// no record came of is left to the next ADD, DEL or GC.
fn reconcile(pod: &Sandbox, _: &Value) -> Result<()> {
    ip(&["netns", "del", pod.netns.name()])?;
    let paths = Paths { state: STATE.into(), sysfs: "/sys".into() };
    let store = Store::sriov(&paths);
    let mut host = Host::open(&paths)?;
    let is_over = |leftover: &Leftover| matches!(leftover.life, Life::Over(_));
    let (found, odd) = attachment::survey(&store, &mut host)?;
    ensure!(odd.is_empty(), "files that make no sense: {odd:?}");
    for leftover in found.iter().filter(|leftover| is_over(leftover)) {
        let undone = attachment::undo(&store, &mut host, leftover, PATIENCE, is_over)?;
        let Undone::Done { addresses, .. } = undone else { bail!("{}: {undone:?}", leftover.device) };
        if let Some(record) = leftover.record.as_ref().filter(|_| addresses) {
            let released = attachment::release(&store, record, &[CNI_PATH.into()], PATIENCE)?;
            ensure!(released, "{}: its addresses are not released", leftover.device);
        }
    }
    ip(&["netns", "add", pod.netns.name()]).map(drop)
}

/// How long an IPAM plugin may take to release an address, and whoever speaks to the PF.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(cases: &mut Cases, bench: &Bench) {
    // At each boundary one of the three, in turns that begin elsewhere in each case.
    cases.run("add-killed-at-every-boundary", || kernel_vf(bench, "ADD", &turns(0), 1));
    cases.run("del-killed-at-every-boundary", || kernel_vf(bench, "DEL", &turns(1), 1));
    cases.run("add-killed-at-every-boundary-vfio", || vfio_vf(bench, "ADD", &turns(2), 1));
    cases.run("del-killed-at-every-boundary-vfio", || vfio_vf(bench, "DEL", &turns(0), 1));
    // To bind takes a second each time.
    cases.run("killed-while-binding", || bound_vf(bench, "ADD", &turns(1), 4));
    cases.run("killed-while-giving-back", || bound_vf(bench, "DEL", &turns(2), 4));
    // Minutes: each boundary with each of them.
    for (who, undo) in EACH {
        for command in ["ADD", "DEL"] {
            let one = &[(who, undo)];
            let name = |vf| format!("full-sweep-{vf}-{command}-then-{}", who.replace(' ', "-"));
            cases.run_if_asked(&name("kernel"), || kernel_vf(bench, command, one, 1));
            cases.run_if_asked(&name("vfio"), || vfio_vf(bench, command, one, 1));
            cases.run_if_asked(&name("bound"), || bound_vf(bench, command, one, 1));
        }
    }
}

fn turns(first: usize) -> [(&'static str, Undo); 3] {
    let mut turns = EACH;
    turns.rotate_left(first);
    turns
}

fn everything(vf: &Function, more: Value) -> Value {
    let keys = json!({
        "vlan": 100, "vlanQoS": 3, "mac": "02:00:00:00:03:03", "spoofchk": "off", "trust": "on", "max_tx_rate": 100,
        "mtu": 1300, "allmulti": true, "ipam": address("192.0.2.1/24"),
    });
    sriov(vf, merged(keys, more))
}

/// From a state in which nothing is the default: an administrator's MAC, a VLAN, up, an MTU, an alias, another name.
fn kernel_vf(bench: &Bench, command: &str, undo: &[(&str, Undo)], step: usize) -> Result<String> {
    unlike_the_default(bench, |vf| sweep(bench, 2, &everything(vf, json!({})), command, undo, step))
}

/// The same VF, with another driver for the pod.
fn bound_vf(bench: &Bench, command: &str, undo: &[(&str, Undo)], step: usize) -> Result<String> {
    let driver = json!({"driver": "vfio-pci"});
    unlike_the_default(bench, |vf| sweep(bench, 2, &everything(vf, driver), command, undo, step))
}

fn unlike_the_default(bench: &Bench, sweep: impl FnOnce(&Function) -> Result<String>) -> Result<String> {
    let vf = bench.pf0.vf(2)?;
    bench.pf0.set_vf(2, &["mac", "02:00:00:00:04:04", "vlan", "7", "qos", "1", "max_tx_rate", "500"])?;
    vf.unbind()?;
    let name = vf.bind_default()?;
    ip(&["link", "set", &name, "alias", "rack 7", "mtu", "1400", "up"])?;
    ip(&["link", "property", "add", "dev", &name, "altname", "by-slot"])?;
    // Where it failed the VF may be anywhere: that is the error to report.
    let swept = sweep(&vf)?;
    ip(&["link", "set", &name, "alias", "", "mtu", "1500", "down"])?;
    ip(&["link", "property", "del", "dev", &name, "altname", "by-slot"])?;
    bench.pf0.set_vf(2, &["mac", "00:00:00:00:00:00", "vlan", "0", "max_tx_rate", "0"])?;
    Ok(swept)
}

fn vfio_vf(bench: &Bench, command: &str, undo: &[(&str, Undo)], step: usize) -> Result<String> {
    let vf = bench.pf0.vf(3)?;
    bench.pf0.set_vf(3, &["mac", "02:00:00:00:04:05", "vlan", "8"])?;
    vf.bind("vfio-pci")?;
    let swept = sweep(bench, 3, &everything(&vf, json!({})), command, undo, step);
    bench.pf0.set_vf(3, &["mac", "00:00:00:00:00:00", "vlan", "0"])?;
    vf.bind_default()?;
    swept
}

/// Kills `command` at every `step`th boundary; after each, one of `undo` in turn must leave the VF as it was and no state but
/// the locks.
fn sweep(
    bench: &Bench,
    index: usize,
    conf: &Value,
    command: &str,
    undo: &[(&str, Undo)],
    step: usize,
) -> Result<String> {
    let (vf, before) = bench.vf(index)?;
    let pod = Sandbox::create("killed")?;
    let mut all = Vec::new();
    // The first on a node makes directories that all others find.
    for traced in ["ADD", "DEL", "ADD", "DEL"] {
        let trace = killed(&pod, traced, conf, None);
        ensure!(trace.code == Some(0), "{traced} under the tracer: {}", trace.stdout);
        if traced == command {
            all = trace.calls;
        }
    }
    bench.unchanged(index, &before)?;
    let mut kills = 0;
    for (turn, boundary) in (0..all.len()).step_by(step).enumerate() {
        let (who, clear_up) = undo[turn % undo.len()];
        if command == "DEL" {
            pod.add(conf)?;
        }
        let trace = killed(&pod, command, conf, Some(boundary));
        // How often a wait looks again is not the same in every run: the last boundaries may not be there.
        let ended = trace.code == Some(0) && trace.calls.len() <= boundary;
        ensure!(trace.killed || ended, "boundary {boundary} was not reached: {trace:?}");
        kills += usize::from(trace.killed);
        let told = || format!("{command} killed before call {boundary} after {:?}, then {who}", trace.calls);
        clear_up(&pod, conf).map_err(|error| error.context(told()))?;
        same(&before, &bench.state(index)?).map_err(|error| error.context(told()))?;
        // A draft is no attachment yet: while it is young somebody may be at work on it, so that only its own DEL removes it.
        let left = if who == DEL.0 { records(&vf)? } else { records(&vf)? - drafts()? };
        ensure!(left == 0, "{}: state files are left", told());
    }
    ensure!(kills * step * 10 >= all.len() * 9, "{kills} kills at every {step} of {} boundaries", all.len());
    Ok(format!("{kills} kills, at every {step} of {} boundaries: {}", all.len(), all.join(" ")))
}

fn killed(pod: &Sandbox, command: &str, conf: &Value, before: Option<usize>) -> Trace {
    let call = pod.call(command, conf);
    let binary = program("sriov");
    kill::run(&[&binary.to_string_lossy()], &call.environment(), &call.stdin, &binary, before)
}

const STATE: &str = "/var/lib/cni/sriov";

/// The state files that name the VF or any container.
pub(super) fn records(vf: &Function) -> Result<usize> {
    let root = Path::new(STATE);
    let files = fs::read_dir(root)?.flatten().filter(|entry| entry.path().is_file()).count();
    let leases = fs::read_dir(root.join("pci/vf_lock"))?.flatten();
    let leases = leases.filter(|entry| entry.file_name().to_string_lossy().ends_with(".lease.lock")).count();
    let claims = ["pci", "pci/owner"].map(|dir| root.join(dir).join(vf.address()));
    Ok(files + leases + claims.iter().filter(|claim| claim.exists()).count())
}

/// Records that were never finished.
fn drafts() -> Result<usize> {
    let files = fs::read_dir(STATE)?.flatten();
    Ok(files.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).count())
}
