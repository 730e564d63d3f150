//! The node itself: that its hardware, IOMMU, containers and DPDK work before anything of Sluice runs on it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::json;

use super::Cases;
use crate::containerd::Container;
use crate::containerd::Containerd;
use crate::dpdk;
use crate::host;
use crate::host::ENI;
use crate::host::Function;
use crate::host::Netns;
use crate::host::PF0;
use crate::host::PF1;
use crate::host::Pf;
use crate::host::VIRTIO;
use crate::host::ip;
use crate::host::ip_json;
use crate::report;

pub(super) fn run(cases: &mut Cases) -> Result<()> {
    report::story("Looking over the node: NICs, VFs, IOMMU, hot-plug, containers, DPDK.")?;
    cases.info("kernel", host::output(Command::new("uname").arg("-r"))?.trim());
    cases.run("nics", nics);
    let (pf0, pf1) = (Pf::at(PF0)?, Pf::at(PF1)?);
    // The set-up of what follows, so not in a case, which a filter could leave out.
    let vfs = [(&pf0, pf0.create_vfs(4)?), (&pf1, pf1.create_vfs(4)?)];
    cases.run("vfs", || describe_vfs(&vfs));
    cases.run("netns", || netns(&pf0, &pf1));
    cases.run("igb-uio", || igb_uio(&pf1.vf(1)?));
    cases.run("vf-attributes", || vf_attributes(&pf0));
    cases.run("hot-plug", hot_plug);
    if !cases.wants("busybox") && !cases.wants("dpdk") {
        return Ok(());
    }
    let containerd = Containerd::start()?;
    cases.run("busybox", || busybox(&containerd, &pf0.vf(1)?));
    cases.run("dpdk", || packets(&containerd, &pf0));
    Ok(())
}

/// Every NIC is where jobs look for it, with a NUMA node and an IOMMU group.
fn nics() -> Result<String> {
    let wanted =
        [(PF0, "8086:10c9", 0), (PF1, "8086:10c9", 1), (ENI, "8086:10d3", 1), (VIRTIO, "1af4:1041", 1)];
    let mut lines = Vec::new();
    for (address, ids, numa) in wanted {
        let function = Function::at(address)?;
        let name = function.wait_netdev()?;
        let group = function.iommu_group().context("no IOMMU group")?;
        ensure!(function.ids()? == ids && function.numa_node()? == numa, "{function} is {}", function.ids()?);
        let driver = function.driver().context("no driver")?;
        lines.push(format!("{function} {ids} {driver:<12} {name:<6} numa {numa} iommu group {group}"));
    }
    Ok(lines.join("\n"))
}

fn describe_vfs(all: &[(&Pf, Vec<Function>)]) -> Result<String> {
    let mut lines = Vec::new();
    for (pf, vfs) in all {
        for vf in vfs {
            let name = vf.netdev()?.context("no netdev")?;
            let group = vf.iommu_group().context("no IOMMU group")?;
            ensure!(
                vf.ids()? == "8086:10ca" && vf.driver().as_deref() == Some("igbvf"),
                "{vf} is {}",
                vf.ids()?
            );
            lines.push(format!(
                "{vf} {name:<6} of {} numa {} iommu group {group}",
                pf.name()?,
                vf.numa_node()?
            ));
        }
    }
    Ok(lines.join("\n"))
}

/// VFs of both PFs reach each other out of two network namespaces, and come back.
fn netns(pf0: &Pf, pf1: &Pf) -> Result<String> {
    let mut ends = Vec::new();
    for (number, pf) in [(1, pf0), (2, pf1)] {
        let vf = pf.vf(0)?;
        let name = vf.wait_netdev()?;
        let netns = Netns::create(&format!("smoke{number}"))?;
        ip(&["link", "set", &name, "netns", netns.name(), "name", "net1"])?;
        netns.ip(&["address", "add", &format!("192.0.2.{number}/24"), "dev", "net1"])?;
        netns.ip(&["link", "set", "net1", "up"])?;
        ends.push((vf, netns));
    }
    for (_, netns) in &ends {
        netns.wait_carrier("net1")?;
    }
    ensure!(ends[0].1.pings("192.0.2.2")?, "192.0.2.2 does not answer");
    let mut names = Vec::new();
    for (vf, netns) in ends {
        netns.delete()?;
        names.push(vf.wait_netdev()?);
    }
    Ok(format!("the VFs reach each other; without their namespaces they are {}", names.join(" and ")))
}

