//! MAC addresses: igbvf takes the PF's only at a reset, and the PF refuses the VF's own once it holds one.
//! Effective means that a ping passes, not that a field shows it.

use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::json;

use super::Bench;
use super::Cases;
use crate::cni::Sandbox;
use crate::cni::address;
use crate::cni::sriov;
use crate::host;
use crate::host::ip;

const WANTED: &str = "02:00:00:00:01:01";
const ADMIN: &str = "02:00:00:00:02:02";

pub(super) fn run(cases: &mut Cases, bench: &Bench) {
    cases.run("mac-is-effective-and-restored", || effective(bench));
    cases.run("an-administrators-mac-gives-way-and-comes-back", || {
        over_an_administrators(bench, || pinged(bench, "off"))
    });
    cases.run("an-administrators-mac-with-trust", || over_an_administrators(bench, || pinged(bench, "on")));
    cases.run("an-administrators-mac-bound-at-use", || over_an_administrators(bench, || bound(bench, "off")));
    cases.run("an-administrators-mac-bound-at-use-with-trust", || {
        over_an_administrators(bench, || bound(bench, "on"))
    });
    cases.run("an-administrators-mac-under-a-pod-of-the-go-plugin", || {
        over_an_administrators(bench, || of_the_go_plugin(bench))
    });
    cases.run("an-administrators-mac-on-a-vf-that-the-host-trusts", || {
        over_an_administrators(bench, || trusted(bench, || pinged(bench, "")))
    });
    cases.run("without-an-administrators-mac-none-is-left", || none_is_left(bench, || pinged(bench, "off")));
    cases.run("without-an-administrators-mac-none-is-left-on-a-vf-that-the-host-trusts", || {
        none_is_left(bench, || trusted(bench, || pinged(bench, "")))
    });
    cases.run("bound-at-use-without-an-administrators-mac-none-is-left", || {
        none_is_left(bench, || bound(bench, "off"))
    });
}

/// Gives VF 0 the wanted MAC in one pod, with `trust` or as the host has that where it is empty, and pings it from VF 1 in another.
fn pinged(bench: &Bench, trust: &str) -> Result<()> {
    let keys = json!({"mac": WANTED, "trust": trust, "ipam": address("192.0.2.1/24")});
    let confs =
        [sriov(&bench.pf0.vf(0)?, keys), sriov(&bench.pf0.vf(1)?, json!({"ipam": address("192.0.2.2/24")}))];
    let pods = [Sandbox::create("mac-a")?, Sandbox::create("mac-b")?];
    let result = pods[0].add(&confs[0])?;
    ensure!(result["interfaces"][0]["mac"] == WANTED, "{result}");
    pods[1].add(&confs[1])?;
    let inside = pods[0].netns.ip_json(&["link", "show", "dev", "net1"])?;
    ensure!(inside[0]["address"] == WANTED, "the pod sees {}", inside[0]["address"]);
    ensure!(bench.pf0.vf_state(0)?["address"] == WANTED, "the PF holds {}", bench.pf0.vf_state(0)?);
    for pod in &pods {
        pod.netns.wait_carrier("net1")?;
    }
    ensure!(pods[1].netns.pings("192.0.2.1")?, "{WANTED} does not answer");
    for (pod, conf) in pods.iter().zip(&confs) {
        pod.del(conf)?;
    }
    Ok(())
}

/// Has VF 0 with the wanted MAC bound for a pod, and given back.
fn bound(bench: &Bench, trust: &str) -> Result<()> {
    let vf = bench.pf0.vf(0)?;
    let conf = sriov(&vf, json!({"mac": WANTED, "trust": trust, "driver": "vfio-pci"}));
    host::run(Command::new("modprobe").arg("vfio-pci"))?;
    let pod = Sandbox::create("mac-bound")?;
    pod.add(&conf)?;
    ensure!(vf.driver().as_deref() == Some("vfio-pci"), "the driver is {:?}", vf.driver());
    ensure!(bench.pf0.vf_state(0)?["address"] == WANTED, "the PF holds {}", bench.pf0.vf_state(0)?);
    pod.del(&conf)
}

/// The state in which the Go plugin leaves a VF with a MAC, but for the claim that a kill kept it from writing.
fn of_the_go_plugin(bench: &Bench) -> Result<()> {
    let (vf, before) = bench.vf(0)?;
    let link = &before["link"];
    let name = link["name"].as_str().unwrap_or_default();
    let pod = Sandbox::create("mac-go")?;
    let cache = json!({
        "OrigVfState": {
            "HostIFName": name, "SpoofChk": true, "AdminMAC": ADMIN, "EffectiveMAC": ADMIN, "VlanProto": 33024,
            "MTU": link["mtu"],
        },
        "MAC": WANTED, "deviceID": vf.address(), "VFID": 0, "cniVersion": "1.0.0", "name": "sriov-net", "type": "sriov",
        "ipam": {},
    });
    let state = std::path::Path::new("/var/lib/cni/sriov");
    std::fs::create_dir_all(state)?;
    std::fs::write(state.join(format!("{}-net1", pod.id)), cache.to_string())?;
    bench.pf0.set_vf(0, &["mac", WANTED])?;
    ip(&["link", "set", name, "netns", pod.netns.name(), "name", "net1"])?;
    // igb refuses the VF the address that it was just given; the Go plugin's pod goes on with the old one.
    pod.netns.ip(&["link", "set", "net1", "up"])?;
    pod.del(&sriov(&vf, json!({"mac": WANTED})))
}

/// The host trusts VF 0 before and after.
fn trusted(bench: &Bench, pod: impl FnOnce() -> Result<()>) -> Result<()> {
    bench.pf0.set_vf(0, &["trust", "on"])?;
    let before = bench.state(0)?;
    pod()?;
    bench.unchanged(0, &before)?;
    bench.pf0.set_vf(0, &["trust", "off"])
}

fn effective(bench: &Bench) -> Result<String> {
    let (_, before) = bench.vf(0)?;
    pinged(bench, "off")?;
    bench.unchanged(0, &before)?;
    pinged(bench, "on")?;
    bench.unchanged(0, &before)?;
    Ok(format!("was and is {} at the VF", before["link"]["address"]))
}

/// The VF has an administrator's MAC, and is reset so that it uses it: that is what comes back, lock and all.
fn over_an_administrators(bench: &Bench, pod: impl FnOnce() -> Result<()>) -> Result<()> {
    let vf = bench.pf0.vf(0)?;
    bench.pf0.set_vf(0, &["mac", ADMIN])?;
    vf.unbind()?;
    let name = vf.bind_default()?;
    let (_, before) = bench.vf(0)?;
    ensure!(before["link"]["address"] == ADMIN, "{before}");
    pod()?;
    bench.unchanged(0, &before)?;
    let changed = ip(&["link", "set", &name, "address", "02:00:00:00:00:66"]);
    changed.err().context("the VF may change its MAC: the administrator's hold is gone")?;
    bench.pf0.set_vf(0, &["mac", "00:00:00:00:00:00"])
}

/// Without an administrator's MAC the VF may change its own, before and after.
fn none_is_left(bench: &Bench, pod: impl FnOnce() -> Result<()>) -> Result<()> {
    let (vf, before) = bench.vf(0)?;
    pod()?;
    bench.unchanged(0, &before)?;
    let name = vf.netdev()?.context("no netdev")?;
    ip(&["link", "set", &name, "address", "02:00:00:00:00:66"])
}
