//! A configuration and a `Snapshot` to pools: each device to the first pool that accepts it.
//! It must not read anything.

use std::sync::Arc;

use crate::config::PoolConfig;
use crate::inventory::{Device, Snapshot};
use crate::selector::{Key, Selector};

use super::{Pool, Why};

/// The pools, in the configuration's order; for an empty one, why. A pool never looks at what an earlier one took.
pub fn build(configs: &[PoolConfig], snapshot: &Snapshot) -> Vec<(Pool, Option<Why>)> {
    let mut free: Vec<&Device> =
        snapshot.devices().iter().filter(|device| device.left_out.is_none()).collect();
    let mut pools: Vec<(Pool, Option<Why>)> = Vec::with_capacity(configs.len());
    for config in configs {
        let (taken, left): (Vec<_>, Vec<_>) = free.into_iter().partition(|device| config.accepts(device));
        free = left;
        let pool = Pool { config: Arc::new(config.clone()), devices: taken.into_iter().cloned().collect() };
        let why = pool.devices.is_empty().then(|| Why::find(config, snapshot, &pools));
        pools.push((pool, why));
    }
    pools
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
