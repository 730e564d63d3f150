//! `host-device` on NICs that are no VFs: a cloud NIC by its address, a virtio one by its name, and functions that DPDK has.
//! Everything is read back through `ip` and sysfs.

use std::time::Duration;

use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;

use self::kills::Killed;
use super::Cases;
use crate::cni::Sandbox;
use crate::cni::accepted;
use crate::cni::address;
use crate::cni::call;
use crate::cni::merged;
use crate::cni::program;
use crate::cni::refused;
use crate::cni::same;
use crate::cni::state;
use crate::host::ENI;
use crate::host::Function;
use crate::host::PF0;
use crate::host::Pf;
use crate::host::VIRTIO;
use crate::host::ip;
use crate::host::ip_json;

mod dhcp;
mod ipam;
mod kills;
mod modules;
mod whole;

/// How long an address may be tentative: its link needs its carrier first.
const SETTLED: Duration = Duration::from_secs(30);

pub(super) fn run(cases: &mut Cases) -> Result<()> {
    let eni = Function::at(ENI)?;
    let name = eni.wait_netdev()?;
    // As a node's own NIC would be: up, with an MTU and an alias of its own.
    ip(&["link", "set", &name, "mtu", "1400", "alias", "second subnet", "up"])?;
    let pf = Pf::at(PF0)?;
    pf.create_vfs(2)?;
    cases.run("the-eks-guides-configuration", || {
        round_trip(&eni, &json!({"cniVersion": "0.3.1", "pciBusID": ENI}))
    });
    cases.run("by-name", || round_trip(&eni, &json!({"cniVersion": "1.1.0", "device": name})));
    cases.run("as-the-device-plugin-allocated-it", || {
        round_trip(&eni, &json!({"cniVersion": "1.1.0", "runtimeConfig": {"deviceID": ENI}}))
    });
    cases.run("virtio-by-address", || virtio(&json!({"cniVersion": "1.1.0", "pciBusID": VIRTIO})));
    cases.run("virtio-by-name-after-the-namespace-is-gone", virtio_gone);
    cases.run("virtio-is-one-device-whichever-key-names-it", virtio_by_both_keys);
    cases.run("all-that-ip-tells-is-as-before-e1000e", || whole::run(&eni));
    cases.run("all-that-ip-tells-is-as-before-virtio", || whole::run(&Function::at(VIRTIO)?));
    cases.run("all-that-ip-tells-is-as-before-vf", || whole::run(&pf.vf(1)?));
    cases.run("all-that-ip-tells-is-as-before-port-of-a-bond", || {
        whole::port(&eni, &["bond", "mode", "active-backup"])
    });
    cases.run("all-that-ip-tells-is-as-before-port-of-a-bridge", || whole::port(&eni, &["bridge"]));
    cases.run("all-that-ip-tells-is-as-before-port-of-a-vrf", || whole::port(&eni, &["vrf", "table", "99"]));
    cases.run("add-killed-at-every-boundary", || kills::run(&eni, Killed::Add, 2));
    cases.run("del-killed-at-every-boundary", || kills::run(&eni, Killed::Del, 2));
    cases.run("del-of-the-dead-killed-at-every-boundary", || kills::run(&eni, Killed::DelOfTheDead, 3));
    for (name, killed) in
        [("add", Killed::Add), ("del", Killed::Del), ("del-of-the-dead", Killed::DelOfTheDead)]
    {
        cases.run_if_asked(&format!("full-sweep-{name}"), || kills::run(&eni, killed, 1));
    }
    cases.run("ipam-of-both-families", || ipam::both_families(&eni, None));
    cases.run("ipam-of-both-families-on-dpdk", || ipam::on_dpdk(&pf));
    cases.run("whereabouts-sees-the-link-and-its-own-keys", || ipam::whereabouts(&eni));
    cases.run("changed-in-the-pod", || changed(&eni));
    cases.run("del-after-the-namespace-is-gone", || namespace_gone(&eni));
    cases.run("no-module-is-loaded-for-an-interface", || modules::run(&eni));
    cases.run("a-link-whose-mtu-is-too-small-for-ip", too_small);
    cases.run("two-pods-do-not-share", || two_pods(&eni));
    cases.run("a-dhcp-lease-is-seen-renewed-and-released", || dhcp::run(&eni, &pf));
    for driver in ["vfio-pci", "igb_uio", "uio_pci_generic"] {
        cases.run(&format!("dpdk-on-{driver}"), || dpdk(&pf.vf(0)?, driver));
    }
    Ok(())
}

