//! CHECK: the VF at its PF, and its link in the pod, against what was asked for and promised.
//! It must not change anything.

use attachment::{CheckError, Host, Owner, Paths, Pf, Store};
use cni::Request;
use pci::{PciAddress, Role};

use crate::conf::{ConfError, Netconf, VfKey};
use crate::error::Error;
use crate::observe::ObserveError;
use crate::plan::wanted;

pub(super) fn check(paths: &Paths, store: &Store, request: &Request) -> Result<(), Error> {
    let Netconf { vf, conf, ifname, .. } = Netconf::read(request)?;
    let mut host = Host::open(paths)?;
    let device = attached(store, request, vf.as_ref())?;
    let function = host.sysfs.function(device).map_err(ObserveError::from)?;
    let Role::Vf { pf, index } = function.role else {
        return Err(ObserveError::NotAVf { address: device }.into());
    };
    let pf = Pf { address: pf, vf: index.get() };
    let mut deviations = Vec::new();
    for attribute in wanted(&conf) {
        if !attachment::holds(&mut host, pf, &attribute)? {
            deviations.push(format!("VF {device}: the PF does not hold {attribute:?} any more"));
        }
    }
    // The result has the interface under the name that it has in the pod.
    let mut request = request.clone();
    request.ifname = ifname.map_or(request.ifname, |name| name.to_string());
    match attachment::check(&request, !function.is_userspace_bound()) {
        Err(CheckError::Differs { deviations: more }) => deviations.extend(more),
        other => other?,
    }
    if deviations.is_empty() { Ok(()) } else { Err(CheckError::Differs { deviations }.into()) }
}

/// The VF that was attached: the one that is named, or else the record's.
fn attached(store: &Store, request: &Request, vf: Option<&VfKey>) -> Result<PciAddress, Error> {
    if let Some(VfKey::Address(address)) = vf {
        return Ok(*address);
    }
    let owner = Owner::of(request).map_err(Error::IfName)?;
    let record = store.load(&owner)?;
    Ok(record.and_then(|record| record.function).ok_or(ConfError::NoDevice)?)
}
