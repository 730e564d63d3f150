//! A claim that nobody gave up: told apart from one that a living pod has, and cleaned up before the device goes on.
//! It must not take a device from a living pod.

use cni::Request;
use cni::log::{self, Level};
use netlink::Netns;

use crate::detach;
use crate::error::Error;
use crate::host::Host;
use crate::lost::lost;
use crate::record::{Owner, Record};
use crate::store::{Claim, Store};

/// Makes sure that nobody has the device: an error where a pod does, a restore where a pod that is gone left it as it was.
/// The caller holds the device's lock.
pub fn free(request: &Request, store: &Store, host: &mut Host, device: &str) -> Result<(), Error> {
    let Some(claim) = store.claim(device)? else { return Ok(()) };
    let record = record_of(store, &claim, device)?;
    if is_alive(&claim, record.as_ref(), device)? {
        return Err(Error::Allocated { device: device.to_owned(), owner: claim.owner });
    }
    let record = match record {
        None if claim.owner.is_none() => left_by_go(store, device)?,
        record => record,
    };
    let Some(record) = record else {
        let Some(owner) = claim.owner.filter(|owner| store.is_torn(owner).unwrap_or(true)) else {
            return store.drop_claim(device);
        };
        // Told and no error: a pod whose sandbox is made anew has no other device to go to. The claim stays for an ADD that
        // fails before its own, so that the device is not taken for clean.
        let Owner { container_id, ifname } = owner;
        let torn = "is gone, and its record cannot be read: what it changed stays, and this pod's end will not undo it";
        log::line(Level::Warning, format_args!("{device}: {ifname} of container {container_id} {torn}"));
        return Ok(());
    };
    let Owner { container_id, ifname } = &record.owner;
    let gone = "is gone without a DEL; putting the device back first";
    log::line(Level::Warning, format_args!("{device}: {ifname} of container {container_id} {gone}"));
    match detach::undo(&lost(&record, &request.path, Some(&request.conf)), store, host, &record) {
        // The device is back. What IPAM does not release, because it lacks its network's configuration or is broken, waits for
        // a GC with the record that is kept for it, and no other pod for that.
        Err(error) if store.claim(device)?.is_none() => {
            log::line(Level::Warning, format_args!("{device}: its addresses are not released: {error}"));
            Ok(())
        }
        undone => undone,
    }
}

/// The cache that the Go plugin wrote beside a claim of its: it names no owner there, so each is looked at.
fn left_by_go(store: &Store, device: &str) -> Result<Option<Record>, Error> {
    let records = store.records()?;
    Ok(records.into_iter().find(|record| record.is_of_go() && record.device == device))
}

/// Whether a living pod has the device.
pub fn is_held(store: &Store, device: &str) -> Result<bool, Error> {
    let Some(claim) = store.claim(device)? else { return Ok(false) };
    is_alive(&claim, record_of(store, &claim, device)?.as_ref(), device)
}

/// What is recorded of the claim's attachment. What cannot be read cannot be undone, and does not keep the device from a
/// living pod or for ever.
fn record_of(store: &Store, claim: &Claim, device: &str) -> Result<Option<Record>, Error> {
    match claim.owner.as_ref().map(|owner| store.load(owner)).transpose() {
        Err(Error::Corrupt { .. }) => Ok(None),
        loaded => Ok(loaded?.flatten().filter(|record| record.device == device)),
    }
}

/// The namespace is the one that was recorded; without a record, there is one at that path. An error where that cannot be
/// told: a pod that may live keeps its device.
fn is_alive(claim: &Claim, record: Option<&Record>, device: &str) -> Result<bool, Error> {
    if record.is_some_and(|record| record.sandbox.is_of_an_earlier_boot()) {
        return Ok(false);
    }
    let recorded = record.map(|record| &record.sandbox.path);
    let Some(path) = claim.netns.as_ref().or(recorded) else { return Ok(false) };
    match Netns::open(path) {
        Ok(netns) => Ok(record.is_none_or(|record| record.sandbox.is(&netns))),
        Err(error) if error.is_gone() => Ok(false),
        Err(source) => Err(Error::Unseen { device: device.to_owned(), source }),
    }
}
