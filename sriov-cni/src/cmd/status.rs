//! STATUS: would an ADD find the state directory, the PF with its VFs, and addresses?
//! It must not change anything.

use std::collections::BTreeSet;

use attachment::{Claim, Host, Paths, Record, Store};
use cni::log::{self, Level};
use cni::{Code, Request};
use pci::{Role, Sysfs};
use serde_json::Value;

use super::read;
use crate::choose::below;
use crate::conf::VfKey;
use crate::error::Error;
use crate::observe::ObserveError;
use crate::unavailable::Unavailable;

pub(super) fn status(paths: &Paths, store: &Store, request: &Request) -> Result<(), Error> {
    let netconf = read(request)?;
    for warning in netconf.warnings {
        log::line(Level::Warning, warning);
    }
    let mut unavailable = Unavailable { reasons: Vec::new(), limited: 0 };
    if let Err(error) = store.check_writable() {
        unavailable.reasons.push(format!("the state directory cannot be written: {error}"));
    }
    let attachments = attachments(store, request);
    if let Some(reason) = netconf.vf.and_then(|vf| lacks(paths, &vf)) {
        unavailable.reasons.push(reason);
        unavailable.limited = attachments.len();
    }
    for reason in lost_pfs(paths, &attachments) {
        unavailable.reasons.push(reason);
        unavailable.limited = attachments.len();
    }
    if let Some(ipam) = &request.conf.ipam
        && let Err(error) = cni::ipam::status(request, ipam)
    {
        if unavailable.reasons.is_empty() && matches!(error.code, Code::UNAVAILABLE | Code::LIMITED) {
            // Its own words, unchanged.
            return Err(Error::Attachment(error.into()));
        }
        unavailable.reasons.push(format!("IPAM plugin {ipam}: {error}"));
    }
    if unavailable.reasons.is_empty() { Ok(()) } else { Err(Error::Unavailable(unavailable)) }
}

/// What the node lacks of the VF or PF that the network names.
fn lacks(paths: &Paths, vf: &VfKey) -> Option<String> {
    let host = match Host::open(paths) {
        Ok(host) => host,
        Err(error) => return Some(error.to_string()),
    };
    match vf {
        VfKey::Address(address) => match host.sysfs.function(*address) {
            Ok(function) if matches!(function.role, Role::Vf { .. }) => None,
            Ok(_) => Some(ObserveError::NotAVf { address: *address }.to_string()),
            Err(error) => Some(error.to_string()),
        },
        VfKey::Below { pf, vf } => below(&host, pf, *vf).err().map(|error| error.to_string()),
    }
}

/// The PFs of this network's attachments that are there no more: what a network says that gets its VFs from a device plugin.
fn lost_pfs(paths: &Paths, attachments: &[Record]) -> BTreeSet<String> {
    let sysfs = Sysfs::new(&paths.sysfs);
    let pfs = attachments.iter().filter_map(|record| record.pf);
    pfs.filter_map(|pf| sysfs.function(pf.address).err()).map(|error| error.to_string()).collect()
}

/// The records of this network whose pods live and have their VFs. One that waits for a DEL that was lost, or for its addresses
/// alone, suffers from nothing, and may wait for ever.
fn attachments(store: &Store, request: &Request) -> Vec<Record> {
    let mut records = store.records().unwrap_or_default();
    records.retain(|record| is_of(request, record) && lives(store, record));
    records
}

fn lives(store: &Store, record: &Record) -> bool {
    // The Go plugin's claim names no owner.
    let is_its = |claim: Claim| claim.owner.is_none_or(|owner| owner == record.owner);
    store.claim(&record.device).is_ok_and(|claim| claim.is_some_and(is_its))
        && attachment::is_held(store, &record.device).unwrap_or(false)
}

fn is_of(request: &Request, record: &Record) -> bool {
    record.config.get("name").and_then(Value::as_str) == Some(&request.conf.name)
}
