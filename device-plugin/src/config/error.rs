//! What can be wrong with a configuration: with the whole file, or with one pool while the others are served.
//! It must not look at the file.

use std::io;
use std::path::PathBuf;

use super::{ParseResourceError, Resource, TypeError};

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
    /// `allocationPolicy` is something else.
    #[error("{at}.allocationPolicy is {found:?}, wanted none, packed, spread, numa or pcie")]
    AllocationPolicy {
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
    /// The resource that it would have had.
    pub resource: Option<Resource>,
    /// How many pools that can be served stand before it.
    pub place: usize,
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
}
