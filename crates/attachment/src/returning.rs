//! A link's way back to the host, from wherever it is by now and whatever it is called.
//! It must not touch a link that is not the recorded one: where several could be meant, none is.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink::{Arrivals, Group, Link, LinkChange, Netlink, Watch};

use crate::error::Error;
use crate::host::{Device, Host};
use crate::record::{LinkBefore, Record, Undo};
use crate::restored::Restored;

mod find;
mod settings;

/// How long the kernel may take to give a dead namespace's links back (`cleanup_net` of its `net_namespace.c`), which it
/// does in a worker and with many namespaces at a time.
pub const CLEANUP: Duration = Duration::from_secs(10);

/// How the kernel makes the link-local address of a link that comes to a namespace, unless `addr_gen_mode` or `stable_secret` of
/// its `conf/default` say otherwise (`ipv6_add_dev`, net/ipv6/addrconf.c of Linux 6.12). To read those is to spin until nobody
/// moves a link (`rtnl_trylock` in `addrconf_sysctl_addr_gen_mode`), so they are not read.
const EUI64: u8 = 0;

/// The name that the kernel itself gives where a link's own is taken.
const ANY_NAME: &str = "dev%d";

/// Brings the link home as it was and returns it, down. `Ok(None)`: there is no link any more, because a userspace driver
/// or no driver has the function, or because a virtual link died with its namespace.
pub(crate) fn bring_home(
    host: &mut Host,
    record: &Record,
    before: &LinkBefore,
    restored: &mut Restored,
) -> Result<Option<Link>, Error> {
    // Subscribed before the first look, so that a link coming home in between is not missed.
    let watch = Watch::open(&[Group::Link])?;
    let way = Way { record, before };
    let mut pod = way.pod(host)?;
    if let Some(pod) = &mut pod
        && let Some(link) = way.in_pod(pod)?
    {
        let link = way.leave_pod(host, pod, &link)?;
        return way.settle(host, link, restored).map(Some);
    }
    if let Some(function) = record.function {
        let function = host.sysfs.function(function)?;
        if function.driver.is_none() || function.is_userspace_bound() {
            return Ok(None);
        }
    }
    match before.parent.as_deref().filter(|_| record.function.is_none()).map(|parent| host.device(parent)) {
        Some(Device::Gone) => {
            restored.gone = true;
            return Ok(None);
        }
        Some(Device::Unbound) => return Ok(None),
        Some(Device::Bound) | None => {}
    }
    // A virtual link is either in one of the two or destroyed.
    let is_virtual = is_virtual(before);
    let wait = if is_virtual { Duration::ZERO } else { CLEANUP };
    match watch.until(wait, || way.on_host(host))? {
        Some(link) => {
            // A list does not tell all of a link.
            let link = host.netlink.link_by_index(link.index)?;
            way.settle(host, link, restored).map(Some)
        }
        None if is_virtual => {
            if let Some(pod) = &mut pod
                && let Some(link) = way.changed_in_pod(pod)?
            {
                let link = way.leave_pod(host, pod, &link)?;
                return way.settle(host, link, restored).map(Some);
            }
            restored.gone = true;
            Ok(None)
        }
        None => Err(Error::LinkAway { device: record.device.clone() }),
    }
}

/// The link in the pod's namespace, whatever it is called there; `None` where the namespace is gone, or does not have it.
pub fn in_pod(host: &Host, record: &Record) -> Result<Option<Link>, Error> {
    let moved = record.undo.iter().find_map(|undo| match undo {
        Undo::Link(before) => Some(before),
        _ => None,
    });
    let Some(before) = moved else { return Ok(None) };
    let way = Way { record, before };
    way.pod(host)?.map_or(Ok(None), |mut pod| way.in_pod(&mut pod))
}

