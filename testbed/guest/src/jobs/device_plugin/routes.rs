//! The NIC that the node lives on is never offered, whatever stands between it and the default route. The links are the
//! kernel's own, where the tests elsewhere have trees of files.

use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;

use super::Cases;
use crate::cluster::write_config;
use crate::cni::program;
use crate::host;
use crate::host::ENI;
use crate::host::Function;
use crate::host::ip;

/// The name of the interface with the default route, and how to make it over a NIC (`NIC` in these words).
const STACKS: &[(&str, &str, &[&str])] = &[
    ("vlan", "up0", &["link add link NIC name up0 type vlan id 100", "link set NIC up"]),
    ("bridge", "up0", &["link add up0 type bridge", "link set NIC master up0"]),
    ("bond", "up0", &["link add up0 type bond mode active-backup", "link set NIC master up0"]),
    ("team", "up0", &["link add up0 type team", "link set NIC master up0"]),
    ("macvlan", "up0", &["link add link NIC name up0 type macvlan mode bridge", "link set NIC up"]),
    (
        "vlan-over-bridge-over-bond",
        "up0",
        &[
            "link add low0 type bond mode active-backup",
            "link set NIC master low0",
            "link set low0 up",
            "link add low1 type bridge",
            "link set low0 master low1",
            "link set low1 up",
            "link add link low1 name up0 type vlan id 7",
        ],
    ),
];

pub(super) fn run(cases: &mut Cases) -> Result<()> {
    write_config(&json!({"resourceList": [{"resourceName": "eni", "selectors": {"pciAddresses": [ENI]}}]}))?;
    let nic = Function::at(ENI)?.wait_netdev()?;
    cases.run("a-nic-without-a-route-is-offered", || {
        ensure!(offered()?.is_none());
        Ok(())
    });
    for (kind, upper, steps) in STACKS {
        cases.run(&format!("no-nic-below-the-default-route/{kind}"), || {
            let kept = stacked(&nic, upper, steps);
            tidy(&nic);
            kept
        });
    }
    cases.run("a-nic-that-was-given-back-is-offered", || {
        ensure!(offered()?.is_none());
        Ok(())
    });
    Ok(())
}

fn stacked(nic: &str, upper: &str, steps: &[&str]) -> Result<String> {
    // A bond takes only what is down.
    ip(&["link", "set", nic, "down"])?;
    for step in steps {
        let words: Vec<&str> = step.split(' ').map(|word| if word == "NIC" { nic } else { word }).collect();
        ip(&words)?;
    }
    left_out(upper)
}

/// Gives `upper` the default route, and returns why the NIC is then offered to nobody.
fn left_out(upper: &str) -> Result<String> {
    ip(&["link", "set", upper, "up"])?;
    ip(&["address", "add", "10.8.0.2/24", "dev", upper])?;
    ip(&["route", "add", "default", "via", "10.8.0.1", "dev", upper, "onlink"])?;
    let why = offered()?.with_context(|| format!("the NIC below {upper} is offered"))?;
    ensure!(why.contains(&format!("default route of {upper}")), "{why}");
    Ok(why)
}

/// Why the NIC is left out of every pool; `None` if it is offered.
fn offered() -> Result<Option<String>> {
    let explain = ["--log-level=error", "explain", ENI, "--output", "json"];
    let told: Value = serde_json::from_str(&host::output(Command::new(program("sriovdp")).args(explain))?)?;
    let device = &told[0];
    ensure!(device["device"] == ENI, "{told}");
    if device["pool"] == "intel.com/eni" {
        return Ok(None);
    }
    let why = device["leftOut"].as_str().with_context(|| told.to_string())?;
    Ok(Some(why.to_owned()))
}

/// Takes away all that a case may have made; most of it is not there.
fn tidy(nic: &str) {
    for link in ["up0", "low1", "low0"] {
        let _ = ip(&["link", "delete", link]);
    }
    let _ = ip(&["link", "set", nic, "nomaster"]);
}
