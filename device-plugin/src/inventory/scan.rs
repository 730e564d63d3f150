//! Sysfs and the routes to a `Snapshot`: one pass over the functions, one reading of each PF's directory.
//! It must not let one odd function hide another.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use pci::{Function, PciAddress, Role, Sysfs, VfIndex};

use super::routes::{self, Carriers};
use super::{Device, Kind, LeftOut, Roots, Snapshot};

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
}

/// What a scan found.
#[derive(Debug)]
pub struct Scan {
    /// The functions that could be read.
    pub snapshot: Snapshot,
    /// What was wrong with those that could not.
    pub odd: Vec<pci::Error>,
}

/// Reads the node.
pub fn scan(roots: &Roots) -> Result<Scan, Error> {
    let carriers = routes::carriers(roots).map_err(|(path, source)| Error::Routes { path, source })?;
    let mut reader = Reader { sysfs: &roots.sysfs, vfs: HashMap::new() };
    let mut functions = Vec::new();
    let mut odd = Vec::new();
    for address in roots.sysfs.addresses()? {
        match reader.read(address) {
            Ok(Some(function)) => functions.push(function),
            Ok(None) => {}
            Err(error) => odd.push(error),
        }
    }
    let pf_names: HashMap<PciAddress, String> = functions
        .iter()
        .filter(|function| matches!(function.role, Role::Pf { .. }))
        .filter_map(|pf| Some((pf.address, pf.netdevs.first()?.clone())))
        .collect();
    let devices = functions.into_iter().map(|function| {
        let pf_name = function.pf().and_then(|pf| pf_names.get(&pf).cloned());
        let left_out = left_out(&function, &carriers);
        Device { function, pf_name, left_out }
    });
    Ok(Scan { snapshot: Snapshot::new(devices.collect()), odd })
}

/// Looks at one device again, without the routes: what it is bound to now, and whether it is still there.
pub fn reread(sysfs: &Sysfs, device: &Device) -> Result<Device, pci::Error> {
    // The number below the PF is the device's as long as its address is; no need to read the PF's list.
    let function = sysfs.function_with(device.id(), |_| Ok(device.function.vf_index()))?;
    let left_out = left_out(&function, &Carriers::new());
    Ok(Device { function, pf_name: device.pf_name.clone(), left_out })
}

struct Reader<'a> {
    sysfs: &'a Sysfs,
    /// The VFs of each PF that was asked for.
    vfs: HashMap<PciAddress, HashMap<PciAddress, VfIndex>>,
}

impl Reader<'_> {
    /// A function that a pool could ask for, read whole.
    fn read(&mut self, address: PciAddress) -> Result<Option<Function>, pci::Error> {
        if Kind::of_class(self.sysfs.class(address)?).is_none() {
            return Ok(None);
        }
        self.sysfs.function_with(address, |pf| self.index_below(pf, address)).map(Some)
    }

    fn index_below(&mut self, pf: PciAddress, vf: PciAddress) -> Result<Option<VfIndex>, pci::Error> {
        let vfs = match self.vfs.entry(pf) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let listed = self.sysfs.vfs(pf)?;
                new.insert(listed.into_iter().map(|(index, vf)| (vf, index)).collect())
            }
        };
        Ok(vfs.get(&vf).copied())
    }
}

fn left_out(function: &Function, carriers: &Carriers) -> Option<LeftOut> {
    let network = Kind::of_class(function.class) == Some(Kind::Network);
    let route = function.netdevs.iter().find_map(|netdev| Some((netdev, carriers.get(netdev)?)));
    match (route, &function.role) {
        (Some((netdev, route)), _) if network => {
            Some(LeftOut::DefaultRoute { netdev: netdev.clone(), route: route.clone() })
        }
        (_, Role::Pf { num_vfs: count @ 1.., .. }) if network => Some(LeftOut::HasVfs { count: *count }),
        _ if function.driver.is_none() => Some(LeftOut::NoDriver),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
