//! A real DHCP exchange through the moved NIC: Debian's `dhcp` plugin as a daemon here, dnsmasq on the far side.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::json;

use super::conf;
use crate::cni::CNI_PATH;
use crate::cni::Sandbox;
use crate::cni::same;
use crate::cni::state;
use crate::host;
use crate::host::Background;
use crate::host::Function;
use crate::host::Pf;
use crate::host::ip;

/// dnsmasq's shortest lease is two minutes, and the plugin renews after half of it.
const RENEWAL: Duration = Duration::from_secs(150);
const SOCKET: &str = "/run/cni/dhcp.sock";

/// The lease is seen in the pod, renewed, and released before the NIC goes home.
pub(super) fn run(nic: &Function, far: &Pf) -> Result<String> {
    let before = state(nic, None)?;
    let far = far.name()?;
    ip(&["link", "set", &far, "up"])?;
    ip(&["address", "add", "10.77.0.1/24", "dev", &far])?;
    let told = exchange(nic, &far);
    ip(&["address", "del", "10.77.0.1/24", "dev", &far])?;
    let told = told?;
    same(&before, &state(nic, None)?)?;
    Ok(told)
}

fn exchange(nic: &Function, far: &str) -> Result<String> {
    let mut server = Background::spawn(
        "dnsmasq",
        Command::new("dnsmasq").args([
            "--no-daemon",
            "--conf-file=/dev/null",
            "--user=root",
            "--port=0",
            "--bind-interfaces",
            &format!("--interface={far}"),
            "--dhcp-range=10.77.0.50,10.77.0.60,255.255.255.0,2m",
            "--dhcp-authoritative",
            "--dhcp-leasefile=/tmp/leases",
            "--log-dhcp",
        ]),
    )?;
    server.wait_for("its range", RENEWAL, |text| text.contains("DHCP, IP range").then_some(()))?;
    fs::create_dir_all("/run/cni")?;
    let daemon = Background::spawn("dhcp", Command::new(Path::new(CNI_PATH).join("dhcp")).arg("daemon"))?;
    host::until("socket of the dhcp daemon", RENEWAL, || Ok(Path::new(SOCKET).exists().then_some(())))?;

    let conf = conf(&json!({"cniVersion": "1.0.0", "pciBusID": nic.address(), "ipam": {"type": "dhcp"}}));
    let pod = Sandbox::create("dhcp")?;
    let result = pod.add(&conf).with_context(|| format!("dnsmasq said: {}", server.text()))?;
    let address = result["ips"][0]["address"].as_str().unwrap_or_default().to_owned();
    ensure!(address.starts_with("10.77.0."), "{result}");
    let inside = pod.netns.ip_json(&["address", "show", "dev", "net1"])?.to_string();
    ensure!(inside.contains(address.trim_end_matches("/24")), "{inside}");
    let acks = |text: &str| text.matches("DHCPACK").count();
    server.wait_for("a renewal", RENEWAL, |text| (acks(text) >= 2).then_some(()))?;
    pod.del(&conf)?;
    server.wait_for("the release", RENEWAL, |text| text.contains("DHCPRELEASE").then_some(()))?;
    drop(daemon);
    Ok(format!("{address} was leased, renewed and released"))
}
