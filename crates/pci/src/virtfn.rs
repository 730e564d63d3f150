//! The index of a VF below its PF, and the PF's list of VFs.
//! It must not look at anything but the PF's `virtfnN` links.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::address::PciAddress;

/// The number N in a PF's `virtfnN` link, which is also `IFLA_VF_*`'s VF number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct VfIndex(u32);

impl VfIndex {
    /// The VF number `index`; `sriov_totalvfs` bounds it, which only the PF knows.
    pub fn new(index: u32) -> Self {
        Self(index)
    }

    /// The number itself.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for VfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Every VF of the PF in `pf_dir`, by one reading of that directory.
pub(crate) fn list(pf_dir: &Path) -> io::Result<Vec<(VfIndex, PciAddress)>> {
    let mut vfs = Vec::new();
    for entry in fs::read_dir(pf_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(index) = name.to_str().and_then(|n| n.strip_prefix("virtfn")).and_then(|n| n.parse().ok())
        else {
            continue;
        };
        // A VF can vanish between the listing and the link: it is then no VF of this PF any more.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        if let Some(address) = target.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()) {
            vfs.push((VfIndex(index), address));
        }
    }
    vfs.sort_unstable();
    Ok(vfs)
}
