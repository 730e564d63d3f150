//! The main job of Sluice as a story: from a configuration to VFs in pods, and back. Every sentence of it is checked.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;
use testkit::multus::Nad;
use testkit::pod::Pod;

use super::Cases;
use crate::cluster;
use crate::cluster::Cluster;
use crate::cluster::Running;
use crate::cni;
use crate::containerd::Container;
use crate::containerd::Containerd;
use crate::dpdk;
use crate::host;
use crate::host::ENI;
use crate::host::Function;
use crate::host::PF0;
use crate::host::PF1;
use crate::host::Pf;
use crate::report::story;

const KERNEL: &str = "intel.com/kernel_vf";
const VFIO: &str = "intel.com/vfio_vf";
const ENI_POOL: &str = "amazon.com/sriov_dpdk_1";
const DPDK_MAC: &str = "02:00:00:00:00:d0";

/// How long testpmd may take to start or to count on a busy host.
const PACKETS: Duration = Duration::from_secs(90);

pub(super) fn run(cases: &mut Cases) -> Result<()> {
    let (pf0, pf1) = (Pf::at(PF0)?, Pf::at(PF1)?);
    pf0.create_vfs(4)?;
    pf1.create_vfs(2)?;
    host::reserve_hugepages(256)?;
    pf0.vf(3)?.bind("vfio-pci")?;
    let node = Node { pf0, pf1 };
    let before = node.functions()?;

    heading("The node", "two SR-IOV NICs on two NUMA nodes, and a cloud NIC; the last column is the pool")?;
    for line in cluster::list(&config())?.lines() {
        story(&format!("  {line}"))?;
    }
    let mut cluster = Cluster::start(&config(), networks())?;
    let pools = cases.run("three-pools-are-registered", || three_pools(&mut cluster));
    if pools {
        let containerd = Containerd::start()?;
        let mut running = Vec::new();
        cases.run("two-pods-on-a-vlan-ping-each-other", || two_pods(&cluster, &containerd, &mut running));
        cases.run("a-dpdk-pod-counts-packets", || dpdk_pod(&cluster, &containerd, &mut running));
        cases.run("a-pod-gets-the-cloud-nic", || eni_pod(&cluster, &containerd, &mut running));
        cases.run("everything-is-as-before", || all_back(&node, &before, &cluster, &containerd, running));
    }
    cluster.stop()
}

fn heading(title: &str, text: &str) -> Result<()> {
    story("")?;
    story(&format!("{title}: {text}"))
}

/// The pools, as an operator writes them into the `sriovdp-config` ConfigMap.
fn config() -> Value {
    json!({"resourceList": [
        {"resourceName": "kernel_vf", "selectors": {"vendors": ["8086"], "devices": ["10ca"], "drivers": ["igbvf"]}},
        {"resourceName": "vfio_vf", "selectors": {"drivers": ["vfio-pci"]}},
        {"resourceName": "sriov_dpdk_1", "resourcePrefix": "amazon.com", "selectors": {
            "vendors": ["8086"], "devices": ["10d3"], "drivers": ["e1000e"], "pciAddresses": [ENI]}},
    ]})
}

fn networks() -> Vec<Nad> {
    let vlan = json!({
        "cniVersion": "1.0.0", "type": "sriov", "vlan": 100, "spoofchk": "on",
        "ipam": {"type": "host-local", "subnet": "192.0.2.0/24"},
    });
    let dpdk = json!({"cniVersion": "1.0.0", "type": "sriov", "vlan": 100, "mac": DPDK_MAC});
    let eni = json!({"cniVersion": "0.3.1", "type": "host-device", "ipam": cni::address("198.51.100.7/24")});
    vec![
        Nad::new("default", "vlan-100", vlan).resource(KERNEL),
        Nad::new("default", "dpdk", dpdk).resource(VFIO),
        Nad::new("default", "eni", eni).resource(ENI_POOL),
    ]
}

