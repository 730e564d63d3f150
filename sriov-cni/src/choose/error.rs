//! What an operator reads where a PF has no VF to give.
//! It must not choose.

use netlink::IfName;
use pci::PciAddress;

/// Why a PF has no VF to give.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChooseError {
    #[error("there is no PF {pf} in this network namespace; look at `ip link`")]
    NoPf { pf: IfName },
    #[error(
        "PF {pf} ({address}) has no VFs; write how many there are to be to {address}/sriov_numvfs in sysfs"
    )]
    NoVfs { pf: IfName, address: PciAddress },
    #[error("PF {pf} ({address}) has no vf {vf}: it has {found}")]
    NoSuchVf { pf: IfName, address: PciAddress, vf: u32, found: usize },
    #[error("no VF of PF {pf} is free: {}", why.join("; "))]
    NoneFree { pf: IfName, why: Vec<String> },
}
