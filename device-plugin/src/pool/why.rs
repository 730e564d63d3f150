//! Why a pool is empty: for each candidate the first thing that kept it out, counted.
//! It must not decide anything; it asks the selectors again.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::PoolConfig;
use crate::inventory::{Device, Kind, LeftOut, Snapshot};
use crate::selector::{Key, Refusal};

use super::Holds;

/// The reasons, over all functions of the pool's kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Why {
    kind: Kind,
    candidates: usize,
    reasons: BTreeMap<Class, (usize, Reason)>,
}

/// What kept one device out of one pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// It is offered by no pool.
    LeftOut(LeftOut),
    /// A selector refused it.
    Refused(Refusal),
    /// A pool before has it.
    Taken {
        /// That pool's resource.
        by: String,
    },
    /// A pod holds it, as something else.
    Held {
        /// The resource that it was given as.
        of: String,
    },
}

/// Reasons that are counted together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Class {
    DefaultRoute,
    HasVfs,
    NoDriver,
    NoPfName,
    Gone,
    Refused(Key),
    Taken,
    Held,
}

impl Why {
    /// `owner` names the pool that has the device of that place in the snapshot.
    pub(super) fn find<'a>(
        config: &PoolConfig,
        snapshot: &Snapshot,
        owner: impl Fn(usize) -> Option<&'a str>,
        holds: &Holds,
    ) -> Self {
        let mut why = Self { kind: config.kind, candidates: 0, reasons: BTreeMap::new() };
        let devices = snapshot.devices().iter().enumerate();
        for (place, device) in devices.filter(|(_, device)| device.kind() == Some(config.kind)) {
            why.candidates += 1;
            if let Some(reason) = Reason::of(device, config, holds, || owner(place)) {
                why.reasons.entry(reason.class()).or_insert((0, reason)).0 += 1;
            }
        }
        why
    }

    /// Whether both say the same but for numbers and examples, which change with every VF that comes or goes.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.kind, self.candidates == 0) == (other.kind, other.candidates == 0)
            && self.reasons.keys().eq(other.reasons.keys())
    }
}

impl Reason {
    fn of<'a>(
        device: &Device,
        config: &PoolConfig,
        holds: &Holds,
        owner: impl Fn() -> Option<&'a str>,
    ) -> Option<Self> {
        if let Some(left_out) = &device.left_out {
            return Some(Self::LeftOut(left_out.clone()));
        }
        if let Some(refusal) = config.refusal(device) {
            return Some(Self::Refused(refusal));
        }
        if let Some(resource) = holds.get(&device.id()) {
            return Some(Self::Held { of: resource.to_owned() });
        }
        Some(Self::Taken { by: owner()?.to_owned() })
    }

    fn class(&self) -> Class {
        match self {
            Self::LeftOut(LeftOut::DefaultRoute { .. }) => Class::DefaultRoute,
            Self::LeftOut(LeftOut::HasVfs { .. }) => Class::HasVfs,
            Self::LeftOut(LeftOut::NoDriver) => Class::NoDriver,
            Self::LeftOut(LeftOut::NoPfName) => Class::NoPfName,
            Self::LeftOut(LeftOut::Gone) => Class::Gone,
            Self::Refused(refusal) => Class::Refused(refusal.key),
            Self::Taken { .. } => Class::Taken,
            Self::Held { .. } => Class::Held,
        }
    }
}

impl PoolConfig {
    /// What refuses a device of the pool's kind: of several selectors the one that came furthest speaks.
    pub fn refusal(&self, device: &Device) -> Option<Refusal> {
        if self.accepts(device) {
            return None;
        }
        self.selectors
            .iter()
            .filter_map(|selector| selector.refusal(device))
            .max_by_key(|refusal| refusal.key)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.candidates == 0 {
            return write!(f, "the node has no {}", self.kind);
        }
        write!(f, "of {} {}", self.candidates, self.kind)?;
        for (index, (count, reason)) in self.reasons.values().enumerate() {
            write!(f, "{} {count} {reason}", if index == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

/// Read after a number of devices, of which this is the first one's reason.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut(left_out) => write!(f, "left out ({left_out})"),
            Self::Refused(Refusal { key, found, wanted }) => {
                write!(f, "refused by {key} (found {found}, wanted {wanted})")
            }
            Self::Taken { by } => write!(f, "taken before by {by}"),
            Self::Held { of } => write!(f, "held by a pod as {of}"),
        }
    }
}
