//! A node without an IOMMU, as the virtual machines of clouds are: a cloud NIC that DPDK has by VFIO's no-IOMMU mode or by
//! `igb_uio`. What a pod is given has to be what DPDK needs: packets are sent with it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;
use testkit::multus::Nad;
use testkit::pod::Pod;

use super::Cases;
use crate::cluster::Cluster;
use crate::cluster::Running;
use crate::cni::Sandbox;
use crate::cni::merged;
use crate::cni::same;
use crate::cni::state;
use crate::dpdk;
use crate::host;
use crate::host::Background;
use crate::host::ENI;
use crate::host::Function;

const POOL: &str = "amazon.com/sriov_dpdk_1";

/// How long testpmd may take to start and to count on a busy host.
const PACKETS: Duration = Duration::from_secs(90);

pub(super) fn run(cases: &mut Cases) -> Result<()> {
    let eni = Function::at(ENI)?;
    eni.wait_netdev()?;
    ensure!(
        eni.iommu_group().is_none(),
        "{eni} is in an IOMMU group: this job is for a node without an IOMMU"
    );
    host::reserve_hugepages(256)?;
    cases.run("without-its-no-iommu-mode-vfio-takes-nothing", || {
        ensure!(eni.bind("vfio-pci").is_err(), "it took {eni}");
        eni.bind_default()
    });
    host::run(
        Command::new("sh").args(["-c", "echo 1 >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"]),
    )?;
    for (driver, host_node) in
        [("vfio-pci", no_iommu_node as fn(&Function) -> Result<Nodes>), ("igb_uio", uio_node)]
    {
        eni.bind(driver)?;
        cases.run(&format!("the-eks-guides-configuration-on-{driver}"), || left_to_dpdk(&eni));
        cases.run(&format!("a-pod-sends-packets-by-{driver}"), || sends(&eni, driver, &host_node(&eni)?));
    }
    eni.bind_default().map(drop)
}

/// A device node on the host, and as a container has it.
type Nodes = (String, String);

/// VFIO marks a group that it made up without an IOMMU by its node's name; DPDK looks for that of a real one first.
fn no_iommu_node(eni: &Function) -> Result<Nodes> {
    let group = eni.iommu_group().with_context(|| format!("{eni} has no group that VFIO made up"))?;
    let name = eni.attribute("iommu_group/name")?;
    ensure!(name == "vfio-noiommu", "the group is {name:?}");
    Ok((format!("/dev/vfio/noiommu-{group}"), format!("/dev/vfio/{group}")))
}

fn uio_node(eni: &Function) -> Result<Nodes> {
    let node = eni.uio_node()?;
    Ok((node.clone(), node))
}

/// The NIC stays with its driver; the addresses are reported and nothing is changed.
fn left_to_dpdk(eni: &Function) -> Result<String> {
    let before = state(eni, None)?;
    let addresses = json!({"type": "static", "addresses": [
        {"address": "198.51.100.7/24", "gateway": "198.51.100.1"}, {"address": "2001:db8::7/64"},
    ]});
    let bare = json!({"cniVersion": "0.3.1", "type": "host-device", "pciBusID": ENI});
    let host_local = json!({"type": "host-local", "ranges": [
        [{"subnet": "198.51.100.0/24"}], [{"subnet": "2001:db8::/64"}],
    ]});
    let mut told = Value::Null;
    for keys in [json!({}), json!({"ipam": addresses}), json!({"ipam": host_local})] {
        let conf = merged(merged(bare.clone(), json!({"name": "eni"})), keys.clone());
        let pod = Sandbox::create("eni")?;
        told = pod.add(&conf)?;
        let addresses = told["ips"].as_array().map_or(0, Vec::len);
        ensure!(addresses == if keys["ipam"].is_null() { 0 } else { 2 }, "{told}");
        same(&before, &state(eni, None)?)?;
        pod.del(&conf)?;
        pod.del(&conf)?;
        same(&before, &state(eni, None)?)?;
    }
    Ok(told.to_string())
}

/// From the pool to packets: the device plugin, Multus, `host-device`, and DPDK with the nodes that the pod was given.
fn sends(eni: &Function, driver: &str, (on_host, in_pod): &Nodes) -> Result<String> {
    let config = json!({"resourceList": [{"resourceName": "sriov_dpdk_1", "resourcePrefix": "amazon.com", "selectors": {
        "vendors": ["8086"], "devices": ["10d3"], "drivers": ["e1000e", driver], "pciAddresses": [ENI]}}]});
    let network = json!({"cniVersion": "0.3.1", "type": "host-device"});
    let mut cluster = Cluster::start(&config, vec![Nad::new("default", "eni", network).resource(POOL)])?;
    cluster.until("the pool", |state| state.has(POOL, 1))?;
    let pod = Pod::new("default", "dpdk").container("app", &[(POOL, 1)]).networks("eni");
    let running = cluster.run(pod)?;
    let given: Vec<(&str, &str)> = running.allocations[0]
        .response
        .devices
        .iter()
        .map(|device| (device.host_path.as_str(), device.container_path.as_str()))
        .collect();
    ensure!(
        given.contains(&(on_host, in_pod)),
        "the pod was given {given:?}, DPDK needs {on_host} as {in_pod}"
    );
    ensure!(given.iter().all(|(node, _)| Path::new(node).exists()), "{given:?}");
    let told = format!("{} packets by {given:?}", packets(&running, eni)?);
    cluster.delete(&running)?;
    cluster.stop()?;
    ensure!(eni.driver().as_deref() == Some(driver), "{eni} is on {:?}", eni.driver());
    Ok(told)
}

/// Sends for a moment, in the pod's network namespace and with the node's own file system.
fn packets(running: &Running, eni: &Function) -> Result<u64> {
    let sender = dpdk::sender(eni.address(), "02:00:00:00:00:01");
    let (program, arguments) = sender.split_first().context("no program")?;
    let mut testpmd = Background::spawn("testpmd", running.netns.command(program).args(arguments))?;
    testpmd.wait_for("a packet", PACKETS, |text| (dpdk::sent(text) > 0).then_some(()))?;
    let said = testpmd.stop()?.stdout;
    let sent = dpdk::sent(&said);
    ensure!(sent > 0, "{said}");
    let modes = fs::read_to_string("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode")?;
    ensure!(modes.trim() == "Y", "the mode is {modes}");
    Ok(sent)
}