fn igb_uio(vf: &Function) -> Result<String> {
    vf.bind("igb_uio")?;
    let node = vf.uio_node()?;
    ensure!(Path::new(&node).exists(), "no {node}");
    let name = vf.bind_default()?;
    Ok(format!("{vf} was {node}, is {name} again"))
}

/// The host plugs a NIC into a free root port on our request.
fn hot_plug() -> Result<String> {
    let mac = "52:54:00:aa:00:31";
    let nic = json!({ "driver": "e1000e", "id": "hot0", "bus": "rp4", "netdev": "n9", "mac": mac });
    report::qmp(&json!({ "execute": "device_add", "arguments": nic }))?;
    host::until("netdev of the new NIC", Duration::from_secs(30), || {
        let links = ip_json(&["link", "show"])?;
        let found = links.as_array().and_then(|links| links.iter().find(|link| link["address"] == mac));
        Ok(found.map(|link| format!("{} is {}", link["parentdev"], link["ifname"])))
    })
}

/// What a PF is told of a VF, it tells us again.
fn vf_attributes(pf: &Pf) -> Result<String> {
    let before = pf.vf_state(3)?;
    pf.set_vf(3, &["vlan", "100", "spoofchk", "off", "trust", "on"])?;
    let after = pf.vf_state(3)?;
    ensure!(after["vlan_list"][0]["vlan"] == 100, "{after}");
    ensure!(after["spoofchk"] == false && after["trust"] == true, "{after}");
    pf.set_vf(3, &["vlan", "0", "spoofchk", "on", "trust", "off"])?;
    ensure!(pf.vf_state(3)? == before, "{before} became {}", pf.vf_state(3)?);
    Ok(after.to_string())
}

/// A container sees the netdev, and nothing but it, of the namespace that it is put in.
fn busybox(containerd: &Containerd, vf: &Function) -> Result<String> {
    let netns = Netns::create("box")?;
    ip(&["link", "set", &vf.wait_netdev()?, "netns", netns.name(), "name", "net1"])?;
    let container = Container::busybox("box").netns(&netns.path()).env("GREETING", "hello");
    let script = "echo $GREETING; ls /sys/class/net";
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let done = containerd.run(&container.clone().args(&["/bin/sh", "-c", script]))?;
    ensure!(done.succeeded() && words(&done.stdout) == "hello lo net1", "{done:?}");
    // The same in a container that stays.
    containerd.detach(&container)?;
    let done = containerd.exec("box", &["/bin/sh", "-c", script])?;
    ensure!(done.succeeded() && words(&done.stdout) == "hello lo net1", "{done:?}");
    containerd.remove("box")?;
    Ok(words(&done.stdout))
}

/// Two containers, each with one VF on vfio-pci: what the one sends, the other counts.
fn packets(containerd: &Containerd, pf: &Pf) -> Result<String> {
    host::run(Command::new("modprobe").args(["-a", "vfio-pci", "vfio_iommu_type1"]))?;
    host::reserve_hugepages(256)?;
    let peer = "02:00:00:00:01:03";
    pf.set_vf(3, &["mac", peer])?;
    let (from, to) = (pf.vf(2)?, pf.vf(3)?);
    from.bind("vfio-pci")?;
    to.bind("vfio-pci")?;
    let container = |name: &str, vf: &Function| -> Result<Container> {
        Ok(Container::dpdk(name).device("/dev/vfio/vfio").device(&vf.vfio_node()?))
    };
    let limit = Duration::from_secs(90);
    let receiver = container("rx", &to)?.args(&dpdk::receiver(to.address()));
    let mut receiver = containerd.spawn(&receiver)?;
    receiver.wait_for("its first statistics", limit, |text| text.contains("RX-packets:").then_some(()))?;
    let sender = container("tx", &from)?.args(&dpdk::sender(from.address(), peer));
    let sender = containerd.spawn(&sender)?;
    receiver.wait_for("a packet", limit, |text| (dpdk::received(text) > 0).then_some(()))?;
    let sent = dpdk::sent(&sender.stop()?.stdout);
    let arrived = dpdk::received(&receiver.stop()?.stdout);
    from.bind_default()?;
    to.bind_default()?;
    Ok(format!("{from} sent {sent} packets, {to} received {arrived}"))
}
