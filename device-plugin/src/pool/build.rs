//! A configuration and a `Snapshot` to pools: each device to the pool that a pod holds it of, or else to the first pool that
//! accepts it. It must not read anything.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::config::PoolConfig;
use crate::inventory::{Device, Snapshot};
use crate::reconcile::Unclean;
use crate::selector::{Key, Selector};

use super::{Holds, Pool, Why};

/// The pools, in the configuration's order; for an empty one, why. A device is shown to pools up to the first that takes it.
///
/// A device that is held is in the pool of its holder's resource and in no other, whatever selectors say and whatever became
/// of it; where the configuration has no such pool it is in none. No device is in two pools.
pub fn build(
    configs: &[PoolConfig],
    snapshot: &Snapshot,
    holds: &Holds,
    unclean: &Unclean,
) -> Vec<(Pool, Option<Why>)> {
    let resources: Vec<String> = configs.iter().map(|config| config.resource.to_string()).collect();
    let places: HashMap<&str, usize> = resources.iter().map(String::as_str).zip(0..).collect();
    let free = |device: &Device| match device.left_out {
        Some(_) => None,
        None => configs.iter().position(|config| config.accepts(device)),
    };
    let owner_of = |device: &Device| match holds.get(&device.id()) {
        Some(resource) => places.get(resource).copied(),
        None => free(device),
    };
    let owners: Vec<Option<usize>> = snapshot.devices().iter().map(|device| owner_of(device)).collect();
    let mut taken: Vec<Vec<&Arc<Device>>> = vec![Vec::new(); configs.len()];
    for (device, owner) in snapshot.devices().iter().zip(&owners) {
        if let Some(owner) = *owner {
            taken[owner].push(device);
        }
    }
    let mut pools = Vec::with_capacity(configs.len());
    for (place, (config, taken)) in configs.iter().zip(taken).enumerate() {
        // An earlier pool may be waiting for one that this one would take, too.
        let kept = |device: &&&Arc<Device>| holds.get(&device.id()).is_some() && free(device) != Some(place);
        let kept: BTreeSet<_> = taken.iter().filter(kept).map(|device| device.id()).collect();
        let ill = |device: &&Arc<Device>| Some((device.id(), config.health(device, unclean).err()?));
        let ill = taken.iter().filter_map(ill).collect();
        let devices: Vec<Arc<Device>> = taken.into_iter().cloned().collect();
        let owner = |place: usize| owners[place].map(|owner| resources[owner].as_str());
        let why = devices.is_empty().then(|| Why::find(config, snapshot, owner, holds));
        pools.push((Pool { config: Arc::new(config.clone()), devices, ill, kept }, why));
    }
    pools
}

/// As [`build`], for a node on which no pod holds a device.
pub fn unheld(configs: &[PoolConfig], snapshot: &Snapshot) -> Vec<(Pool, Option<Why>)> {
    build(configs, snapshot, &Holds::default(), &Unclean::default())
}

impl PoolConfig {
    /// Whether the device is of the pool's kind and one of its selectors accepts it.
    pub fn accepts(&self, device: &Device) -> bool {
        self.selector_of(device).is_some()
    }

    /// The first selector that accepts the device: what it comes with is said there.
    pub fn selector_of(&self, device: &Device) -> Option<&Selector> {
        let mut selectors = self.selectors.iter();
        if device.kind() == Some(self.kind) {
            selectors.find(|selector| selector.accepts(device))
        } else {
            None
        }
    }

    /// Whether any selector has the key.
    pub fn asks_for(&self, key: Key) -> bool {
        self.selectors.iter().any(|selector| selector.asks_for(key))
    }

    /// Whether the device's DDP profile is what a selector has yet to know of it.
    pub fn wants_profile(&self, device: &Device) -> bool {
        let wants = |selector: &Selector| {
            selector.asks_for(Key::DdpProfiles) && selector.accepts_before(Key::DdpProfiles, device)
        };
        device.kind() == Some(self.kind) && self.selectors.iter().any(wants)
    }
}
