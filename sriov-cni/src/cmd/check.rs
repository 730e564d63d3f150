//! CHECK: the VF at its PF, and its link in the pod, against what was asked for and promised.
//! It must not change anything.

use attachment::{CheckError, Claim, Host, Owner, Paths, Pf, Record, Store};
use cni::Request;
use netlink::Link;
use pci::{PciAddress, Role};

use super::read;
use crate::conf::{Conf, ConfError, Netconf, VfKey};
use crate::error::Error;
use crate::observe::ObserveError;
use crate::plan::wanted;

pub(super) fn check(paths: &Paths, store: &Store, request: &Request) -> Result<(), Error> {
    let Netconf { vf, conf, ifname, .. } = read(request)?;
    let mut host = Host::open(paths)?;
    let owner = Owner::of(request).map_err(Error::IfName)?;
    let record = store.load(&owner)?;
    let device = attached(record.as_ref(), vf.as_ref())?;
    let function = host.sysfs.function(device).map_err(ObserveError::from)?;
    let Role::Vf { pf, index } = function.role else {
        return Err(ObserveError::NotAVf { address: device }.into());
    };
    let pf = Pf { address: pf, vf: index.get() };
    let mut deviations: Vec<String> = foreign(store, request, &owner, device)?.into_iter().collect();
    for attribute in wanted(&conf) {
        match attachment::holds(&mut host, pf, &attribute) {
            Ok(true) => {}
            Ok(false) => {
                deviations.push(format!("VF {device}: the PF does not hold {attribute:?} any more"));
            }
            // It says nothing of the next either.
            Err(error) => {
                deviations.push(format!("VF {device}: what the PF holds cannot be read: {error}"));
                break;
            }
        }
    }
    if let Some(trunk) = &conf.trunk {
        match attachment::has_trunk(&host.sysfs, pf, trunk) {
            Ok(true) => {}
            Ok(false) => deviations.push(format!("VF {device}: the PF lets it use other VLANs than {trunk}")),
            Err(error) => deviations.push(format!("VF {device}: {error}")),
        }
    }
    if let Some(record) = &record
        && let Ok(Some(link)) = attachment::in_pod(&host, record)
    {
        deviations.extend(of_link(&conf, &link));
    }
    // The result has the interface under the name that it has in the pod.
    let mut request = request.clone();
    request.ifname = ifname.map_or(request.ifname, |name| name.to_string());
    // What was promised, not what is there now: the link may have been lost to a userspace driver since.
    let has_link = record.map_or(!function.is_userspace_bound(), |record| record.promises_link());
    match attachment::check(&request, has_link) {
        Err(CheckError::Differs { deviations: more }) => deviations.extend(more),
        // Alone it keeps its own code.
        Err(error) if deviations.is_empty() => return Err(error.into()),
        Err(error) => deviations.push(error.to_string()),
        Ok(()) => {}
    }
    if deviations.is_empty() { Ok(()) } else { Err(CheckError::Differs { deviations }.into()) }
}

/// What the network asks for of the pod's link itself, and this has not.
fn of_link(conf: &Conf, link: &Link) -> Vec<String> {
    let mtu = conf.mtu.filter(|mtu| link.mtu != *mtu);
    let mtu = mtu.map(|mtu| format!("Interface {} has MTU {}, wanted {mtu}", link.name, link.mtu));
    let allmulti = conf.allmulti && !link.allmulti;
    let allmulti =
        allmulti.then(|| format!("Interface {} does not take every multicast frame any more", link.name));
    mtu.into_iter().chain(allmulti).collect()
}

/// The VF that was attached: the one that is named, or else the record's.
fn attached(record: Option<&Record>, vf: Option<&VfKey>) -> Result<PciAddress, Error> {
    if let Some(VfKey::Address(address)) = vf {
        return Ok(*address);
    }
    Ok(record.and_then(|record| record.function).ok_or(ConfError::NoDevice)?)
}

/// A claim of another attachment's: this one has lost the VF. No claim at all is none: it need not survive a power loss.
fn foreign(
    store: &Store,
    request: &Request,
    owner: &Owner,
    device: PciAddress,
) -> Result<Option<String>, Error> {
    Ok(match store.claim(&device.to_string())? {
        Some(Claim { owner: Some(found), .. }) if found != *owner => {
            Some(format!("VF {device} is claimed by {} of container {}", found.ifname, found.container_id))
        }
        // The Go plugin's claim names the namespace.
        Some(Claim { owner: None, netns: Some(found) }) if request.netns.as_ref() != Some(&found) => {
            Some(format!("VF {device} is claimed for {}", found.display()))
        }
        _ => None,
    })
}
