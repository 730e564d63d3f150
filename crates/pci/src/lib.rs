//! What sysfs says of a PCI function: its address, ids, driver, PF or VF role, IOMMU group, NUMA node and network devices.
//! It must not write to sysfs, talk to the kernel by any other way, or know who asks.

mod address;
mod auxiliary;
mod function;
mod rdma;
mod sysfs;
mod vdpa;
mod virtfn;

pub use address::{ParseAddressError, PciAddress};
pub use auxiliary::{AuxName, ParseAuxNameError, Subfunction};
pub use function::{Function, IommuGroup, Role};
pub use rdma::RdmaNodes;
pub use sysfs::{Error, Sysfs};
pub use vdpa::Vdpa;
pub use virtfn::VfIndex;
