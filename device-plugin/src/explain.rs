//! `sriovdp explain`: for every device the pool that takes it, or what each pool has against it.
//! It must not decide anything, and not print: it asks the selectors again and gives text.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use serde::Serialize;

use crate::inventory::{Device, DeviceId, Snapshot, Unread};
use crate::names::Names;
use crate::pool::{Pool, Why};
use crate::selector::Refusal;

pub mod pod;

/// What is to be said of one device.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Its id for the kubelet.
    pub device: DeviceId,
    /// `vf`, `pf`, `sf` or `function`.
    pub what: String,
    /// Vendor and device, four hexadecimal digits each; none of a device that cannot be read.
    pub ids: Option<String>,
    /// What people call it.
    pub name: Option<String>,
    /// The bound driver.
    pub driver: Option<String>,
    /// Its network devices.
    pub netdevs: Vec<String>,
    /// The pool that takes it.
    pub pool: Option<String>,
    /// Why no pool may take it.
    pub left_out: Option<String>,
    /// Each pool of its kind.
    pub pools: Vec<Verdict>,
}

/// What one pool says of one device.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The pool's resource.
    pub pool: String,
    /// The selector that accepts it.
    pub accepted_by: Option<usize>,
    /// The pool that has it already, where this one would take it.
    pub taken_before_by: Option<String>,
    /// What the selectors refuse it for, one each, where none accepts it.
    pub refused_by: Vec<Refusal>,
}

/// There is neither such a device nor such a pool.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no device, network device or pool {asked:?} here; `sriovdp list` shows the devices{}", enumerated(.pools))]
pub struct Unknown {
    asked: String,
    pools: Vec<String>,
}

fn enumerated(pools: &[String]) -> String {
    if pools.is_empty() { String::new() } else { format!(", the pools are {}", pools.join(", ")) }
}

/// Everything, or only what is said of one device (by its id or network device) or by one pool (by its resource, with or
/// without its prefix). Those that cannot be read stand last; nobody knows whether they are of the pool's kind.
pub fn explain(
    snapshot: &Snapshot,
    odd: &[Unread],
    pools: &[(Pool, Option<Why>)],
    asked: Option<&str>,
    names: impl Fn(&BTreeSet<(String, String)>) -> Names,
) -> Result<Vec<Explanation>, Unknown> {
    let owners: HashMap<DeviceId, &Pool> = pools
        .iter()
        .flat_map(|(pool, _)| pool.devices.iter().map(move |device| (device.id(), pool)))
        .collect();
    let is_pool = |pool: &Pool, text: &str| {
        let resource = &pool.config.resource;
        resource.to_string() == text || resource.name() == text
    };
    let is_device = |device: &Device, text: &str| {
        device.id().to_string() == text || device.netdevs().iter().any(|netdev| netdev == text)
    };
    let asked_pools: Vec<&Pool> = pools
        .iter()
        .map(|(pool, _)| pool)
        .filter(|pool| asked.is_none_or(|text| is_pool(pool, text)))
        .collect();
    let by_pool = !asked_pools.is_empty();
    let shown = |device: &&Arc<Device>| match asked {
        None => true,
        Some(_) if by_pool => asked_pools.iter().any(|pool| device.kind() == Some(pool.config.kind)),
        Some(text) => is_device(device, text),
    };
    let devices: Vec<&Arc<Device>> = snapshot.devices().iter().filter(shown).collect();
    let is_odd = |unread: &&Unread| by_pool || asked.is_none_or(|text| unread.id.to_string() == text);
    let odd: Vec<&Unread> = odd.iter().filter(is_odd).collect();
    if let Some(asked) = asked.filter(|_| !by_pool && devices.is_empty() && odd.is_empty()) {
        let pools = pools.iter().map(|(pool, _)| pool.config.resource.to_string()).collect();
        return Err(Unknown { asked: asked.to_owned(), pools });
    }
    let speaking: Vec<&Pool> =
        if by_pool { asked_pools } else { pools.iter().map(|(pool, _)| pool).collect() };
    let ids = devices.iter().map(|device| (device.function.vendor.clone(), device.function.device.clone()));
    let names = names(&ids.collect());
    let read = devices
        .into_iter()
        .map(|device| Explanation::new(device, &speaking, owners.get(&device.id()).copied(), &names));
    Ok(read.chain(odd.into_iter().map(Explanation::unread)).collect())
}

