//! What the node says of the VF before anything is changed.
//! It must not change anything.

use attachment::{Host, Pf};
use netlink::{IfName, Link, Vf};
use pci::{Function, PciAddress, Role};

/// The VF as it is.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) function: Function,
    pub(crate) pf: Pf,
    pub(crate) pf_link: Link,
    /// What the PF holds for it.
    pub(crate) vf: Vf,
    /// Its own link; `None` under a userspace driver.
    pub(crate) link: Option<Link>,
    /// Which of the VF's links that is, where it has several.
    pub(crate) port: Option<String>,
    /// The bond, bridge or VRF whose port its link is.
    pub(crate) master: Option<IfName>,
}

/// Why the VF cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    #[error("failed to get VF information: \"{0}\"")]
    Function(#[from] pci::Error),
    #[error(
        "failed to get VF information: \"{address} is no VF: it has no physfn\"; use host-device for a function without a PF"
    )]
    NotAVf { address: PciAddress },
    #[error(
        "the VF {address} does not have a interface name or a dpdk driver: its driver is {}, and its network device, if \
         any, is in another network namespace", driver.as_deref().unwrap_or("none")
    )]
    NoInterface { address: PciAddress, driver: Option<String> },
    #[error("failed to get original vf information: {0}")]
    Pf(attachment::Error),
    #[error("failed to get original vf information: {0}")]
    Vf(netlink::Error),
}

impl ObserveError {
    /// The text behind what the Go plugin says of configurations; what the PF does not say is none's fault, and said bare.
    pub(crate) fn with_prefix(&self, prefix: &str) -> String {
        match self {
            Self::Pf(_) | Self::Vf(_) => self.to_string(),
            _ => format!("{prefix}{self}"),
        }
    }
}

/// Looks at the VF and its PF.
pub(crate) fn observe(host: &mut Host, device: PciAddress) -> Result<Observed, ObserveError> {
    let function = host.sysfs.function(device)?;
    let Role::Vf { pf, index } = function.role else { return Err(ObserveError::NotAVf { address: device }) };
    let link = host.link_of(device, None).map_err(ObserveError::Pf)?;
    if link.is_none() && !function.is_userspace_bound() {
        return Err(ObserveError::NoInterface { address: device, driver: function.driver });
    }
    let port = link.as_ref().and_then(|link| host.port_of(Some(device), &link.name));
    let master = link.as_ref().and_then(|link| link.master);
    let master =
        master.map(|master| host.netlink.link_by_index(master)).transpose().map_err(ObserveError::Vf)?;
    // A name that the kernel gave is one.
    let master = master.and_then(|master| master.name.parse().ok());
    let pf_link = host.pf_link(pf).map_err(ObserveError::Pf)?;
    let vf = host.netlink.vf(pf_link.index, index.get()).map_err(ObserveError::Vf)?;
    Ok(Observed { function, pf: Pf { address: pf, vf: index.get() }, pf_link, vf, link, port, master })
}

#[cfg(test)]
mod tests;
