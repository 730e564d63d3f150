//! CHECK and STATUS.
//! They must not change anything.

use attachment::{Host, Paths};
use cni::{Code, Request};
use pci::Sysfs;

use crate::conf::{Conf, DeviceKey};
use crate::error::Error;
use crate::observe::observe;

pub(super) fn check(paths: &Paths, request: &Request) -> Result<(), cni::Error> {
    let conf = Conf::parse(request).map_err(Error::from)?;
    Ok(attachment::check(request, has_link(paths, &conf.device))?)
}

/// A function under a userspace driver has no link that could be held against the result.
fn has_link(paths: &Paths, key: &DeviceKey) -> bool {
    let address = match key {
        DeviceKey::Pci(address) => Some(*address),
        DeviceKey::Name(_) | DeviceKey::Mac(_) | DeviceKey::KernelPath(_) | DeviceKey::Auxiliary(_) => None,
    };
    let function = address.and_then(|address| Sysfs::new(&paths.sysfs).function(address).ok());
    !function.is_some_and(|function| function.is_userspace_bound())
}

/// An ADD needs the device on the host, unless the device plugin will name another, and IPAM.
pub(super) fn status(paths: &Paths, request: &Request) -> Result<(), cni::Error> {
    if let Ok(conf) = Conf::parse(request) {
        let mut host = Host::open(paths).map_err(Error::from)?;
        let missing = |error| cni::Error::new(Code::UNAVAILABLE, Error::from(error).to_string());
        observe(&mut host, &conf.device).map_err(missing)?;
    }
    match &request.conf.ipam {
        Some(ipam) => cni::ipam::status(request, ipam),
        None => Ok(()),
    }
}