/// The link on the host, under whatever name; `None` while it is not there.
pub(crate) fn on_host(host: &mut Host, record: &Record, before: &LinkBefore) -> Result<Option<Link>, Error> {
    Way { record, before }.on_host(host)
}

/// The alias that a link had, where it kept ours until all else was put back.
pub(crate) fn reset_alias(host: &mut Host, record: &Record, link: &Link, restored: &mut Restored) {
    let before = record.undo.iter().find_map(|undo| match undo {
        Undo::Link(before) => before.alias.as_deref(),
        _ => None,
    });
    let Some(alias) = before.filter(|alias| link.alias != *alias) else { return };
    let change = LinkChange { alias: Some(alias), ..LinkChange::default() };
    if let Err(source) = host.netlink.change_link(link.index, "put link back", &change) {
        let (device, what) = (record.device.clone(), format!("alias {alias:?}"));
        restored.not_back(Error::NotBack { device, what, source });
    }
}

/// Whether a link dies with its namespace. Hardware comes back in the kernel's own time, and with it the two kinds that are
/// hardware all the same (`netns_refund`).
pub(crate) fn is_virtual(before: &LinkBefore) -> bool {
    before.kind.as_deref().is_some_and(|kind| !matches!(kind, "can" | "ipoib"))
}

/// The beginning of a name that is nobody's, for a link whose own and whose pod's are both taken on the host.
const PASSING: &str = "sluice";

/// One link's way: which it is, and what it was like.
struct Way<'a> {
    record: &'a Record,
    before: &'a LinkBefore,
}

