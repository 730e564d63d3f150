//! CHECK: the VF at its PF, and its link in the pod, against what was asked for and promised.
//! It must not change anything.

use attachment::{CheckError, Host, Paths, Pf};
use cni::{Args, Request};
use pci::Role;

use crate::conf::Conf;
use crate::error::Error;
use crate::observe::ObserveError;
use crate::plan::wanted;

pub(super) fn check(paths: &Paths, request: &Request) -> Result<(), cni::Error> {
    let args = Args::parse(&request.args, &["MAC"]).map_err(Error::from)?;
    let conf = Conf::parse(request, &args).map_err(Error::from)?;
    let mut host = Host::open(paths).map_err(Error::from)?;
    let function =
        host.sysfs.function(conf.device).map_err(|error| Error::from(ObserveError::from(error)))?;
    let Role::Vf { pf, index } = function.role else {
        return Err(Error::from(ObserveError::NotAVf { address: conf.device }).into());
    };
    let pf = Pf { address: pf, vf: index.get() };
    let mut deviations = Vec::new();
    for attribute in wanted(&conf) {
        if !attachment::holds(&mut host, pf, &attribute).map_err(Error::from)? {
            deviations.push(format!("VF {}: the PF does not hold {attribute:?} any more", conf.device));
        }
    }
    match attachment::check(request, !function.is_userspace_bound()) {
        Err(CheckError::Differs { deviations: more }) => deviations.extend(more),
        other => other?,
    }
    if deviations.is_empty() { Ok(()) } else { Err(CheckError::Differs { deviations }.into()) }
}
