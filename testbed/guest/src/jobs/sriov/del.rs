//! DEL in the state that each mishap leaves: it succeeds, and the VF is as it was, or is said to be gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;

use super::Bench;
use super::Cases;
use super::kills::records;
use crate::cni;
use crate::cni::Sandbox;
use crate::cni::accepted;
use crate::cni::program;
use crate::cni::refused;
use crate::cni::same;
use crate::cni::sriov;
use crate::cni::state;
use crate::host::Netns;
use crate::host::ip;

pub(super) fn run(cases: &mut Cases, bench: &Bench) {
    cases.run("del-without-a-namespace-to-name", || unnamed(bench));
    cases.run("del-where-the-path-is-no-namespace", || plain_file(bench));
    cases.run("del-where-the-path-is-the-next-pods", || next_pods(bench));
    cases.run("del-after-somebody-renamed-it-on-the-host", || renamed(bench));
    cases.run("del-goes-past-an-ipam-that-fails", || failing_ipam(bench));
    cases.run("del-of-a-vf-that-is-gone", || gone(bench));
    cases.run("del-after-the-pf-was-reloaded", || reloaded(bench));
}

fn everything(bench: &Bench) -> Result<Value> {
    let keys = json!({"vlan": 100, "trust": "on", "mac": "02:00:00:00:05:05", "max_tx_rate": 100});
    Ok(sriov(&bench.pf0.vf(0)?, keys))
}

/// An attachment whose DEL comes later, from outside.
fn attached(bench: &Bench, name: &str) -> Result<(Sandbox, Value, Value)> {
    let (_, before) = bench.vf(0)?;
    let conf = everything(bench)?;
    let pod = Sandbox::create(name)?;
    pod.add(&conf)?;
    Ok((pod, conf, before))
}

fn del(id: &str, netns: &Path, conf: &Value) -> Result<String> {
    let output = cni::call("DEL", id, netns, conf).run(program("sriov"));
    accepted(&output)?;
    Ok(output.stderr)
}

fn unnamed(bench: &Bench) -> Result<()> {
    let (pod, conf, before) = attached(bench, "unnamed")?;
    del(&pod.id, Path::new(""), &conf)?;
    bench.unchanged(0, &before)?;
    ensure!(records(&bench.pf0.vf(0)?)? == 0, "state files are left");
    pod.del(&conf)
}

/// What is left of `/run/netns/NAME` once it is unmounted.
fn plain_file(bench: &Bench) -> Result<()> {
    let (pod, conf, before) = attached(bench, "plain")?;
    let (id, path) = (pod.id.clone(), pod.netns.path());
    pod.netns.delete()?;
    fs::write(&path, "")?;
    let deleted = del(&id, &path, &conf);
    fs::remove_file(&path)?;
    deleted?;
    bench.unchanged(0, &before)
}

/// Another namespace under the same path, with an interface of the same name, which is not ours.
fn next_pods(bench: &Bench) -> Result<()> {
    let (pod, conf, before) = attached(bench, "reused")?;
    let (id, path) = (pod.id.clone(), pod.netns.path());
    pod.netns.delete()?;
    let next = Netns::create("reused")?;
    next.ip(&["link", "add", "net1", "address", "02:00:00:00:00:77", "type", "bridge"])?;
    del(&id, &path, &conf)?;
    let foreign = next.ip_json(&["link", "show", "dev", "net1"])?;
    ensure!(foreign[0]["address"] == "02:00:00:00:00:77", "{foreign}");
    bench.unchanged(0, &before)
}

fn renamed(bench: &Bench) -> Result<()> {
    let (pod, conf, before) = attached(bench, "renamed")?;
    let (id, path) = (pod.id.clone(), pod.netns.path());
    pod.netns.delete()?;
    let name = bench.pf0.vf(0)?.wait_netdev()?;
    ip(&["link", "set", &name, "name", "somebodys", "mtu", "1300"])?;
    ip(&[
        "link",
        "property",
        "add",
        "dev",
        "somebodys",
        "altname",
        before["link"]["name"].as_str().unwrap_or("x"),
    ])?;
    del(&id, &path, &conf)?;
    bench.unchanged(0, &before)
}

