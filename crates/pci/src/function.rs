//! One PCI function as plain, owned data that can be compared with `==`.
//! It must not read anything by itself: `Sysfs` fills it.

use crate::address::PciAddress;
use crate::virtfn::VfIndex;

/// What sysfs said of one function at one moment.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Function {
    /// Its address, which is its directory's name.
    pub address: PciAddress,
    /// `vendor`, four lower-case hexadecimal digits without `0x`.
    pub vendor: String,
    /// `device`, four lower-case hexadecimal digits without `0x`.
    pub device: String,
    /// `class`: base class, subclass and programming interface, such as `0x02_00_00` for Ethernet.
    pub class: u32,
    /// The bound driver, `None` where none is.
    pub driver: Option<String>,
    /// `numa_node`; `None` where the platform names none (`-1`).
    pub numa_node: Option<u32>,
    /// PF, VF, or neither.
    pub role: Role,
    /// The network devices visible in this network namespace, sorted. Empty while they live in another one.
    pub netdevs: Vec<String>,
    /// The IOMMU group, where there is an IOMMU or VFIO's no-IOMMU mode made one up.
    pub iommu_group: Option<IommuGroup>,
    /// The UIO device below `uio/`, such as `uio0`.
    pub uio: Option<String>,
    /// The VFIO device below `vfio-dev/`, such as `vfio0`.
    pub vfio_dev: Option<String>,
    /// The RDMA devices below `infiniband/`, sorted.
    pub rdma: Vec<String>,
    /// `acpi_index`, as text.
    pub acpi_index: Option<String>,
}

/// Where a function stands in SR-IOV.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// It has no SR-IOV capability: an ENI, or a VF whose PF belongs to the hypervisor.
    Plain,
    /// It can have VFs.
    Pf {
        /// `sriov_totalvfs`: the most VFs the hardware can have.
        total_vfs: u32,
        /// The VFs that are there now: its `virtfnN` links.
        num_vfs: u32,
    },
    /// It is a VF.
    Vf {
        /// The PF's address.
        pf: PciAddress,
        /// Its number below the PF.
        index: VfIndex,
    },
}

/// An IOMMU group.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct IommuGroup {
    /// Its number, as the kernel names it: `/dev/vfio/<number>`.
    pub number: u32,
    /// True where VFIO made the group up without an IOMMU: the node is then `/dev/vfio/noiommu-<number>`
    /// (`vfio_noiommu_group_alloc`, drivers/vfio/group.c).
    pub noiommu: bool,
}

impl Function {
    /// The base class: `0x02` is a network controller, `0x12` a processing accelerator.
    pub fn base_class(&self) -> u8 {
        self.class.to_be_bytes()[1]
    }

    /// True for the drivers that hand a function to a userspace program and leave no network device.
    pub fn is_userspace_bound(&self) -> bool {
        self.is_on_vfio() || matches!(self.driver.as_deref(), Some("uio_pci_generic" | "igb_uio"))
    }

    /// True for `vfio-pci` and the vendors' variants of it, such as `mlx5_vfio_pci`; whatever its name, a driver that leaves a
    /// VFIO device and a group is one. Kernels before 6.0 have no `vfio-dev`.
    pub fn is_on_vfio(&self) -> bool {
        let made_both = self.vfio_dev.is_some() && self.iommu_group.is_some();
        self.driver
            .as_deref()
            .is_some_and(|driver| driver == "vfio-pci" || driver.ends_with("_vfio_pci") || made_both)
    }

    /// The PF's address, for a VF.
    pub fn pf(&self) -> Option<PciAddress> {
        match self.role {
            Role::Vf { pf, .. } => Some(pf),
            Role::Plain | Role::Pf { .. } => None,
        }
    }

    /// The number below the PF, for a VF.
    pub fn vf_index(&self) -> Option<VfIndex> {
        match self.role {
            Role::Vf { index, .. } => Some(index),
            Role::Plain | Role::Pf { .. } => None,
        }
    }
}
