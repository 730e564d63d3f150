//! What pods may have left behind: each attachment and claim of a state directory, held against the node; and its undo,
//! once somebody has decided that the pod is gone.
//! It must not decide that, nor wait for a device that somebody else is busy with.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netlink::{Netns, NetnsError};

use crate::detach::{self, is_ours};
use crate::error::Error;
use crate::host::{Device, Host};
use crate::lease;
use crate::lost::lost;
use crate::record::{LinkBefore, Record, Sandbox, Undo};
use crate::restore::restore_within;
use crate::restored::Restored;
use crate::returning;
use crate::store::Store;

/// One attachment, or one claim that has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Leftover {
    /// The name under which the device is or was claimed: a PCI address, an auxiliary device or a link.
    pub device: String,
    /// The record; `None` for a claim alone.
    pub record: Option<Record>,
    /// The device is claimed by this: what the record says was done to it may not be undone yet.
    pub claimed: bool,
    /// The record cannot be read, or could not when a DEL moved it out of the way: what was done to the device is not known.
    pub torn: bool,
    /// What became of the pod's network namespace.
    pub life: Life,
    /// Where the device is.
    pub place: Place,
}

/// What became of a network namespace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    /// It is there.
    Alive,
    /// It is there no more.
    Over(End),
    /// From here that cannot be told.
    Unseen,
}

/// How it is known that a network namespace is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// It was in a boot that is over.
    EarlierBoot,
    /// Its path leads to another one.
    Replaced,
    /// Its path is not there, though the directory is.
    NoPath,
}

/// Where a device is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// Its link was moved into the pod and is on the host again.
    Home,
    /// Its link is not on the host: a network namespace that lives has it.
    Away,
    /// No link of it was moved, or it has none: a userspace driver has it, or no driver.
    Linkless,
    /// A virtual link that is nowhere any more.
    Died,
    /// The device is not on this node.
    Absent,
    /// The node does not say.
    Untold,
}

/// What came of an undo.
#[derive(Debug)]
pub enum Undone {
    /// Somebody has the device's lock: an ADD or DEL is at work.
    Busy,
    /// It is not as it was when the decision was made.
    Changed,
    /// The device is as it was before the pod. `addresses`: IPAM still holds the pod's, and the record is kept for them.
    Done {
        /// What an operator should know.
        notices: Vec<Error>,
        /// Whether [`release`] is to follow.
        addresses: bool,
    },
}

/// All that is in a state directory, and the files of it that make no sense.
pub fn survey(store: &Store, host: &mut Host) -> Result<(Vec<Leftover>, Vec<Error>), Error> {
    let mut listing = store.listing()?;
    let mut found = Vec::with_capacity(listing.records.len());
    for record in listing.records {
        // One file that cannot be read keeps no other attachment from being looked at, and this one from being touched.
        let claim = match store.claim(&record.device) {
            Ok(claim) => claim,
            Err(error) => {
                listing.odd.push(error);
                continue;
            }
        };
        let claimed = claim.is_some_and(|claim| is_ours(&record, &claim));
        if claimed {
            listing.claimed.remove(&record.device);
        }
        found.push(Leftover::of(host, record, claimed));
    }
    for device in listing.claimed {
        match alone(store, host, &device) {
            Ok(claim) => found.extend(claim),
            Err(error) => listing.odd.push(error),
        }
    }
    Ok((found, listing.odd))
}

/// Puts the device of `leftover` back, where nobody is busy with it and `judge` still says so of what is found under the
/// device's lock. Past every error; the record stays where something could not be put back. Who speaks to the PF at this moment
/// is waited for no longer than `patience`.
pub fn undo(
    store: &Store,
    host: &mut Host,
    leftover: &Leftover,
    patience: Duration,
    judge: impl Fn(&Leftover) -> bool,
) -> Result<Undone, Error> {
    let Some(_lock) = store.try_lock(&leftover.device)? else { return Ok(Undone::Busy) };
    let owner = leftover.record.as_ref().map(|record| &record.owner);
    let Some(now) = again(store, host, leftover)?.filter(judge) else { return Ok(Undone::Changed) };
    let Restored { errors, notices, .. } = match now.record.as_ref().filter(|_| now.claimed) {
        Some(record) => restore_within(host, Some(store), record, patience),
        None => Restored::default(),
    };
    if let Some(error) = Error::all(errors) {
        return Err(error);
    }
    if now.claimed {
        store.drop_claim(&now.device)?;
    }
    let addresses = now.record.as_ref().is_some_and(|record| record.ipam.is_some());
    match (&now.record, owner) {
        (Some(record), _) if addresses => detach::keep_addresses(store, record)?,
        (_, Some(owner)) => store.forget(owner)?,
        (_, None) => {}
    }
    Ok(Undone::Done { notices, addresses })
}

