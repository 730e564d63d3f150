//! A link's way back to the host, from wherever it is by now and whatever it is called.
//! It must not touch a link that is not the recorded one.

use std::os::fd::AsFd;
use std::time::Duration;

use netlink::{Group, Link, LinkChange, Netlink, Netns, Watch};

use crate::error::Error;
use crate::host::Host;
use crate::record::{LinkBefore, Record};

/// How long the kernel may take to give a dead namespace's links back (`cleanup_net` of its `net_namespace.c`), which it
/// does in a worker and with many namespaces at a time.
const CLEANUP: Duration = Duration::from_secs(10);

/// The name that the kernel itself gives where a link's own is taken.
const ANY_NAME: &str = "dev%d";

/// Brings the link home as it was and returns it, down. `Ok(None)`: the function has no link any more, because a userspace
/// driver has it. A name that is taken meanwhile is told in `notices`.
pub(crate) fn bring_home(
    host: &mut Host,
    record: &Record,
    before: &LinkBefore,
    notices: &mut Vec<Error>,
) -> Result<Option<Link>, Error> {
    // Subscribed before the first look, so that a link coming home in between is not missed.
    let watch = Watch::open(&[Group::Link])?;
    let way = Way { record, before };
    if let Some(mut pod) = way.pod()? {
        way.leave_pod(host, &mut pod)?;
    }
    if let Some(function) = record.function
        && host.sysfs.function(function)?.is_userspace_bound()
    {
        return Ok(None);
    }
    let link = watch.until(CLEANUP, || way.on_host(host))?;
    let link = link.ok_or_else(|| Error::LinkAway { device: record.device.clone() })?;
    way.settle(host, link, notices).map(Some)
}

/// One link's way: which it is, and what it was like.
struct Way<'a> {
    record: &'a Record,
    before: &'a LinkBefore,
}

impl Way<'_> {
    /// The pod's namespace, where it is still the one that was recorded.
    fn pod(&self) -> Result<Option<Netlink>, Error> {
        match Netns::open(&self.record.sandbox.path) {
            Ok(netns) if self.record.sandbox.is(&netns) => Ok(Some(netns.netlink()??)),
            Ok(_) => Ok(None),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A link with a device is known by its bus address under any name. One without, and any on kernels before 5.14, is
    /// known by the alias that it was given on its way in: its name on the host.
    fn is_it(&self, link: &Link) -> bool {
        match &self.before.parent {
            Some(_) => link.parent == self.before.parent,
            None => link.alias == self.before.name.as_str(),
        }
    }

    /// The link in the pod. Another link of the pod that merely has the name is not it.
    fn in_pod(&self, pod: &mut Netlink) -> Result<Option<Link>, Error> {
        Ok(pod.links()?.into_iter().find(|link| self.is_it(link)))
    }

    /// The link on the host; `None` while it is not there.
    fn on_host(&self, host: &mut Host) -> Result<Option<Link>, Error> {
        if let Some(function) = self.record.function {
            return host.link_of(function);
        }
        let links = host.netlink.links()?;
        let known = links.iter().find(|link| self.is_it(link));
        // One that never left has no alias of ours yet.
        let by_name = || {
            links.iter().find(|link| self.before.parent.is_none() && link.name == self.before.name.as_str())
        };
        Ok(known.or_else(by_name).cloned())
    }

    /// Out of the pod, down, renamed and put back in one message.
    fn leave_pod(&self, host: &mut Host, pod: &mut Netlink) -> Result<(), Error> {
        let Some(link) = self.in_pod(pod)? else { return Ok(()) };
        drop_clashing_alt_names(pod, &link, self.before)?;
        let home = LinkChange { netns: Some(host.netns.as_fd()), up: Some(false), ..self.change(&link) };
        let named = LinkChange { name: Some(self.before.name.as_str()), ..home.clone() };
        match pod.change_link(link.index, "move link back", &named) {
            // The kernel moves first and renames then, or cannot even move: both names may be taken on the host.
            Err(error) if error.is_exists() => {
                let Some(link) = self.in_pod(pod)? else { return Ok(()) };
                let elsewhere = LinkChange { name: Some(ANY_NAME), ..home };
                self.named(pod.change_link(link.index, "move link back", &elsewhere))
            }
            moved => self.named(moved),
        }
    }

    /// On the host, by the move or because the kernel brought it back with the pod's name: what is left to put right.
    fn settle(&self, host: &mut Host, link: Link, notices: &mut Vec<Error>) -> Result<Link, Error> {
        let link = self.rename(host, link, notices)?;
        let change = self.change(&link);
        if change.mtu.is_some() || change.alias.is_some() {
            self.named(host.netlink.change_link(link.index, "put link back", &change))?;
        }
        for name in link.alt_names.iter().filter(|name| !self.before.alt_names.contains(name)) {
            host.netlink.remove_alt_name(link.index, name)?;
        }
        for name in self.before.alt_names.iter().filter(|name| !link.alt_names.contains(name)) {
            host.netlink.add_alt_name(link.index, name)?;
        }
        Ok(host.netlink.link_by_index(link.index)?)
    }

    fn rename(&self, host: &mut Host, link: Link, notices: &mut Vec<Error>) -> Result<Link, Error> {
        let name = self.before.name.as_str();
        if link.name == name {
            return Ok(link);
        }
        if link.up {
            // A link that is up keeps its name (EBUSY) on most kernels.
            let down = LinkChange { up: Some(false), ..LinkChange::default() };
            self.named(host.netlink.change_link(link.index, "set link down", &down))?;
        }
        drop_clashing_alt_names(&mut host.netlink, &link, self.before)?;
        let rename = |name| LinkChange { name: Some(name), ..LinkChange::default() };
        match host.netlink.change_link(link.index, "rename link", &rename(name)) {
            Err(error) if error.is_exists() => {
                self.named(host.netlink.change_link(link.index, "rename link", &rename(ANY_NAME)))?;
                let found = host.netlink.link_by_index(link.index)?;
                let (device, name) = (self.record.device.clone(), self.before.name.clone());
                notices.push(Error::NameTaken { device, name, found: found.name.clone() });
                Ok(found)
            }
            renamed => {
                self.named(renamed)?;
                Ok(host.netlink.link_by_index(link.index)?)
            }
        }
    }

    /// The properties that differ from what they were.
    fn change(&self, link: &Link) -> LinkChange<'_> {
        LinkChange {
            mtu: (link.mtu != self.before.mtu).then_some(self.before.mtu),
            alias: (link.alias != self.before.alias).then_some(self.before.alias.as_str()),
            ..LinkChange::default()
        }
    }

    fn named(&self, changed: Result<(), netlink::Error>) -> Result<(), Error> {
        changed.map_err(|source| Error::Device { device: self.record.device.clone(), source })
    }
}

/// udev may have made the host name an alternative name of the link meanwhile; the kernel takes that for a clash.
fn drop_clashing_alt_names(netlink: &mut Netlink, link: &Link, before: &LinkBefore) -> Result<(), Error> {
    for name in link.alt_names.iter().filter(|name| *name == before.name.as_str()) {
        netlink.remove_alt_name(link.index, name)?;
    }
    Ok(())
}