fn pod(name: &str, resource: &str, network: &str) -> Pod {
    Pod::new("default", name).container("app", &[(resource, 1)]).networks(network)
}

/// What all is about to be used.
struct Node {
    pf0: Pf,
    pf1: Pf,
}

impl Node {
    /// Every function that a pool holds, with its state read back through `ip` and sysfs.
    fn functions(&self) -> Result<Vec<(Function, Value)>> {
        let mut all = Vec::new();
        for pf in [&self.pf0, &self.pf1] {
            for (index, vf) in pf.vfs()?.into_iter().enumerate() {
                let state = cni::state(&vf, Some((pf, index)))?;
                all.push((vf, state));
            }
        }
        let eni = Function::at(ENI)?;
        let state = cni::state(&eni, None)?;
        all.push((eni, state));
        Ok(all)
    }
}

fn three_pools(cluster: &mut Cluster) -> Result<()> {
    let wanted = [(KERNEL, 5), (VFIO, 1), (ENI_POOL, 1)];
    let state = cluster
        .until("the three pools", |state| wanted.iter().all(|(name, count)| state.has(name, *count)))?;
    heading("Registered", "what the kubelet can now give to pods, by NUMA node")?;
    for (name, pool) in &state.pools {
        let devices = pool.devices.iter().map(|(id, device)| {
            let numa = device.numa.first().map_or_else(|| "-".to_owned(), ToString::to_string);
            format!("{id} (NUMA {numa})")
        });
        story(&format!("  {name:<26} {}", devices.collect::<Vec<_>>().join(", ")))?;
    }
    Ok(())
}

fn started(running: &Running) -> Result<()> {
    let status = running.status();
    let entry = &status[0];
    let words = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    story(&format!(
        "  pod {:<6} got {} as {}, address {}, MAC {}",
        running.pod.name,
        running.device()?,
        words(&entry["interface"]),
        words(&entry["ips"][0]),
        words(&entry["mac"]),
    ))
}

fn two_pods(cluster: &Cluster, containerd: &Containerd, all: &mut Vec<Running>) -> Result<String> {
    heading("Kernel VFs", "two pods on VLAN 100, each with a VF of its own moved into it by `sriov`")?;
    for name in ["blue", "green"] {
        let running = cluster.run(pod(name, KERNEL, "vlan-100"))?;
        started(&running)?;
        containerd.detach(&running.dress(Container::busybox(name)))?;
        running.netns.wait_carrier("net1")?;
        all.push(running);
    }
    let green = all.last().context("no pod")?.status()[0]["ips"][0].as_str().unwrap_or_default().to_owned();
    let ping = containerd.exec("blue", &["ping", "-c", "3", "-W", "3", &green])?;
    ensure!(ping.succeeded(), "{}{}", ping.stdout, ping.stderr);
    for line in ping.stdout.lines().filter(|line| line.contains("bytes from") || line.contains("packets")) {
        story(&format!("  in pod blue: {line}"))?;
    }
    let env = containerd.exec("blue", &["env"])?;
    let name = "PCIDEVICE_INTEL_COM_KERNEL_VF=";
    let variable =
        env.stdout.lines().find(|line| line.starts_with(name)).context("no PCIDEVICE variable in the pod")?;
    ensure!(variable.ends_with(all[all.len() - 2].device()?), "{variable}");
    story(&format!("  in pod blue: {variable}"))?;
    Ok(variable.to_owned())
}

