//! What QEMU has no hardware for, by the kernel's own simulators: vDPA over a virtio NIC (`vp_vdpa`) and over nothing
//! (`vdpa_sim`), devlink and a switch's representors (`netdevsim`). vdpa(8) and devlink(8) say what is right.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use netlink::Devlink;
use netlink::EswitchMode;
use netlink::Vdpa;
use serde_json::Value;
use serde_json::json;
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use super::Cases;
use crate::cluster::Cluster;
use crate::cluster::write_config;
use crate::cni::program;
use crate::host;
use crate::host::Function;
use crate::host::VIRTIO;
use crate::host::until;

/// The device of netdevsim, on a bus of its own.
const SIMULATED: &str = "netdevsim10";

pub(super) fn run(cases: &mut Cases) -> Result<()> {
    if cases.wants("vdpa") {
        vdpa(cases)?;
    }
    if cases.wants("devlink") {
        devlink(cases)?;
    }
    Ok(())
}

fn vdpa(cases: &mut Cases) -> Result<()> {
    // Not virtio_vdpa yet: the first driver there takes a new device.
    host::run(Command::new("modprobe").args(["-a", "vhost_vdpa", "vdpa_sim_net"]))?;
    let nic = Function::at(VIRTIO)?;
    nic.bind("vp-vdpa")?;
    let on_nic = format!("pci/{VIRTIO}");
    add("vdpa0", &on_nic, &[])?;
    add("vdpa1", "vdpasim_net", &["mac", "02:00:00:00:0a:01"])?;
    cases.run("vdpa-netlink-says-what-the-tool-says", || {
        let told = host::output(Command::new("vdpa").args(["dev", "show", "-j"]))?;
        let told: Value = serde_json::from_str(&told)?;
        let told = told["dev"].as_object().context("the tool lists nothing")?.clone();
        let found = Vdpa::open()?.context("no vDPA family")?.devices()?;
        ensure!(found.len() == 2 && told.len() == 2, "{found:?} {told:?}");
        for device in &found {
            let bus = device.bus.as_ref().map_or(String::new(), |bus| format!("{bus}/"));
            let parent = format!("{bus}{}", device.parent);
            ensure!(told[&device.name]["mgmtdev"] == parent, "{device:?} {told:?}");
        }
        Ok(format!("{found:?}"))
    });
    cases.run("vdpa-vhost-is-offered-with-its-node", || given("vhost", &nic));
    cases.run("vdpa-virtio-is-offered-without-a-node", || {
        host::run(Command::new("modprobe").arg("virtio_vdpa"))?;
        fs::write("/sys/bus/vdpa/drivers/vhost_vdpa/unbind", "vdpa0")?;
        // As the driver that is to take it; any other would be probed first otherwise.
        fs::write("/sys/bus/vdpa/devices/vdpa0/driver_override", "virtio_vdpa")?;
        fs::write("/sys/bus/vdpa/drivers/virtio_vdpa/bind", "vdpa0")?;
        given("virtio", &nic)
    });
    for device in ["vdpa0", "vdpa1"] {
        host::run(Command::new("vdpa").args(["dev", "del", device]))?;
    }
    nic.bind_default().map(drop)
}

fn add(name: &str, parent: &str, more: &[&str]) -> Result<()> {
    host::run(Command::new("vdpa").args(["dev", "add", "name", name, "mgmtdev", parent]).args(more))
}

/// What a container gets that asks for the one function that has this kind of vDPA.
fn given(kind: &str, nic: &Function) -> Result<String> {
    let config = json!({"resourceList": [{"resourceName": "vdpa", "selectors": {"vdpaType": kind}}]});
    let mut cluster = Cluster::start(&config, Vec::new())?;
    let offered = cluster.until("the vDPA pool", |state| state.has("intel.com/vdpa", 1));
    let checked = offered.and_then(|_| {
        let allocations =
            cluster.kubelet.admit(&Pod::new("default", kind).container("app", &[("intel.com/vdpa", 1)]))?;
        let response = &allocations.first().context("no allocation")?.response;
        let nodes: Vec<&str> = response.devices.iter().map(|node| node.host_path.as_str()).collect();
        let file =
            format!("/var/run/k8s.cni.cncf.io/devinfo/dp/intel.com-vdpa-{}-device.json", nic.address());
        let info: Value = serde_json::from_slice(&fs::read(&file).with_context(|| format!("no {file}"))?)?;
        let mut wanted = json!({"parent-device": "vdpa0", "driver": kind, "pci-address": nic.address()});
        if let Some(node) = vhost_node()? {
            ensure!(kind == "vhost" && nodes == [node.as_str()], "{nodes:?}, wanted {node}");
            ensure!(fs::metadata(&node)?.file_type().is_char_device(), "{node} is no device");
            wanted["path"] = node.into();
        } else {
            ensure!(kind == "virtio" && nodes.is_empty(), "{nodes:?}");
        }
        ensure!(info["type"] == "vdpa" && info["vdpa"] == wanted, "{info}, wanted {wanted}");
        Ok(format!("{nodes:?} {info}"))
    });
    cluster.stop()?;
    checked
}