fn conf(keys: &Value) -> Value {
    merged(json!({"name": "n", "type": "host-device"}), keys.clone())
}

/// In with an address, and back as it was.
fn round_trip(nic: &Function, keys: &Value) -> Result<String> {
    let before = state(nic, None)?;
    let ipam = json!({"cniVersion": "0.3.1", "ipam": address("198.51.100.7/24")});
    let conf = conf(&merged(keys.clone(), if keys["cniVersion"] == "0.3.1" { ipam } else { json!({}) }));
    let pod = Sandbox::create("nic")?;
    let result = pod.add(&conf)?;
    let interface = &result["interfaces"][0];
    ensure!(interface["mac"] == before["link"]["address"] && interface["name"] == "net1", "{result}");
    let inside = pod.netns.ip_json(&["address", "show", "dev", "net1"])?;
    ensure!(inside[0]["ifalias"] == before["link"]["name"], "{inside}");
    ensure!(nic.netdev()?.is_none(), "{nic} is still on the host");
    if conf["ipam"].is_object() {
        ensure!(inside.to_string().contains("198.51.100.7"), "{inside}");
    }
    pod.del(&conf)?;
    pod.del(&conf)?;
    same(&before, &state(nic, None)?)?;
    Ok(result.to_string())
}

fn virtio(keys: &Value) -> Result<()> {
    let nic = Function::at(VIRTIO)?;
    nic.wait_netdev()?;
    let before = state(&nic, None)?;
    let pod = Sandbox::create("virtio")?;
    pod.add(&conf(keys))?;
    ensure!(
        pod.netns.ip_json(&["link", "show", "dev", "net1"])?[0]["parentbus"] == "virtio",
        "no virtio device in the pod"
    );
    pod.del(&conf(keys))?;
    same(&before, &state(&nic, None)?)
}

/// The kernel gives it back as `net1`, and neither its name nor its address leads to it: its device does.
fn virtio_gone() -> Result<()> {
    let nic = Function::at(VIRTIO)?;
    let conf = conf(&json!({"cniVersion": "1.1.0", "device": nic.wait_netdev()?}));
    let before = state(&nic, None)?;
    let pod = Sandbox::create("virtio")?;
    let (id, path) = (pod.id.clone(), pod.netns.path());
    pod.add(&conf)?;
    pod.netns.delete()?;
    accepted(&call("DEL", &id, &path, &conf).run(program("host-device")))?;
    same(&before, &state(&nic, None)?)
}

/// By its name and by its function's address: a living pod keeps it, and a dead one's is put back first.
fn virtio_by_both_keys() -> Result<String> {
    let nic = Function::at(VIRTIO)?;
    let by_name = conf(&json!({"cniVersion": "1.1.0", "device": nic.wait_netdev()?}));
    let by_address = conf(&json!({"cniVersion": "1.1.0", "pciBusID": VIRTIO}));
    let before = state(&nic, None)?;
    let mut words = String::new();
    for (one, other) in [(&by_name, &by_address), (&by_address, &by_name)] {
        let (first, second) = (Sandbox::create("first")?, Sandbox::create("second")?);
        first.add(one)?;
        let output = second.run("ADD", other);
        words = refused(&output)?;
        ensure!(output.json.as_ref().is_some_and(|error| error["code"] == 11), "{}", output.stdout);
        first.netns.delete()?;
        second.add(other)?;
        ensure!(
            second.netns.ip_json(&["link", "show", "dev", "net1"])?[0]["ifalias"] == before["link"]["name"],
            "the host's name is lost"
        );
        second.del(other)?;
        same(&before, &state(&nic, None)?)?;
    }
    Ok(words)
}

