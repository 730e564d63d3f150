//! The two hardware addresses of a VF, the PF's and its own, set and put back so that both hold.
//! It must not choose an address.
//!
//! A PF keeps an administrator's MAC for a VF and then refuses every other that the VF asks for (igb, i40e and ice alike;
//! igb 6.12: `igb_set_vf_mac_filter`). A VF driver takes the PF's MAC only at its next reset, so that a VF given a MAC
//! through the PF alone sends with the old one and is dropped. So the VF's own address goes first, and where the PF stands
//! in the way its hold is taken off for that moment.

use std::time::Duration;

use netlink::{Group, Link, LinkChange, MacAddr, VfAttribute, Watch};
use nix::errno::Errno;

use crate::error::Error;
use crate::host::Host;
use crate::record::{MacBefore, Pf};

/// How long a driver that works through its PF (iavf) may take to show an address; in this crate's own unit tests no longer than
/// they can sit out.
const LIMIT: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(2) };

/// What becomes of a link that is given an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stay {
    /// The pod has it.
    Kept,
    /// It goes away with its driver: whether it may have the address is all that matters.
    Passing,
}

/// Gives a VF an address; [`shown`] waits for it. `note(locked)` is called before the PF's hold is touched, so that it can be put
/// back.
pub(crate) fn set(
    host: &mut Host,
    pf: Option<Pf>,
    link: Option<(&Link, Stay)>,
    mac: &MacAddr,
    note: impl FnOnce(bool) -> Result<(), Error>,
) -> Result<(), Error> {
    let refused = match link {
        Some((link, _)) => set_own(host, link, mac)?.is_some(),
        None => false,
    };
    note(refused)?;
    if let Some(pf) = pf {
        let pf_link = host.pf_link(pf.address)?;
        if let Some((link, Stay::Kept)) = link.filter(|_| refused) {
            release(host, &pf_link, pf.vf, mac)?;
            set_own(host, link, mac)?.map_or(Ok(()), Err)?;
        }
        at_pf(host, &pf_link, pf.vf, mac.clone())?;
    }
    Ok(())
}

/// Puts both addresses back; `link` is where the VF's own link is on the host. `note` is called before a hold is taken off of
/// which nobody knew yet, so that it is made again also where this is killed on the way: the PF may read the same without it.
/// Returns what an operator should know: that the driver cannot be told to hold nothing.
pub(crate) fn restore(
    host: &mut Host,
    pf: Option<Pf>,
    link: Option<&Link>,
    before: &MacBefore,
    note: impl FnOnce() -> Result<(), Error>,
) -> Result<Option<Error>, Error> {
    // One that never left its bond shows the bond's, and is right so.
    let own = link.zip(before.effective.as_ref()).filter(|(link, mac)| link.own_mac() != Some(*mac));
    let mut refused = None;
    if let Some((link, mac)) = own {
        refused = set_own(host, link, mac)?;
    }
    let (Some(pf), Some(admin)) = (pf, before.admin.as_ref()) else {
        return refused.map_or(Ok(None), Err);
    };
    let pf_link = host.pf_link(pf.address)?;
    let released = refused.is_some();
    // What cannot be noted is put back all the same: it would take a kill right here to miss it.
    let mut errors = Vec::new();
    if let Some((link, mac)) = own.filter(|_| released) {
        if before.locked.is_none() {
            errors.extend(note().err());
        }
        release(host, &pf_link, pf.vf, mac)?;
        refused = set_own(host, link, mac)?;
    }
    if let Some((link, mac)) = own.filter(|_| refused.is_none()) {
        // Before the link shows it the PF may not have it either, and what it shows then is no reason for a hold.
        errors.extend(shown(host, link, mac).err());
    }
    let held = host.netlink.vf(pf_link.index, pf.vf)?.mac;
    // What the PF shows does not tell an administrator's MAC from the VF's own: where it was an administrator's and its
    // hold was taken off, it is set again although it reads the same.
    // Where nobody noted whose it was (the Go plugin does not), a hold that was in the way is taken for an administrator's.
    let hold_again = before.locked.unwrap_or(released) && !admin.is_zero();
    let mut notice = None;
    if held != *admin || hold_again {
        match at_pf(host, &pf_link, pf.vf, admin.clone()) {
            Err(error) if admin.is_zero() && is_refused_value(&error) => {
                notice = Some(error);
                // At least not what the pod had.
                let own = before.effective.as_ref().filter(|own| held != **own);
                errors.extend(own.and_then(|own| at_pf(host, &pf_link, pf.vf, own.clone()).err()));
            }
            put => errors.extend(put.err()),
        }
    }
    errors.extend(refused);
    Error::all(errors).map_or(Ok(notice), Err)
}

/// Takes the PF's hold off, so that the VF may have `next`. A driver that knows no such thing as none (`be_set_vf_mac` and
/// `qede_set_vf_mac` of Linux 6.12 take only a valid address) is given that one to hold.
fn release(host: &mut Host, pf: &Link, vf: u32, next: &MacAddr) -> Result<(), Error> {
    match at_pf(host, pf, vf, MacAddr::zero()) {
        Err(error) if is_refused_value(&error) => at_pf(host, pf, vf, next.clone()),
        released => released,
    }
}

fn is_refused_value(error: &Error) -> bool {
    matches!(error, Error::Vf { source, .. } if source.errno() == Some(Errno::EINVAL as i32))
}

fn at_pf(host: &mut Host, pf: &Link, vf: u32, mac: MacAddr) -> Result<(), Error> {
    let set = VfAttribute::Mac(mac);
    host.netlink.set_vf(pf.index, vf, &set).map_err(Error::vf(pf, vf, &set))
}

/// Sets the link's own address; a driver's refusal is a value, a dead socket an error.
fn set_own(host: &mut Host, link: &Link, mac: &MacAddr) -> Result<Option<Error>, Error> {
    let change = LinkChange { mac: Some(mac), ..LinkChange::default() };
    match host.netlink.change_link(link.index, "set MAC address", &change) {
        Ok(()) => Ok(None),
        Err(source @ netlink::Error::Refused { .. }) => {
            Ok(Some(Error::Device { device: link.name.clone(), source }))
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits until the link, still on the host, shows the address.
pub(crate) fn shown(host: &mut Host, link: &Link, mac: &MacAddr) -> Result<(), Error> {
    let watch = Watch::open(&[Group::Link])?;
    let mut found = None;
    let taken = watch.until(LIMIT, || -> Result<Option<()>, Error> {
        found = host.netlink.link_by_index(link.index)?.mac;
        Ok((found.as_ref() == Some(mac)).then_some(()))
    })?;
    let found = found.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
    taken.ok_or_else(|| Error::MacNotTaken { wanted: mac.clone(), found })
}

#[cfg(test)]
mod tests;