/// The node of `vdpa0`, while it is bound to `vhost_vdpa`.
fn vhost_node() -> Result<Option<String>> {
    for entry in fs::read_dir("/sys/bus/vdpa/devices/vdpa0")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("vhost-vdpa-") {
            return Ok(Some(format!("/dev/{name}")));
        }
    }
    Ok(None)
}

fn devlink(cases: &mut Cases) -> Result<()> {
    host::run(Command::new("modprobe").arg("netdevsim"))?;
    fs::write("/sys/bus/netdevsim/new_device", "10 1")?;
    let handle = format!("netdevsim/{SIMULATED}");
    let mut devlink = Devlink::open()?.context("no devlink family")?;
    cases.run("devlink-versions-are-what-the-tool-says", || {
        let told = tool(&["dev", "info", &handle])?;
        let running = &told["info"][&handle]["versions"]["running"];
        let found = devlink.running_versions("netdevsim", SIMULATED)?;
        ensure!(!found.is_empty(), "{told}");
        for (name, value) in &found {
            ensure!(running[name] == *value, "{found:?} {told}");
        }
        ensure!(running.as_object().is_some_and(|running| running.len() == found.len()), "{found:?} {told}");
        Ok(format!("{found:?}"))
    });
    cases.run("devlink-flags-follow-the-tool", || {
        for (value, wanted) in [("false", false), ("true", true)] {
            let set =
                ["dev", "param", "set", &handle, "name", "test1", "value", value, "cmode", "driverinit"];
            host::run(Command::new("devlink").args(set))?;
            let found = devlink.flag("netdevsim", SIMULATED, "test1")?;
            ensure!(found == Some(wanted), "{found:?} after {value}");
        }
        // A parameter that the driver does not have is refused, one of numbers is no flag that is on or off by itself.
        ensure!(devlink.flag("netdevsim", SIMULATED, "enable_rdma").is_err());
        Ok(())
    });
    cases.run("devlink-eswitch-mode-follows-the-tool", || {
        ensure!(devlink.eswitch_mode("netdevsim", SIMULATED)? == Some(EswitchMode::Legacy));
        fs::write(format!("/sys/bus/netdevsim/devices/{SIMULATED}/sriov_numvfs"), "2")?;
        host::run(Command::new("devlink").args(["dev", "eswitch", "set", &handle, "mode", "switchdev"]))?;
        ensure!(devlink.eswitch_mode("netdevsim", SIMULATED)? == Some(EswitchMode::Switchdev));
        Ok(tool(&["dev", "eswitch", "show", &handle])?.to_string())
    });
    cases.run("devlink-uplink-of-a-real-switch-is-the-pf", uplink);
    fs::write("/sys/bus/netdevsim/del_device", "10")?;
    Ok(())
}

fn tool(arguments: &[&str]) -> Result<Value> {
    let text = host::output(Command::new("devlink").arg("-j").args(arguments))?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

/// A PF and a VF as files, for the simulator has none, and as the PF's network devices those of the simulated switch with
/// all that the kernel says of them: the VFs are found by the uplink's name and by no representor's.
fn uplink() -> Result<String> {
    let (pf, vf) = ("0000:3b:00.0", "0000:3b:02.0");
    let switch = format!("/sys/devices/{SIMULATED}/net");
    let ports = until("three ports", Duration::from_secs(20), || {
        let mut names = Vec::new();
        for entry in fs::read_dir(&switch)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok((names.len() == 3).then_some(names))
    })?;
    let tree = Tree::new();
    tree.pf(pf, "none");
    let function = tree.existing(pf).without_netdevs();
    fs::remove_dir_all(function.dir().join("net")).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    std::os::unix::fs::symlink(&switch, function.dir().join("net"))?;
    tree.vf(vf, pf);
    let mut found = Vec::new();
    for port in &ports {
        let name = fs::read_to_string(Path::new(&switch).join(port).join("phys_port_name"))?;
        write_config(&json!({"resourceList": [{"resourceName": "p", "selectors": {"pfNames": [port]}}]}))?;
        let explain = ["--log-level=error", "explain", vf, "--output=json"];
        let mut command = Command::new(program("sriovdp"));
        command.args(explain).arg("--sysfs-root").arg(tree.sys());
        let told: Value = serde_json::from_str(&host::output(&mut command)?)?;
        let taken = told[0]["pool"] == "intel.com/p";
        ensure!(taken == (name.trim() == "p1"), "{port} ({}): {told}", name.trim());
        found.push(format!("{port} ({}): {}", name.trim(), if taken { "the PF" } else { "not" }));
    }
    Ok(found.join(", "))
}
