//! The configuration file: what it says, checked once, so that nothing impossible is left to say.
//! It must not look at the node.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::inventory::Kind;
use crate::selector::Selector;

mod json;
mod resource;
mod unbuilt;
mod warning;
mod wire;

use json::Json;
pub use json::TypeError;
pub use resource::{ParseResourceError, Resource};
pub use warning::Warning;

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
}

/// `additionalInfo`: by device id or `*`, what to add to `PCIDEVICE_…_INFO`.
pub type AdditionalInfo = BTreeMap<String, BTreeMap<String, String>>;

/// A pool that is left out while the others are served.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("pool {name:?} ({path}) is not served: {reason}")]
pub struct Refused {
    /// Its `resourceName`.
    pub name: String,
    /// Where it stands in the file.
    pub path: String,
    /// Why.
    pub reason: RefusedBecause,
}

/// Why a pool is left out.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RefusedBecause {
    /// Its selectors are not what selectors are.
    #[error(transparent)]
    Selectors(#[from] TypeError),
    /// `"selectors": []`.
    #[error("selectors is an empty list, which selects nothing; write {{}} to select every function")]
    NoSelector,
    /// It uses what this version cannot do.
    #[error("{what} is not built yet; leave it out or use a later version")]
    Unbuilt {
        /// The key, with its place, or the value.
        what: String,
    },
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}; name the file with --config-file")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be used.
    #[error("configuration {path}: {source}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Invalid,
    },
}

/// What stops the whole file.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A value has the wrong type.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// `deviceType` is something else.
    #[error("{at}.deviceType is {found:?}, wanted netDevice, accelerator or auxNetDevice")]
    DeviceType {
        /// The pool's place.
        at: String,
        /// What it says.
        found: String,
    },
    /// `resourceName` is no name.
    #[error("{at}: {source}")]
    Resource {
        /// The pool's place.
        at: String,
        /// What is wrong.
        source: ParseResourceError,
    },
    /// Two pools have one name.
    #[error("{at} is named {resource} as a pool before it; each needs a name of its own")]
    Duplicate {
        /// The later pool's place.
        at: String,
        /// The name.
        resource: Resource,
    },
    /// One selector asks for both.
    #[error("{at} has isRdma and vdpaType, and no function is both; make it two selectors")]
    RdmaAndVdpa {
        /// The selector's place.
        at: String,
    },
    /// `auxTypes` is missing or names something else.
    #[error("{at}.auxTypes is {found:?}, wanted [\"sf\"], the one type that there is")]
    AuxTypes {
        /// The selector's place.
        at: String,
        /// What it says.
        found: Vec<String>,
    },
    /// There is no pool.
    #[error("resourceList is empty; name at least one pool")]
    NoPool,
}

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
        config.warnings.extend(file.unknown.into_iter().map(|path| Warning::UnknownKey { path }));
        let mut names = HashSet::new();
        for pool in file.pools {
            config.add(pool, default_prefix, &mut names)?;
        }
        Ok(config)
    }

    fn add(
        &mut self,
        pool: wire::Pool,
        default_prefix: &str,
        names: &mut HashSet<Resource>,
    ) -> Result<(), Invalid> {
        let wire::Pool { path, name, prefix, device_type, exclude_topology, selectors, additional_info } =
            pool;
        let device_type = DeviceType::parse(&device_type)
            .ok_or_else(|| Invalid::DeviceType { at: path.clone(), found: device_type })?;
        let selectors = match selectors {
            Ok(wire::Selectors::Listed(list)) if list.is_empty() => Err(RefusedBecause::NoSelector),
            Ok(wire::Selectors::Listed(list)) => Ok(list),
            Ok(wire::Selectors::Absent) => {
                self.warnings.push(Warning::NoSelectors { path: path.clone() });
                Ok(vec![wire::Selector::default()])
            }
            Err(error) => Err(error.into()),
        };
        // As in the Go plugin, a pool whose selectors cannot be read takes no name.
        let selectors = match selectors {
            Ok(selectors) => selectors,
            Err(reason) => {
                self.refused.push(Refused { name, path, reason });
                return Ok(());
            }
        };
        let prefix = if prefix.is_empty() { default_prefix } else { &prefix };
        let resource =
            Resource::new(prefix, &name).map_err(|source| Invalid::Resource { at: path.clone(), source })?;
        if !names.insert(resource.clone()) {
            return Err(Invalid::Duplicate { at: path, resource });
        }
        for selector in &selectors {
            device_type.check(selector)?;
        }
        if let Some(what) = unbuilt::first(device_type, &selectors) {
            self.refused.push(Refused { name, path, reason: RefusedBecause::Unbuilt { what } });
            return Ok(());
        }
        let kind = device_type.kind();
        let selectors =
            selectors.into_iter().map(|wire| warning::selector(wire, kind, &mut self.warnings)).collect();
        self.pools.push(PoolConfig { resource, kind, exclude_topology, selectors, additional_info });
        Ok(())
    }
}

impl PoolConfig {
    /// What the pool adds to `PCIDEVICE_…_INFO` for a device: what `*` has, and over it what the device has.
    pub fn extra(&self, device: &str) -> Option<BTreeMap<String, String>> {
        let info = self.additional_info.as_ref()?;
        let mut extra = info.get("*").cloned().unwrap_or_default();
        extra.extend(info.get(device).cloned().unwrap_or_default());
        Some(extra)
    }
}

/// `deviceType`, before anything that is not built is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DeviceType {
    Net,
    Accelerator,
    AuxNet,
}

impl DeviceType {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "netDevice" => Some(Self::Net),
            "accelerator" => Some(Self::Accelerator),
            "auxNetDevice" => Some(Self::AuxNet),
            _ => None,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Net | Self::AuxNet => Kind::Network,
            Self::Accelerator => Kind::Accelerator,
        }
    }

    fn check(self, selector: &wire::Selector) -> Result<(), Invalid> {
        if self == Self::Net && selector.is_rdma && !selector.vdpa_type.is_empty() {
            return Err(Invalid::RdmaAndVdpa { at: selector.path.clone() });
        }
        let aux_types = &selector.aux_types;
        if self == Self::AuxNet && (aux_types.is_empty() || aux_types.iter().any(|kind| kind != "sf")) {
            return Err(Invalid::AuxTypes { at: selector.path.clone(), found: aux_types.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
