//! The device nodes that a driver's users need, and what `PCIDEVICE_…_INFO` says of them.
//! It must not look for the nodes: their names follow from sysfs, and the container runtime opens them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pci::{Function, IommuGroup, PciAddress};

/// A device node to put into a container, for reading and writing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// Its path on the node.
    pub host: String,
    /// Its path in the container.
    pub container: String,
}

/// What a function's driver gives to userspace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Access {
    pub(super) nodes: Vec<Node>,
    /// The driver's part of `PCIDEVICE_…_INFO`, under the driver's name there.
    pub(super) info: Option<(&'static str, BTreeMap<String, String>)>,
}

/// The driver is bound and has made no device.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// VFIO without a group.
    #[error(
        "function {address} is on vfio-pci without an IOMMU group; boot with an IOMMU or set vfio's enable_unsafe_noiommu_mode"
    )]
    NoGroup {
        /// The function.
        address: PciAddress,
    },
    /// UIO without a device.
    #[error("function {address} is on {driver}, which made no uio device; look at the kernel log")]
    NoUio {
        /// The function.
        address: PciAddress,
        /// The driver.
        driver: String,
    },
}

const VFIO: &str = "/dev/vfio/vfio";

impl Node {
    fn same(path: String) -> Self {
        Self { host: path.clone(), container: path }
    }

    /// Where the node is with `/dev` at `dev`.
    pub(super) fn below(&self, dev: &Path) -> PathBuf {
        dev.join(self.host.strip_prefix("/dev/").unwrap_or(&self.host))
    }
}

/// What the function's driver, as it is bound now, gives. A kernel network device needs nothing.
pub(super) fn access(function: &Function) -> Result<Access, Error> {
    let address = function.address;
    match function.driver.as_deref() {
        Some("vfio-pci") => {
            let group = function.iommu_group.as_ref().ok_or(Error::NoGroup { address })?;
            Ok(vfio(group))
        }
        // The Go plugin gives nothing for uio_pci_generic; DPDK needs the same node there.
        Some(driver @ ("uio" | "igb_uio" | "uio_pci_generic")) => {
            let uio =
                function.uio.as_ref().ok_or_else(|| Error::NoUio { address, driver: driver.to_owned() })?;
            let node = Node::same(format!("/dev/{uio}"));
            let info = BTreeMap::from([("mount".to_owned(), node.container.clone())]);
            Ok(Access { nodes: vec![node], info: Some(("uio", info)) })
        }
        _ => Ok(Access::default()),
    }
}

/// Without an IOMMU the kernel's node is `noiommu-N`; the container sees plain `N`, which DPDK tries first.
fn vfio(group: &IommuGroup) -> Access {
    let container = format!("/dev/vfio/{}", group.number);
    let host = if group.noiommu { format!("/dev/vfio/noiommu-{}", group.number) } else { container.clone() };
    let info =
        BTreeMap::from([("mount".to_owned(), VFIO.to_owned()), ("dev-mount".to_owned(), container.clone())]);
    Access { nodes: vec![Node::same(VFIO.to_owned()), Node { host, container }], info: Some(("vfio", info)) }
}
