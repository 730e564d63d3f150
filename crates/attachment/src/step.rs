//! The steps of an ADD, each with what undoes it.
//! It must not decide which steps are needed: that is a plugin's plan.

use std::os::fd::AsFd;

use netlink::{IfName, Link, LinkChange, MacAddr, Netlink, Netns, VfAttribute};

use crate::driver;
use crate::error::Error;
use crate::host::Host;
use crate::journal::Journal;
use crate::mac::Stay;
use crate::record::{DriverBefore, LinkBefore, MacBefore, Pf, Undo};
use crate::store::Lock;
use crate::trunk;
use crate::vlan_set::VlanSet;

/// One change. `before` is what was observed, and becomes the undo.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Takes the link down on the host; drivers refuse a new address or name while it is up.
    Down,
    /// Takes the link from the bond, bridge or VRF whose port it is, which a new address would not survive otherwise: a bond gives
    /// its port's own back when that leaves.
    Leave(IfName),
    /// Sets an attribute of the VF through its PF.
    Vf {
        /// The new value.
        set: VfAttribute,
        /// The old one.
        before: VfAttribute,
    },
    /// Has the PF let the VF use these VLANs and no other.
    Trunk {
        /// The new list.
        set: VlanSet,
        /// The old one; empty for none.
        before: VlanSet,
    },
    /// Changes nothing, and has this put back whatever the pod does to it.
    Remember(Undo),
    /// Gives the function a hardware address.
    Mac {
        /// The new address.
        set: MacAddr,
        /// The old ones.
        before: MacBefore,
    },
    /// Moves the link into the pod under its new name, in one message.
    Move {
        /// The name in the pod.
        name: IfName,
        /// The alias to set on the way; `None` leaves it.
        alias: Option<String>,
        /// The link as it was.
        before: LinkBefore,
    },
    /// Gives the function to another driver; its link, where it has one, goes away with that.
    Bind {
        /// The driver.
        driver: &'static str,
        /// The one that it had.
        before: DriverBefore,
    },
}

impl Step {
    /// What puts it back.
    pub fn undo(&self) -> Undo {
        match self {
            Self::Down => Undo::Up,
            Self::Leave(master) => Undo::Master(master.clone()),
            Self::Remember(undo) => undo.clone(),
            Self::Vf { before, .. } => Undo::Vf(before.clone()),
            Self::Trunk { before, .. } => Undo::Trunk(before.clone()),
            Self::Mac { before, .. } => Undo::Mac(before.clone()),
            Self::Move { before, .. } => Undo::Link(before.clone()),
            Self::Bind { before, .. } => Undo::Driver(before.clone()),
        }
    }
}

/// How far an ADD came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// The namespace, the claim and the record.
    Prepare,
    /// The function on the host.
    Configure,
    /// The link's way into the pod.
    Move,
    /// The IPAM plugin.
    Ipam,
    /// The addresses and routes in the pod.
    Addresses,
}

/// The pod's side of an ADD.
pub(crate) struct Pod {
    pub(crate) netns: Netns,
    pub(crate) netlink: Netlink,
}

impl Pod {
    /// Opens the namespace and a socket in it.
    pub(crate) fn open(netns: Netns) -> Result<Self, Error> {
        let netlink = netns.netlink()??;
        Ok(Self { netns, netlink })
    }
}

/// How the link is in the pod when its move is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    /// Up: one message does it all, and the pod has its link as soon as the kernel has moved it.
    Up,
    /// Down, for whoever has to set something before it comes up.
    Down,
}

/// Runs the steps in order and returns the link as it is in the pod, where one was moved. Stops at the first refusal, told
/// with whether it was the move that was refused; the journal's record undoes what was done.
pub(crate) fn apply(
    steps: &[Step],
    host: &mut Host,
    pod: &mut Pod,
    link: Option<&Link>,
    arrival: Arrival,
    journal: &mut Journal<'_>,
) -> Result<Option<Link>, (Stage, Error)> {
    let mut moved = None;
    // From the first change at the PF to the last; a driver's own time to show an address is waited for without it.
    let mut at_pf = None;
    let mut mac = None;
    let binds = steps.iter().any(|step| matches!(step, Step::Bind { .. }));
    let stay = if binds { Stay::Passing } else { Stay::Kept };
    for step in steps {
        if let Step::Move { name, alias, before } = step {
            drop(at_pf.take());
            shown(host, link, mac.take())?;
            let into = move_in(host, pod, link, (name, alias.as_deref()), before, arrival);
            moved = into.map_err(|error| (Stage::Move, error))?;
            if let Some(link) = &moved {
                // Another link may have taken the foretold one meanwhile.
                journal.set_pod_index(link.index).map_err(|error| (Stage::Move, error))?;
            }
            continue;
        }
        let configure = |error| (Stage::Configure, error);
        if matches!(step, Step::Bind { .. }) {
            drop(at_pf.take());
        }
        if at_pf.is_none() && matches!(step, Step::Vf { .. } | Step::Trunk { .. } | Step::Mac { .. }) {
            at_pf = lock_pf(host, journal).map_err(configure)?;
        }
        if let Step::Mac { set, .. } = step {
            mac = Some(set).filter(|_| stay == Stay::Kept);
        }
        let pf = at_pf.as_ref().map(|(_, link)| link);
        change(step, host, pf, link.zip(Some(stay)), journal).map_err(configure)?;
    }
    drop(at_pf);
    shown(host, link, mac)?;
    Ok(moved)
}

