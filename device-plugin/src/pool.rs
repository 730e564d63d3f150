//! A pool: the devices that one resource offers, and what it was asked for.
//! It must not read the host or talk to the kubelet.

use std::sync::Arc;

use crate::config::PoolConfig;
use crate::inventory::{Device, DeviceId, LeftOut};
use crate::selector::{Extras, Key, Refusal, Selector};

mod build;
mod why;

pub use build::build;
pub use why::{Reason, Why};

/// One pool at one moment. Equal pools mean that the kubelet has nothing new to hear.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pool {
    /// What it was asked for.
    pub config: Arc<PoolConfig>,
    /// What it offers, sorted by address.
    pub devices: Vec<Device>,
}

/// Why a device may not be handed out, although it is in the pool.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// It would not be offered at all now.
    #[error("{device}: {left_out}, so pool {pool:?} cannot give it any more; restart sriovdp to count anew")]
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
    #[error("{device}: pool {pool:?} does not choose it any more ({refusal}); restart sriovdp to count anew")]
    Refused {
        /// The device.
        device: String,
        /// The pool's name.
        pool: String,
        /// What refuses it.
        refusal: Refusal,
    },
}

impl Pool {
    /// The device with an id, as the kubelet spells it.
    pub fn get(&self, id: &str) -> Option<&Device> {
        let id: DeviceId = id.parse().ok()?;
        let index = self.devices.binary_search_by(|device| device.id().cmp(&id)).ok()?;
        self.devices.get(index)
    }

    /// What a device of the pool comes with, by the selector that it joined by.
    pub fn extras(&self, device: &Device) -> Extras {
        self.config.selector_of(device).map(Selector::extras).unwrap_or_default()
    }

    /// Whether the pool would still choose a device that was looked at anew.
    pub fn check(&self, device: &Device) -> Result<(), Unfit> {
        let (label, pool) = (device.label().to_string(), self.config.resource.name().to_owned());
        if let Some(left_out) = device.left_out.clone() {
            return Err(Unfit::LeftOut { device: label, pool, left_out });
        }
        match self.config.refusal(device) {
            None => Ok(()),
            Some(Refusal { key: Key::Drivers, found, wanted }) => {
                Err(Unfit::Driver { device: label, pool, found, wanted })
            }
            Some(refusal) => Err(Unfit::Refused { device: label, pool, refusal }),
        }
    }
}

#[cfg(test)]
mod tests;
