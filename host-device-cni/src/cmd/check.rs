//! CHECK and STATUS.
//! They must not change anything.

use attachment::{Host, Owner, Paths, Store};
use cni::{Code, Request};
use pci::Sysfs;

use crate::claim::claimed_as;
use crate::conf::{Conf, ConfError, DeviceKey};
use crate::error::Error;
use crate::observe::observe;

pub(super) fn check(paths: &Paths, store: &Store, request: &Request) -> Result<(), cni::Error> {
    let conf = Conf::parse(request).map_err(Error::from)?;
    let owner = Owner::of(request).map_err(Error::from)?;
    let record = store.load(&owner).map_err(Error::from)?;
    // What was promised, not what is there now: the link may have been lost to a userspace driver since.
    let has_link = record.map_or_else(|| has_link(paths, &conf.device), |record| record.promises_link());
    Ok(attachment::check(request, has_link)?)
}

/// A function under a userspace driver has no link that could be held against the result.
fn has_link(paths: &Paths, key: &DeviceKey) -> bool {
    let address = match key {
        DeviceKey::Pci(address) | DeviceKey::Allocated(address) => Some(*address),
        DeviceKey::Name(_) | DeviceKey::Mac(_) | DeviceKey::KernelPath(_) | DeviceKey::Auxiliary(_) => None,
    };
    let function = address.and_then(|address| Sysfs::new(&paths.sysfs).function(address).ok());
    !function.is_some_and(|function| function.is_userspace_bound())
}

/// An ADD needs the device on this node, unless the device plugin will name another, and IPAM.
pub(super) fn status(paths: &Paths, store: &Store, request: &Request) -> Result<(), cni::Error> {
    match Conf::parse(request) {
        Ok(conf) => is_here(paths, store, &conf.device)?,
        Err(ConfError::NoDevice) => {}
        Err(error) => return Err(Error::from(error).into()),
    }
    match &request.conf.ipam {
        Some(ipam) => cni::ipam::status(request, ipam),
        None => Ok(()),
    }
}

/// On the host, or in a living pod, which is where the one pod of such a network has it: a runtime that polls must not take
/// the network for broken because it is used.
fn is_here(paths: &Paths, store: &Store, key: &DeviceKey) -> Result<(), cni::Error> {
    let mut host = Host::open(paths).map_err(Error::from)?;
    let Err(missing) = observe(&mut host, key) else { return Ok(()) };
    let claim = claimed_as(&mut host, store, key).map_err(Error::from)?;
    match claim.map(|device| attachment::is_held(store, &device)).transpose().map_err(Error::from)? {
        Some(true) => Ok(()),
        Some(false) | None => Err(cni::Error::new(Code::UNAVAILABLE, Error::from(missing).to_string())),
    }
}
