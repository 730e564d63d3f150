//! An ADD from the plan to the result: record, steps, the link up, IPAM, addresses, announcements; or no trace of it.
//! It must not make the plan.

use cni::{Dns, Interface, Outcome, Request};
use netlink::{Link, LinkChange, Netns};
use serde_json::{Map, Value};

use crate::detach;
use crate::error::Error;
use crate::host::Host;
use crate::journal::Journal;
use crate::record::{Record, Undo};
use crate::step::{Arrival, Pod, Stage, Step, apply};
use crate::store::Store;
use crate::{addresses, announce, lease, sysctl};

/// What an ADD is to do.
pub struct Plan {
    /// How to undo it.
    pub record: Record,
    /// The keys that the Go plugin would find in the record's file.
    pub beside: Map<String, Value>,
    /// What to do.
    pub steps: Vec<Step>,
    /// The link, on the host still; `None` for a function under a userspace driver.
    pub link: Option<Link>,
    /// The interface to report. An empty MAC is filled with the link's.
    pub interface: Interface,
    /// Addresses and routes that the pod gets beside IPAM's.
    pub inherited: Outcome,
    /// The name servers to report instead of IPAM's; `None` keeps those.
    pub dns: Option<Dns>,
    /// Announce the pod's addresses to its neighbours, and have the kernel do so from then on.
    pub announce: bool,
    /// The MTU of the pod's link in bytes; `None` leaves the link's.
    pub mtu: Option<u32>,
    /// Has the pod's link take every multicast frame.
    pub allmulti: bool,
    /// Let IPv6 addresses be used while they are checked for duplicates.
    pub optimistic: bool,
}

impl Plan {
    /// Whether the link goes into the pod.
    fn moves(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Move { .. }))
    }

    /// Whether the message that moves the link may bring it up as well: nothing has to be set in the pod before that.
    fn is_up_at_once(&self) -> bool {
        !self.announce && !self.optimistic && self.mtu.is_none() && !self.allmulti
    }
}

/// Why an ADD failed. Nothing of it is left, or `left` says what.
#[derive(Debug, thiserror::Error)]
#[error("{source}{}", also(left.as_ref()))]
pub struct AttachError {
    /// How far it came.
    pub stage: Stage,
    /// Why it went no further.
    pub source: Error,
    /// What could not be put back; the record is kept for DEL then.
    pub left: Option<Error>,
}

fn also(left: Option<&Error>) -> String {
    left.map(|left| format!("; and putting things back failed: {left}")).unwrap_or_default()
}

/// Attaches as planned. The caller holds the device's lock and has found the device free.
pub fn attach(
    request: &Request,
    store: &Store,
    host: &mut Host,
    netns: Netns,
    plan: &Plan,
) -> Result<Outcome, AttachError> {
    let untouched = |source| AttachError { stage: Stage::Prepare, source, left: None };
    store.check_names(&plan.record.owner).map_err(untouched)?;
    if plan.record.ipam.is_none() && plan.inherited.ips.is_empty() {
        // Found out before anything is touched, not after.
        result(plan, None, Outcome::default())
            .to_json(request.conf.version)
            .map_err(|error| untouched(error.into()))?;
    }
    if let Some(ipam) = &plan.record.ipam {
        let missing =
            |error: cni::Error| AttachError { stage: Stage::Ipam, source: error.into(), left: None };
        cni::ipam::find(&request.path, ipam).map_err(missing)?;
    }
    let mut pod = Pod::open(netns).map_err(untouched)?;
    let mut record = foretold(store, &mut pod, plan).map_err(|(stage, source)| AttachError {
        stage,
        source,
        left: None,
    })?;
    let attached = match Journal::open(store, record.clone(), plan.beside.clone()) {
        Ok(mut journal) => {
            let attached = attach_recorded(request, store, host, &mut pod, plan, &mut journal);
            record = journal.into_record();
            attached
        }
        Err(error) => Err((Stage::Prepare, error)),
    };
    attached.map_err(|(stage, source)| {
        let undone = match stage {
            Stage::Addresses => detach::undo(request, store, host, &record),
            // IPAM itself gave back what it may have reserved.
            _ => detach::undo_without_lease(store, host, &record),
        };
        AttachError { stage, source, left: undone.err() }
    })
}