/// Releases the addresses of an attachment whose device was put back, and forgets it. `Ok(false)`: the record stays for a DEL
/// or GC, because the IPAM plugin is in none of `path`, or the record is the Go plugin's and tells IPAM too little.
pub fn release(store: &Store, record: &Record, path: &[PathBuf], limit: Duration) -> Result<bool, Error> {
    if let Some(ipam) = &record.ipam {
        if record.is_of_go() || cni::ipam::find(path, ipam).is_err() {
            return Ok(false);
        }
        lease::settle(store, &record.owner)?;
        cni::ipam::del_within(&lost(record, path, None), ipam, limit)?;
    }
    store.forget(&record.owner)?;
    Ok(true)
}

/// The same attachment or claim as it is now; `None` where it is gone.
fn again(store: &Store, host: &mut Host, leftover: &Leftover) -> Result<Option<Leftover>, Error> {
    let Some(before) = &leftover.record else { return alone(store, host, &leftover.device) };
    let Some(mut record) = store.load(&before.owner)? else { return Ok(None) };
    let claim = store.claim(&record.device)?;
    if record.sandbox.path.as_os_str().is_empty() {
        let netns =
            claim.as_ref().filter(|claim| claim.owner.is_none()).and_then(|claim| claim.netns.as_deref());
        record.sandbox = Sandbox::unknown(netns);
    }
    let claimed = claim.is_some_and(|claim| is_ours(&record, &claim));
    Ok(Some(Leftover::of(host, record, claimed)))
}

/// A claim whose record is not there, or cannot be read; `None` where there is no claim, or its record is there.
fn alone(store: &Store, host: &Host, device: &str) -> Result<Option<Leftover>, Error> {
    let Some(claim) = store.claim(device)? else { return Ok(None) };
    // What cannot be read cannot be undone.
    let torn = claim.owner.as_ref().map(|owner| store.is_torn(owner)).transpose()?.unwrap_or_default();
    let owner = claim.owner.as_ref().filter(|_| !torn);
    let record = owner.map(|owner| store.load(owner)).transpose()?.flatten();
    if record.is_some_and(|record| record.device == device) {
        return Ok(None);
    }
    let life = Life::of(&Sandbox::unknown(claim.netns.as_deref()), host);
    let (device, place) = (device.to_owned(), Place::Untold);
    Ok(Some(Leftover { device, record: None, claimed: true, torn, life, place }))
}

impl Leftover {
    fn of(host: &mut Host, record: Record, claimed: bool) -> Self {
        let place = Place::of(host, &record).unwrap_or(Place::Untold);
        let life = Life::of(&record.sandbox, host);
        Self { device: record.device.clone(), record: Some(record), claimed, torn: false, life, place }
    }
}

impl Life {
    /// What became of a sandbox, as far as this process can see.
    pub fn of(sandbox: &Sandbox, host: &Host) -> Self {
        if sandbox.is_of_an_earlier_boot() {
            return Self::Over(End::EarlierBoot);
        }
        let by_process = sandbox.path.starts_with("/proc");
        if by_process && !sees_every_process() {
            return Self::Unseen;
        }
        match Netns::open(&sandbox.path) {
            // A path of a dead process may be one of the host's by now.
            Ok(netns) if netns.id() == host.netns.id() => Self::Over(End::Replaced),
            Ok(netns) if sandbox.is(&netns) => Self::Alive,
            Ok(_) => Self::Over(End::Replaced),
            // In a container that lacks the directory every namespace would seem to be gone.
            Err(NetnsError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let seen = by_process || sandbox.path.parent().is_some_and(Path::is_dir);
                if seen { Self::Over(End::NoPath) } else { Self::Unseen }
            }
            // A plain file: a mount that did not reach this container, or one that is being taken away.
            Err(_) => Self::Unseen,
        }
    }
}

/// Whether `/proc` is that of the node's first PID namespace (`PROC_PID_INIT_INO` of the kernel's `proc_ns.h`).
fn sees_every_process() -> bool {
    const FIRST: u64 = 0xEFFF_FFFC;
    fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == FIRST)
}

impl Place {
    fn of(host: &mut Host, record: &Record) -> Result<Self, Error> {
        let moved = record.undo.iter().find_map(|undo| match undo {
            Undo::Link(before) => Some(before),
            _ => None,
        });
        if record.function.is_some() {
            let Some(function) = host.function(record)? else { return Ok(Self::Absent) };
            if moved.is_none() || function.driver.is_none() || function.is_userspace_bound() {
                return Ok(Self::Linkless);
            }
        }
        let Some(before) = moved else { return Ok(Self::Linkless) };
        match before.parent.as_deref().filter(|_| record.function.is_none()).map(|parent| host.device(parent))
        {
            Some(Device::Gone) => return Ok(Self::Absent),
            Some(Device::Unbound) => return Ok(Self::Linkless),
            Some(Device::Bound) | None => {}
        }
        Self::of_link(host, record, before)
    }

    fn of_link(host: &mut Host, record: &Record, before: &LinkBefore) -> Result<Self, Error> {
        match returning::on_host(host, record, before)? {
            Some(_) => Ok(Self::Home),
            None if returning::is_virtual(before) => Ok(Self::Died),
            None => Ok(Self::Away),
        }
    }
}

#[cfg(test)]
mod tests;
