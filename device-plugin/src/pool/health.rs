//! Why a device is in a pool's list and yet must not be given to another pod.
//! It must not read anything, nor take a device out of its pool.

use crate::config::PoolConfig;
use crate::inventory::{Device, LeftOut};
use crate::reconcile::Unclean;
use crate::selector::{Key, Refusal};

/// What makes a device unhealthy.
#[derive(Clone, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Ill {
    /// No pool would take it now, and it stays because a pod holds it.
    #[error("{0}")]
    LeftOut(LeftOut),
    /// Another driver is bound than the pool wants, and it stays because a pod holds it.
    #[error("driver is {found}, wanted {wanted}")]
    Driver {
        /// The driver that is bound.
        found: String,
        /// The drivers that the pool takes.
        wanted: String,
    },
    /// What the pod before changed is not put back yet.
    #[error("not restored yet: {0}")]
    Unclean(String),
    /// The port that it sends through has no carrier, and the pool asks for one.
    #[error("{0} has no carrier")]
    NoCarrier(String),
}

impl PoolConfig {
    /// Whether a device that is in the pool may be given to a pod.
    pub(super) fn health(&self, device: &Device, unclean: &Unclean) -> Result<(), Ill> {
        if let Some(left_out) = &device.left_out {
            return Err(Ill::LeftOut(left_out.clone()));
        }
        if let Some(Refusal { key: Key::Drivers, found, wanted }) = self.refusal(device) {
            return Err(Ill::Driver { found, wanted });
        }
        if let Some(reason) = unclean.get(&device.id()) {
            return Err(Ill::Unclean(reason.to_owned()));
        }
        match device.port() {
            Some(port) if self.pf_carrier && device.carrier == Some(false) => {
                Err(Ill::NoCarrier(port.to_owned()))
            }
            _ => Ok(()),
        }
    }
}