/// The plan's record with what only the pod tells: that the name is free, and which index the link will have.
fn foretold(store: &Store, pod: &mut Pod, plan: &Plan) -> Result<Record, (Stage, Error)> {
    let prepare = |error| (Stage::Prepare, error);
    let mut record = plan.record.clone();
    record.sandbox.cookie = pod.netlink.netns_cookie();
    if let Some(there) = store.load(&record.owner).map_err(prepare)? {
        // Its record would be overwritten, and with it the way back of what it has.
        return Err(prepare(Error::Allocated { device: there.device, owner: Some(there.owner) }));
    }
    if let Some(other) = store.namesake(&record.owner).map_err(prepare)? {
        return Err(prepare(Error::Namesake { owner: record.owner, other }));
    }
    for undo in &mut record.undo {
        // Nothing comes into the pod of a link that goes away with its driver.
        let (Undo::Link(before), true) = (undo, plan.moves()) else { continue };
        // The kernel moves, then renames: a name that is taken would leave the link in the pod under its old one.
        let name = before.pod_name.as_ref().unwrap_or(&record.owner.ifname);
        let failed = |error: netlink::NetnsError| (Stage::Move, error.into());
        if pod.netns.index_of(name).map_err(failed)?.is_some() {
            return Err((Stage::Move, Error::NameInPod { name: name.clone() }));
        }
        let taken = pod.netns.has_index(before.index).map_err(failed)?;
        before.pod_index = (!taken).then_some(before.index);
    }
    Ok(record)
}

fn attach_recorded(
    request: &Request,
    store: &Store,
    host: &mut Host,
    pod: &mut Pod,
    plan: &Plan,
    journal: &mut Journal<'_>,
) -> Result<Outcome, (Stage, Error)> {
    let arrival = if plan.is_up_at_once() { Arrival::Up } else { Arrival::Down };
    let moved = apply(&plan.steps, host, pod, plan.link.as_ref(), arrival, journal)?;
    let link = match (moved, arrival) {
        (Some(link), Arrival::Down) => {
            Some(bring_up(pod, plan, &link).map_err(|error| (Stage::Move, error))?)
        }
        (moved, _) => moved,
    };
    let leased = match &plan.record.ipam {
        Some(ipam) => {
            lease::add(request, store, &plan.record.owner, ipam).map_err(|error| (Stage::Ipam, error))?
        }
        None => Outcome::default(),
    };
    let outcome = result(plan, link.as_ref(), leased);
    outcome.to_json(request.conf.version).map_err(|error| (Stage::Addresses, error.into()))?;
    if let Some(link) = link.as_ref().filter(|_| !outcome.ips.is_empty()) {
        let configured = addresses::configure(&pod.netns, &mut pod.netlink, link, &outcome);
        configured.map_err(|error| (Stage::Addresses, error))?;
        if plan.announce {
            // Whoever misses an announcement asks; it is no reason to fail.
            let _ = announce::announce(&pod.netns, &mut pod.netlink, link, &outcome);
        }
    }
    Ok(outcome)
}

/// Up before IPAM, which may need the link to reach a DHCP server, and in the same message what else the pod's link is to be.
fn bring_up(pod: &mut Pod, plan: &Plan, link: &Link) -> Result<Link, Error> {
    if plan.announce {
        sysctl::notify_neighbours(&pod.netns, &link.name)?;
    }
    if plan.optimistic {
        sysctl::optimistic_dad(&pod.netns, &link.name)?;
    }
    let allmulti = plan.allmulti.then_some(true);
    let up = LinkChange { up: Some(true), mtu: plan.mtu, allmulti, ..LinkChange::default() };
    pod.netlink.change_link(link.index, "set link up", &up)?;
    Ok(pod.netlink.link_by_index(link.index)?)
}

/// IPAM's answer with our interface; every address is on it.
fn result(plan: &Plan, link: Option<&Link>, mut outcome: Outcome) -> Outcome {
    let mut interface = plan.interface.clone();
    if let Some(mac) = link.and_then(|link| link.mac.as_ref()).filter(|_| interface.mac.is_empty()) {
        interface.mac = mac.to_string();
    }
    outcome.interfaces = vec![interface];
    outcome.addressless = plan.inherited.addressless;
    outcome.ips.extend(plan.inherited.ips.iter().cloned());
    outcome.routes.extend(plan.inherited.routes.iter().cloned());
    if let Some(dns) = plan.dns.clone().filter(|_| plan.record.ipam.is_some()) {
        outcome.dns = dns;
    }
    for ip in &mut outcome.ips {
        ip.interface = Some(0);
    }
    outcome
}
