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

/// One thing that a container gets with a device, under its name in `PCIDEVICE_…_INFO`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) nodes: Vec<Node>,
    pub(super) info: BTreeMap<String, String>,
}

/// The driver is bound and has made no device.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// VFIO without a group.
    #[error(
        "function {address} is on {driver} without an IOMMU group; boot with an IOMMU or set vfio's enable_unsafe_noiommu_mode"
    )]
    NoGroup {
        /// The function.
        address: PciAddress,
        /// The driver.
        driver: String,
    },
    /// VFIO without a device of its own, which `vfioCdev` asks for.
    #[error(
        "function {address} is on {driver}, which made no vfio-dev; vfioCdev needs a kernel with CONFIG_VFIO_DEVICE_CDEV, 6.6 or newer"
    )]
    NoCdev {
        /// The function.
        address: PciAddress,
        /// The driver.
        driver: String,
    },
    /// UIO without a device.
    #[error("function {address} is on {driver}, which made no uio device; look at the kernel log")]
    NoUio {
        /// The function.
        address: PciAddress,
        /// The driver.
        driver: String,
    },
    /// `vhost_vdpa` without a character device.
    #[error("function {address}: vDPA device {device} has no vhost-vdpa node; look at the kernel log")]
    NoVhostVdpa {
        /// The function.
        address: PciAddress,
        /// The vDPA device.
        device: String,
    },
}

const VFIO: &str = "/dev/vfio/vfio";
const IOMMUFD: &str = "/dev/iommu";

impl Node {
    pub(super) fn same(path: String) -> Self {
        Self { host: path.clone(), container: path }
    }

    /// Where the node is with `/dev` at `dev`.
    pub(super) fn below(&self, dev: &Path) -> PathBuf {
        dev.join(self.host.strip_prefix("/dev/").unwrap_or(&self.host))
    }
}

/// What the function's driver, as it is bound now, gives. A kernel network device needs nothing.
pub(super) fn of_driver(function: &Function, vfio_cdev: bool) -> Result<Option<Part>, Error> {
    let address = function.address;
    let Some(driver) = function.driver.clone() else { return Ok(None) };
    if function.is_on_vfio() {
        let Some(group) = &function.iommu_group else { return Err(Error::NoGroup { address, driver }) };
        let mut part = vfio(group);
        if vfio_cdev {
            let Some(device) = &function.vfio_dev else { return Err(Error::NoCdev { address, driver }) };
            add_cdev(&mut part, device);
        }
        return Ok(Some(part));
    }
    // The Go plugin gives nothing for uio_pci_generic; DPDK needs the same node there.
    if matches!(driver.as_str(), "uio" | "igb_uio" | "uio_pci_generic") {
        let Some(uio) = &function.uio else { return Err(Error::NoUio { address, driver }) };
        let node = Node::same(format!("/dev/{uio}"));
        let info = pairs([("mount", &node.container)]);
        return Ok(Some(Part { name: "uio", nodes: vec![node], info }));
    }
    Ok(None)
}

/// Without an IOMMU the kernel's node is `noiommu-N`; the container sees plain `N`, which DPDK tries first.
fn vfio(group: &IommuGroup) -> Part {
    let container = format!("/dev/vfio/{}", group.number);
    let host = if group.noiommu { format!("/dev/vfio/noiommu-{}", group.number) } else { container.clone() };
    let info = pairs([("mount", VFIO), ("dev-mount", &container)]);
    Part { name: "vfio", nodes: vec![Node::same(VFIO.to_owned()), Node { host, container }], info }
}

/// The device's own node, which goes with iommufd and without the group.
fn add_cdev(part: &mut Part, device: &str) {
    let node = Node::same(format!("/dev/vfio/devices/{device}"));
    part.info.extend(pairs([("cdev-mount", node.container.as_str()), ("iommu-mount", IOMMUFD)]));
    part.nodes.extend([node, Node::same(IOMMUFD.to_owned())]);
}

pub(super) fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}
