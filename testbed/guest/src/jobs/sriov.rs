//! `sriov` on real VFs: what it configures holds on the wire, and what it gives back is as it was.
//! Everything is read back through `ip` and sysfs.

use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;

use super::Cases;
use crate::cni;
use crate::cni::Sandbox;
use crate::cni::accepted;
use crate::cni::address;
use crate::cni::refused;
use crate::cni::same;
use crate::cni::sriov;
use crate::cni::state;
use crate::cni::told;
use crate::cni::told_again;
use crate::host;
use crate::host::Function;
use crate::host::PF0;
use crate::host::PF1;
use crate::host::Pf;
use crate::host::ip;

mod bind;
mod del;
mod interleaved;
mod kills;
mod mac;
mod netconf;
mod upkeep;

/// The VFs that the cases share, each given back by every case as it was.
struct Bench {
    pf0: Pf,
    pf1: Pf,
}

impl Bench {
    /// A VF of PF 0 with its state.
    fn vf(&self, index: usize) -> Result<(Function, Value)> {
        let vf = self.pf0.vf(index)?;
        let state = self.state(index)?;
        Ok((vf, state))
    }

    fn state(&self, index: usize) -> Result<Value> {
        state(&self.pf0.vf(index)?, Some((&self.pf0, index)))
    }

    fn unchanged(&self, index: usize, before: &Value) -> Result<()> {
        same(before, &self.state(index)?)
    }
}

pub(super) fn run(cases: &mut Cases) -> Result<()> {
    let bench = Bench { pf0: Pf::at(PF0)?, pf1: Pf::at(PF1)? };
    bench.pf0.create_vfs(4)?;
    bench.pf1.create_vfs(2)?;
    cases.run("vlan-isolation", || vlan_isolation(&bench));
    cases.run("attributes-and-back", || attributes(&bench));
    mac::run(cases, &bench);
    cases.run("a-refused-attribute-leaves-no-trace", || refused_attribute(&bench));
    cases.run("a-refused-ipam-leaves-no-trace", || refused_ipam(&bench));
    cases.run("a-foreign-net1-is-not-touched", || foreign_interface(&bench));
    cases.run("del-twice", || del_twice(&bench));
    cases.run("del-after-the-namespace-is-gone", || namespace_gone(&bench));
    cases.run("what-the-pod-changed-is-put-back", || changed_in_the_pod(&bench));
    cases.run("a-bonds-port-is-its-port-again", || port_of_a_bond(&bench));
    cases.run("a-living-pods-vf-is-refused", || living_pod(&bench));
    cases.run("a-lost-pods-vf-is-put-back-first", || lost_pod(&bench));
    cases.run("a-vfio-vf-stays-and-is-configured", || vfio(&bench));
    netconf::run(cases, &bench);
    bind::run(cases, &bench);
    del::run(cases, &bench);
    upkeep::run(cases, &bench);
    interleaved::run(cases, &bench);
    kills::run(cases, &bench);
    Ok(())
}

/// VFs on one VLAN reach each other, on one PF and across; a VF on another VLAN and one without do not reach them.
fn vlan_isolation(bench: &Bench) -> Result<String> {
    let members = [
        ("vlan-a", bench.pf0.vf(0)?, "192.0.2.1", json!(100)),
        ("vlan-b", bench.pf0.vf(1)?, "192.0.2.2", json!(100)),
        ("vlan-c", bench.pf1.vf(0)?, "192.0.2.3", json!(100)),
        ("vlan-d", bench.pf0.vf(2)?, "192.0.2.4", json!(200)),
        ("vlan-e", bench.pf0.vf(3)?, "192.0.2.5", Value::Null),
        ("vlan-f", bench.pf1.vf(1)?, "192.0.2.6", json!(200)),
    ];
    let mut pods = Vec::new();
    for (name, vf, ip, vlan) in &members {
        let conf = sriov(vf, json!({"vlan": vlan, "ipam": address(&format!("{ip}/24"))}));
        let pod = Sandbox::create(name)?;
        pod.add(&conf)?;
        pods.push((pod, conf));
    }
    for (pod, _) in &pods {
        pod.netns.wait_carrier("net1")?;
    }
    let from = &pods[0].0.netns;
    ensure!(from.pings("192.0.2.2")?, "the same VLAN on the same PF does not answer");
    ensure!(from.pings("192.0.2.3")?, "the same VLAN on the other PF does not answer");
    ensure!(!from.pings("192.0.2.4")?, "another VLAN answers");
    ensure!(!from.pings("192.0.2.5")?, "a VF without a VLAN answers");
    // The others are silent because of their VLAN and not because they are dead: 200 reaches 200, the untagged the PF.
    ensure!(pods[3].0.netns.pings("192.0.2.6")?, "VLAN 200 does not reach VLAN 200");
    let pf = bench.pf0.name()?;
    ip(&["address", "add", "192.0.2.7/24", "dev", &pf])?;
    let reached = pods[4].0.netns.pings("192.0.2.7");
    ip(&["address", "del", "192.0.2.7/24", "dev", &pf])?;
    ensure!(reached?, "the untagged VF does not reach its PF");
    for (pod, conf) in &pods {
        pod.del(conf)?;
    }
    Ok("VLAN 100 reaches VLAN 100 on both PFs, not VLAN 200 and not the untagged".to_owned())
}

