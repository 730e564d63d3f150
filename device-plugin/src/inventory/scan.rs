//! Sysfs and the routes to a `Snapshot`: one pass over the functions, one reading of each PF's directory.
//! It must not let one odd function hide another.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::PathBuf;

use pci::{AuxName, Function, PciAddress, Sysfs, VfIndex};

use super::details::Details;
use super::kernel::Kernel;
use super::routes::{self, Carriers};
use super::{Device, DeviceId, Kind, LeftOut, Roots, Snapshot};

/// What stops a scan as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no list of functions.
    #[error(transparent)]
    Functions(#[from] pci::Error),
    /// The node's default routes cannot be told.
    #[error(
        "cannot read {path}: {source}; without it the NIC that the node lives on cannot be told apart, is --proc-root right?"
    )]
    Routes {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not list them either.
    #[error(
        "the kernel does not list its routes: {0}; without them the NIC that the node lives on cannot be told apart"
    )]
    Kernel(#[from] netlink::Error),
}

/// What is read beside the functions' own attributes, because a configuration asks for it, and what is offered.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each thing that can be asked for")]
pub struct Needs<'a> {
    /// `linkTypes` is used.
    pub link_types: bool,
    /// `pKeys` is used.
    pub p_keys: bool,
    /// `isRdma` is used.
    pub rdma: bool,
    /// `vdpaType` is used.
    pub vdpa: bool,
    /// There is a pool of SFs.
    pub subfunctions: bool,
    /// `ddpProfiles` is used: of the devices for which this is true.
    pub ddp: Option<&'a dyn Fn(&Device) -> bool>,
    /// The carrier of ports matters.
    pub carriers: bool,
    /// The PCI bridges above a device matter.
    pub bridges: bool,
    /// What was seen before.
    pub known: Option<Known<'a>>,
    /// NICs that carry a default route are offered too.
    pub host_interfaces: bool,
}

/// Where a device that was seen before has its DDP profile from: to ask for it may take a process for each.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What was seen.
    pub snapshot: &'a Snapshot,
    /// Ask all the same, and fall back on it where nobody answers.
    pub anew: bool,
}

/// What a scan found.
#[derive(Debug)]
pub struct Scan {
    /// The functions that could be read.
    pub snapshot: Snapshot,
    /// Those that could not.
    pub odd: Vec<Unread>,
}

/// A function or SF that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct Unread {
    /// Its id.
    pub id: DeviceId,
    /// What is wrong with it.
    pub source: pci::Error,
}

/// Reads the node.
pub fn scan(roots: &Roots, needs: &Needs<'_>) -> Result<Scan, Error> {
    scan_with(roots, needs, if roots.is_live() { Kernel::live()? } else { Kernel::none() })
}

/// As [`scan`], with this kernel to be asked.
pub(super) fn scan_with(roots: &Roots, needs: &Needs<'_>, mut kernel: Kernel) -> Result<Scan, Error> {
    let carriers = if needs.host_interfaces {
        Carriers::new()
    } else {
        let links = kernel.default_links()?;
        routes::carriers(roots, &links).map_err(|(path, source)| Error::Routes { path, source })?
    };
    let reader = Reader { sysfs: &roots.sysfs, vfs: HashMap::new() };
    let mut devices = Vec::new();
    let mut odd = Vec::new();
    reader.read_all(&mut devices, &mut odd)?;
    if needs.subfunctions {
        subfunctions(&roots.sysfs, &mut devices, &mut odd);
    }
    let mut details = Details::new(&roots.sysfs, kernel, needs);
    for device in &mut devices {
        details.complete(device, needs);
        device.left_out = left_out(device, &carriers);
    }
    super::ddptool::warn(details.unprofiled());
    Ok(Scan { snapshot: Snapshot::new(devices), odd })
}