/// The VF is put back all the same, the error is told, and the next DEL ends it.
fn failing_ipam(bench: &Bench) -> Result<String> {
    let (vf, before) = bench.vf(0)?;
    let dir = Path::new("/run/ipam");
    fs::create_dir_all(dir)?;
    let script = "#!/bin/sh\ncat >/dev/null\ncase $CNI_COMMAND in\n\
        ADD) echo '{\"cniVersion\": \"1.0.0\", \"ips\": [{\"address\": \"192.0.2.1/24\"}]}' ;;\n\
        *) [ ! -e /run/ipam/fails ] || { echo '{\"code\": 11, \"msg\": \"the pool is away\"}'; exit 1; } ;;\nesac\n";
    fs::write(dir.join("shaky"), script)?;
    fs::set_permissions(dir.join("shaky"), fs::Permissions::from_mode(0o755))?;
    let conf = sriov(&vf, json!({"vlan": 100, "trust": "on", "ipam": {"type": "shaky"}}));
    let pod = Sandbox::create("shaky")?;
    let call = |command| pod.call(command, &conf).path(dir).run(program("sriov"));
    accepted(&call("ADD"))?;
    fs::write(dir.join("fails"), "")?;
    let words = refused(&call("DEL"))?;
    bench.unchanged(0, &before)?;
    ensure!(words.contains("the pool is away"), "{words}");
    ensure!(records(&vf)? > 0, "the record is gone, and with it the address");
    fs::remove_file(dir.join("fails"))?;
    accepted(&call("DEL"))?;
    ensure!(records(&vf)? == 0, "state files are left");
    Ok(words)
}

/// Its PF has no VFs any more: DEL says so, and gives the address and the records up.
fn gone(bench: &Bench) -> Result<String> {
    let vf = bench.pf1.vf(0)?;
    let ipam = json!({"type": "host-local", "subnet": "192.0.2.0/24"});
    let conf = sriov(&vf, json!({"vlan": 100, "ipam": ipam}));
    let pod = Sandbox::create("gone-vf")?;
    pod.add(&conf)?;
    let leases = || -> Result<usize> {
        let files = fs::read_dir("/var/lib/cni/networks/sriov-net")?.flatten();
        Ok(files.filter(|file| file.file_name().to_string_lossy().starts_with("192.")).count())
    };
    ensure!(leases()? == 1, "no lease to give back");
    bench.pf1.remove_vfs()?;
    let words = del(&pod.id, &pod.netns.path(), &conf)?;
    ensure!(words.contains("gone from this node"), "{words:?}");
    ensure!(leases()? == 0, "the lease is left");
    ensure!(records(&vf)? == 0, "state files are left");
    pod.del(&conf)?;
    bench.pf1.create_vfs(2)?;
    Ok(words.trim().to_owned())
}

/// The PF's driver goes and comes back, and so do its VFs, all new: the pod's is what it was before the pod.
fn reloaded(bench: &Bench) -> Result<()> {
    let vf = bench.pf1.vf(1)?;
    let before = state(&vf, Some((&bench.pf1, 1)))?;
    let conf = sriov(&vf, json!({"vlan": 100, "trust": "on", "mac": "02:00:00:00:05:06"}));
    let pod = Sandbox::create("reloaded")?;
    pod.add(&conf)?;
    bench.pf1.unbind()?;
    bench.pf1.bind_default().context("the PF does not come back")?;
    bench.pf1.create_vfs(2)?;
    pod.del(&conf)?;
    same(&before, &state(&bench.pf1.vf(1)?, Some((&bench.pf1, 1)))?)?;
    ensure!(records(&vf)? == 0, "state files are left");
    Ok(())
}
