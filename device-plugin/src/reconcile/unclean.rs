//! Which devices may not be handed out, because what a pod before changed is not put back.
//! It must not look for them.

use std::collections::BTreeMap;

use crate::inventory::DeviceId;

/// The devices that are not as their pools promise, because of an attachment that is not undone yet, each with why.
/// None of them may be handed out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unclean {
    reasons: BTreeMap<DeviceId, String>,
}

impl Unclean {
    /// Why a device may not be handed out; `None` where it may.
    pub fn get(&self, device: &DeviceId) -> Option<&str> {
        self.reasons.get(device).map(String::as_str)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.reasons.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl FromIterator<(DeviceId, String)> for Unclean {
    fn from_iter<T: IntoIterator<Item = (DeviceId, String)>>(reasons: T) -> Self {
        Self { reasons: reasons.into_iter().collect() }
    }
}
