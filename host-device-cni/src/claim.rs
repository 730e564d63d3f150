//! The name under which a device is claimed, also while its link is in a pod, or back from one under the pod's name.
//! It must not decide whether the claim still counts.

use attachment::{Host, LinkBefore, Record, Store, Undo};
use netlink::Link;

use crate::conf::DeviceKey;
use crate::observe::{Observed, find};

/// The claim's name; `None` where nothing on this node and nothing recorded is that device.
pub(crate) fn claimed_as(
    host: &mut Host,
    store: &Store,
    key: &DeviceKey,
) -> Result<Option<String>, attachment::Error> {
    match key {
        DeviceKey::Pci(address) | DeviceKey::Allocated(address) => return Ok(Some(address.to_string())),
        DeviceKey::Auxiliary(name) => return Ok(Some(name.as_str().to_owned())),
        DeviceKey::Name(_) | DeviceKey::Mac(_) | DeviceKey::KernelPath(_) => {}
    }
    match find(host, key) {
        Ok(Observed { link: Some(link), function: None, device, .. }) if !link.alias.is_empty() => {
            // The kernel gives a dead pod's link back under the pod's name, with the alias that we gave it on its way in.
            Ok(Some(recorded(store, |before| is_back(before, &link))?.unwrap_or(device)))
        }
        Ok(observed) => name_of(store, &observed).map(Some),
        Err(_) => recorded(store, |before| is_meant(before, key)),
    }
}

/// The claim's name of a device that is here. The last link that a function has on the host looks like its only one; it has its own
/// name where a pod has another port under the function's.
pub(crate) fn name_of(store: &Store, observed: &Observed) -> Result<String, attachment::Error> {
    let device = observed.device.clone();
    let (Some(function), Some(link)) = (observed.function, &observed.link) else { return Ok(device) };
    if device != function.to_string() {
        return Ok(device);
    }
    let owner = store.claim(&device)?.and_then(|claim| claim.owner);
    // One that cannot be read tells no port.
    let record = owner.and_then(|owner| store.load(&owner).ok()?).filter(|record| record.device == device);
    let is_other = |undo: &Undo| matches!(undo, Undo::Link(before) if before.port.is_some() && before.port != observed.port);
    let is_others = record.is_some_and(|record| record.undo.iter().any(is_other));
    Ok(if is_others { link.name.clone() } else { device })
}

fn recorded(store: &Store, is_it: impl Fn(&LinkBefore) -> bool) -> Result<Option<String>, attachment::Error> {
    let of_link =
        |record: &Record| record.undo.iter().any(|undo| matches!(undo, Undo::Link(before) if is_it(before)));
    Ok(store.records()?.into_iter().find(of_link).map(|record| record.device))
}

/// Whether a link of the host is the recorded one, come back.
fn is_back(before: &LinkBefore, link: &Link) -> bool {
    link.name != before.name.as_str()
        && link.alias == before.name.as_str()
        && (&link.kind, &link.parent) == (&before.kind, &before.parent)
        && (link.parent.is_some() || link.mac == before.mac)
}

/// Whether the configuration means the recorded link, which is not on the host under that name.
fn is_meant(before: &LinkBefore, key: &DeviceKey) -> bool {
    match key {
        DeviceKey::Name(name) => {
            let also = before.alt_names.iter().flatten();
            before.name.as_str() == name.as_str() || also.into_iter().any(|also| also == name.as_str())
        }
        DeviceKey::Mac(mac) => before.mac.as_ref() == Some(mac),
        DeviceKey::KernelPath(path) => {
            path.file_name().is_some_and(|last| before.parent.as_deref().is_some_and(|parent| last == parent))
        }
        DeviceKey::Pci(_) | DeviceKey::Allocated(_) | DeviceKey::Auxiliary(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use attachment::{Owner, Paths, Sandbox};
    use netlink::{Netlink, Netns};
    use pci::Sysfs;
    use testkit::netlink::link;

    use super::*;

    /// `eth1` of a function with two ports, whose `eth2` a pod has that came when `eth1` was in another pod.
    #[test]
    fn the_port_that_is_left_on_the_host_is_not_claimed_as_the_other() {
        let node = tempfile::tempdir().unwrap();
        let paths = Paths { state: node.path().join("state"), sysfs: node.path().join("sys") };
        let function = paths.sysfs.join("bus/pci/devices/0000:00:06.0");
        std::fs::create_dir_all(function.join("net/eth1")).unwrap();
        std::fs::write(function.join("net/eth1/dev_port"), "0").unwrap();
        for (file, text) in [("vendor", "0x15b3"), ("device", "0x1003"), ("class", "0x020000")] {
            std::fs::write(function.join(file), text).unwrap();
        }
        let eth1 = link::Link::new(3, "eth1", [2, 0, 0, 0, 0, 1], "0000:00:06.0");
        let netlink = Netlink::over(Box::new(link::node(vec![eth1])));
        let mut host = Host { sysfs: Sysfs::new(&paths.sysfs), netns: Netns::current().unwrap(), netlink };
        let store = Store::host_device(&paths);
        let key = DeviceKey::Name("eth1".parse().unwrap());
        let mut claimed = |port: Option<&str>| {
            if let Some(port) = port {
                let eth2 = Link { name: "eth2".to_owned(), ..Link::default() };
                let record = Record {
                    version: Record::VERSION,
                    owner: Owner { container_id: "c2".into(), ifname: "net1".parse().unwrap() },
                    pod: None,
                    sandbox: Sandbox::unknown(None),
                    device: "0000:00:06.0".into(),
                    function: Some("0000:00:06.0".parse().unwrap()),
                    pf: None,
                    ipam: None,
                    config: serde_json::Map::new(),
                    undo: vec![Undo::Link(LinkBefore::of(&eth2, Some(port.to_owned())).unwrap())],
                };
                store.save(&record, &record.config).unwrap();
                store.set_claim(&record).unwrap();
            }
            claimed_as(&mut host, &store, &key).unwrap().unwrap()
        };
        assert_eq!(claimed(None), "0000:00:06.0");
        assert_eq!(claimed(Some("1/")), "eth1");
        assert_eq!(claimed(Some("0/")), "0000:00:06.0");
    }
}