/// The lock of the function's PF, and the link by which it is spoken to meanwhile; `None` for a function without one.
fn lock_pf(host: &mut Host, journal: &Journal<'_>) -> Result<Option<(Lock, Link)>, Error> {
    let Some((pf, lock)) = journal.record().pf.zip(journal.lock_pf()?) else { return Ok(None) };
    Ok(Some((lock, host.pf_link(pf.address)?)))
}

fn shown(host: &mut Host, link: Option<&Link>, mac: Option<&MacAddr>) -> Result<(), (Stage, Error)> {
    let Some((link, mac)) = link.zip(mac) else { return Ok(()) };
    crate::mac::shown(host, link, mac).map_err(|error| (Stage::Configure, error))
}

fn change(
    step: &Step,
    host: &mut Host,
    pf_link: Option<&Link>,
    link: Option<(&Link, Stay)>,
    journal: &mut Journal<'_>,
) -> Result<(), Error> {
    let pf = journal.record().pf;
    match step {
        Step::Down => {
            let change = LinkChange { up: Some(false), ..LinkChange::default() };
            on_link(host, link.map(|(link, _)| link), "set link down", &change)
        }
        Step::Leave(_) => {
            let change = LinkChange { master: Some(0), ..LinkChange::default() };
            on_link(host, link.map(|(link, _)| link), "leave master", &change)
        }
        Step::Vf { set, .. } => set_vf(host, pf.zip(pf_link), set),
        Step::Trunk { set, .. } => pf.map_or(Ok(()), |pf| Ok(trunk::set(&host.sysfs, pf, set)?)),
        Step::Mac { set: mac, .. } => {
            crate::mac::set(host, pf, link, mac, |refused| journal.set_locked(refused))
        }
        Step::Bind { driver, .. } => {
            journal.record().function.map_or(Ok(()), |function| driver::bind(host, function, driver))
        }
        Step::Remember(_) | Step::Move { .. } => Ok(()),
    }
}

fn move_in(
    host: &mut Host,
    pod: &mut Pod,
    link: Option<&Link>,
    (name, alias): (&IfName, Option<&str>),
    before: &LinkBefore,
    arrival: Arrival,
) -> Result<Option<Link>, Error> {
    let Some(link) = link else { return Ok(None) };
    for taken in before.alt_names.iter().flatten().filter(|alt| *alt == name.as_str()) {
        // The kernel takes a link's own alternative name for a clash.
        host.netlink.remove_alt_name(link.index, taken)?;
    }
    let netns = Some(pod.netns.as_fd());
    let up = (arrival == Arrival::Up).then_some(true);
    let change = LinkChange { netns, name: Some(name.as_str()), alias, up, ..LinkChange::default() };
    host.netlink.change_link(link.index, "move link", &change)?;
    // A driver may take another address when its device is opened or closed, and a bond gives its port's own back.
    if arrival == Arrival::Down || link.is_hardware() || link.master.is_some() {
        return Ok(Some(pod.netlink.link_by_name(name)?));
    }
    // What the kernel has just confirmed is not asked for again: an answer would wait for all who move links by now.
    let index = pod.netns.index_of(name)?.ok_or(netlink::Error::NoLink)?;
    let alias = alias.unwrap_or(&link.alias).to_owned();
    Ok(Some(Link { index, name: name.to_string(), alias, up: true, ..link.clone() }))
}

fn on_link(
    host: &mut Host,
    link: Option<&Link>,
    request: &'static str,
    change: &LinkChange<'_>,
) -> Result<(), Error> {
    let Some(link) = link else { return Ok(()) };
    let changed = host.netlink.change_link(link.index, request, change);
    changed.map_err(|source| Error::Device { device: link.name.clone(), source })
}

fn set_vf(host: &mut Host, pf: Option<(Pf, &Link)>, attribute: &VfAttribute) -> Result<(), Error> {
    let Some((pf, link)) = pf else { return Ok(()) };
    let set = host.netlink.set_vf(link.index, pf.vf, attribute);
    set.map_err(Error::vf(link, pf.vf, attribute))
}

#[cfg(test)]
mod tests;
