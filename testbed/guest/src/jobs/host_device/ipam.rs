//! IPAM of both families, for a NIC and for functions that DPDK has; and what an IPAM plugin sees of link and configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;

use super::conf;
use crate::cni::Sandbox;
use crate::cni::accepted;
use crate::cni::program;
use crate::cni::same;
use crate::cni::state;
use crate::host::Function;
use crate::host::Pf;

const LEASES: &str = "/run/leases";

/// `static` and `host-local`, each with an address of either family: set in the pod, or only told where `driver` has the
/// function; and given back.
pub(super) fn both_families(nic: &Function, driver: Option<&str>) -> Result<String> {
    driver.map_or(Ok(()), |driver| nic.bind(driver))?;
    let before = state(nic, None)?;
    let fixed =
        json!({"type": "static", "addresses": [{"address": "192.0.2.7/24"}, {"address": "2001:db8::7/64"}]});
    let ranges = json!([[{"subnet": "192.0.2.0/24"}], [{"subnet": "2001:db8::/64"}]]);
    let local = json!({"type": "host-local", "dataDir": LEASES, "ranges": ranges});
    let mut seen = Vec::new();
    for ipam in [fixed, local] {
        let keys = conf(&json!({"cniVersion": "0.3.1", "pciBusID": nic.address(), "ipam": ipam}));
        let pod = Sandbox::create("families")?;
        let result = pod.add(&keys)?;
        let addresses: Vec<&str> =
            result["ips"].as_array().into_iter().flatten().filter_map(|ip| ip["address"].as_str()).collect();
        ensure!(addresses.len() == 2 && addresses.iter().any(|it| it.contains(':')), "{result}");
        if driver.is_none() {
            let inside = pod.netns.ip_json(&["address", "show", "dev", "net1"])?.to_string();
            for address in &addresses {
                let plain = address.split('/').next().unwrap_or_default();
                ensure!(inside.contains(&format!("\"{plain}\"")), "{address} is not in {inside}");
            }
        }
        pod.del(&keys)?;
        pod.del(&keys)?;
        ensure!(leases()? == 0, "host-local still has a lease");
        seen.push(result["ips"].clone());
    }
    same(&before, &state(nic, None)?)?;
    if driver.is_some() {
        nic.bind_default()?;
    }
    Ok(Value::Array(seen).to_string())
}

/// The same for a VF that is given to each of the drivers.
pub(super) fn on_dpdk(pf: &Pf) -> Result<String> {
    let told: Result<Vec<String>> =
        ["vfio-pci", "igb_uio"].iter().map(|driver| both_families(&pf.vf(0)?, Some(driver))).collect();
    Ok(told?.join("; "))
}

/// The files that are called as an address is.
fn leases() -> Result<usize> {
    let Ok(entries) = fs::read_dir(Path::new(LEASES).join("n")) else { return Ok(0) };
    let names: Result<Vec<String>> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    Ok(names?.iter().filter(|name| name.starts_with("192.0.2.") || name.contains(':')).count())
}

const DIR: &str = "/run/ipam";

/// An IPAM plugin called as the real one is, which wants the link in place, named and up both times, and keeps what it was told.
const WHEREABOUTS: &str = r#"#!/bin/sh
cat >"/run/ipam/$CNI_COMMAND"
ip -n "$(basename "$CNI_NETNS")" link show dev "$CNI_IFNAME" up | grep -q "$CNI_IFNAME" || {
    echo '{"code": 100, "msg": "the link is not there, or not up"}'
    exit 1
}
[ "$CNI_COMMAND" = DEL ] || echo '{"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.9/24"}]}'
"#;

/// The link is there when IPAM is asked and until it has released, and what the configuration has for it arrives byte for byte.
pub(super) fn whereabouts(nic: &Function) -> Result<String> {
    let before = state(nic, None)?;
    fs::create_dir_all(DIR)?;
    let plugin = Path::new(DIR).join("whereabouts");
    fs::write(&plugin, WHEREABOUTS)?;
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755))?;
    // As K3s has it, with keys that nobody here knows, and as a person writes it.
    let text = format!(
        r#"{{ "cniVersion":"1.0.0", "name" : "n", "type": "host-device","pciBusID": "{}",
   "ipam": {{"type":"whereabouts", "configuration_path": "/var/lib/rancher/k3s/agent/etc/cni/net.d/whereabouts.d/whereabouts.conf",
     "range" :"192.0.2.0/24",  "Unknown": [1.0, 1e2, null, {{"deep":"\u00e9"}}] }} }}"#,
        nic.address()
    );
    let pod = Sandbox::create("whereabouts")?;
    for command in ["ADD", "DEL"] {
        let call = pod.call(command, &Value::Null).path(DIR).stdin(text.clone());
        accepted(&call.run(program("host-device")))?;
        let seen = fs::read_to_string(Path::new(DIR).join(command)).context("whereabouts was not asked")?;
        ensure!(seen == text, "{command}: whereabouts was told {seen}");
    }
    same(&before, &state(nic, None)?)?;
    Ok(text)
}