/// Each attribute is at the PF while the pod has the VF, and the old one after.
fn attributes(bench: &Bench) -> Result<String> {
    let (vf, before) = bench.vf(0)?;
    let wanted = json!({"vlan": 100, "vlanQoS": 3, "spoofchk": "off", "trust": "on", "max_tx_rate": 100});
    let conf = sriov(&vf, wanted);
    let pod = Sandbox::create("attributes")?;
    let result = pod.add(&conf)?;
    let interface = &result["interfaces"][0];
    ensure!(interface["name"] == "net1" && interface["pciID"] == vf.address(), "{result}");
    let optimistic =
        pod.netns.command("cat").arg("/proc/sys/net/ipv6/conf/net1/optimistic_dad").output()?.stdout;
    ensure!(optimistic == b"1\n", "IPv6 addresses wait for duplicate address detection");
    let held = bench.pf0.vf_state(0)?;
    let vlan = &held["vlan_list"][0];
    ensure!(vlan["vlan"] == 100 && vlan["qos"] == 3, "{held}");
    ensure!(held["spoofchk"] == false && held["trust"] == true, "{held}");
    ensure!(held["rate"]["max_tx"] == 100, "{held}");
    pod.del(&conf)?;
    bench.unchanged(0, &before)?;
    Ok(format!("was and is {before}"))
}

/// igb refuses a link state and 802.1ad: what was set before them is taken back.
fn refused_attribute(bench: &Bench) -> Result<String> {
    let (vf, before) = bench.vf(0)?;
    let pod = Sandbox::create("refused")?;
    let mut words = Vec::new();
    for keys in [
        json!({"vlan": 100, "trust": "on", "link_state": "enable"}),
        json!({"mac": "02:00:00:00:00:42", "vlan": 100, "vlanProto": "802.1ad"}),
        json!({"vlan": 7, "min_tx_rate": 10}),
        json!({"vlan": 0, "vlanTrunk": "100-200"}),
    ] {
        let conf = sriov(&vf, keys);
        words.push(refused(&pod.run("ADD", &conf))?);
        bench.unchanged(0, &before)?;
        pod.del(&conf)?;
    }
    Ok(words.join("; "))
}

fn refused_ipam(bench: &Bench) -> Result<String> {
    let (vf, before) = bench.vf(0)?;
    let pod = Sandbox::create("no-ipam")?;
    let conf =
        sriov(&vf, json!({"vlan": 100, "ipam": {"type": "static", "addresses": [{"address": "nonsense"}]}}));
    let words = refused(&pod.run("ADD", &conf))?;
    bench.unchanged(0, &before)?;
    Ok(words)
}

fn foreign_interface(bench: &Bench) -> Result<String> {
    let (vf, before) = bench.vf(0)?;
    let pod = Sandbox::create("foreign")?;
    pod.netns.ip(&["link", "add", "net1", "address", "02:00:00:00:00:77", "type", "bridge"])?;
    let words = refused(&pod.run("ADD", &sriov(&vf, json!({"vlan": 100}))))?;
    let foreign = pod.netns.ip_json(&["link", "show", "dev", "net1"])?;
    ensure!(foreign[0]["address"] == "02:00:00:00:00:77", "{foreign}");
    bench.unchanged(0, &before)?;
    Ok(words)
}

fn del_twice(bench: &Bench) -> Result<()> {
    let (vf, before) = bench.vf(0)?;
    let conf = sriov(&vf, json!({"vlan": 100, "ipam": address("192.0.2.1/24")}));
    let pod = Sandbox::create("twice")?;
    pod.add(&conf)?;
    pod.del(&conf)?;
    pod.del(&conf)?;
    bench.unchanged(0, &before)
}

/// The kernel gives the VF back under the pod's name; DEL gives it its own, and the PF's side too.
fn namespace_gone(bench: &Bench) -> Result<String> {
    let (vf, before) = bench.vf(0)?;
    let conf = sriov(&vf, json!({"vlan": 100, "trust": "on", "mac": "02:00:00:00:00:43"}));
    let pod = Sandbox::create("gone")?;
    let (id, path) = (pod.id.clone(), pod.netns.path());
    pod.add(&conf)?;
    pod.netns.delete()?;
    accepted(&cni::call("DEL", &id, &path, &conf).run(cni::program("sriov")))?;
    bench.unchanged(0, &before)?;
    Ok(format!("{vf} is {} again", before["link"]["name"]))
}

