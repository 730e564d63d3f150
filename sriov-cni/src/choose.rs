//! The VF of an ADD, locked and nobody's: the one that is named, or one of a PF's that is free.
//! It must not give one VF to two, nor hold two locks at a time.

use std::time::{Duration, Instant};

use attachment::{Host, Lock, Store};
use cni::Request;
use netlink::IfName;
use pci::{PciAddress, VfIndex};

use crate::conf::VfKey;
use crate::error::Error;
use crate::observe::{Observed, observe};

pub(crate) mod error;

use error::ChooseError;

/// Locks the VF, makes sure that nobody has it, and looks at it.
pub(crate) fn choose(
    request: &Request,
    store: &Store,
    host: &mut Host,
    vf: &VfKey,
) -> Result<(Observed, Lock), Error> {
    match vf {
        VfKey::Address(address) => take(request, store, host, *address, Store::PATIENCE),
        VfKey::Below { pf, vf } => {
            let vfs = below(host, pf, *vf)?;
            match (&vfs[..], vf) {
                ([(_, address)], Some(_)) => take(request, store, host, *address, Store::PATIENCE),
                _ => any(request, store, host, pf, &vfs, Store::PATIENCE),
            }
        }
    }
}

/// The VFs of a PF, or the one of that number.
pub(crate) fn below(
    host: &Host,
    pf: &IfName,
    vf: Option<u32>,
) -> Result<Vec<(VfIndex, PciAddress)>, ChooseError> {
    let address = host.sysfs.function_of(pf.as_str()).ok_or_else(|| ChooseError::NoPf { pf: pf.clone() })?;
    // What cannot be listed is not there: the PF is being changed at this moment.
    let mut vfs = host.sysfs.vfs(address).unwrap_or_default();
    let found = vfs.len();
    if found == 0 {
        return Err(ChooseError::NoVfs { pf: pf.clone(), address });
    }
    if let Some(vf) = vf {
        vfs.retain(|(index, _)| index.get() == vf);
        if vfs.is_empty() {
            return Err(ChooseError::NoSuchVf { pf: pf.clone(), address, vf, found });
        }
    }
    Ok(vfs)
}

fn take(
    request: &Request,
    store: &Store,
    host: &mut Host,
    address: PciAddress,
    limit: Duration,
) -> Result<(Observed, Lock), Error> {
    let device = address.to_string();
    let lock = store.lock_within(&device, limit).map_err(Error::Claim)?;
    attachment::free(request, store, host, &device)
        .map_err(|error| claimed(request, store, &device, error))?;
    Ok((observe(host, address)?, lock))
}

/// A VF that the same pod has already is another mistake than one that another pod has.
fn claimed(request: &Request, store: &Store, device: &str, error: attachment::Error) -> Error {
    let attachment::Error::Allocated { owner, .. } = &error else { return Error::Claim(error) };
    let same = match owner {
        Some(owner) => owner.container_id == request.container_id && owner.ifname.as_str() != request.ifname,
        // The Go plugin's claim names the namespace.
        None => store
            .claim(device)
            .ok()
            .flatten()
            .is_some_and(|claim| claim.netns.is_some() && claim.netns == request.netns),
    };
    if same { Error::SamePod(error) } else { Error::Claim(error) }
}

/// Why a VF that no pod has is not taken all the same: it has no network device, or the host uses it, as a port or by an address.
/// One that the kernel gives to every link that is up is no use of it; what cannot be told is taken for one.
fn against(host: &mut Host, observed: &Observed) -> Option<String> {
    let Some(link) = &observed.link else {
        let driver = observed.function.driver.as_deref().unwrap_or_default();
        return Some(format!("{} is bound to {driver}", observed.function.address));
    };
    if link.master.is_some() {
        let master = observed.master.as_ref().map_or("a bond or bridge", IfName::as_str);
        return Some(format!("{} is a port of {master}; name the VF by vf to take it", link.name));
    }
    match host.netlink.addresses(link.index) {
        Ok(addresses) => {
            let address = addresses.into_iter().find(|address| address.global)?;
            Some(format!("the host has {} on {}; name the VF by vf to take it", address.net, link.name))
        }
        Err(error) => Some(format!("{}: {error}", link.name)),
    }
}

/// The first with a network device that is nobody's, the host's included. Whoever is locked at this moment is passed over at
/// first; the second round waits for those, for `limit` in all and not for each, and puts back what a pod left that is gone.
fn any(
    request: &Request,
    store: &Store,
    host: &mut Host,
    pf: &IfName,
    vfs: &[(VfIndex, PciAddress)],
    limit: Duration,
) -> Result<(Observed, Lock), Error> {
    for (_, address) in vfs {
        let device = address.to_string();
        let Some(lock) = store.try_lock(&device).map_err(Error::Claim)? else { continue };
        if store.claim(&device).map_err(Error::Claim)?.is_none()
            && let Ok(observed) = observe(host, *address)
            && against(host, &observed).is_none()
        {
            return Ok((observed, lock));
        }
    }
    let deadline = Instant::now() + limit;
    let mut why = Vec::new();
    for (index, address) in vfs {
        let left = deadline.saturating_duration_since(Instant::now());
        match take(request, store, host, *address, left) {
            Ok((observed, lock)) => match against(host, &observed) {
                None => return Ok((observed, lock)),
                Some(reason) => why.push(format!("vf {}: {reason}", index.get())),
            },
            Err(Error::Claim(error) | Error::SamePod(error)) => {
                why.push(format!("vf {}: {error}", index.get()));
            }
            Err(Error::Observe(error)) => why.push(format!("vf {}: {error}", index.get())),
            Err(error) => return Err(error),
        }
    }
    Err(ChooseError::NoneFree { pf: pf.clone(), why }.into())
}

#[cfg(test)]
mod tests;