impl Way<'_> {
    /// Out of the pod, renamed and put back in one message, which leaves it up or down as is wanted. Returns it as it is on the
    /// host then. Its MTU is not in that message: one that the kernel refuses by now would end it halfway.
    fn leave_pod(&self, host: &mut Host, pod: &mut Netlink, link: &Link) -> Result<Link, Error> {
        let link = &without_alt_names(pod, link, |alt| !self.may_keep(alt));
        self.take_xdp_off(pod, link);
        let change = LinkChange { mtu: None, addr_gen_mode: None, ..self.change(link) };
        let home = LinkChange { netns: Some(host.netns.as_fd()), up: Some(false), ..change.clone() };
        let up = self.is_up_at_once(link);
        let named = LinkChange { name: Some(self.before.name.as_str()), up: Some(up), ..home.clone() };
        let arrivals = Arrivals::open();
        match pod.change_link(link.index, "move link back", &named) {
            Err(error) if error.is_exists() => {}
            moved => {
                self.named(moved)?;
                let link = self.arrived(host, arrivals, change.alias)?;
                let differs = self.change(&link).addr_gen_mode.is_some() || self.has_come_up_otherwise(&link);
                return if link.up && differs { self.down(host, &link) } else { Ok(link) };
            }
        }
        // The kernel moves under the pod's name and renames then, which failed; or names of the link's are taken on the host, and
        // it needs one that is nobody's for the way. Alternative names that are taken stay behind: the kernel moves no link with
        // such a one (`__dev_change_net_namespace`, net/core/dev.c of Linux 6.12), and a pod names its links as it likes.
        let link = match pod.link_by_index(link.index) {
            Err(error) if error.is_no_link() => return by_text(host, &link.name),
            found => found?,
        };
        let on_host = names(&host.netlink.links()?);
        without_alt_names(pod, &link, |alt| on_host.contains(alt));
        let in_pod = names(&pod.links()?);
        let is_free = |name: &String| !on_host.contains(name) && !in_pod.contains(name);
        let mut passing = (link.index..).map(|number| format!("{PASSING}{number}")).filter(is_free);
        let passing = passing.next().ok_or(netlink::Error::NoLink)?;
        let rename = LinkChange { name: Some(&passing), up: Some(false), ..LinkChange::default() };
        self.named(pod.change_link(
            link.index,
            "set link down",
            &LinkChange { name: None, ..rename.clone() },
        ))?;
        self.named(pod.change_link(link.index, "rename link", &rename))?;
        self.named(pod.change_link(link.index, "move link back", &home))?;
        by_text(host, &passing)
    }

    /// The link as it came to the host: its index may be another than in the pod, its address the one that a driver comes out of
    /// the move with (igbvf: the PF's) or a bond of the pod's gives back. Told by the kernel, for to ask is to wait behind
    /// all who move links meanwhile.
    fn arrived(
        &self,
        host: &mut Host,
        arrivals: Result<Arrivals, netlink::Error>,
        alias: Option<&str>,
    ) -> Result<Link, Error> {
        let name = &self.before.name;
        // The link is home: what is wrong with the telling is no error.
        Ok(match arrivals.ok().and_then(|mut arrivals| arrivals.last(name.as_str())) {
            Some(told) => Link { alias: alias.map_or_else(|| told.alias.clone(), str::to_owned), ..told },
            None => host.netlink.link_by_name(name)?,
        })
    }

    /// On the host, by the move or because the kernel brought it back with the pod's name: what is left to put right. Past
    /// every error: the link is home, whatever it is called.
    fn settle(&self, host: &mut Host, link: Link, restored: &mut Restored) -> Result<Link, Error> {
        let link = match self.rename(host, &link, &mut restored.notices) {
            Ok(link) => link,
            Err(error) => {
                restored.errors.push(error);
                link
            }
        };
        let change = self.change(&link);
        let mut differed = false;
        let mut put = |what: String, put: Result<(), netlink::Error>| {
            differed = true;
            let device = self.record.device.clone();
            let error = put.map_err(|source| Error::NotBack { device, what, source });
            error.err().into_iter().for_each(|error| restored.not_back(error));
        };
        for (what, change) in [
            (
                change.mtu.map(|mtu| format!("MTU {mtu}")),
                LinkChange { mtu: change.mtu, ..LinkChange::default() },
            ),
            (
                change.alias.map(|alias| format!("alias {alias:?}")),
                LinkChange { alias: change.alias, ..LinkChange::default() },
            ),
            (
                change.allmulti.map(|on| format!("allmulti {on}")),
                LinkChange { allmulti: change.allmulti, ..LinkChange::default() },
            ),
            (
                change.addr_gen_mode.map(|mode| format!("IPv6 addr_gen_mode {mode}")),
                LinkChange { addr_gen_mode: change.addr_gen_mode, ..LinkChange::default() },
            ),
        ] {
            if let Some(what) = what {
                put(what, host.netlink.change_link(link.index, "put link back", &change));
            }
        }
        if let Some(wanted) = &self.before.alt_names {
            for name in link.alt_names.iter().filter(|name| !wanted.contains(name)) {
                put(format!("names without {name}"), host.netlink.remove_alt_name(link.index, name));
            }
            for name in &link.odd_alt_names {
                let text = String::from_utf8_lossy(name);
                put(format!("names without {text:?}"), host.netlink.remove_alt_name(link.index, name));
            }
            for name in wanted.iter().filter(|name| !link.alt_names.contains(name)) {
                put(format!("alternative name {name}"), host.netlink.add_alt_name(link.index, name));
            }
        }
        let differed = self.put_settings(host, &link, restored) || differed;
        // A link has IPv6, and its settings, from an MTU of 1280 bytes on.
        let link = if differed { host.netlink.link_by_index(link.index)? } else { link };
        self.put_ip_settings(&link, restored);
        self.tell_xdp(&link, restored);
        Ok(link)
    }

    /// Whether the message that brings the link home may bring it up as well: it was up, and nothing has to be put right on it
    /// while it is down.
    fn is_up_at_once(&self, link: &Link) -> bool {
        let undo = &self.record.undo;
        let is_right = |undo: &Undo| match undo {
            Undo::Mac(before) => before.effective == link.mac,
            Undo::Link(before) => {
                before.mtu.is_none_or(|mtu| mtu == link.mtu)
                    && before.addr_gen_mode.is_none_or(|mode| mode == EUI64)
                    && self.comes_up_alike()
            }
            Undo::Master(_) | Undo::Unknown(_) => false,
            _ => true,
        };
        self.record.pf.is_none() && undo.contains(&Undo::Up) && undo.iter().all(is_right)
    }

    /// Down, so that the address which the host's namespace gave it by another mode is gone.
    fn down(&self, host: &mut Host, link: &Link) -> Result<Link, Error> {
        let down = LinkChange { up: Some(false), ..LinkChange::default() };
        self.named(host.netlink.change_link(link.index, "set link down", &down))?;
        Ok(host.netlink.link_by_index(link.index)?)
    }

    fn rename(&self, host: &mut Host, link: &Link, notices: &mut Vec<Error>) -> Result<Link, Error> {
        let name = self.before.name.as_str();
        if link.name == name {
            return Ok(link.clone());
        }
        if link.up {
            // A link that is up keeps its name (EBUSY) on most kernels.
            let down = LinkChange { up: Some(false), ..LinkChange::default() };
            self.named(host.netlink.change_link(link.index, "set link down", &down))?;
        }
        // udev may have made the host name an alternative name of the link meanwhile; the kernel takes that for a clash.
        without_alt_names(&mut host.netlink, link, |alt| alt == name);
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
            mtu: self.before.mtu.filter(|mtu| link.mtu != *mtu),
            alias: self.alias(link).filter(|alias| link.alias != *alias),
            allmulti: self.before.allmulti.filter(|allmulti| link.allmulti != *allmulti),
            addr_gen_mode: self.before.addr_gen_mode.filter(|mode| link.addr_gen_mode != Some(*mode)),
            ..LinkChange::default()
        }
    }

    /// The alias for the way home. A link that is known by no device, and does not have its address yet, may come to another
    /// index: until all is put back ours is what tells it from another of its name.
    fn alias(&self, link: &Link) -> Option<&str> {
        let before = self.before;
        let is_known = self.record.function.is_some()
            || before.parent.is_some()
            || before.mac.is_some() && link.own_mac() == before.mac.as_ref();
        if is_known { before.alias.as_deref() } else { Some(before.name.as_str()) }
    }

    /// Whether the link may come home with an alternative name: it had it there, or nobody noted which it had. Not with its
    /// own name as one, which the kernel takes for a clash.
    fn may_keep(&self, alt_name: &str) -> bool {
        let wanted = self.before.alt_names.as_ref();
        alt_name != self.before.name.as_str()
            && wanted.is_none_or(|wanted| wanted.iter().any(|name| name == alt_name))
    }

    fn named(&self, changed: Result<(), netlink::Error>) -> Result<(), Error> {
        changed.map_err(|source| Error::Device { device: self.record.device.clone(), source })
    }
}

/// Takes the alternative names off that are not wanted, with all that are no text, and returns the link with those that it has
/// then. What does not come off is no error yet: whether it stands in the way the next step says.
fn without_alt_names(netlink: &mut Netlink, link: &Link, unwanted: impl Fn(&str) -> bool) -> Link {
    let mut link = link.clone();
    let index = link.index;
    link.alt_names.retain(|name| !unwanted(name) || netlink.remove_alt_name(index, name).is_err());
    link.odd_alt_names.retain(|name| netlink.remove_alt_name(index, name).is_err());
    link
}

/// All that links are called.
fn names(links: &[Link]) -> HashSet<String> {
    links.iter().flat_map(|link| [&link.name].into_iter().chain(&link.alt_names)).cloned().collect()
}

fn by_text(host: &mut Host, name: &str) -> Result<Link, Error> {
    let name = name.parse()?;
    Ok(host.netlink.link_by_name(&name)?)
}

#[cfg(test)]
mod tests;
