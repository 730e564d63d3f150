//! What is said at start: a line for each pool, and for each reason that keeps functions out of all of them. Then a line for
//! each pool that changes.
//! It must stay short: a node with a thousand VFs says no more than one with eight.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, Resource};
use crate::inventory::{LeftOut, Snapshot, Unread};
use crate::pool::{Pool, Why};

/// How many of a kind are named.
const NAMED: usize = 8;

pub(super) fn config(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for refused in &config.refused {
        tracing::error!("{refused}");
    }
}

pub(super) fn scan(snapshot: &Snapshot, odd: &[Unread]) {
    for error in odd.iter().take(NAMED) {
        tracing::warn!("passed over: {error}");
    }
    if odd.len() > NAMED {
        tracing::warn!("passed over: {} more functions that cannot be read", odd.len() - NAMED);
    }
    for (reason, devices) in left_out(snapshot) {
        tracing::info!(reason, devices, "left out");
    }
}

pub(super) fn pools(pools: &[(Arc<Pool>, Option<Why>)]) {
    for (pool, why) in pools {
        let (pool, devices) = (&pool.config.resource, pool.devices.len());
        match why {
            None => tracing::info!(%pool, devices, "pool"),
            Some(why) => empty(pool, why),
        }
    }
}

fn empty(pool: &Resource, why: &Why) {
    tracing::warn!(%pool, devices = 0, %why, "empty pool");
}

/// A line for each pool that has become empty, or is empty for another reason than was said.
pub(super) fn emptied(said: &Emptiness, now: &Emptiness) {
    for (pool, why) in now {
        if said.get(pool).is_none_or(|said| !said.is_like(why)) {
            empty(pool, why);
        }
    }
}

/// The empty pools, each with why it is so.
pub(super) type Emptiness = BTreeMap<Resource, Why>;

/// Those of these pools that are empty.
pub(super) fn emptiness(pools: Vec<(Arc<Pool>, Option<Why>)>) -> Emptiness {
    pools.into_iter().filter_map(|(pool, why)| Some((pool.config.resource.clone(), why?))).collect()
}

/// A line for each pool of which the kubelet hears something new, with what has become ill and why.
pub(super) fn changes(before: &[Arc<Pool>], now: &[Arc<Pool>]) {
    for pool in now {
        let resource = &pool.config.resource;
        let known = before.iter().find(|known| known.config.resource == *resource);
        if known.is_some_and(|known| known.lists_as(pool)) {
            continue;
        }
        let ills: Vec<String> = pool
            .ill
            .iter()
            .filter(|(id, ill)| known.is_none_or(|known| known.ill.get(id) != Some(ill)))
            .map(|(id, ill)| format!("{id}: {ill}"))
            .collect();
        let devices = pool.devices.len();
        let healthy = devices - pool.ill.len();
        if ills.is_empty() {
            tracing::info!(pool = %resource, devices, healthy, "pool changed");
        } else {
            tracing::warn!(pool = %resource, devices, healthy, unhealthy = some(&ills, "; "), "pool changed");
        }
    }
}

/// The first few, and how many more.
fn some(named: &[String], between: &str) -> String {
    let shown = named.iter().take(NAMED).cloned().collect::<Vec<_>>().join(between);
    match named.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn left_out(snapshot: &Snapshot) -> Vec<(&'static str, String)> {
    let mut reasons: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for device in snapshot.devices() {
        let (reason, named) = match &device.left_out {
            None | Some(LeftOut::Gone) => continue,
            Some(LeftOut::DefaultRoute { netdev, .. }) => {
                ("carries a default route", format!("{} ({netdev})", device.id()))
            }
            Some(LeftOut::HasVfs { .. }) => ("its VFs are offered instead", device.id().to_string()),
            Some(LeftOut::NoDriver) => ("no driver is bound", device.id().to_string()),
            Some(LeftOut::NoPfName) => ("its PF has no network device here", device.id().to_string()),
        };
        reasons.entry(reason).or_default().push(named);
    }
    reasons.into_iter().map(|(reason, named)| (reason, some(&named, ", "))).collect()
}

#[cfg(test)]
mod tests {
    use testkit::sysfs::Tree;

    use super::*;
    use crate::inventory::{self, Needs, Roots};

    #[test]
    fn one_line_a_reason() {
        let tree = Tree::generated(2, 12);
        for vf in 0..12 {
            tree.existing(&Tree::generated_address(0, vf)).unbound();
        }
        tree.function("0000:00:05.0").driver("ena").netdev("eth0");
        tree.default_route("eth0");
        let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
        let lines = left_out(&inventory::scan(&roots, &Needs::default()).unwrap().snapshot);
        assert_eq!(lines[0], ("carries a default route", "0000:00:05.0 (eth0)".to_owned()));
        assert_eq!(lines[1], ("its VFs are offered instead", "0000:00:00.0, 0001:00:00.0".to_owned()));
        let (reason, named) = &lines[2];
        assert_eq!(*reason, "no driver is bound");
        assert!(named.starts_with("0000:01:00.0, ") && named.ends_with("0000:01:00.7 and 4 more"), "{named}");
    }
}
