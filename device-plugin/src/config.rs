//! The configuration file: what it says, checked once, so that nothing impossible is left to say.
//! It must not look at the node.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use crate::inventory::Kind;
use crate::selector::Selector;

mod error;
mod json;
pub mod keys;
mod resource;
mod warning;
mod watch;
mod wire;

pub use error::{Error, Invalid, Refused, RefusedBecause};
use json::Json;
pub use json::TypeError;
pub use resource::{ParseResourceError, Resource};
pub use warning::Warning;
pub use watch::Watched;

/// What the file asks for.
#[derive(Clone, Debug)]
pub struct Config {
    /// The pools that can be served, in the file's order.
    pub pools: Vec<PoolConfig>,
    /// The pools that cannot.
    pub refused: Vec<Refused>,
    /// What is odd and does no harm.
    pub warnings: Vec<Warning>,
}

/// What one pool offers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolConfig {
    /// The extended resource.
    pub resource: Resource,
    /// The functions it chooses from.
    pub kind: Kind,
    /// No NUMA node is told to the kubelet.
    pub exclude_topology: bool,
    /// A device joins by the first that accepts it.
    pub selectors: Vec<Selector>,
    /// What the containers are told beside.
    pub additional_info: Option<AdditionalInfo>,
    /// Functions on VFIO come with their own node and `/dev/iommu` beside the group's.
    pub vfio_cdev: bool,
    /// A device whose port has no carrier is unhealthy.
    pub pf_carrier: bool,
    /// Which of several devices a container had best get.
    pub allocation_policy: AllocationPolicy,
    /// The resource's variable as a shell can name it, where that differs and is no other pool's.
    pub shell_variable: Option<String>,
}

/// `allocationPolicy`: which of the available devices a container had best get.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AllocationPolicy {
    /// The kubelet chooses, as with the Go plugin.
    #[default]
    None,
    /// From as few PFs as it takes, and from the one that has fewest left.
    Packed,
    /// From as many PFs as there are.
    Spread,
    /// From as few NUMA nodes as it takes.
    Numa,
    /// As few PCI bridges apart as it can be.
    Pcie,
}

/// `additionalInfo`: by device id or `*`, what to add to `PCIDEVICE_…_INFO`.
pub type AdditionalInfo = BTreeMap<String, BTreeMap<String, String>>;

