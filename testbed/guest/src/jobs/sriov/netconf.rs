//! Keys of the configuration that need a kernel's VF: networks of 2017, the pod's link, results of every version.
//! Which of a PF's VFs a network of 2017 gets is its own choice; that it is nobody else's is looked at.

use std::collections::BTreeSet;
use std::thread;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;

use super::Bench;
use super::Cases;
use crate::cni::Sandbox;
use crate::cni::accepted;
use crate::cni::address;
use crate::cni::merged;
use crate::cni::program;
use crate::cni::refused;
use crate::cni::sriov;
use crate::host::ip;

pub(super) fn run(cases: &mut Cases, bench: &Bench) {
    cases.run("2017-if0-with-ipam", || with_ipam(bench));
    cases.run("2017-if0-takes-no-vf-that-the-host-uses", || used_by_the_host(bench));
    cases.run("2017-layer-2-under-its-own-name", || layer_2(bench));
    cases.run("2017-dpdk-binds-the-vf-and-gives-it-back", || dpdk(bench));
    cases.run("2017-adds-at-once-never-share-a-vf", || at_once(bench));
    cases.run("2017-status-and-check-without-a-device", || without_a_device(bench));
    cases.run("mtu-and-allmulti-and-back", || link_keys(bench));
    cases.run("an-mtu-above-the-pfs-is-refused", || mtu_above(bench));
    cases.run("one-vf-is-one-interface-of-a-pod", || two_interfaces(bench));
    cases.run("every-version-has-its-result", || versions(bench));
    cases.run("a-vfio-vf-has-a-pci-id", || userspace(bench));
}

/// The VFs of PF 0 as they are.
fn all(bench: &Bench) -> Result<Vec<Value>> {
    (0..4).map(|index| bench.state(index)).collect()
}

fn all_unchanged(bench: &Bench, before: &[Value]) -> Result<()> {
    before.iter().enumerate().try_for_each(|(index, before)| bench.unchanged(index, before))
}

/// The VF that is a pod's interface, by the kernel's word.
fn device(pod: &Sandbox, name: &str) -> Result<String> {
    let link = pod.netns.ip_json(&["link", "show", "dev", name])?;
    Ok(link[0]["parentdev"].as_str().with_context(|| format!("no parent device: {link}"))?.to_owned())
}

/// As an old Multus gave it to its delegate: no name, no version.
fn with_ipam(bench: &Bench) -> Result<String> {
    let before = all(bench)?;
    let conf = json!({"type": "sriov", "if0": bench.pf0.name()?, "ipam": address("192.0.2.17/24")});
    let pod = Sandbox::create("of-2017")?;
    let result = pod.add(&conf)?;
    ensure!(result["cniVersion"] == "0.1.0" && result["ip4"]["ip"] == "192.0.2.17/24", "{result}");
    let vf = device(&pod, "net1")?;
    let addresses = pod.netns.ip_json(&["address", "show", "dev", "net1"])?;
    ensure!(addresses.to_string().contains("192.0.2.17"), "{addresses}");
    pod.del(&conf)?;
    all_unchanged(bench, &before)?;
    Ok(format!("took {vf}: {result}"))
}

/// VF 0 has an address of the host's; named by its number it is taken all the same.
fn used_by_the_host(bench: &Bench) -> Result<()> {
    let used = bench.pf0.vf(0)?.wait_netdev()?;
    ip(&["address", "add", "192.0.2.33/24", "dev", &used])?;
    let pod = Sandbox::create("of-2017")?;
    let conf = json!({"type": "sriov", "if0": bench.pf0.name()?, "l2enable": true});
    for (conf, wanted) in [(conf.clone(), 1), (merged(conf, json!({"vf": 0})), 0)] {
        pod.add(&conf)?;
        let vf = device(&pod, "net1")?;
        pod.del(&conf)?;
        ensure!(vf == bench.pf0.vf(wanted)?.address(), "took {vf}");
    }
    // Its way into the pod has taken the address from it.
    Ok(())
}

fn layer_2(bench: &Bench) -> Result<String> {
    let before = all(bench)?;
    let conf = json!({
        "type": "sriov", "if0": bench.pf0.name()?, "vlan": 210, "if0name": "north", "l2enable": true,
        // l2enable goes over it.
        "ipam": {"type": "none-such"},
    });
    let pod = Sandbox::create("layer-2")?;
    let result = pod.add(&conf)?;
    ensure!(result == json!({"cniVersion": "0.1.0", "dns": {}}), "{result}");
    let vf = device(&pod, "north")?;
    let north = pod.netns.ip_json(&["link", "show", "dev", "north"])?;
    ensure!(north[0]["flags"].to_string().contains("\"UP\""), "{north}");
    let tagged = (0..4)
        .filter(|index| bench.pf0.vf_state(*index).is_ok_and(|held| held["vlan_list"][0]["vlan"] == 210));
    let tagged: Vec<usize> = tagged.collect();
    ensure!(tagged.len() == 1 && bench.pf0.vf(tagged[0])?.address() == vf, "{vf} and {tagged:?}");
    // Again without a DEL: the way back of what it has must not be overwritten.
    let again = refused(&pod.run("ADD", &conf))?;
    ensure!(again.contains(&format!("pci address {vf} is already allocated to net1")), "{again}");
    pod.del(&conf)?;
    all_unchanged(bench, &before)?;
    Ok(format!("{vf} was north; again: {again}"))
}