/// Looks at one device again, without the routes: what it is bound to now, and whether it is still there.
pub fn reread(sysfs: &Sysfs, device: &Device) -> Result<Device, pci::Error> {
    let address = device.function.address;
    // The number below the PF is the device's as long as its address is; no need to read the PF's list.
    let function = sysfs.function_with(address, |_| Ok(device.function.vf_index()))?;
    let sf = device.sf.as_ref().map(|sf| sysfs.subfunction(&sf.name, address)).transpose()?;
    let vdpa = device.vdpa.as_ref().and_then(|vdpa| sysfs.vdpa(&vdpa.name));
    let mut device = Device { function, sf, vdpa, ..device.clone() };
    device.left_out = left_out(&device, &Carriers::new());
    Ok(device)
}

fn left_out(device: &Device, carriers: &Carriers) -> Option<LeftOut> {
    if device.sf.is_some() {
        LeftOut::of_subfunction(device, carriers)
    } else {
        LeftOut::of(&device.function, carriers)
    }
}

/// Adds the SFs below the network functions that were found.
fn subfunctions(sysfs: &Sysfs, devices: &mut Vec<Device>, odd: &mut Vec<Unread>) {
    let functions = devices.len();
    let is_sf = |(name, _): &(AuxName, PciAddress)| name.kind() == "sf";
    for (name, parent) in sysfs.auxiliaries().into_iter().filter(is_sf) {
        // They are sorted by address, as they were listed.
        let place = devices[..functions].binary_search_by_key(&parent, |device| device.function.address);
        let Ok(parent) = place.map(|place| devices[place].function.clone()) else { continue };
        match sysfs.subfunction(&name, parent.address) {
            Ok(sf) => devices.push(Device::new(parent, Some(sf))),
            Err(source) => odd.push(Unread { id: DeviceId::Subfunction(name), source }),
        }
    }
}

struct Reader<'a> {
    sysfs: &'a Sysfs,
    /// The VFs of each PF that was asked for.
    vfs: HashMap<PciAddress, HashMap<PciAddress, VfIndex>>,
}

impl Reader<'_> {
    /// Every function that a pool could ask for, those included that came while the others were read.
    fn read_all(mut self, devices: &mut Vec<Device>, odd: &mut Vec<Unread>) -> Result<(), pci::Error> {
        let listed = self.sysfs.addresses()?;
        self.read_each(&listed, devices, odd);
        let mut later = self.sysfs.addresses()?;
        later.retain(|address| listed.binary_search(address).is_err());
        if !later.is_empty() {
            // Their PFs have more VFs than they had.
            self.vfs.clear();
            self.read_each(&later, devices, odd);
            devices.sort_by_key(|device| device.function.address);
        }
        Ok(())
    }

    fn read_each(&mut self, addresses: &[PciAddress], devices: &mut Vec<Device>, odd: &mut Vec<Unread>) {
        for address in addresses {
            match self.read(*address) {
                Ok(Some(function)) => devices.push(Device::new(function, None)),
                Ok(None) => {}
                Err(source) => odd.push(Unread { id: DeviceId::Function(*address), source }),
            }
        }
    }

    /// A function that a pool could ask for, read whole.
    fn read(&mut self, address: PciAddress) -> Result<Option<Function>, pci::Error> {
        let class = self.sysfs.class(address)?;
        if Kind::of_class(class).is_none() {
            return Ok(None);
        }
        self.sysfs.function_of_class(address, class, |pf| self.index_below(pf, address)).map(Some)
    }

    fn index_below(&mut self, pf: PciAddress, vf: PciAddress) -> Result<Option<VfIndex>, pci::Error> {
        let vfs = match self.vfs.entry(pf) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let listed = self.sysfs.vfs(pf)?;
                new.insert(listed.into_iter().map(|(index, vf)| (vf, index)).collect())
            }
        };
        Ok(vfs.get(&vf).copied())
    }
}

impl Roots {
    /// Whether `proc` is the kernel's own and not a tree of files: only then is there a kernel to be asked.
    pub(super) fn is_live(&self) -> bool {
        self.proc.join("self/ns/net").exists()
    }
}

#[cfg(test)]
mod tests;
