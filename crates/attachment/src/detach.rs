//! A DEL: release the addresses, put everything back, forget the record; and the same for an ADD that failed.
//! It must not touch a device that belongs to another attachment by now.

use cni::Request;

use crate::error::Error;
use crate::host::Host;
use crate::record::{Owner, Record, Sandbox};
use crate::restore;
use crate::store::{Claim, Store};

/// Detaches what `owner` has. Succeeds where there is nothing (any more).
pub fn detach(request: &Request, store: &Store, host: &mut Host, owner: &Owner) -> Result<(), Error> {
    let Some(record) = store.load(owner)? else {
        // Never attached, or detached already. A lease may be there all the same: the address of a pod whose record an
        // older program lost.
        return release(request, request.conf.ipam.as_deref());
    };
    let _lock = store.lock(&record.device)?;
    undo(request, store, host, owner)
}

/// As [`detach`], with the device's lock held by the caller. Past every error; the record stays until all is clean.
pub(crate) fn undo(request: &Request, store: &Store, host: &mut Host, owner: &Owner) -> Result<(), Error> {
    // Read again under the lock: another DEL of the same attachment may have been first.
    let Some(mut record) = store.load(owner)? else { return Ok(()) };
    if record.sandbox.id.is_none() {
        record.sandbox = Sandbox::unknown(request.netns.as_deref());
    }
    let mut errors = Vec::new();
    // The link must still be in the pod while a DHCP client releases its lease.
    errors.extend(release(request, record.ipam.as_deref()).err());
    if is_ours(&record, store.claim(&record.device)?.as_ref()) {
        let restored = restore::restore(host, &record);
        if restored.gone {
            eprintln!(
                "{}: the function is gone from this node; only its addresses and records are released",
                record.device
            );
        }
        let (notices, failed): (Vec<Error>, Vec<Error>) =
            restored.errors.into_iter().partition(Error::is_notice);
        for notice in notices {
            eprintln!("{notice}");
        }
        if failed.is_empty() {
            errors.extend(store.drop_claim(&record.device).err());
        }
        errors.extend(failed);
    }
    match Error::all(errors) {
        None => store.forget(owner),
        Some(error) => Err(error),
    }
}

/// A claim names its owner; one that the Go plugin wrote names the namespace.
pub(crate) fn is_ours(record: &Record, claim: Option<&Claim>) -> bool {
    claim.is_some_and(|claim| match &claim.owner {
        Some(owner) => *owner == record.owner,
        None => claim.netns == record.sandbox.path,
    })
}

fn release(request: &Request, ipam: Option<&str>) -> Result<(), Error> {
    match ipam {
        Some(ipam) => Ok(cni::ipam::del(request, ipam)?),
        None => Ok(()),
    }
}