impl Explanation {
    fn new(device: &Device, pools: &[&Pool], owner: Option<&Pool>, names: &Names) -> Self {
        let function = &device.function;
        let label = device.label().to_string();
        let of_kind = pools.iter().filter(|pool| device.kind() == Some(pool.config.kind));
        Self {
            device: device.id(),
            what: label.split(' ').next().unwrap_or_default().to_owned(),
            ids: Some(format!("{}:{}", function.vendor, function.device)),
            name: names.get(&function.vendor, &function.device).map(str::to_owned),
            driver: function.driver.clone(),
            netdevs: device.netdevs().to_vec(),
            pool: owner.map(|pool| pool.config.resource.to_string()),
            left_out: device.left_out.as_ref().map(ToString::to_string),
            pools: of_kind.map(|pool| Verdict::of(device, pool, owner)).collect(),
        }
    }

    fn unread(unread: &Unread) -> Self {
        let what = match unread.id {
            DeviceId::Function(_) => "function",
            DeviceId::Subfunction(_) => "sf",
        };
        Self {
            device: unread.id.clone(),
            what: what.to_owned(),
            ids: None,
            name: None,
            driver: None,
            netdevs: Vec::new(),
            pool: None,
            left_out: Some(unread.to_string()),
            pools: Vec::new(),
        }
    }
}

impl Verdict {
    fn of(device: &Device, pool: &Pool, owner: Option<&Pool>) -> Self {
        let config = &pool.config;
        let accepted_by = config.selectors.iter().position(|selector| selector.accepts(device));
        let other = owner.filter(|owner| owner.config.resource != config.resource && accepted_by.is_some());
        let refusals = config.selectors.iter().filter_map(|selector| selector.refusal(device));
        Self {
            pool: config.resource.to_string(),
            accepted_by,
            taken_before_by: other.map(|owner| owner.config.resource.to_string()),
            refused_by: if accepted_by.is_none() { refusals.collect() } else { Vec::new() },
        }
    }

    /// After the pool's name.
    fn words(&self, left_out: bool) -> String {
        match (self.accepted_by, &self.taken_before_by) {
            (Some(_), Some(other)) => format!("would take it, but {other} has it before"),
            (Some(selector), None) if left_out => format!("would take it by selectors[{selector}]"),
            (Some(selector), None) => format!("takes it by selectors[{selector}]"),
            (None, _) => {
                let refusals = self.refused_by.iter().enumerate();
                let one = self.refused_by.len() == 1;
                let said = refusals.map(|(index, refusal)| {
                    if one { refusal.to_string() } else { format!("selectors[{index}] {refusal}") }
                });
                said.collect::<Vec<_>>().join("; ")
            }
        }
    }
}

/// For people: a paragraph for each device.
pub fn text(explanations: &[Explanation]) -> String {
    let mut text = String::new();
    for explanation in explanations {
        // Writing to a string cannot fail.
        let _ = paragraph(&mut text, explanation);
    }
    text
}

fn paragraph(text: &mut String, of: &Explanation) -> std::fmt::Result {
    write!(text, "{} {}", of.what, of.device)?;
    if let Some(ids) = &of.ids {
        write!(text, "  {ids}  {}", of.driver.as_deref().unwrap_or("no driver"))?;
    }
    if !of.netdevs.is_empty() {
        write!(text, "  {}", of.netdevs.join(","))?;
    }
    writeln!(text, "{}", of.name.as_ref().map(|name| format!("  {name}")).unwrap_or_default())?;
    if let Some(left_out) = &of.left_out {
        writeln!(text, "  left out of every pool: {left_out}")?;
    }
    for verdict in &of.pools {
        writeln!(text, "  {}: {}", verdict.pool, verdict.words(of.left_out.is_some()))?;
    }
    if of.pools.is_empty() && of.ids.is_some() {
        writeln!(text, "  no pool is for devices of its kind")?;
    }
    Ok(())
}

/// For programs.
pub fn json(explanations: &[Explanation]) -> String {
    // Strings, numbers and lists of them cannot fail to be JSON.
    serde_json::to_string_pretty(explanations).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests;