fn changed(nic: &Function) -> Result<()> {
    let before = state(nic, None)?;
    let conf = conf(&json!({"cniVersion": "1.1.0", "pciBusID": ENI}));
    let pod = Sandbox::create("changed")?;
    pod.add(&conf)?;
    pod.netns.ip(&["link", "set", "net1", "down"])?;
    pod.netns.ip(&["link", "set", "net1", "name", "mine", "alias", "mine", "mtu", "1280"])?;
    pod.netns.ip(&["link", "set", "mine", "address", "02:00:00:00:00:99"])?;
    pod.del(&conf)?;
    same(&before, &state(nic, None)?)
}

fn namespace_gone(nic: &Function) -> Result<()> {
    let before = state(nic, None)?;
    let conf = conf(&json!({"cniVersion": "1.1.0", "pciBusID": ENI}));
    let pod = Sandbox::create("gone")?;
    let (id, path) = (pod.id.clone(), pod.netns.path());
    pod.add(&conf)?;
    pod.netns.delete()?;
    accepted(&call("DEL", &id, &path, &conf).run(program("host-device")))?;
    same(&before, &state(nic, None)?)
}

/// As CAN's is: such a link has no part of IPv4, and the kernel ends the list of its addresses with an error.
fn too_small() -> Result<String> {
    ip(&["link", "add", "small", "type", "dummy"])?;
    ip(&["link", "set", "small", "mtu", "16"])?;
    let pod = Sandbox::create("small")?;
    let keys = conf(&json!({"cniVersion": "1.1.0", "device": "small"}));
    pod.add(&keys)?;
    let inside = pod.netns.ip_json(&["link", "show", "dev", "net1"])?;
    ensure!(inside[0]["mtu"] == 16, "{inside}");
    pod.del(&keys)?;
    let back = ip_json(&["link", "show", "dev", "small"])?;
    ensure!(back[0]["mtu"] == 16, "{back}");
    ip(&["link", "del", "small"])?;
    Ok(back.to_string())
}

fn two_pods(nic: &Function) -> Result<String> {
    let before = state(nic, None)?;
    let conf = conf(&json!({"cniVersion": "1.1.0", "pciBusID": ENI}));
    let (first, second) = (Sandbox::create("first")?, Sandbox::create("second")?);
    first.add(&conf)?;
    let words = refused(&second.run("ADD", &conf))?;
    second.del(&conf)?;
    ensure!(
        first.netns.ip_json(&["link", "show", "dev", "net1"])?[0]["ifname"] == "net1",
        "the first pod lost it"
    );
    first.del(&conf)?;
    same(&before, &state(nic, None)?)?;
    Ok(words)
}

/// A function that a userspace driver has stays where it is; the addresses are only reported.
fn dpdk(vf: &Function, driver: &str) -> Result<String> {
    vf.bind(driver)?;
    let before = state(vf, None)?;
    let keys = json!({"cniVersion": "1.0.0", "pciBusID": vf.address(), "ipam": address("192.0.2.9/24")});
    let pod = Sandbox::create("dpdk")?;
    let result = pod.add(&conf(&keys))?;
    ensure!(
        result["interfaces"][0]["name"] == "net1" && result["ips"][0]["address"] == "192.0.2.9/24",
        "{result}"
    );
    pod.del(&conf(&keys))?;
    pod.del(&conf(&keys))?;
    same(&before, &state(vf, None)?)?;
    vf.bind_default()?;
    Ok(result.to_string())
}
