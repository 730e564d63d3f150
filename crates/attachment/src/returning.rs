//! A link's way back to the host, from wherever it is by now.
//! It must not touch a link that is not the recorded one.

use std::os::fd::AsFd;
use std::time::Duration;

use netlink::{Group, Link, LinkChange, Netlink, Netns, Watch};
use pci::PciAddress;

use crate::error::Error;
use crate::host::Host;
use crate::record::{LinkBefore, Record};

/// How long the kernel may take to give a dead namespace's links back (`cleanup_net` of the kernel's `net_namespace.c`), which it
/// does in a worker and with many namespaces at a time.
const CLEANUP: Duration = Duration::from_secs(10);

/// The name that the kernel itself gives where a link's own is taken.
const ANY_NAME: &str = "dev%d";

/// Brings the link home as it was and returns it, down. `Ok(None)`: the function has no link any more, because a userspace
/// driver has it.
pub(crate) fn bring_home(
    host: &mut Host,
    record: &Record,
    before: &LinkBefore,
) -> Result<Option<Link>, Error> {
    // Subscribed before the first look, so that a link coming home in between is not missed.
    let watch = Watch::open(&[Group::Link])?;
    // A link with a device is the same under any name; one without is told from others only by the alias it has in the pod.
    if (record.function.is_some() || before.parent.is_some())
        && let Some(link) = on_host(host, record.function, before)?
    {
        return settle_on_host(host, record, before, &link).map(Some);
    }
    if let Some(mut netlink) = pod(record)?
        && let Some(link) = in_pod(&mut netlink, record, before)?
    {
        return leave_pod(host, record, before, &mut netlink, &link).map(Some);
    }
    if let Some(function) = record.function
        && host.sysfs.function(function)?.is_userspace_bound()
    {
        return Ok(None);
    }
    let link = watch.until(CLEANUP, || on_host(host, record.function, before))?;
    let link = link.ok_or_else(|| Error::LinkAway { device: record.device.clone() })?;
    settle_on_host(host, record, before, &link).map(Some)
}

/// The pod's namespace, where it is still the one that was recorded.
fn pod(record: &Record) -> Result<Option<Netlink>, Error> {
    match Netns::open(&record.sandbox.path) {
        Ok(netns) if record.sandbox.is(&netns) => Ok(Some(netns.netlink()??)),
        Ok(_) => Ok(None),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The recorded link in the pod, whatever the pod calls it: by its bus address where the kernel tells one; a link without
/// a device by the alias that it was given on its way in. A foreign link of the pod that merely has the name is not ours.
fn in_pod(netlink: &mut Netlink, record: &Record, before: &LinkBefore) -> Result<Option<Link>, Error> {
    let ours = |link: &&Link| match (&before.parent, record.function) {
        (Some(_), _) => link.parent == before.parent,
        // Kernels before 5.14 tell no bus address. The function's link is not on the host, or we would not look here.
        (None, Some(_)) => link.name == record.owner.ifname.as_str(),
        (None, None) => link.alias == before.name.as_str(),
    };
    Ok(netlink.links()?.iter().find(ours).cloned())
}

/// The link on the host, `None` while it is not there.
pub(crate) fn on_host(
    host: &mut Host,
    function: Option<PciAddress>,
    before: &LinkBefore,
) -> Result<Option<Link>, Error> {
    if let Some(function) = function {
        return host.link_of(function);
    }
    if before.parent.is_some() {
        return Ok(host.netlink.links()?.into_iter().find(|link| link.parent == before.parent));
    }
    match host.netlink.link_by_name(&before.name) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.is_no_link() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Out of the pod, renamed and put back in one message; under a name of the kernel's where its own is taken.
fn leave_pod(
    host: &mut Host,
    record: &Record,
    before: &LinkBefore,
    netlink: &mut Netlink,
    link: &Link,
) -> Result<Link, Error> {
    let device = |source| Error::Device { device: record.device.clone(), source };
    drop_clashing_alt_names(netlink, link, before)?;
    let home = LinkChange {
        netns: Some(host.netns.as_fd()),
        name: Some(before.name.as_str()),
        mtu: (link.mtu != before.mtu).then_some(before.mtu),
        alias: (link.alias != before.alias).then_some(before.alias.as_str()),
        up: Some(false),
        ..LinkChange::default()
    };
    let moved = netlink.change_link(link.index, "move link back", &home);
    if matches!(&moved, Err(error) if error.is_exists()) {
        let elsewhere = LinkChange { name: Some(ANY_NAME), ..home };
        netlink.change_link(link.index, "move link back", &elsewhere).map_err(device)?;
    } else {
        moved.map_err(device)?;
    }
    let link = on_host(host, record.function, before)?;
    let link = link.ok_or_else(|| Error::LinkAway { device: record.device.clone() })?;
    finish(host, record, before, link)
}

/// On the host already, by our own move in an earlier try or because the kernel brought it back with the pod's name.
fn settle_on_host(host: &mut Host, record: &Record, before: &LinkBefore, link: &Link) -> Result<Link, Error> {
    let device = |source| Error::Device { device: record.device.clone(), source };
    let renamed = link.name != before.name.as_str();
    if !renamed && link.mtu == before.mtu && link.alias == before.alias {
        return finish(host, record, before, link.clone());
    }
    if renamed && link.up {
        // A link that is up keeps its name (EBUSY) on most kernels.
        let down = LinkChange { up: Some(false), ..LinkChange::default() };
        host.netlink.change_link(link.index, "set link down", &down).map_err(device)?;
    }
    drop_clashing_alt_names(&mut host.netlink, link, before)?;
    let change = LinkChange {
        name: renamed.then_some(before.name.as_str()),
        mtu: (link.mtu != before.mtu).then_some(before.mtu),
        alias: (link.alias != before.alias).then_some(before.alias.as_str()),
        ..LinkChange::default()
    };
    match host.netlink.change_link(link.index, "rename link", &change) {
        // Told by `finish`.
        Err(error) if error.is_exists() => {}
        outcome => outcome.map_err(device)?,
    }
    let link = host.netlink.link_by_index(link.index)?;
    finish(host, record, before, link)
}

/// udev may have made the host name an alternative name of the link meanwhile; the kernel takes that for a clash.
fn drop_clashing_alt_names(netlink: &mut Netlink, link: &Link, before: &LinkBefore) -> Result<(), Error> {
    for name in link.alt_names.iter().filter(|name| *name == before.name.as_str()) {
        netlink.remove_alt_name(link.index, name)?;
    }
    Ok(())
}

/// Alternative names as they were; and the truth about the name.
fn finish(host: &mut Host, record: &Record, before: &LinkBefore, link: Link) -> Result<Link, Error> {
    for name in link.alt_names.iter().filter(|name| !before.alt_names.contains(name)) {
        host.netlink.remove_alt_name(link.index, name)?;
    }
    for name in before.alt_names.iter().filter(|name| !link.alt_names.contains(name)) {
        host.netlink.add_alt_name(link.index, name)?;
    }
    if link.name != before.name.as_str() {
        let (device, name) = (record.device.clone(), before.name.clone());
        return Err(Error::NameTaken { device, name, found: link.name });
    }
    Ok(link)
}
