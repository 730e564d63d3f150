//! A pool: the devices that one resource offers, and what it was asked for.
//! It must not read the host or talk to the kubelet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::PoolConfig;
use crate::inventory::{Device, DeviceId, LeftOut};
use crate::selector::{Extras, Key, Refusal, Selector};

mod build;
mod health;
mod hearing;
mod hold;
mod prefer;
mod why;

pub use build::{build, unheld};
pub use health::Ill;
pub use hearing::{Built, Hearing, Scene};
pub use hold::{Grants, Holds};
pub use prefer::Error as PreferError;
pub use why::{Reason, Why};

/// One pool at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pool {
    /// What it was asked for.
    pub config: Arc<PoolConfig>,
    /// What it offers, sorted by address.
    pub devices: Vec<Arc<Device>>,
    /// Those of them that may not be given to a pod now, with the reason.
    pub ill: BTreeMap<DeviceId, Ill>,
    /// Those of them that are here for no other reason than that a pod holds them.
    pub kept: BTreeSet<DeviceId>,
}

/// Why a device may not be handed out, although it is in the pool.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// It would not be offered at all now.
    #[error("{device}: {left_out}, so pool {pool:?} cannot give it any more; the kubelet will be told")]
    LeftOut {
        /// The device.
        device: String,
        /// The pool's name.
        pool: String,
        /// Why not.
        left_out: LeftOut,
    },
    /// Another driver is bound.
    #[error("{device}: driver is {found}, pool {pool:?} wants {wanted}; bind it or add {found:?} to drivers")]
    Driver {
        /// The device.
        device: String,
        /// The pool's name.
        pool: String,
        /// The driver that is bound.
        found: String,
        /// The drivers that the pool takes.
        wanted: String,
    },
    /// Another function has come to its address.
    #[error("{device}: pool {pool:?} does not choose it any more ({refusal}); the kubelet will be told")]
    Refused {
        /// The device.
        device: String,
        /// The pool's name.
        pool: String,
        /// What refuses it.
        refusal: Refusal,
    },
    /// It is unhealthy.
    #[error("{device}: pool {pool:?} cannot give it now: {ill}")]
    Ill {
        /// The device.
        device: String,
        /// The pool's name.
        pool: String,
        /// Why.
        ill: Ill,
    },
}

impl Pool {
    /// The device with an id, as the kubelet spells it.
    pub fn get(&self, id: &str) -> Option<&Device> {
        self.devices.get(self.find(&id.parse().ok()?)?).map(Arc::as_ref)
    }

    /// Whether a device is in the pool.
    pub fn has(&self, id: &DeviceId) -> bool {
        self.find(id).is_some()
    }

    fn find(&self, id: &DeviceId) -> Option<usize> {
        self.devices.binary_search_by(|device| device.id().cmp(id)).ok()
    }

    /// What a device of the pool comes with, by the selector that it joined by.
    pub fn extras(&self, device: &Device) -> Extras {
        self.config.selector_of(device).map(Selector::extras).unwrap_or_default()
    }

    /// Whether a device of the pool may be given to a pod.
    pub fn is_healthy(&self, device: &Device) -> bool {
        // Most pools are well, and an id has to be made.
        self.ill.is_empty() || !self.ill.contains_key(&device.id())
    }

    /// Whether the kubelet would hear the same of both: the ids, the health and the NUMA node of each device, and whether
    /// it is to ask which of them it had best give.
    pub fn lists_as(&self, other: &Self) -> bool {
        let node = |pool: &Self, device: &Device| {
            device.function.numa_node.filter(|_| !pool.config.exclude_topology)
        };
        self.config.allocation_policy == other.config.allocation_policy
            && self.devices.len() == other.devices.len()
            && self.devices.iter().zip(&other.devices).all(|(ours, theirs)| {
                ours.id() == theirs.id()
                    && self.is_healthy(ours) == other.is_healthy(theirs)
                    && node(self, ours) == node(other, theirs)
            })
    }

    /// The same pool without a device.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self { config: self.config.clone(), devices: Vec::new(), ill: BTreeMap::new(), kept: BTreeSet::new() }
    }

    /// Whether the pool would still choose a device that was looked at anew, and may give it.
    pub fn check(&self, device: &Device) -> Result<(), Unfit> {
        let (label, pool) = (device.label().to_string(), self.config.resource.name().to_owned());
        if let Some(left_out) = device.left_out.clone() {
            return Err(Unfit::LeftOut { device: label, pool, left_out });
        }
        match self.config.refusal(device) {
            None => match self.ill.get(&device.id()) {
                // What the device itself tells was looked at anew; these others tell.
                Some(
                    ill @ (Ill::Unclean(_) | Ill::NoCarrier(_) | Ill::LeftOut(LeftOut::DefaultRoute { .. })),
                ) => Err(Unfit::Ill { device: label, pool, ill: ill.clone() }),
                Some(Ill::LeftOut(_) | Ill::Driver { .. }) | None => Ok(()),
            },
            Some(Refusal { key: Key::Drivers, found, wanted }) => {
                Err(Unfit::Driver { device: label, pool, found, wanted })
            }
            Some(refusal) => Err(Unfit::Refused { device: label, pool, refusal }),
        }
    }
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
