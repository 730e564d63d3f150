//! The index of a VF below its PF, and the PF's list of VFs.
//! It must not look at anything but the PF's `virtfnN` links.

use std::fmt;
use std::fs::{self, DirEntry};
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

/// The number of the VF at an address, below a PF whose first VF is `offset` functions after it and the others `stride` after
/// each other (PCI Express 6.0, 9.3.3.9 and 9.3.3.10). `None` where none of its VFs can be there.
pub(crate) fn index(pf: PciAddress, vf: PciAddress, offset: u32, stride: u32) -> Option<VfIndex> {
    if pf.domain() != vf.domain() {
        return None;
    }
    let after_first = vf.routing_id().checked_sub(pf.routing_id())?.checked_sub(offset)?;
    match (after_first, stride) {
        // One VF alone needs no stride.
        (0, _) => Some(VfIndex(0)),
        (_, 0) => None,
        _ => (after_first % stride == 0).then_some(VfIndex(after_first / stride)),
    }
}

/// How many VFs the PF in `pf_dir` has.
pub(crate) fn count(pf_dir: &Path) -> io::Result<u32> {
    fs::read_dir(pf_dir)?.try_fold(0, |count, entry| Ok(count + u32::from(number(&entry?).is_some())))
}

/// Every VF of the PF in `pf_dir`, by one reading of that directory.
pub(crate) fn list(pf_dir: &Path) -> io::Result<Vec<(VfIndex, PciAddress)>> {
    let mut vfs = Vec::new();
    for entry in fs::read_dir(pf_dir)? {
        let entry = entry?;
        let Some(index) = number(&entry) else { continue };
        // A VF can vanish between the listing and the link: it is then no VF of this PF any more.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        if let Some(address) = target.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()) {
            vfs.push((VfIndex(index), address));
        }
    }
    vfs.sort_unstable();
    Ok(vfs)
}

/// The number in the name of a PF's link to a VF.
fn number(entry: &DirEntry) -> Option<u32> {
    entry.file_name().to_str()?.strip_prefix("virtfn")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vfs_number_follows_from_its_address() {
        let index = |vf: &str, offset, stride| {
            index("0000:21:00.0".parse().unwrap(), vf.parse().unwrap(), offset, stride).map(VfIndex::get)
        };
        // As the emulated node's igb has them.
        assert_eq!(index("0000:21:10.0", 128, 2), Some(0));
        assert_eq!(index("0000:21:11.4", 128, 2), Some(6));
        assert_eq!(index("0000:21:10.1", 128, 2), None);
        assert_eq!(index("0000:22:00.0", 128, 1), Some(128), "on the next bus");
        assert_eq!(index("0001:21:10.0", 128, 2), None);
        assert_eq!(index("0000:21:10.0", 128, 0), Some(0));
        assert_eq!(index("0000:21:10.2", 128, 0), None);
        assert_eq!(index("0000:20:10.0", 128, 2), None);
    }
}