fn dpdk_pod(cluster: &Cluster, containerd: &Containerd, all: &mut Vec<Running>) -> Result<String> {
    heading(
        "DPDK",
        "a pod with a VF on vfio-pci; its VLAN and MAC are set through the PF, dpdk-testpmd does the rest",
    )?;
    let running = cluster.run(pod("dpdk", VFIO, "dpdk"))?;
    started(&running)?;
    let nodes = running.allocations[0].response.devices.iter().map(|device| device.container_path.as_str());
    story(&format!("  device nodes in the pod: {}", nodes.collect::<Vec<_>>().join(", ")))?;
    let container = running.dress(Container::dpdk("dpdk")).args(&dpdk::receiver(running.device()?));
    let mut testpmd = containerd.spawn(&container)?;
    testpmd.wait_for("its first statistics", PACKETS, |text| text.contains("RX-packets:").then_some(()))?;
    let blue = all.iter().find(|running| running.pod.name == "blue").context("pod blue is not there")?;
    let peer = ["neighbour", "replace", "192.0.2.200", "lladdr", DPDK_MAC, "dev", "net1"];
    blue.netns.ip(&peer)?;
    // Nobody answers; what counts is that they arrive.
    let pinging = ["-c", "50", "-i", "0.02", "-W", "1", "192.0.2.200"];
    host::attempt(blue.netns.command("ping").args(pinging))?;
    testpmd.wait_for("a packet", PACKETS, |text| (dpdk::received(text) > 0).then_some(()))?;
    let received = dpdk::received(&testpmd.stop()?.stdout);
    all.push(running);
    let told = format!("pod blue sent 50 pings to it; dpdk-testpmd received {received} packets");
    story(&format!("  {told}"))?;
    Ok(told)
}

fn eni_pod(cluster: &Cluster, containerd: &Containerd, all: &mut Vec<Running>) -> Result<String> {
    heading("Cloud NIC", &format!("a pod that asks for {ENI_POOL}; `host-device` moves the whole NIC"))?;
    let running = cluster.run(pod("cloud", ENI_POOL, "eni"))?;
    started(&running)?;
    ensure!(running.device()? == ENI, "the pod got {}", running.device()?);
    containerd.detach(&running.dress(Container::busybox("cloud")))?;
    let seen = containerd.exec("cloud", &["ip", "-o", "-4", "address", "show", "net1"])?;
    ensure!(seen.stdout.contains("198.51.100.7/24"), "{seen:?}");
    story(&format!("  in pod cloud: {}", seen.stdout.split_whitespace().collect::<Vec<_>>().join(" ")))?;
    let devinfo = format!("/var/run/k8s.cni.cncf.io/devinfo/dp/amazon.com-sriov_dpdk_1-{ENI}-device.json");
    let told = std::fs::read_to_string(&devinfo).with_context(|| format!("no {devinfo}"))?;
    ensure!(told.contains(ENI), "{told}");
    all.push(running);
    Ok(told)
}

fn all_back(
    node: &Node,
    before: &[(Function, Value)],
    cluster: &Cluster,
    containerd: &Containerd,
    running: Vec<Running>,
) -> Result<String> {
    heading("Afterwards", "all pods are deleted; every function as the kernel shows it, before and after")?;
    for pod in running {
        if pod.pod.name != "dpdk" {
            containerd.remove(&pod.pod.name)?;
        }
        cluster.delete(&pod)?;
    }
    let after = node.functions()?;
    let mut different = Vec::new();
    for ((function, was), (_, is)) in before.iter().zip(&after) {
        let verdict = if was == is { "as before" } else { "DIFFERENT" };
        story(&format!("  {function}  {:<9} {}  {verdict}", text(&is["driver"]), brief(is)))?;
        if was != is {
            different.push(format!("{function} was {was}, is {is}"));
        }
    }
    ensure!(different.is_empty(), "{}", different.join("\n"));
    Ok(format!("{} functions", after.len()))
}

fn brief(state: &Value) -> String {
    let (link, held) = (&state["link"], &state["held by the PF"]);
    let vlan = held["vlan_list"][0]["vlan"]
        .as_u64()
        .map_or_else(|| "untagged".to_owned(), |vlan| format!("VLAN {vlan}"));
    match (link.is_null(), held.is_null()) {
        (false, false) => format!("{:<6} {}  {vlan}", text(&link["name"]), text(&link["address"])),
        (false, true) => format!("{:<6} {}          ", text(&link["name"]), text(&link["address"])),
        (true, _) => format!("{:<6} {}  {vlan}", "-", text(&held["address"])),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