/// The plugin of 2017 bound the VF that it took to a driver for DPDK.
fn dpdk(bench: &Bench) -> Result<String> {
    let vf = bench.pf0.vf(1)?;
    // Loads the module, which the plugin does not do.
    vf.bind("vfio-pci")?;
    vf.bind_default()?;
    let before = all(bench)?;
    let dpdk = json!({"kernel_driver": "igbvf", "dpdk_driver": "vfio-pci", "dpdk_tool": "/nonexistent"});
    let conf = json!({"type": "sriov", "master": bench.pf0.name()?, "vf": 1, "vlan": 5, "l2enable": true, "dpdk": dpdk});
    let pod = Sandbox::create("of-2017-dpdk")?;
    pod.add(&conf)?;
    ensure!(vf.driver().as_deref() == Some("vfio-pci"), "the driver is {:?}", vf.driver());
    ensure!(bench.pf0.vf_state(1)?["vlan_list"][0]["vlan"] == 5, "{}", bench.pf0.vf_state(1)?);
    pod.del(&conf)?;
    vf.wait_netdev()?;
    all_unchanged(bench, &before)?;
    Ok(format!("{vf} is {} again", before[1]["link"]["name"]))
}

/// Eight pods and four VFs: four get one each, four are told to try again.
fn at_once(bench: &Bench) -> Result<String> {
    let before = all(bench)?;
    let conf = json!({"type": "sriov", "if0": bench.pf0.name()?, "vlan": 7, "l2enable": true});
    let names: Vec<String> = (0..8).map(|number| format!("crowd-{number}")).collect();
    let pods = names.iter().map(|name| Sandbox::create(name)).collect::<Result<Vec<_>>>()?;
    let outputs: Vec<_> = thread::scope(|scope| {
        let calls = pods.iter().map(|pod| pod.call("ADD", &conf));
        let runs: Vec<_> = calls.map(|call| scope.spawn(move || call.run(program("sriov")))).collect();
        runs.into_iter().map(|run| run.join().map_err(|_| anyhow::anyhow!("a thread panicked"))).collect()
    });
    let mut taken = BTreeSet::new();
    let mut words = BTreeSet::new();
    for (pod, output) in pods.iter().zip(outputs) {
        let output = output?;
        if output.ok() {
            let vf = device(pod, "net1")?;
            ensure!(taken.insert(vf.clone()), "{vf} was given twice");
        } else {
            words.insert(output.error().0);
            let words = refused(&output)?;
            ensure!(words.contains("is free: vf 0:"), "{words}");
        }
    }
    ensure!(taken.len() == 4 && words == BTreeSet::from([11]), "{taken:?} with codes {words:?}");
    for pod in &pods {
        pod.del(&conf)?;
    }
    all_unchanged(bench, &before)?;
    Ok(taken.into_iter().collect::<Vec<_>>().join(" "))
}

fn without_a_device(bench: &Bench) -> Result<String> {
    let before = all(bench)?;
    let keys = json!({"cniVersion": "1.1.0", "name": "old", "type": "sriov", "vlan": 9, "if0name": "north"});
    let conf = merged(keys, json!({"if0": bench.pf0.name()?}));
    let pod = Sandbox::create("checked")?;
    accepted(&pod.run("STATUS", &conf))?;
    let result = pod.add(&conf)?;
    ensure!(result["interfaces"][0]["name"] == "north", "{result}");
    let checked = merged(conf.clone(), json!({"prevResult": result}));
    accepted(&pod.run("CHECK", &checked))?;
    pod.netns.ip(&["link", "set", "north", "address", "02:00:00:00:09:09"])?;
    let words = refused(&pod.run("CHECK", &checked))?;
    ensure!(words.contains("Interface north Mac"), "{words}");
    pod.del(&conf)?;
    all_unchanged(bench, &before)?;
    let gone = pod.run("STATUS", &merged(conf, json!({"if0": "enp99s0"})));
    ensure!(gone.error().0 == 50, "{gone:?}");
    Ok(words)
}

