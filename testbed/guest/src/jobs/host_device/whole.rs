//! All that `ip -d -j` tells of link, addresses and routes before ADD is what it tells after DEL: on a NIC of the node's own kind,
//! on virtio and on a VF, as one that stands alone and as a port.

use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;

use super::conf;
use crate::cni::Sandbox;
use crate::cni::accepted;
use crate::cni::call;
use crate::cni::program;
use crate::cni::told;
use crate::cni::told_again;
use crate::host::Function;
use crate::host::ip;

/// In and out again, and in and out by the death of the namespace, which is the kernel's way back for hardware.
pub(super) fn run(nic: &Function) -> Result<String> {
    let name = busy(nic)?;
    let done = there_and_back(nic, &name);
    idle(&name)?;
    done
}

/// The same, of a port.
pub(super) fn port(nic: &Function, kind: &[&str]) -> Result<String> {
    let name = busy(nic)?;
    ip(&[&["link", "add", "master0", "type"], kind].concat())?;
    ip(&["link", "set", "master0", "up"])?;
    // The first of two, so that the bond has an address that is not the other's own.
    ip(&["link", "add", "other0", "type", "dummy"])?;
    ip(&["link", "set", "other0", "master", "master0"])?;
    let own = mac(&name)?;
    // A bond takes no port that is up, and brings it up itself.
    ip(&["link", "set", &name, "down"])?;
    ip(&["link", "set", &name, "master", "master0"])?;
    ip(&["link", "set", &name, "up"])?;
    let done = there_and_back(nic, &name);
    ip(&["link", "del", "master0"])?;
    ip(&["link", "del", "other0"])?;
    let alone = mac(&name)?;
    idle(&name)?;
    ensure!(alone == own, "{name} has {alone} once it is no port any more, and had {own}");
    done
}

fn mac(name: &str) -> Result<Value> {
    Ok(told(name)?["link"]["address"].clone())
}

fn there_and_back(nic: &Function, name: &str) -> Result<String> {
    // Its link-local address comes with its carrier.
    let before = settled(name)?;
    let keys = conf(&json!({"cniVersion": "1.1.0", "pciBusID": nic.address()}));
    let pod = Sandbox::create("whole")?;
    pod.add(&keys)?;
    ensure!(nic.netdev()?.is_none(), "{nic} is still on the host");
    pod.del(&keys)?;
    told_again(name, &before)?;
    pod.add(&keys)?;
    let (id, path) = (pod.id.clone(), pod.netns.path());
    pod.netns.delete()?;
    accepted(&call("DEL", &id, &path, &keys).run(program("host-device")))?;
    told_again(name, &before)?;
    Ok(before.to_string())
}

/// What is told of the NIC once nothing of it is tentative any more.
fn settled(name: &str) -> Result<Value> {
    crate::host::until("end of duplicate address detection", super::SETTLED, || {
        let told = told(name)?;
        Ok((!told.to_string().contains("tentative")).then_some(told))
    })
}

/// Gives a NIC all that a node's own may have. Returns its name.
pub(super) fn busy(nic: &Function) -> Result<String> {
    let name = nic.wait_netdev()?;
    let run = |line: &str| ip(&line.replace("NIC", &name).split(' ').collect::<Vec<_>>());
    for line in [
        "link set NIC down",
        "link set NIC alias uplink mtu 1380 txqueuelen 500 group 7 addrgenmode none",
        "link property add dev NIC altname by-slot",
        "link set NIC up",
        "address add 203.0.113.10/24 brd + dev NIC",
        "address add 203.0.113.11/32 dev NIC label NIC:a",
        "-6 address add 2001:db8:a::10/64 dev NIC nodad",
        // The second takes the mark off again, as if its check for duplicates had ended.
        "-6 address add 2001:db8:a::20/64 dev NIC nodad",
        "-6 address change 2001:db8:a::20/64 dev NIC",
        "route add 198.51.100.0/25 via 203.0.113.1 dev NIC metric 50",
        "route add 198.51.100.128/25 dev NIC table 7 src 203.0.113.10",
        "route add 192.0.2.0/25 nexthop via 203.0.113.1 dev NIC weight 3 nexthop via 203.0.113.2 dev NIC",
        "-6 route add 2001:db8:b::/48 via 2001:db8:a::1 dev NIC src 2001:db8:a::20",
        "-6 route add 2001:db8:c::/48 nexthop via 2001:db8:a::1 dev NIC nexthop via 2001:db8:a::2 dev NIC",
    ] {
        run(line)?;
    }
    Ok(name)
}

/// Takes it off again.
pub(super) fn idle(name: &str) -> Result<()> {
    let run = |line: &str| ip(&line.replace("NIC", name).split(' ').collect::<Vec<_>>());
    for line in [
        "link set NIC down",
        "address flush dev NIC",
        "link property del dev NIC altname by-slot",
        "link set NIC mtu 1500 txqueuelen 1000 group 0 addrgenmode eui64",
        "link set NIC up",
    ] {
        run(line)?;
    }
    Ok(())
}
