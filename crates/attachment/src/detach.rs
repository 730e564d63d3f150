//! A DEL: release the addresses, put everything back, forget the record; and the same for an ADD that failed.
//! It must not touch a device that belongs to another attachment by now.

use cni::Request;
use cni::log::{self, Level};

use crate::error::Error;
use crate::go_cache;
use crate::host::Host;
use crate::lease;
use crate::paths::Paths;
use crate::record::{Owner, Record, Sandbox};
use crate::restore;
use crate::restored::Restored;
use crate::store::{Claim, Store};

/// Detaches what the request is about. Succeeds where there is nothing (any more).
pub fn detach(request: &Request, store: &Store, paths: &Paths) -> Result<(), Error> {
    let owner = Owner::of(request)?;
    let record = match store.load(&owner) {
        Err(error @ Error::Corrupt { .. }) => {
            // Nobody can undo what it said; keeping it would keep the pod for ever.
            let aside = store.set_aside(&owner)?;
            log::line(Level::Warning, format_args!("{error}; it is now {}", aside.display()));
            None
        }
        loaded => loaded?,
    };
    let Some(record) = record else {
        // Never attached, or detached already, or killed while the record was being written. A lease may be there all the
        // same: the address of a pod whose record an older program lost.
        let released = lease::release(request, store, &owner, request.conf.ipam.as_deref());
        return all([released, store.forget_draft(&owner)]);
    };
    let mut host = Host::open(paths)?;
    let _lock = store.lock(&record.device)?;
    forgive(&record, undo(request, store, &mut host, &record))
}

/// Lets the pod go where all that is left has to wait for something else. Record and claim stay: by them the reconciler or the
/// next ADD does the rest.
pub(crate) fn forgive(record: &Record, undone: Result<(), Error>) -> Result<(), Error> {
    match undone {
        Err(error) if error.is_put_off() => {
            log::line(Level::Warning, format_args!("{}: {error}", record.device));
            Ok(())
        }
        undone => undone,
    }
}

/// As [`detach`] of the attachment that `known` tells of, with its device's lock held by the caller. Past every error; the
/// record stays until all is clean.
pub(crate) fn undo(request: &Request, store: &Store, host: &mut Host, known: &Record) -> Result<(), Error> {
    // Read again under the lock: another DEL of the same attachment may have been first, and then another ADD under the same
    // names, whose device it may not be or be anew.
    let loaded = store.load(&known.owner)?;
    let same = |record: &Record| {
        let (now, then) = (&record.sandbox, &known.sandbox);
        record.device == known.device && (now.id, now.cookie) == (then.id, then.cookie)
    };
    let Some(mut record) = loaded.filter(same) else { return Ok(()) };
    if record.is_of_go() {
        // The Go plugin's claim names the namespace where the request does not.
        let claimed =
            store.claim(&record.device)?.filter(|claim| claim.owner.is_none()).and_then(|claim| claim.netns);
        record.sandbox = Sandbox::unknown(request.netns.as_deref().or(claimed.as_deref()));
    }
    // The link must still be in the pod while a DHCP client releases its lease.
    let released = lease::release(request, store, &record.owner, record.ipam.as_deref());
    let restored = put_back(store, host, &record);
    if restored.is_ok() && released.is_err() {
        keep_addresses(store, &record)?;
    }
    all([released, restored])?;
    store.forget(&record.owner)
}

/// Undoes an ADD that failed before it had a lease, by what it knows: that its last amendment could not be written may be
/// why it failed. The record stays where something could not be put back.
pub(crate) fn undo_without_lease(store: &Store, host: &mut Host, record: &Record) -> Result<(), Error> {
    match store.load(&record.owner)? {
        Some(_) => put_back(store, host, record).and_then(|()| store.forget(&record.owner)),
        // It could not be written: nothing was done by it.
        None => store.forget_draft(&record.owner),
    }
}

/// Keeps the record of a device that is put back, for its addresses. The Go plugin's would put the device back again, whoever
/// has changed it since; ours is held to its claim.
pub(crate) fn keep_addresses(store: &Store, record: &Record) -> Result<(), Error> {
    if !record.is_of_go() || record.undo.is_empty() {
        return Ok(());
    }
    store.save(&Record { undo: Vec::new(), ..record.clone() }, &record.config)
}

/// Puts back what a record says that no program wrote: one made up for a pod of the Go plugin's.
pub fn bring_back(host: &mut Host, record: &Record) -> Result<(), Error> {
    tell(record, restore::restore(host, None, record))
}

/// Puts the device back and gives the claim up, where the claim is this record's.
fn put_back(store: &Store, host: &mut Host, record: &Record) -> Result<(), Error> {
    match store.claim(&record.device)? {
        Some(claim) if is_ours(record, &claim) => {}
        // The device is another attachment's by now.
        Some(_) => return Ok(()),
        // Ours says what was to be done: killed before the claim, so before any change; or undone already. Half-written files
        // go. The Go plugin's says what was done: killed before its claim, or of a version that made none.
        None if !record.is_of_go() => return store.drop_claim(&record.device),
        None => {}
    }
    if let Some(gap) = go_cache::gap(record) {
        log::line(Level::Warning, format_args!("{}: {gap}", record.device));
    }
    tell(record, restore::restore(host, Some(store), record))?;
    store.drop_claim(&record.device)
}

/// Notices go to the log, errors to the caller.
fn tell(record: &Record, restored: Restored) -> Result<(), Error> {
    if restored.gone {
        let gone = "it is gone from this node; only its addresses and records are released";
        log::line(Level::Info, format_args!("{}: {gone}", record.device));
    }
    for notice in restored.notices {
        log::line(Level::Info, notice);
    }
    Error::all(restored.errors).map_or(Ok(()), Err)
}

/// A claim names its owner; one that the Go plugin wrote names the namespace.
pub(crate) fn is_ours(record: &Record, claim: &Claim) -> bool {
    match &claim.owner {
        Some(owner) => *owner == record.owner,
        None => claim.netns.as_ref() == Some(&record.sandbox.path),
    }
}

fn all(outcomes: [Result<(), Error>; 2]) -> Result<(), Error> {
    Error::all(outcomes.into_iter().filter_map(Result::err).collect()).map_or(Ok(()), Err)
}
