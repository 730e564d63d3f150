//! The undo of an attachment, replayed from its record: what DEL, a failed ADD and the recovery after a crash all do.
//! It must not stop at the first error, and it never reaches for what the record does not name.

use netlink::{LinkChange, Vf, VfAttribute};

use crate::error::Error;
use crate::host::Host;
use crate::record::{Pf, Record, Undo};
use crate::returning;

/// What came of a restore.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// What could not be put back.
    pub(crate) errors: Vec<Error>,
    /// True where the function itself is gone from the node: there was nothing to put back.
    pub(crate) gone: bool,
}

/// Puts back all that the record names, from its end, past every error.
pub(crate) fn restore(host: &mut Host, record: &Record) -> Restored {
    let mut restored = Restored::default();
    if let Some(function) = record.function
        && matches!(host.sysfs.function(function), Err(pci::Error::Missing { .. }))
    {
        restored.gone = true;
        return restored;
    }
    for undo in record.undo.iter().rev() {
        if let Err(error) = put_back(host, record, undo) {
            restored.errors.push(error);
        }
    }
    restored
}

fn put_back(host: &mut Host, record: &Record, undo: &Undo) -> Result<(), Error> {
    match undo {
        Undo::Link(before) => returning::bring_home(host, record, before).map(|_| ()),
        Undo::Vf(before) => match record.pf {
            Some(pf) => restore_vf(host, pf, before),
            None => Ok(()),
        },
        Undo::Mac(before) => {
            let link = match record.function {
                Some(function) => host.link_of(function)?,
                None => None,
            };
            crate::mac::restore(host, record.pf, link.as_ref(), before)
        }
        Undo::Up => up(host, record),
    }
}

fn restore_vf(host: &mut Host, pf: Pf, before: &VfAttribute) -> Result<(), Error> {
    let link = host.pf_link(pf.address)?;
    if holds(&host.netlink.vf(link.index, pf.vf)?, before) {
        return Ok(());
    }
    let set = host.netlink.set_vf(link.index, pf.vf, before);
    set.map_err(|source| Error::Device { device: format!("PF {} vf {}", link.name, pf.vf), source })
}

/// Whether the PF holds that value already. A driver need not take back a value that it never let be changed.
fn holds(vf: &Vf, attribute: &VfAttribute) -> bool {
    match attribute {
        VfAttribute::Mac(mac) => vf.mac == *mac,
        VfAttribute::Vlan { vlan, qos, proto } => (vf.vlan, vf.qos, vf.proto) == (*vlan, *qos, *proto),
        VfAttribute::Rate { min, max } => (vf.min_tx_rate, vf.max_tx_rate) == (*min, *max),
        VfAttribute::Spoofchk(on) => vf.spoofchk == Some(*on),
        VfAttribute::Trust(on) => vf.trust == Some(*on),
        VfAttribute::LinkState(state) => vf.link_state == Some(*state),
    }
}

/// Up again, for a link that was. It is found by its function, or by the name that it has back.
fn up(host: &mut Host, record: &Record) -> Result<(), Error> {
    let name = record.undo.iter().find_map(|undo| match undo {
        Undo::Link(before) => Some(&before.name),
        _ => None,
    });
    let link = match (record.function, name) {
        (Some(function), _) => host.link_of(function)?,
        (None, Some(name)) => Some(host.netlink.link_by_name(name)?),
        (None, None) => None,
    };
    let Some(link) = link.filter(|link| !link.up) else { return Ok(()) };
    let change = LinkChange { up: Some(true), ..LinkChange::default() };
    let set = host.netlink.change_link(link.index, "set link up", &change);
    set.map_err(|source| Error::Device { device: link.name, source })
}
