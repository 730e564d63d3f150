//! The undo of an attachment, replayed from its record: what DEL, a failed ADD and the recovery after a crash all do.
//! It must not stop at the first error, and it never reaches for what the record does not name.

use netlink::{Link, LinkChange, Vf, VfAttribute};

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
            let link = home(host, record)?;
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

/// Up again, for a link that was.
fn up(host: &mut Host, record: &Record) -> Result<(), Error> {
    let Some(link) = home(host, record)?.filter(|link| !link.up) else { return Ok(()) };
    let change = LinkChange { up: Some(true), ..LinkChange::default() };
    let set = host.netlink.change_link(link.index, "set link up", &change);
    set.map_err(|source| Error::Device { device: link.name, source })
}

/// The attachment's link, which an earlier undo has brought home; `None` for a function under a userspace driver.
fn home(host: &mut Host, record: &Record) -> Result<Option<Link>, Error> {
    let before = record.undo.iter().find_map(|undo| match undo {
        Undo::Link(before) => Some(before),
        _ => None,
    });
    match (before, record.function) {
        (Some(before), function) => returning::on_host(host, function, before),
        (None, Some(function)) => host.link_of(function),
        (None, None) => Ok(None),
    }
}
