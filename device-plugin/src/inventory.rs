//! What the node has: reads sysfs and the routes, and gives an immutable `Snapshot`.
//! It must not know of pools, and nothing else may read the host to choose devices.

mod device;
mod routes;
mod scan;

pub use device::{Device, Kind, LeftOut};
pub use scan::{Error, Scan, reread, scan};

use std::path::PathBuf;

use pci::{PciAddress, Sysfs};

/// Where the node's file systems are mounted.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/sys`.
    pub sysfs: Sysfs,
    /// `/proc`, whose `net/route` and `net/ipv6_route` must be those of the node's network namespace.
    pub proc: PathBuf,
}

/// Every function that a pool could take, at one moment. Equal snapshots mean that nothing has changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    devices: Vec<Device>,
}

impl Snapshot {
    /// From devices in any order.
    pub fn new(mut devices: Vec<Device>) -> Self {
        devices.sort_unstable_by_key(|device| device.function.address);
        Self { devices }
    }

    /// The devices, sorted by their address.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The device at an address.
    pub fn get(&self, address: PciAddress) -> Option<&Device> {
        let index = self.devices.binary_search_by_key(&address, |device| device.function.address).ok()?;
        self.devices.get(index)
    }
}
