//! CHECK, GC, and pods that the Go plugin made: what comes after an ADD and is no DEL of ours.

use std::fs;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;

use super::Bench;
use super::Cases;
use super::kills;
use crate::cni::Sandbox;
use crate::cni::accepted;
use crate::cni::address;
use crate::cni::merged;
use crate::cni::refused;
use crate::cni::sriov;
use crate::host::ip;

pub(super) fn run(cases: &mut Cases, bench: &Bench) {
    cases.run("check-names-each-deviation", || check(bench));
    cases.run("gc-undoes-what-is-not-wanted", || gc(bench));
    cases.run("a-pod-of-the-go-plugin-is-undone", || go_pod(bench, &[], Sandbox::del));
    // sriov-cni 2.3 to 2.7 kept less.
    let older = ["MTU", "VlanProto", "LinkState"];
    cases.run("a-pod-of-an-older-go-plugin-is-undone", || go_pod(bench, &older, Sandbox::del));
    cases.run("gc-undoes-a-pod-of-the-go-plugin", || go_pod(bench, &[], kills::gc));
}

fn check(bench: &Bench) -> Result<String> {
    let (vf, before) = bench.vf(0)?;
    let keys = json!({
        "vlan": 100, "spoofchk": "on", "trust": "on", "mtu": 1300, "allmulti": true, "ipam": address("192.0.2.1/24"),
    });
    let conf = sriov(&vf, keys);
    let pod = Sandbox::create("check")?;
    let result = pod.add(&conf)?;
    let checked = merged(conf.clone(), json!({"prevResult": result}));
    accepted(&pod.run("CHECK", &checked))?;
    bench.pf0.set_vf(0, &["vlan", "7"])?;
    pod.netns.ip(&["address", "del", "192.0.2.1/24", "dev", "net1"])?;
    let words = refused(&pod.run("CHECK", &checked))?;
    ensure!(words.contains("the PF does not hold Vlan") && words.contains("192.0.2.1/24"), "{words}");
    pod.netns.ip(&["link", "set", "net1", "mtu", "1400", "allmulticast", "off"])?;
    let words = refused(&pod.run("CHECK", &checked))?;
    let link = ["Interface net1 has MTU 1400, wanted 1300", "net1 does not take every multicast frame"];
    ensure!(link.iter().all(|wanted| words.contains(wanted)), "{words}");
    pod.del(&conf)?;
    bench.unchanged(0, &before)?;
    Ok(words)
}

fn gc(bench: &Bench) -> Result<()> {
    let befores = [bench.vf(0)?, bench.vf(1)?];
    let confs = [0, 1].map(|index: usize| sriov(&befores[index].0, json!({"vlan": 100, "trust": "on"})));
    let pods = [Sandbox::create("wanted")?, Sandbox::create("unwanted")?];
    for (pod, conf) in pods.iter().zip(&confs) {
        pod.add(conf)?;
    }
    let list = json!({"cni.dev/valid-attachments": [{"containerID": pods[0].id, "ifname": "net1"}]});
    accepted(&pods[0].run("GC", &merged(confs[0].clone(), list)))?;
    bench.unchanged(1, &befores[1].1)?;
    ensure!(bench.pf0.vf_state(0)?["vlan_list"][0]["vlan"] == 100, "GC took the wanted pod's VLAN");
    accepted(&pods[0].run("GC", &merged(confs[0].clone(), json!({"cni.dev/valid-attachments": []}))))?;
    bench.unchanged(0, &befores[0].1)
}

/// The state that the Go plugin leaves while its pod lives: the VF in the pod, its cache and its allocation file.
fn go_pod(bench: &Bench, without: &[&str], undo: kills::Undo) -> Result<()> {
    let (vf, before) = bench.vf(0)?;
    let held = bench.pf0.vf_state(0)?;
    let link = &before["link"];
    let pod = Sandbox::create("go")?;
    let mut cache = json!({
        "OrigVfState": {
            "HostIFName": link["name"], "SpoofChk": true, "Trust": false, "AdminMAC": held["address"],
            "EffectiveMAC": link["address"], "Vlan": 0, "VlanQoS": 0, "VlanProto": 33024, "MinTxRate": 0, "MaxTxRate": 0,
            "LinkState": 0, "MTU": link["mtu"],
        },
        "Master": bench.pf0.name()?, "MAC": "", "MTU": link["mtu"], "vlan": 100, "vlanQoS": 0, "vlanProto": "802.1q",
        "deviceID": vf.address(), "VFID": 0, "min_tx_rate": null, "max_tx_rate": null, "spoofchk": "", "trust": "on",
        "link_state": "", "cniVersion": "1.0.0", "name": "sriov-net", "type": "sriov", "ipam": {},
    });
    if let Some(original) = cache["OrigVfState"].as_object_mut() {
        original.retain(|key, _| !without.contains(&key.as_str()));
    }
    let state = std::path::Path::new("/var/lib/cni/sriov");
    fs::create_dir_all(state.join("pci"))?;
    fs::write(state.join(format!("{}-net1", pod.id)), cache.to_string())?;
    fs::write(state.join("pci").join(vf.address()), pod.netns.path().to_string_lossy().as_bytes())?;
    bench.pf0.set_vf(0, &["vlan", "100", "trust", "on"])?;
    let name = link["name"].as_str().unwrap_or_default();
    ip(&["link", "set", name, "netns", pod.netns.name(), "name", "net1"])?;
    pod.netns.ip(&["link", "set", "net1", "up"])?;
    undo(&pod, &sriov(&vf, json!({"vlan": 100, "trust": "on"})))?;
    bench.unchanged(0, &before)?;
    ensure!(!state.join("pci").join(vf.address()).exists(), "the Go plugin's allocation file is left");
    Ok(())
}
