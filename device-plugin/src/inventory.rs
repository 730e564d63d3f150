//! What the node has: reads sysfs and the routes, and gives an immutable `Snapshot`.
//! It must not know of pools, and nothing else may read the host to choose devices.

mod ddptool;
mod details;
mod device;
mod kernel;
mod left_out;
mod routes;
mod scan;
mod watch;

pub use details::is_link_type;
pub use device::{Device, DeviceId, Kind};
pub use left_out::LeftOut;
pub use scan::{Error, Known, Needs, Scan, Unread, reread, scan};
pub use watch::{Cause, Watch};

use std::path::PathBuf;
use std::sync::Arc;

use pci::Sysfs;

/// Where the node's file systems are mounted.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/sys`.
    pub sysfs: Sysfs,
    /// `/proc`, whose `net/route` and `net/ipv6_route` must be those of the node's network namespace.
    pub proc: PathBuf,
}

/// Every function that a pool could take, at one moment. Equal snapshots mean that nothing has changed. A device is there
/// once, however many snapshots and pools have it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    devices: Vec<Arc<Device>>,
}

impl Snapshot {
    /// From devices in any order.
    pub fn new(devices: Vec<Device>) -> Self {
        Self::of(devices.into_iter().map(Arc::new).collect())
    }

    fn of(mut devices: Vec<Arc<Device>>) -> Self {
        devices.sort_by_cached_key(|device| device.id());
        Self { devices }
    }

    /// The devices: functions by their address, then SFs by their name.
    pub fn devices(&self) -> &[Arc<Device>] {
        &self.devices
    }

    /// As this one, with what the one before knew and nobody can tell now: a device that is gone, and the names and link
    /// types of network devices that are in another network namespace, a pod's.
    #[must_use]
    pub fn remembering(mut self, before: &Self) -> Self {
        for device in &mut self.devices {
            let Some(known) = before.shared(&device.id()) else { continue };
            Arc::make_mut(device).remember(known);
            if device == known {
                // The old one: whoever has both can tell by their address.
                device.clone_from(known);
            }
        }
        let gone = before.devices.iter().filter(|device| self.get(&device.id()).is_none());
        let gone: Vec<Arc<Device>> = gone.map(|device| Arc::new(device.gone())).collect();
        if gone.is_empty() {
            return self;
        }
        self.devices.extend(gone);
        Self::of(self.devices)
    }

    /// Forgets those of the devices that are gone for which `wanted` is not true.
    pub fn forget_gone(&mut self, wanted: impl Fn(&DeviceId) -> bool) {
        self.devices.retain(|device| device.left_out != Some(LeftOut::Gone) || wanted(&device.id()));
    }

    /// The device of an id.
    pub fn get(&self, id: &DeviceId) -> Option<&Device> {
        self.shared(id).map(Arc::as_ref)
    }

    fn shared(&self, id: &DeviceId) -> Option<&Arc<Device>> {
        let index = self.devices.binary_search_by(|device| device.id().cmp(id)).ok()?;
        self.devices.get(index)
    }
}
