//! Which of the available devices a container had best get, by the pool's allocation policy.
//! It must not read anything, and the same question always has the same answer.

use std::collections::BTreeMap;

use crate::config::AllocationPolicy;
use crate::inventory::{Device, DeviceId};

use super::Pool;

/// The kubelet asks for what cannot be.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// More than are wanted at all.
    #[error("{must} devices are to be among {size}; the kubelet asks for what cannot be")]
    TooMany {
        /// How many must be in the answer.
        must: usize,
        /// How many may be.
        size: usize,
    },
    /// One that is not there.
    #[error("{id:?} is to be among devices that it is none of; the kubelet asks for what cannot be")]
    NotAvailable {
        /// Its id.
        id: String,
    },
}

/// Devices that are near each other, level by level: below one host bridge, below one port, of one PF.
#[derive(Debug, Default)]
struct Group<'a> {
    /// How many may be chosen, here and below.
    free: usize,
    /// How many are chosen already, here and below.
    chosen: usize,
    below: BTreeMap<Name<'a>, Group<'a>>,
    /// In the pool's order.
    devices: Vec<&'a str>,
}

/// What tells groups of one level apart. What cannot be told stands last.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Name<'a> {
    Number(u32),
    Place(&'a str),
    Function(DeviceId),
    Unknown,
}

impl Pool {
    /// Of the available devices `size`, and among them those that must be; all of them where there are fewer. None where
    /// the pool has no policy, which leaves the choice to the kubelet.
    pub fn prefer(&self, available: &[String], must: &[String], size: usize) -> Result<Vec<String>, Error> {
        let policy = self.config.allocation_policy;
        if policy == AllocationPolicy::None {
            return Ok(Vec::new());
        }
        let mut known: BTreeMap<(Option<DeviceId>, &str), Option<&Device>> = BTreeMap::new();
        for id in available {
            let device = self.get(id);
            known.insert((device.map(Device::id), id), device);
        }
        // What the pool does not have comes after what it has.
        let (unknown, known): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, device)| device.is_none());
        let mut chosen: Vec<&str> = Vec::with_capacity(size.min(available.len()));
        let mut everything = Group::default();
        for ((_, id), device) in known.into_iter().chain(unknown) {
            let is_chosen = must.iter().any(|must| must == id);
            if is_chosen {
                chosen.push(id);
            }
            everything.add(id, &levels(policy, device), is_chosen);
        }
        if let Some(id) = must.iter().find(|id| !chosen.contains(&id.as_str())) {
            return Err(Error::NotAvailable { id: id.clone() });
        }
        let Some(wanted) = size.checked_sub(chosen.len()) else {
            return Err(Error::TooMany { must: chosen.len(), size });
        };
        if policy == AllocationPolicy::Spread {
            everything.spread(wanted, &mut chosen);
        } else {
            everything.gather(wanted, &mut chosen);
        }
        Ok(chosen.into_iter().map(str::to_owned).collect())
    }
}

/// The groups that a device is in, the widest first.
fn levels(policy: AllocationPolicy, device: Option<&Device>) -> Vec<Name<'_>> {
    let Some(device) = device else { return vec![Name::Unknown] };
    let pf = Name::Function(device.root().map_or_else(|| device.id(), DeviceId::Function));
    match policy {
        AllocationPolicy::None | AllocationPolicy::Packed | AllocationPolicy::Spread => vec![pf],
        AllocationPolicy::Numa => vec![device.function.numa_node.map_or(Name::Unknown, Name::Number)],
        AllocationPolicy::Pcie => {
            let above = device.above.iter().flat_map(|path| path.split('/').map(Name::Place));
            above.chain([pf]).collect()
        }
    }
}

impl<'a> Group<'a> {
    fn add(&mut self, id: &'a str, levels: &[Name<'a>], is_chosen: bool) {
        self.chosen += usize::from(is_chosen);
        self.free += usize::from(!is_chosen);
        match levels {
            [] => self.devices.extend((!is_chosen).then_some(id)),
            [level, rest @ ..] => self.below.entry(level.clone()).or_default().add(id, rest, is_chosen),
        }
    }

    /// From as few groups as it takes: first where something is chosen already, then the smallest that has enough, so that
    /// the others stay whole; and where none has enough, the largest.
    fn gather(&mut self, wanted: usize, chosen: &mut Vec<&'a str>) -> usize {
        let wanted = wanted.min(self.free);
        let own = wanted.min(self.devices.len());
        chosen.extend(self.devices.drain(..own));
        let mut left = wanted - own;
        while left > 0 {
            let groups = self.below.values_mut().filter(|group| group.free > 0);
            let best = groups.min_by_key(|group| {
                let fits = group.free >= left;
                let size = if fits { group.free } else { usize::MAX - group.free };
                (std::cmp::Reverse(group.chosen), !fits, size)
            });
            let Some(best) = best else { break };
            left -= best.gather(left, chosen);
        }
        self.free -= wanted;
        self.chosen += wanted;
        wanted
    }

    /// One from each group in turn: from the one of which the container has least, and of those the one with most left.
    fn spread(&mut self, wanted: usize, chosen: &mut Vec<&'a str>) {
        for _ in 0..wanted.min(self.free) {
            let groups = self.below.values_mut().filter(|group| group.free > 0);
            let next = groups.min_by_key(|group| (group.chosen, std::cmp::Reverse(group.free)));
            if let Some(next) = next {
                next.gather(1, chosen);
            }
        }
    }
}

#[cfg(test)]
mod tests;
