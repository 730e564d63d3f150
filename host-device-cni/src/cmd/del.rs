//! DEL: the record's undo; and for a pod that the Go plugin made, which kept no record, or whose record cannot be read, the way
//! back that the link's alias tells.
//! It must not take an interface of the pod that the configuration does not name.

use std::path::Path;

use attachment::{Host, LinkBefore, Owner, Paths, Record, Sandbox, Store, Undo};
use cni::Request;
use netlink::{IfName, Link, Netns};
use pci::{PciAddress, Sysfs};

use crate::conf::{Conf, DeviceKey};
use crate::error::Error;
use crate::observe::{bus_place, netdevs};

pub(super) fn del(paths: &Paths, store: &Store, request: &Request) -> Result<(), Error> {
    let owner = Owner::of(request)?;
    let loaded = store.load(&owner);
    // One that cannot be read is none the next time: what is left of it then is its claims.
    if !matches!(loaded, Ok(None) | Err(attachment::Error::Corrupt { .. })) {
        return Ok(attachment::detach(request, store, paths)?);
    }
    // Ours gives the alias, too, which is what is left where nobody can read its record.
    let in_pod = adopted(paths, request, &owner);
    // Addresses first: a DHCP client releases its lease through the link.
    let detached = attachment::detach(request, store, paths).map_err(Error::from);
    let back = in_pod.and_then(|in_pod| match in_pod {
        Some(record) => Ok(attachment::bring_back(&mut Host::open(paths)?, &record)?),
        None => come_home(paths, store, request, &owner),
    });
    // A device that is not back stays claimed, for the next DEL.
    let dropped = if back.is_ok() { store.drop_claims_of(&owner).map_err(Error::from) } else { Ok(()) };
    Error::all([detached, back, dropped].into_iter().filter_map(Result::err).collect()).map_or(Ok(()), Err)
}

/// The kernel gives a dead pod's link back under the pod's name. It is this pod's where the alias or the device is what this owner
/// has claimed, and no other link has its name.
fn come_home(paths: &Paths, store: &Store, request: &Request, owner: &Owner) -> Result<(), Error> {
    let claims = store.claims_of(owner)?;
    if claims.is_empty() {
        return Ok(());
    }
    let mut host = Host::open(paths)?;
    let links = host.netlink.links().map_err(attachment::Error::from)?;
    let is_taken = |name: &str| links.iter().any(|link| link.name == name);
    let Some(link) = links.iter().find(|link| link.name == request.ifname) else { return Ok(()) };
    let function = host.sysfs.function_of(&link.name);
    let is_claimed = claims.iter().any(|device| {
        *device == link.alias
            || Some(device) == link.parent.as_ref()
            || function.is_some_and(|function| *device == function.to_string())
    });
    if !is_claimed || is_taken(&link.alias) {
        return Ok(());
    }
    let port = host.port_of(function, &link.name);
    let record = made_up(request, owner, link, Sandbox::unknown(None), function, port)?;
    record.map_or(Ok(()), |record| Ok(attachment::bring_back(&mut host, &record)?))
}

/// What a record would say of a link that was moved: its alias is its name on the host.
fn adopted(paths: &Paths, request: &Request, owner: &Owner) -> Result<Option<Record>, Error> {
    // The pod's namespace may be gone, and a configuration that names no device names none of the pod's either.
    let (Ok(conf), Some(Ok(netns))) = (Conf::parse(request), request.netns.as_ref().map(Netns::open)) else {
        return Ok(None);
    };
    let links = netns.netlink()?.and_then(|mut netlink| netlink.links()).map_err(attachment::Error::from)?;
    let sysfs = Sysfs::new(&paths.sysfs);
    let is_named = |link: &Link| match (&link.parent, bus_place(&sysfs, &conf.device)) {
        // Kernels before 5.14 tell no bus address. A device that is not on the host is the pod's, under the name of the ADD.
        (None, Some(place)) => is_away(&sysfs, &place),
        _ => is_named_by(link, &conf.device),
    };
    let named = links.into_iter().find(|link| link.name == request.ifname && is_named(link));
    let Some(link) = named else { return Ok(None) };
    let function = match &link.parent {
        Some(parent) => parent.parse().ok(),
        None => bus_place(&sysfs, &conf.device).and_then(|place| function_at(&place)),
    };
    made_up(request, owner, &link, Sandbox::of(&netns), function, None)
}

/// The record of a link by itself; `None` where its alias is no name.
fn made_up(
    request: &Request,
    owner: &Owner,
    link: &Link,
    sandbox: Sandbox,
    function: Option<PciAddress>,
    port: Option<String>,
) -> Result<Option<Record>, Error> {
    let Ok(name) = link.alias.parse::<IfName>() else { return Ok(None) };
    let before = LinkBefore {
        name,
        index: 0,
        pod_index: Some(link.index),
        alias: Some(String::new()),
        addr_gen_mode: None,
        ..LinkBefore::of(link, port)?
    };
    Ok(Some(Record {
        version: Record::VERSION,
        owner: owner.clone(),
        pod: None,
        sandbox,
        device: before.name.to_string(),
        function,
        pf: None,
        ipam: None,
        config: request.conf.raw.clone(),
        undo: vec![Undo::Link(before)],
    }))
}

fn is_named_by(link: &Link, key: &DeviceKey) -> bool {
    match key {
        // Alternative names go with the link; the alias is its own.
        DeviceKey::Name(name) => {
            link.alias == name.as_str() || link.alt_names.iter().any(|also| also == name.as_str())
        }
        DeviceKey::Mac(mac) => link.mac.as_ref() == Some(mac),
        DeviceKey::Pci(address) | DeviceKey::Allocated(address) => link.parent == Some(address.to_string()),
        DeviceKey::Auxiliary(name) => link.parent.as_deref() == Some(name.as_str()),
        DeviceKey::KernelPath(path) => {
            link.parent.as_ref().is_some_and(|parent| path.iter().any(|part| part == parent.as_str()))
        }
    }
}

/// Whether a device is on this node, with a kernel driver, and has no network device on the host.
fn is_away(sysfs: &Sysfs, place: &Path) -> bool {
    let is_free_of_links = |address| {
        let function = sysfs.function(address);
        let in_kernel =
            function.is_ok_and(|function| function.driver.is_some() && !function.is_userspace_bound());
        // Those of its virtio device included.
        in_kernel && sysfs.netdevs(address).is_empty()
    };
    place.is_dir() && netdevs(place).is_empty() && function_at(place).is_none_or(is_free_of_links)
}

/// The PCI function whose directory it is; none where it is one on another bus.
fn function_at(place: &Path) -> Option<PciAddress> {
    place.file_name()?.to_str()?.parse().ok()
}
