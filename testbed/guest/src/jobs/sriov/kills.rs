//! ADD killed right before each system call that changes something, then one DEL.
//! The boundaries are traced, not guessed.

use std::fs;

use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;
use testkit::kill;
use testkit::kill::Trace;

use super::Bench;
use super::Cases;
use crate::cni::Sandbox;
use crate::cni::address;
use crate::cni::program;
use crate::cni::same;
use crate::cni::sriov;
use crate::host::Function;
use crate::host::ip;

pub(super) fn run(cases: &mut Cases, bench: &Bench) {
    cases.run("add-killed-at-every-boundary", || kernel_vf(bench));
    cases.run("add-killed-at-every-boundary-vfio", || vfio_vf(bench));
}

fn everything(vf: &Function) -> Value {
    sriov(
        vf,
        json!({
            "vlan": 100, "vlanQoS": 3, "mac": "02:00:00:00:03:03", "spoofchk": "off", "trust": "on", "max_tx_rate": 100,
            "mtu": 1300, "allmulti": true,
            "ipam": address("192.0.2.1/24"),
        }),
    )
}

/// From a state in which nothing is the default: an administrator's MAC, a VLAN, up, an MTU, an alias, another name.
fn kernel_vf(bench: &Bench) -> Result<String> {
    let vf = bench.pf0.vf(2)?;
    bench.pf0.set_vf(2, &["mac", "02:00:00:00:04:04", "vlan", "7", "qos", "1", "max_tx_rate", "500"])?;
    vf.unbind()?;
    let name = vf.bind_default()?;
    ip(&["link", "set", &name, "alias", "rack 7", "mtu", "1400", "up"])?;
    ip(&["link", "property", "add", "dev", &name, "altname", "by-slot"])?;
    let swept = sweep(bench, 2);
    ip(&["link", "set", &name, "alias", "", "mtu", "1500", "down"])?;
    ip(&["link", "property", "del", "dev", &name, "altname", "by-slot"])?;
    bench.pf0.set_vf(2, &["mac", "00:00:00:00:00:00", "vlan", "0", "max_tx_rate", "0"])?;
    swept
}

fn vfio_vf(bench: &Bench) -> Result<String> {
    let vf = bench.pf0.vf(3)?;
    bench.pf0.set_vf(3, &["mac", "02:00:00:00:04:05", "vlan", "8"])?;
    vf.bind("vfio-pci")?;
    let swept = sweep(bench, 3);
    bench.pf0.set_vf(3, &["mac", "00:00:00:00:00:00", "vlan", "0"])?;
    vf.bind_default()?;
    swept
}

/// Kills at every boundary; after each, one DEL must leave the VF as it was and no state but the lock.
fn sweep(bench: &Bench, index: usize) -> Result<String> {
    let (vf, before) = bench.vf(index)?;
    let conf = everything(&vf);
    let pod = Sandbox::create("killed")?;
    let all = killed(&pod, "ADD", &conf, None);
    ensure!(all.code == Some(0), "ADD under the tracer: {}", all.stdout);
    pod.del(&conf)?;
    bench.unchanged(index, &before)?;
    for boundary in 0..all.calls.len() {
        let trace = killed(&pod, "ADD", &conf, Some(boundary));
        ensure!(trace.killed, "boundary {boundary} was not reached: {trace:?}");
        let told = || format!("killed before call {boundary} after {:?}", trace.calls);
        pod.del(&conf).map_err(|error| error.context(told()))?;
        same(&before, &bench.state(index)?).map_err(|error| error.context(told()))?;
        ensure!(records(&vf)? == 0, "{}: state files are left", told());
    }
    Ok(format!("{} boundaries: {}", all.calls.len(), all.calls.join(" ")))
}

fn killed(pod: &Sandbox, command: &str, conf: &Value, before: Option<usize>) -> Trace {
    let call = pod.call(command, conf);
    let binary = program("sriov");
    kill::run(&[&binary.to_string_lossy()], &call.environment(), &call.stdin, &binary, before)
}

/// The state files that name the VF or any container.
fn records(vf: &Function) -> Result<usize> {
    let root = std::path::Path::new("/var/lib/cni/sriov");
    let files = fs::read_dir(root)?.flatten().filter(|entry| entry.path().is_file()).count();
    let claims = ["pci", "pci/owner"].map(|dir| root.join(dir).join(vf.address()));
    Ok(files + claims.iter().filter(|claim| claim.exists()).count())
}
