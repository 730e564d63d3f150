//! Bind at use: a kernel VF is `vfio-pci`'s while the pod has it.

use std::fs::File;
use std::process::Command;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;

use super::Bench;
use super::Cases;
use crate::cni::Sandbox;
use crate::cni::address;
use crate::cni::refused;
use crate::cni::sriov;
use crate::host;
use crate::host::ip;

pub(super) fn run(cases: &mut Cases, bench: &Bench) {
    cases.run("a-driver-that-is-not-loaded-is-refused", || not_loaded(bench));
    cases.run("a-kernel-vf-is-bound-at-use-and-given-back", || bound(bench));
    cases.run("a-function-that-a-process-has-open-is-not-taken-from-it", || open(bench));
}

fn not_loaded(bench: &Bench) -> Result<String> {
    let (vf, before) = bench.vf(1)?;
    host::run(Command::new("modprobe").args(["-r", "vfio-pci"]))?;
    let pod = Sandbox::create("unloaded")?;
    let conf = sriov(&vf, json!({"vlan": 100, "driver": "vfio-pci"}));
    let words = refused(&pod.run("ADD", &conf))?;
    host::run(Command::new("modprobe").arg("vfio-pci"))?;
    ensure!(words.contains("vfio-pci is not loaded"), "{words}");
    bench.unchanged(1, &before)?;
    Ok(words)
}

/// From a state in which nothing is the default; a second DEL and a lost namespace do no harm either.
fn bound(bench: &Bench) -> Result<String> {
    let vf = bench.pf0.vf(1)?;
    let name = vf.wait_netdev()?;
    ip(&["link", "set", &name, "name", "by-hand", "alias", "rack 7", "mtu", "1400", "up"])?;
    bench.pf0.set_vf(1, &["vlan", "7"])?;
    let (_, before) = bench.vf(1)?;
    let keys = json!({"driver": "vfio-pci", "vlan": 100, "mac": "02:00:00:00:06:06", "ipam": address("192.0.2.9/24")});
    let conf = sriov(&vf, keys);
    let mut node = String::new();
    for lost in [false, true] {
        let pod = Sandbox::create("bound")?;
        let result = pod.add(&conf)?;
        ensure!(result["interfaces"][0]["mac"] == "02:00:00:00:06:06", "{result}");
        ensure!(vf.driver().as_deref() == Some("vfio-pci"), "the driver is {:?}", vf.driver());
        node = vf.vfio_node()?;
        ensure!(std::path::Path::new(&node).exists(), "there is no {node}");
        let held = bench.pf0.vf_state(1)?;
        ensure!(held["address"] == "02:00:00:00:06:06" && held["vlan_list"][0]["vlan"] == 100, "{held}");
        if lost {
            // The next ADD of the VF finds that its pod is gone.
            pod.netns.delete()?;
            let next = Sandbox::create("next-bound")?;
            next.add(&conf)?;
            next.del(&conf)?;
        } else {
            pod.del(&conf)?;
            pod.del(&conf)?;
        }
        bench.unchanged(1, &before)?;
        ensure!(vf.attribute("driver_override")? == "(null)", "driver_override is left");
    }
    ip(&["link", "set", "by-hand", "down"])?;
    ip(&["link", "set", "by-hand", "name", &name, "alias", "", "mtu", "1500"])?;
    bench.pf0.set_vf(1, &["vlan", "0"])?;
    Ok(format!("{vf} on {node} and back"))
}

/// A DPDK program that outlives its pod's DEL: an unbind would wait for it beyond the reach of any signal.
fn open(bench: &Bench) -> Result<String> {
    host::run(Command::new("modprobe").arg("vfio-pci"))?;
    let (vf, before) = bench.vf(1)?;
    let conf = sriov(&vf, json!({"driver": "vfio-pci", "vlan": 100}));
    let pod = Sandbox::create("open")?;
    pod.add(&conf)?;
    let user = File::options().read(true).write(true).open(vf.vfio_node()?)?;
    let words = refused(&pod.run("DEL", &conf))?;
    ensure!(words.contains("a process has /dev/vfio/") && words.contains(vf.address()), "{words}");
    ensure!(vf.driver().as_deref() == Some("vfio-pci"), "the driver is {:?}", vf.driver());
    ensure!(bench.pf0.vf_state(1)?["vlan_list"][0]["vlan"] == 100, "its VLAN is gone under its user's hands");
    let next = Sandbox::create("next-open")?;
    let allocated = refused(&next.run("ADD", &conf))?;
    ensure!(allocated.contains("already allocated"), "{allocated}");
    drop(user);
    pod.del(&conf)?;
    bench.unchanged(1, &before)?;
    ensure!(vf.attribute("driver_override")? == "(null)", "driver_override is left");
    Ok(words)
}
