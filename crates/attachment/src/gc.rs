//! GC: the attachments of one network that the runtime does not know any more are undone.
//! It must not touch those of another network, nor guess what a missing list means.

use std::time::Instant;

use cni::log::{self, Level};
use cni::{Code, Request};
use serde::Deserialize;

use crate::detach;
use crate::error::Error;
use crate::host::Host;
use crate::lost::lost;
use crate::paths::Paths;
use crate::record::Record;
use crate::store::Store;

/// One attachment that is still wanted.
#[derive(Deserialize)]
struct Valid {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

/// Undoes every attachment of the request's network that its list does not name, past every error.
pub fn gc(request: &Request, store: &Store, paths: &Paths) -> Result<(), Error> {
    let valid = valid(request)?;
    let mut errors = Vec::new();
    // For all locks together: who holds one for so long has stopped, and there may be many such.
    let deadline = Instant::now() + Store::PATIENCE;
    match unwanted(request, store, &valid) {
        Ok(records) if records.is_empty() => {}
        Ok(records) => match Host::open(paths) {
            Ok(mut host) => errors.extend(records.iter().filter_map(|record| {
                let locked =
                    store.lock_within(&record.device, deadline.saturating_duration_since(Instant::now()));
                let del = lost(record, &request.path, Some(&request.conf));
                locked.and_then(|_lock| detach::undo(&del, store, &mut host, record)).err()
            })),
            Err(error) => errors.push(error),
        },
        Err(error) => errors.push(error),
    }
    errors.extend(store.forget_drafts().err());
    if let Some(ipam) = &request.conf.ipam {
        errors.extend(cni::ipam::gc(request, ipam).map_err(Error::from).err());
    }
    Error::all(errors).map_or(Ok(()), Err)
}

/// The attachments of this network that are not wanted, the Go plugin's among them.
fn unwanted(request: &Request, store: &Store, valid: &[Valid]) -> Result<Vec<Record>, Error> {
    let listing = store.listing()?;
    for odd in listing.odd {
        log::line(Level::Warning, odd);
    }
    let mut records = listing.records;
    records.retain(|record| {
        let wanted = valid.iter().any(|attachment| {
            attachment.container_id == record.owner.container_id
                && attachment.ifname == record.owner.ifname.as_str()
        });
        !wanted && record.network() == Some(&request.conf.name)
    });
    Ok(records)
}

/// An empty list means that nothing is wanted. A missing one means that somebody called by hand: "delete all" is not ours
/// to guess.
fn valid(request: &Request) -> Result<Vec<Valid>, Error> {
    let missing =
        || cni::Error::new(Code::CONFIG, "GC needs the list cni.dev/valid-attachments, which may be empty");
    let list =
        request.conf.raw.get("cni.dev/valid-attachments").or(request.conf.raw.get("cni.dev/attachments"));
    let list = list.filter(|list| !list.is_null()).ok_or_else(missing)?;
    let malformed = |error| cni::Error::new(Code::DECODE, format!("cni.dev/valid-attachments: {error}"));
    Ok(Vec::deserialize(list).map_err(malformed)?)
}