impl Config {
    /// Reads the file at `path`; `default_prefix` is for pools that name none.
    pub fn read(path: &Path, default_prefix: &str) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&bytes, default_prefix).map_err(|source| Error::Invalid { path: path.to_owned(), source })
    }

    /// Reads a document.
    pub fn parse(bytes: &[u8], default_prefix: &str) -> Result<Self, Invalid> {
        let json: Json = serde_json::from_str(&String::from_utf8_lossy(bytes))?;
        let file = wire::File::read(json)?;
        if file.pools.is_empty() {
            return Err(Invalid::NoPool);
        }
        let mut config = Self { pools: Vec::new(), refused: Vec::new(), warnings: Vec::new() };
        config.warnings.extend(file.unknown.into_iter().map(|key| Warning::unknown(key, &keys::FILE)));
        let mut names = HashSet::new();
        for pool in file.pools {
            config.add(pool, default_prefix, &mut names)?;
        }
        config.name_for_shells();
        Ok(config)
    }

    fn add(
        &mut self,
        pool: wire::Pool,
        default_prefix: &str,
        names: &mut HashSet<Resource>,
    ) -> Result<(), Invalid> {
        let path = pool.path;
        let prefix = if pool.prefix.is_empty() { default_prefix } else { &pool.prefix };
        let kind = kind_of(&pool.device_type)
            .ok_or_else(|| Invalid::DeviceType { at: path.clone(), found: pool.device_type })?;
        let allocation_policy = policy_of(&pool.allocation_policy).ok_or_else(|| {
            Invalid::AllocationPolicy { at: path.clone(), found: pool.allocation_policy.clone() }
        })?;
        self.warnings.extend(pool.unknown.into_iter().map(|key| Warning::unknown(key, &keys::POOL)));
        let selectors = match pool.selectors {
            Ok(wire::Selectors::Listed(list)) if list.is_empty() => Err(RefusedBecause::NoSelector),
            Ok(wire::Selectors::Listed(list)) => Ok(list),
            Ok(wire::Selectors::Absent) => {
                self.warnings.push(Warning::NoSelectors { path: path.clone() });
                Ok(vec![wire::Selector { path: format!("{path}.selectors"), ..Default::default() }])
            }
            Err(error) => Err(error.into()),
        };
        // As in the Go plugin, a pool whose selectors cannot be read takes no name.
        let selectors = match selectors {
            Ok(selectors) => selectors,
            Err(reason) => {
                let (resource, place) = (Resource::new(prefix, &pool.name).ok(), self.pools.len());
                self.refused.push(Refused { name: pool.name, path, reason, resource, place });
                return Ok(());
            }
        };
        let resource = Resource::new(prefix, &pool.name)
            .map_err(|source| Invalid::Resource { at: path.clone(), source })?;
        if !names.insert(resource.clone()) {
            return Err(Invalid::Duplicate { at: path, resource });
        }
        for selector in &selectors {
            check(selector, kind)?;
        }
        let selectors =
            selectors.into_iter().map(|wire| warning::selector(wire, &mut self.warnings)).collect();
        self.pools.push(PoolConfig {
            resource,
            kind,
            exclude_topology: pool.exclude_topology,
            selectors,
            additional_info: pool.additional_info,
            vfio_cdev: pool.vfio_cdev,
            pf_carrier: pool.pf_carrier,
            allocation_policy,
            shell_variable: None,
        });
        Ok(())
    }

    /// As this one, with those of the `last` pools in the place of which this one has something that cannot be served.
    #[must_use]
    pub fn over(mut self, last: &[PoolConfig]) -> Self {
        for refused in self.refused.iter().rev() {
            let is_it = |pool: &&PoolConfig| Some(&pool.resource) == refused.resource.as_ref();
            if let Some(pool) = last.iter().find(is_it)
                && !self.pools.iter().any(|known| known.resource == pool.resource)
            {
                self.pools.insert(refused.place, pool.clone());
            }
        }
        self.name_for_shells();
        self
    }

    /// A container may have devices of every pool, so a second name must not be another pool's.
    fn name_for_shells(&mut self) {
        let mut taken: HashSet<String> = self.pools.iter().map(|pool| pool.resource.variable()).collect();
        for pool in &mut self.pools {
            let name = pool.resource.shell_variable();
            pool.shell_variable = taken.insert(name.clone()).then_some(name);
        }
    }
}

impl PoolConfig {
    /// What the pool adds to `PCIDEVICE_…_INFO` for a device: what `*` has, and over it what its PCI function has.
    pub fn extra(&self, device: &str) -> Option<BTreeMap<String, String>> {
        let info = self.additional_info.as_ref()?;
        let mut extra = info.get("*").cloned().unwrap_or_default();
        extra.extend(info.get(device).cloned().unwrap_or_default());
        Some(extra)
    }
}

fn policy_of(text: &str) -> Option<AllocationPolicy> {
    match text {
        "" | "none" => Some(AllocationPolicy::None),
        "packed" => Some(AllocationPolicy::Packed),
        "spread" => Some(AllocationPolicy::Spread),
        "numa" => Some(AllocationPolicy::Numa),
        "pcie" => Some(AllocationPolicy::Pcie),
        _ => None,
    }
}

fn kind_of(device_type: &str) -> Option<Kind> {
    match device_type {
        "" | "netDevice" => Some(Kind::Network),
        "accelerator" => Some(Kind::Accelerator),
        "auxNetDevice" => Some(Kind::Subfunction),
        _ => None,
    }
}

/// What the Go plugin ends for.
fn check(selector: &wire::Selector, kind: Kind) -> Result<(), Invalid> {
    if kind == Kind::Network && selector.is_rdma && !selector.vdpa_type.is_empty() {
        return Err(Invalid::RdmaAndVdpa { at: selector.path.clone() });
    }
    let aux_types = &selector.aux_types;
    if kind == Kind::Subfunction && (aux_types.is_empty() || aux_types.iter().any(|kind| kind != "sf")) {
        return Err(Invalid::AuxTypes { at: selector.path.clone(), found: aux_types.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
