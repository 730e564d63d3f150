//! `sriovdp` on the node's real hardware: its pools are what `lspci` and sysfs show, NUMA nodes included.
//! What is right is found out without it.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;
use testkit::kubelet::State;

use super::Cases;
use crate::cluster::Cluster;
use crate::cni::program;
use crate::host;
use crate::host::ENI;
use crate::host::Function;
use crate::host::PF0;
use crate::host::PF1;
use crate::host::Pf;

mod routes;
mod simulated;

/// Device ids and their NUMA nodes.
type Pool = BTreeMap<String, i64>;

pub(super) fn run(cases: &mut Cases) -> Result<()> {
    let (pf0, pf1) = (Pf::at(PF0)?, Pf::at(PF1)?);
    pf0.create_vfs(7)?;
    pf1.create_vfs(4)?;
    pf0.vf(5)?.bind("vfio-pci")?;
    pf1.vf(3)?.bind("vfio-pci")?;
    // A VF without a driver belongs to no pool.
    pf0.vf(6)?.unbind()?;
    let config = json!({"resourceList": [
        {"resourceName": "kernel", "selectors": {"vendors": ["8086"], "devices": ["10ca"], "drivers": ["igbvf"]}},
        {"resourceName": "vfio", "selectors": {"drivers": ["vfio-pci"]}},
        {"resourceName": "eni", "selectors": {"pciAddresses": [ENI]}},
        {"resourceName": "range", "selectors": {"pfNames": [format!("{}#0-3,6", pf0.name()?)]}},
    ]});
    let mut cluster = Cluster::start(&config, Vec::new())?;
    let wanted = [
        ("intel.com/kernel", shown("8086:10ca", "igbvf")?),
        ("intel.com/vfio", shown("8086:10ca", "vfio-pci")?),
        ("intel.com/eni", shown("8086:10d3", "e1000e")?),
    ];
    let state =
        cluster.until("the pools", |state| wanted.iter().all(|(name, pool)| state.has(name, pool.len())))?;
    for (name, pool) in &wanted {
        cases.run(&format!("{name}-is-what-lspci-and-sysfs-show"), || equal(&state, name, pool));
    }
    cases.run("both-numa-nodes-are-told", || {
        let nodes: Vec<i64> = wanted[0].1.values().copied().collect();
        ensure!(nodes.contains(&0) && nodes.contains(&1), "{nodes:?}");
        Ok(format!("{nodes:?}"))
    });
    cases.run("an-earlier-pool-keeps-what-a-later-one-names", || {
        // All that the range names is in the first pool already, or has no driver.
        ensure!(!state.pools.contains_key("intel.com/range"), "{:?}", state.pools.keys());
        Ok(())
    });
    cases.run("explain-says-why-the-range-is-empty", || explained(&pf0.vf(0)?));
    cluster.stop()?;
    pf0.remove_vfs()?;
    pf1.remove_vfs()?;
    routes::run(cases)?;
    simulated::run(cases)
}

/// The functions that `lspci` shows with these ids, of which sysfs names this driver, with sysfs' NUMA node.
fn shown(ids: &str, driver: &str) -> Result<Pool> {
    let listed = host::output(Command::new("lspci").args(["-D", "-n", "-d", ids]))?;
    let mut pool = Pool::new();
    for address in listed.lines().filter_map(|line| line.split_whitespace().next()) {
        let function = Function::at(address)?;
        if function.driver().as_deref() == Some(driver) {
            pool.insert(address.to_owned(), function.numa_node()?.into());
        }
    }
    ensure!(!pool.is_empty(), "lspci shows no {ids} on {driver}");
    Ok(pool)
}

fn equal(state: &State, name: &str, wanted: &Pool) -> Result<String> {
    let devices = &state.pools.get(name).with_context(|| format!("no pool {name}"))?.devices;
    let found: Pool =
        devices.iter().map(|(id, device)| (id.clone(), device.numa.first().copied().unwrap_or(-1))).collect();
    ensure!(found == *wanted, "wanted {wanted:?}, found {found:?}");
    Ok(format!("{found:?}"))
}

fn explained(vf: &Function) -> Result<String> {
    let explain = ["--log-level=error", "explain", vf.address(), "--output", "json"];
    let text = host::output(Command::new(program("sriovdp")).args(explain))?;
    let told: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    ensure!(text.contains("intel.com/kernel") && text.contains("intel.com/vfio"), "{told}");
    Ok(told.to_string())
}
