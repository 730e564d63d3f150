//! `sriovdp` while the node changes under it: VFs that come and go, drivers, a PF that is unplugged, its carrier.
//! Each change is looked for in what the kubelet is sent, and timed from before its cause is written; where that takes its own
//! time in which nothing can be seen, from the moment in which sysfs shows it.

use std::time::Duration;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;
use testkit::kubelet::State;
use testkit::pod::Pod;

use super::Cases;
use crate::cluster::Cluster;
use crate::host;
use crate::host::Function;
use crate::host::PF0;
use crate::host::PF1;
use crate::host::Pf;
use crate::report;

mod first;
mod timing;

use timing::From;
use timing::Timings;

/// How often each change is made.
const TIMES: usize = 10;
/// An unplugging takes seconds by itself: pciehp waits five for somebody to change their mind.
const PLUGS: usize = 4;
/// How long QEMU and the guest's drivers may take.
const HARDWARE: Duration = Duration::from_mins(1);

const KERNEL: &str = "intel.com/kernel";
const VFIO: &str = "intel.com/vfio";
const PORT: &str = "intel.com/port";
const WITH_CARRIER: &str = "intel.com/with_carrier";

pub(super) fn run(cases: &mut Cases) -> Result<()> {
    let (pf0, pf1) = (Pf::at(PF0)?, Pf::at(PF1)?);
    pf0.remove_vfs()?;
    pf1.remove_vfs()?;
    host::run(std::process::Command::new("modprobe").args(["-a", "vfio-pci", "vfio_iommu_type1"]))?;
    let config = json!({"resourceList": [
        {"resourceName": "port", "selectors": {"pciAddresses": [PF1]}},
        {"resourceName": "with_carrier", "pfCarrier": true, "selectors": {"rootDevices": [PF1]}},
        {"resourceName": "kernel", "selectors": {"drivers": ["igbvf"]}},
        {"resourceName": "vfio", "selectors": {"drivers": ["vfio-pci"]}},
    ]});
    cases.run("a-pool-comes-with-its-first-device", || first::run(&config, &pf0));
    let mut cluster = Cluster::start(&config, Vec::new())?;
    cluster.until("the PF without VFs", |state| state.has(PORT, 1))?;
    let mut timings = Timings::new(&cluster);
    cases.run("a-pool-without-devices-is-not-there-yet", || {
        let state = cluster.kubelet.state();
        ensure!(!state.pools.contains_key(KERNEL), "{:?}", state.pools.keys());
        Ok(())
    });
    cases.run("vfs-0-4-0-7", || vfs(&mut timings, &pf0));
    cases.run("igbvf-vfio-igbvf", || drivers(&mut timings, &pf0));
    cases.run("a-held-vf-stays-where-it-is", || held(&cluster, &mut timings, &pf0));
    cases.run("carrier-down-up", || carrier(&mut timings, &pf1));
    cases.run("pf-unplugged-and-plugged", || plugged(&mut timings));
    cases.info("time until the kubelet has heard, ms", &timings.table());
    cases.run("each-change-is-in-the-stream-within-a-second", || timings.keep_the_promise());
    cases.run("the-same-sriovdp-and-the-same-sockets", || {
        let state = cluster.kubelet.state();
        ensure!(cluster.kubelet.state().refusals.is_empty(), "{:?}", state.refusals);
        ensure!(state.pools.len() == 4, "{:?}", state.pools.keys());
        for (name, pool) in &state.pools {
            ensure!(
                pool.connected && pool.registrations == 1,
                "{name}: {} registrations",
                pool.registrations
            );
        }
        Ok(())
    });
    cluster.stop()
}

/// VFs are made and probed one after the other, and all are there when the write returns. They are gone one after the other,
/// too, and the write returns a second after the last is.
fn vfs(timings: &mut Timings<'_>, pf: &Pf) -> Result<String> {
    let (mut removals, mut at_work) = (0, 0);
    // The first of all make the pool, which is another matter: see `first`.
    pf.create_vfs(1)?;
    timings.before(|state| state.has(KERNEL, 1))?;
    pf.remove_vfs()?;
    timings.before(|state| healthy(state, KERNEL) == 0)?;
    for _ in 0..TIMES {
        for (count, more, fewer) in [(4, "0 -> 4 VFs", "4 -> 0 VFs"), (7, "0 -> 7 VFs", "7 -> 0 VFs")] {
            let make = || pf.set_attribute("sriov_numvfs", &count.to_string());
            timings.take((more, From::Shown), make, move |state| healthy(state, KERNEL) == count)?;
            let remove = || {
                let pf = pf.clone();
                let removing = std::thread::spawn({
                    let pf = pf.clone();
                    move || pf.remove_vfs()
                });
                host::until("end of the VFs", HARDWARE, || Ok((pf.count_vfs()? == 0).then_some(())))?;
                Ok(removing)
            };
            let removing = timings.take((fewer, From::Shown), remove, |state| healthy(state, KERNEL) == 0)?;
            removals += 1;
            at_work += usize::from(!removing.is_finished());
            removing.join().map_err(|_| anyhow::anyhow!("the thread that removes VFs panicked"))??;
        }
    }
    // Not each time: the machine may be busy for that second.
    let heard = format!("{at_work} of {removals} removals were heard of before the write had returned");
    ensure!(at_work * 2 > removals, "{heard}");
    Ok(heard)
}

