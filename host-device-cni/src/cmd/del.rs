//! DEL: the record's undo; and for a pod that the Go plugin made, which kept no record, or whose record cannot be read, the way
//! back that the link's alias tells.
//! It must not take an interface of the pod that the configuration does not name.

use std::path::Path;

use attachment::{Host, LinkBefore, Owner, Paths, Record, Sandbox, Store, Undo};
use cni::Request;
use cni::log::{self, Level};
use netlink::{Group, IfName, Link, Netns, Watch};
use pci::{Function, PciAddress, Sysfs};

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
        Some(record) => Ok(attachment::bring_back(&mut Host::open(paths)?, &record).map(|()| true)?),
        None => come_home(paths, store, request, &owner),
    });
    // A device that is not back stays claimed, so that nobody takes it for clean.
    let dropped =
        if matches!(back, Ok(true)) { store.drop_claims_of(&owner).map_err(Error::from) } else { Ok(()) };
    Error::all([detached, back.map(drop), dropped].into_iter().filter_map(Result::err).collect())
        .map_or(Ok(()), Err)
}

/// What of a claimed device is on the host.
enum Found {
    /// Its link as it was, or the device has none any more.
    Settled,
    /// The kernel gives a dead pod's link back under the pod's name.
    Back(Box<Link>),
    /// A link that may be on its way home, or has an alias that somebody gave it.
    Unclear,
}

/// Puts the devices right that this owner has claimed. `false` where one is not: a DEL that fails for ever would keep the pod, so
/// that is told.
fn come_home(paths: &Paths, store: &Store, request: &Request, owner: &Owner) -> Result<bool, Error> {
    let claims = store.claims_of(owner)?;
    if claims.is_empty() {
        return Ok(true);
    }
    let mut host = Host::open(paths)?;
    let watch = Watch::open(&[Group::Link]).map_err(attachment::Error::from)?;
    let mut all = true;
    for device in claims {
        let found = watch.until(attachment::CLEANUP, || look(&mut host, &device, owner))?;
        let is_home = match found {
            Some(Found::Settled) => true,
            Some(Found::Back(link)) => {
                let function = host.sysfs.function_of(&link.name);
                let port = host.port_of(function, &link.name);
                let record = made_up(request, owner, &link, Sandbox::unknown(None), function, port)?;
                record.map(|record| attachment::bring_back(&mut host, &record)).transpose()?.is_some()
            }
            Some(Found::Unclear) | None => false,
        };
        if !is_home {
            let [claim, owner] = store.claim_files(&device).map(|file| file.display().to_string());
            log::line(
                Level::Warning,
                format_args!(
                    "{device}: its record cannot be read, and its link is not on the host under the name that it had: \
                     it stays claimed; put it right, then remove {claim} and {owner}"
                ),
            );
        }
        all &= is_home;
    }
    Ok(all)
}

/// `None` while no link of the device is on the host, and one may come.
fn look(host: &mut Host, device: &str, owner: &Owner) -> Result<Option<Found>, attachment::Error> {
    let address = device.parse::<PciAddress>().ok();
    if let Some(address) = address {
        match host.sysfs.function(address) {
            Ok(function) if is_in_kernel(&function) => {}
            Ok(_) | Err(pci::Error::Missing { .. }) => return Ok(Some(Found::Settled)),
            Err(error) => return Err(error.into()),
        }
    }
    let of_function = address.map(|address| host.sysfs.netdevs(address)).unwrap_or_default();
    let links = host.netlink.links()?;
    let is_its = |link: &&Link| {
        of_function.contains(&link.name)
            || link.name == device
            || link.alias == device
            || link.parent.as_deref() == Some(device)
    };
    let its: Vec<&Link> = links.iter().filter(is_its).collect();
    let has_another_name = |link: &&&Link| link.alias != link.name && link.alias.parse::<IfName>().is_ok();
    let back = its.iter().filter(has_another_name).find(|link| link.name == owner.ifname.as_str());
    Ok(match back {
        Some(link) if links.iter().any(|other| other.name == link.alias) => Some(Found::Unclear),
        Some(link) => Some(Found::Back(Box::new((*link).clone()))),
        None if its.is_empty() => None,
        None if its.iter().any(|link| link.name == device) => Some(Found::Settled),
        None if its.iter().any(|link| has_another_name(&link)) => Some(Found::Unclear),
        None => Some(Found::Settled),
    })
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
        ip: Box::default(),
        xdp: None,
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
        // Those of its virtio device included.
        sysfs.function(address).is_ok_and(|function| is_in_kernel(&function))
            && sysfs.netdevs(address).is_empty()
    };
    place.is_dir() && netdevs(place).is_empty() && function_at(place).is_none_or(is_free_of_links)
}

/// Whether a function has a driver that makes a network device of it.
fn is_in_kernel(function: &Function) -> bool {
    function.driver.is_some() && !function.is_userspace_bound()
}

/// The PCI function whose directory it is; none where it is one on another bus.
fn function_at(place: &Path) -> Option<PciAddress> {
    place.file_name()?.to_str()?.parse().ok()
}