fn changed_in_the_pod(bench: &Bench) -> Result<()> {
    let (vf, before) = bench.vf(0)?;
    let conf = sriov(&vf, json!({"vlan": 100}));
    let pod = Sandbox::create("changed")?;
    pod.add(&conf)?;
    pod.netns.ip(&["link", "set", "net1", "down"])?;
    pod.netns.ip(&["link", "set", "net1", "name", "mine", "mtu", "1400", "address", "02:00:00:00:00:99"])?;
    pod.netns.ip(&["link", "set", "mine", "up"])?;
    // A name that the host has: the kernel moves no link with such a one.
    pod.netns.ip(&["link", "property", "add", "dev", "mine", "altname", &bench.pf0.name()?])?;
    pod.del(&conf)?;
    bench.unchanged(0, &before)
}

fn port_of_a_bond(bench: &Bench) -> Result<String> {
    let (vf, alone) = bench.vf(0)?;
    let name = vf.wait_netdev()?;
    ip(&["link", "add", "bond7", "type", "bond", "mode", "active-backup"])?;
    // A bond takes no port that is up, and brings it up itself.
    ip(&["link", "set", &name, "down"])?;
    ip(&["link", "set", &name, "master", "bond7"])?;
    let back = there_and_back(&vf, &name);
    ip(&["link", "del", "bond7"])?;
    let told = back?;
    ip(&["link", "set", &name, if alone["link"]["up"] == true { "up" } else { "down" }])?;
    bench.unchanged(0, &alone)?;
    Ok(told)
}

/// What was told of the port.
fn there_and_back(vf: &Function, name: &str) -> Result<String> {
    let before = told(name)?;
    ensure!(before["link"]["master"] == "bond7", "the VF is no port: {before}");
    let conf = sriov(vf, json!({"vlan": 100}));
    let pod = Sandbox::create("port")?;
    pod.add(&conf)?;
    let inside = pod.netns.ip_json(&["link", "show", "dev", "net1"])?;
    ensure!(inside[0].get("master").is_none(), "a port in the pod: {inside}");
    pod.del(&conf)?;
    told_again(name, &before)?;
    Ok(before["link"].to_string())
}

fn living_pod(bench: &Bench) -> Result<String> {
    let (vf, before) = bench.vf(0)?;
    let conf = sriov(&vf, json!({"vlan": 100}));
    let (first, second) = (Sandbox::create("first")?, Sandbox::create("second")?);
    first.add(&conf)?;
    let words = refused(&second.run("ADD", &conf))?;
    ensure!(words.contains(&format!("pci address {vf} is already allocated")), "{words}");
    // The runtime's DEL for the ADD that failed must not reset the first pod's VF.
    second.del(&conf)?;
    ensure!(bench.pf0.vf_state(0)?["vlan_list"][0]["vlan"] == 100, "the first pod's VLAN is gone");
    first.del(&conf)?;
    bench.unchanged(0, &before)?;
    Ok(words)
}

/// A pod whose DEL never came: the next ADD puts the VF back, so that its own record remembers the right state.
fn lost_pod(bench: &Bench) -> Result<()> {
    let (vf, before) = bench.vf(0)?;
    let lost = sriov(&vf, json!({"vlan": 100, "trust": "on", "mac": "02:00:00:00:00:44"}));
    let first = Sandbox::create("lost")?;
    let (id, path) = (first.id.clone(), first.netns.path());
    first.add(&lost)?;
    first.netns.delete()?;
    let next = sriov(&vf, json!({"vlan": 200}));
    let second = Sandbox::create("next")?;
    second.add(&next)?;
    // The lost DEL comes after all: it is nobody's now.
    accepted(&cni::call("DEL", &id, &path, &lost).run(cni::program("sriov")))?;
    ensure!(bench.pf0.vf_state(0)?["vlan_list"][0]["vlan"] == 200, "a late DEL reset the next pod's VF");
    second.del(&next)?;
    bench.unchanged(0, &before)
}

fn vfio(bench: &Bench) -> Result<String> {
    let vf = bench.pf0.vf(1)?;
    vf.bind("vfio-pci")?;
    let before = bench.state(1)?;
    let conf = sriov(
        &vf,
        json!({"vlan": 100, "mac": "02:00:00:00:00:45", "trust": "on", "ipam": address("192.0.2.9/24")}),
    );
    let pod = Sandbox::create("vfio")?;
    let result = pod.add(&conf)?;
    let interface = &result["interfaces"][0];
    ensure!(interface["mac"] == "02:00:00:00:00:45", "{result}");
    ensure!(result["ips"][0]["address"] == "192.0.2.9/24", "{result}");
    let held = bench.pf0.vf_state(1)?;
    ensure!(held["address"] == "02:00:00:00:00:45" && held["vlan_list"][0]["vlan"] == 100, "{held}");
    ensure!(vf.driver().as_deref() == Some("vfio-pci"), "the driver is {:?}", vf.driver());
    pod.del(&conf)?;
    pod.del(&conf)?;
    bench.unchanged(1, &before)?;
    vf.bind_default()?;
    Ok(format!("{vf} on {}", host::Function::vfio_node(&vf).unwrap_or_default()))
}
