//! A configuration and a `Snapshot` to pools: each device to the pool that a pod holds it of, or else to the first pool that
//! accepts it. It must not read anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::PoolConfig;
use crate::inventory::{Device, Snapshot};
use crate::reconcile::Unclean;
use crate::selector::{Key, Selector};

use super::{Holds, Pool, Why};

/// The pools, in the configuration's order; for an empty one, why. A pool never looks at what an earlier one took.
///
/// A device that is held is in the pool of its holder's resource and in no other, whatever selectors say and whatever became
/// of it; where the configuration has no such pool it is in none. No device is in two pools.
pub fn build(
    configs: &[PoolConfig],
    snapshot: &Snapshot,
    holds: &Holds,
    unclean: &Unclean,
) -> Vec<(Pool, Option<Why>)> {
    let (held, free): (Vec<&Device>, Vec<&Device>) =
        snapshot.devices().iter().partition(|device| holds.get(&device.id()).is_some());
    let mut free: Vec<&Device> = free.into_iter().filter(|device| device.left_out.is_none()).collect();
    let mut by_resource: BTreeMap<&str, Vec<&Device>> = BTreeMap::new();
    for device in held {
        if let Some(resource) = holds.get(&device.id()) {
            by_resource.entry(resource).or_default().push(device);
        }
    }
    let mut pools: Vec<(Pool, Option<Why>)> = Vec::with_capacity(configs.len());
    for config in configs {
        let (mut taken, left): (Vec<_>, Vec<_>) = free.into_iter().partition(|device| config.accepts(device));
        free = left;
        let held = by_resource.remove(config.resource.to_string().as_str()).unwrap_or_default();
        let kept = |device: &&&Device| device.left_out.is_some() || !config.accepts(device);
        let kept: BTreeSet<_> = held.iter().filter(kept).map(|device| device.id()).collect();
        if !held.is_empty() {
            taken.extend(held);
            taken.sort_by_cached_key(|device| device.id());
        }
        let ill = |device: &&Device| Some((device.id(), config.health(device, unclean).err()?));
        let ill = taken.iter().filter_map(ill).collect();
        let devices: Vec<Device> = taken.into_iter().cloned().collect();
        let why = devices.is_empty().then(|| Why::find(config, snapshot, &pools, holds));
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