/// The pod's link is as asked; the host's is as before, whoever changed it meanwhile.
fn link_keys(bench: &Bench) -> Result<()> {
    let (vf, before) = bench.vf(0)?;
    let conf = sriov(&vf, json!({"mtu": 1400, "allmulti": true, "trust": "on"}));
    let pod = Sandbox::create("link-keys")?;
    let result = pod.add(&conf)?;
    ensure!(result["interfaces"][0]["mtu"] == 1400, "{result}");
    let link = pod.netns.ip_json(&["link", "show", "dev", "net1"])?;
    ensure!(link[0]["mtu"] == 1400 && link[0]["flags"].to_string().contains("ALLMULTI"), "{link}");
    pod.del(&conf)?;
    bench.unchanged(0, &before)?;
    let plain = sriov(&vf, json!({}));
    pod.add(&plain)?;
    pod.netns.ip(&["link", "set", "net1", "mtu", "1300", "allmulticast", "on"])?;
    pod.del(&plain)?;
    bench.unchanged(0, &before)?;
    // What the host's link took before, it takes again.
    let name = vf.netdev()?.context("no netdev")?;
    ip(&["link", "set", &name, "allmulticast", "on"])?;
    let taking = bench.state(0)?;
    pod.add(&plain)?;
    pod.netns.ip(&["link", "set", "net1", "allmulticast", "off"])?;
    pod.del(&plain)?;
    bench.unchanged(0, &taking)?;
    ip(&["link", "set", &name, "allmulticast", "off"])
}

fn mtu_above(bench: &Bench) -> Result<String> {
    let (vf, before) = bench.vf(0)?;
    let pod = Sandbox::create("mtu-above")?;
    let words = refused(&pod.run("ADD", &sriov(&vf, json!({"mtu": 9000, "vlan": 100}))))?;
    ensure!(words.contains("mtu 9000 is above the 1500 of the PF"), "{words}");
    bench.unchanged(0, &before)?;
    Ok(words)
}

fn two_interfaces(bench: &Bench) -> Result<String> {
    let (vf, before) = bench.vf(0)?;
    let conf = sriov(&vf, json!({"vlan": 100}));
    let pod = Sandbox::create("one-vf")?;
    pod.add(&conf)?;
    let mut second = pod.call("ADD", &conf);
    second.ifname = Some("net2".to_owned());
    let output = second.run(program("sriov"));
    let words = refused(&output)?;
    ensure!(words.contains("already allocated to net1 of container one-vf"), "{words}");
    let details = output.json.as_ref().map(|error| error["details"].to_string()).unwrap_or_default();
    ensure!(details.contains("a VF is one interface"), "{details}");
    ensure!(bench.pf0.vf_state(0)?["vlan_list"][0]["vlan"] == 100, "the first interface's VLAN is gone");
    pod.del(&conf)?;
    bench.unchanged(0, &before)?;
    Ok(details)
}

fn versions(bench: &Bench) -> Result<()> {
    let (vf, before) = bench.vf(0)?;
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        // Debian's IPAM plugins do not know 1.1.0.
        let ipam = if version == "1.1.0" { json!({}) } else { address("192.0.2.1/24") };
        let conf = sriov(&vf, json!({"cniVersion": version, "vlanProto": "802.1q", "vlan": 5, "ipam": ipam}));
        let pod = Sandbox::create("version")?;
        let result = pod.add(&conf)?;
        ensure!(result["cniVersion"] == version, "{result}");
        let interface = &result["interfaces"][0];
        if version < "0.3.0" {
            ensure!(interface.is_null() && result["ip4"]["ip"] == "192.0.2.1/24", "{result}");
        } else {
            let newest = version == "1.1.0";
            ensure!(
                interface["name"] == "net1" && interface["sandbox"] == json!(pod.netns.path()),
                "{result}"
            );
            ensure!(interface["mac"] == before["link"]["address"], "{result}");
            ensure!((interface["pciID"] == vf.address()) == newest, "{result}");
            ensure!((interface["mtu"] == 1500) == newest, "{result}");
            ensure!(newest || result["ips"][0]["interface"] == 0, "{result}");
        }
        pod.del(&conf)?;
        bench.unchanged(0, &before)?;
    }
    let pod = Sandbox::create("version")?;
    let without = sriov(&vf, json!({"cniVersion": "0.2.0"}));
    let words = refused(&pod.run("ADD", &without))?;
    ensure!(words.contains("cannot convert: no valid IP addresses"), "{words}");
    bench.unchanged(0, &before)
}

fn userspace(bench: &Bench) -> Result<String> {
    let vf = bench.pf0.vf(1)?;
    vf.bind("vfio-pci")?;
    let conf = sriov(&vf, json!({"mac": "02:00:00:00:05:05"}));
    let pod = Sandbox::create("pci-id")?;
    let result = pod.add(&conf)?;
    let interface = &result["interfaces"][0];
    ensure!(interface["pciID"] == vf.address() && interface["mtu"] == 1500, "{result}");
    ensure!(interface["mac"] == "02:00:00:00:05:05" && interface["name"] == "net1", "{result}");
    pod.del(&conf)?;
    vf.bind_default()?;
    Ok(result.to_string())
}