fn drivers(timings: &mut Timings<'_>, pf: &Pf) -> Result<()> {
    let vf = pf.create_vfs(1)?.remove(0);
    let (kernel, vfio) = (
        |state: &State| state.has(KERNEL, 1) && healthy(state, VFIO) == 0,
        |state: &State| state.has(VFIO, 1) && healthy(state, KERNEL) == 0,
    );
    timings.before(kernel)?;
    for _ in 0..TIMES {
        timings.take(("igbvf -> vfio-pci", From::Cause), || vf.bind("vfio-pci"), vfio)?;
        timings.take(("vfio-pci -> igbvf", From::Cause), || vf.bind("igbvf"), kernel)?;
    }
    Ok(())
}

/// A pod's VF is unhealthy while it is on another driver or gone, in the same pool and in no other, and leaves with the pod.
fn held(cluster: &Cluster, timings: &mut Timings<'_>, pf: &Pf) -> Result<String> {
    let vf = pf.create_vfs(1)?.remove(0);
    timings.before(|state| state.has(KERNEL, 1))?;
    let pod = Pod::new("default", "holder").container("app", &[(KERNEL, 1)]);
    cluster.kubelet.admit(&pod)?;
    let ill = |state: &State| lists(state, KERNEL) == 1 && healthy(state, KERNEL) == 0;
    timings.take(("held: another driver", From::Cause), || vf.bind("vfio-pci"), ill)?;
    ensure!(lists(&cluster.kubelet.state(), VFIO) == 0, "it is offered to others");
    timings.take(("held: its own driver", From::Cause), || vf.bind("igbvf"), |state| state.has(KERNEL, 1))?;
    timings.take(("held: gone", From::Cause), || pf.remove_vfs(), ill)?;
    // Nobody tells of a pod's end: this is how soon it is asked for.
    cluster.kubelet.until("its end", HARDWARE, |state| lists(state, KERNEL) == 1)?;
    ensure!(cluster.kubelet.delete(&pod), "the kubelet does not know the pod");
    cluster.kubelet.until("what was given back", HARDWARE, |state| lists(state, KERNEL) == 0)?;
    Ok(format!("{vf}"))
}

fn carrier(timings: &mut Timings<'_>, pf: &Pf) -> Result<()> {
    pf.create_vfs(2)?;
    let netdev = pf.name()?;
    let has = |carrier: &'static str| {
        host::until(&format!("carrier {carrier} of {netdev}"), HARDWARE, || {
            let path = format!("/sys/class/net/{netdev}/carrier");
            // It cannot be read while the link is down.
            Ok((std::fs::read_to_string(path).unwrap_or_default().trim() == carrier).then_some(()))
        })
    };
    has("1")?;
    timings.before(|state| state.has(WITH_CARRIER, 2))?;
    let set = |up: bool| {
        report::qmp(&json!({"execute": "set_link", "arguments": {"name": "igb1", "up": up}}))?;
        has(if up { "1" } else { "0" })
    };
    for _ in 0..TIMES {
        let down = |state: &State| lists(state, WITH_CARRIER) == 2 && healthy(state, WITH_CARRIER) == 0;
        timings.take(("carrier down", From::Shown), || set(false), down)?;
        timings.take(("carrier up", From::Shown), || set(true), |state| state.has(WITH_CARRIER, 2))?;
    }
    Ok(())
}

/// With VFs on it; the plugged one comes without, and is offered itself.
fn plugged(timings: &mut Timings<'_>) -> Result<()> {
    for _ in 0..PLUGS {
        let pf = Pf::at(PF1)?;
        let mut gone = pf.create_vfs(2)?;
        gone.push(Function::at(PF1)?);
        timings.before(|state| state.has(WITH_CARRIER, 2))?;
        let unplug = || {
            report::qmp(&json!({"execute": "device_del", "arguments": {"id": "igb1"}}))?;
            host::until("end of the PF", HARDWARE, || {
                Ok(gone.iter().all(|function| !function.path().exists()).then_some(()))
            })
        };
        timings.take(("PF unplugged", From::Shown), unplug, |state| lists(state, WITH_CARRIER) == 0)?;
        let nic =
            json!({"driver": "igb", "id": "igb1", "bus": "rp1", "netdev": "n1", "mac": "52:54:00:aa:00:02"});
        let plug = || {
            // The guest is rid of it a moment before QEMU is.
            let add = json!({"execute": "device_add", "arguments": nic});
            host::until("room for the PF", HARDWARE, || Ok(report::qmp(&add).ok()))?;
            host::until("the PF's driver", HARDWARE, || {
                let driven = |pf: Function| pf.driver().map(|_| ());
                Ok(Function::at(PF1).ok().and_then(driven))
            })
        };
        timings.take(("PF plugged", From::Shown), plug, |state| state.has(PORT, 1))?;
    }
    Ok(())
}

fn lists(state: &State, resource: &str) -> usize {
    state.pools.get(resource).map_or(0, |pool| pool.devices.len())
}

fn healthy(state: &State, resource: &str) -> usize {
    state.pools.get(resource).map_or(0, |pool| pool.healthy().len())
}
