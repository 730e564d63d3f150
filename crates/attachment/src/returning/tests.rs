use std::fs;

use netlink::Netns;
use serde_json::{Map, json};
use testkit::netlink::Recorded;
use testkit::netlink::link;

use super::*;
use crate::record::{Owner, Sandbox};

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CHANGED: [u8; 6] = [2, 0, 0, 0, 0, 9];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const DEVICE: &str = "vmbus-7";

/// Two ports of one device on the host, each with its `dev_port` where sysfs has one. `eth0` at index 2, port 0, with the
/// address `OURS`, is the one that a pod had.
fn found(
    ports: [(u32, &str, [u8; 6], Option<&str>); 2],
    port: Option<&str>,
) -> Result<Option<String>, Error> {
    let sys = tempfile::tempdir().unwrap();
    for (_, name, _, port) in &ports {
        let dir = sys.path().join("class/net").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("dev_port"), port.unwrap_or("0")).unwrap();
    }
    let links = ports.map(|(index, name, mac, _)| link::Link::new(index, name, mac, DEVICE).message(false));
    let netlink = Netlink::over(Box::new(Recorded::new(move |_, _| Some(links.to_vec()))));
    let mut host = Host { sysfs: pci::Sysfs::new(sys.path()), netns: Netns::current().unwrap(), netlink };
    let before: LinkBefore = serde_json::from_value(json!({
        "name": "eth0", "index": 2, "parent": DEVICE, "mac": "02:00:00:00:00:01", "port": port,
    }))
    .unwrap();
    let record = Record {
        version: Record::VERSION,
        owner: Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() },
        pod: None,
        sandbox: Sandbox::unknown(None),
        device: "eth0".into(),
        function: None,
        pf: None,
        ipam: None,
        config: Map::new(),
        undo: Vec::new(),
    };
    Ok(on_host(&mut host, &record, &before)?.map(|link| link.name))
}

#[test]
fn of_two_ports_the_one_at_the_recorded_port_comes_home_whatever_the_pod_did() {
    // The pod gave it the other's address, and somebody gave the other its name meanwhile.
    let swapped = [(9, "net1", OTHER, Some("0")), (3, "eth0", OTHER, Some("1"))];
    assert_eq!(found(swapped, Some("0/")).unwrap().as_deref(), Some("net1"));
}

#[test]
fn without_ports_a_name_alone_is_not_enough() {
    let by_address = [(9, "net1", OURS, None), (3, "eth0", OTHER, None)];
    assert_eq!(found(by_address, Some("0/")).unwrap().as_deref(), Some("net1"));
    // Somebody gave the other the name, and the pod changed the address: neither is known to be the one.
    let unknown = [(9, "net1", CHANGED, None), (3, "eth0", OTHER, None)];
    assert_eq!(found(unknown, Some("0/")).unwrap(), None);
    // It never left.
    let stayed = [(2, "eth0", OURS, None), (3, "eth1", OTHER, None)];
    assert_eq!(found(stayed, None).unwrap().as_deref(), Some("eth0"));
}

#[test]
fn two_that_could_be_meant_are_both_left() {
    let both = [(9, "net1", OURS, None), (2, "eth0", OTHER, None)];
    let error = found(both, None).unwrap_err().to_string();
    assert!(error.starts_with("eth0: any of net1, eth0 could be"), "{error}");
}
