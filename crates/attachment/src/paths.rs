//! Where a plugin keeps its state and finds sysfs.
//! It must not open anything.

use std::path::PathBuf;

/// The plugin's places on this node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Paths {
    /// Its state directory.
    pub state: PathBuf,
    /// The sysfs tree.
    pub sysfs: PathBuf,
}

impl Paths {
    /// `default_state` and `/sys`, unless `SLUICE_STATE_DIR` or `SLUICE_SYSFS_ROOT` name others: for nodes whose `/var/lib`
    /// is read-only, and for tests.
    pub fn from_env(default_state: &str) -> Self {
        let path = |name, default: &str| {
            std::env::var_os(name).map_or_else(|| PathBuf::from(default), PathBuf::from)
        };
        Self { state: path("SLUICE_STATE_DIR", default_state), sysfs: path("SLUICE_SYSFS_ROOT", "/sys") }
    }
}
