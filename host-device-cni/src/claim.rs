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
        Ok(observed) => Ok(Some(observed.device)),
        Err(_) => recorded(store, |before| is_meant(before, key)),
    }
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
