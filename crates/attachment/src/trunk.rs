//! The VLANs that a PF lets a VF use and no other, where its driver keeps such a list: a file of the vendors' own drivers.
//! It must not leave a list that cannot be read back, and it takes no driver for another.
//!
//! Linux itself has no such list (`do_setvfinfo`, net/core/rtnetlink.c). Two families of drivers outside of it have
//! `sriov/<vf>/trunk` below the PF; both forms are written after their sources, not tried on hardware:
//!
//! | driver | reads | is told |
//! |---|---|---|
//! | `mlx5_core` of Mellanox's OFED (`trunk_show`, `trunk_store`) | `Allowed 802.1Q VLANs: 10 11 12` | `add 10 12`, `rem 10 12` |
//! | i40e and ice of Intel's packages (`vfd_trunk_show`, `vfd_trunk_store` of `kcompat_vfd.c`) | `2,4-5` | `add 2,4-5`, `rem 2,4-5` |
//!
//! Where nothing is in the list both read as nothing, so that the driver tells which form it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pci::Sysfs;

use crate::record::Pf;
use crate::vlan_set::VlanSet;

/// Why a VF cannot be given a list of VLANs.
#[derive(Debug, thiserror::Error)]
pub enum TrunkError {
    /// The PF's driver has no such file, or is none of those whose form is known.
    #[error("the PF's driver {driver} keeps no list of VLANs for a VF ({path})")]
    Missing {
        /// The driver.
        driver: String,
        /// Where the list would be.
        path: PathBuf,
    },
    /// The list cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else than the driver is known to write.
    #[error("{path} has {found:?}, which is no list as {driver} writes them")]
    Form {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: String,
        /// The driver.
        driver: String,
    },
    /// The driver cuts its answer off at a page, so that what was there before could not be told.
    #[error("{path}: more VLANs than the driver can tell in one page; use fewer")]
    Long {
        /// The file.
        path: PathBuf,
    },
    /// The driver refused a change.
    #[error("{path}: failed to set {text:?}: {source}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What it was told.
        text: String,
        /// Why.
        source: io::Error,
    },
    /// The driver took the change, and has another list all the same.
    #[error("{path}: the list is {found:?}, wanted {wanted:?}")]
    NotTaken {
        /// The file.
        path: PathBuf,
        /// The VLANs it was to have.
        wanted: String,
        /// Those that it has.
        found: String,
    },
}

/// How a driver writes and takes the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Mlx5,
    Vfd,
}

/// What a driver's answer must stay below, and what it is told: one page of sysfs, the smallest there is.
const PAGE: usize = 4095;
const MLX5: &str = "Allowed 802.1Q VLANs:";

impl Form {
    fn of(driver: &str) -> Option<Self> {
        match driver {
            "mlx5_core" => Some(Self::Mlx5),
            "i40e" | "ice" => Some(Self::Vfd),
            _ => None,
        }
    }

    fn parse(self, text: &str) -> Option<VlanSet> {
        let text = text.trim();
        match self {
            _ if text.is_empty() => Some(VlanSet::default()),
            Self::Mlx5 => text.strip_prefix(MLX5)?.trim().replace(' ', ",").parse().ok(),
            Self::Vfd => text.parse().ok(),
        }
    }

    fn print(self, vlans: &VlanSet) -> String {
        match self {
            Self::Mlx5 => vlans.0.iter().fold(MLX5.to_owned(), |text, vlan| format!("{text} {vlan}")),
            Self::Vfd => vlans.to_string(),
        }
    }

    /// What the driver is to be told, in that order. What is added comes first: for mlx5 an empty list is none, and lets every
    /// VLAN through.
    fn told(self, now: &VlanSet, wanted: &VlanSet) -> Vec<String> {
        let mut told = Vec::new();
        for (word, vlans) in [("add", wanted.without(now)), ("rem", now.without(wanted))] {
            match self {
                Self::Mlx5 => {
                    let ranges = vlans.ranges();
                    told.extend(ranges.into_iter().map(|(first, last)| format!("{word} {first} {last}")));
                }
                Self::Vfd if vlans.0.is_empty() => {}
                Self::Vfd => told.push(format!("{word} {vlans}")),
            }
        }
        told
    }
}

/// The list of one VF.
struct File {
    path: PathBuf,
    driver: String,
    form: Form,
}

impl File {
    fn of(sysfs: &Sysfs, pf: Pf) -> Result<Self, TrunkError> {
        let path = sysfs.function_dir(pf.address).join(format!("sriov/{}/trunk", pf.vf));
        let driver = sysfs.function(pf.address).ok().and_then(|function| function.driver);
        let driver = driver.unwrap_or_else(|| "none".to_owned());
        match Form::of(&driver).filter(|_| path.exists()) {
            Some(form) => Ok(Self { path, driver, form }),
            None => Err(TrunkError::Missing { driver, path }),
        }
    }

    fn read(&self) -> Result<VlanSet, TrunkError> {
        let path = || self.path.clone();
        let text = fs::read_to_string(&self.path)
            .map_err(|source| TrunkError::Unreadable { path: path(), source })?;
        if text.len() >= PAGE {
            return Err(TrunkError::Long { path: path() });
        }
        let vlans = self.form.parse(&text);
        vlans.ok_or_else(|| TrunkError::Form {
            path: path(),
            found: text.trim().to_owned(),
            driver: self.driver.clone(),
        })
    }

    /// An error where the driver could not tell at each moment of the way what it has.
    fn fits(&self, now: &VlanSet, wanted: &VlanSet) -> Result<(), TrunkError> {
        let both = VlanSet(now.0.union(&wanted.0).copied().collect());
        let told = self.form.told(now, wanted);
        let fits = self.form.print(&both).len() + 1 < PAGE && told.iter().all(|text| text.len() < PAGE);
        if fits { Ok(()) } else { Err(TrunkError::Long { path: self.path.clone() }) }
    }

    fn put(
        &self,
        wanted: &VlanSet,
        mut write: impl FnMut(&Path, &str) -> io::Result<()>,
    ) -> Result<(), TrunkError> {
        let path = || self.path.clone();
        for text in self.form.told(&self.read()?, wanted) {
            write(&self.path, &text).map_err(|source| TrunkError::Refused {
                path: path(),
                text: text.clone(),
                source,
            })?;
        }
        match self.read()? {
            found if found == *wanted => Ok(()),
            found => Err(TrunkError::NotTaken {
                path: path(),
                wanted: wanted.to_string(),
                found: found.to_string(),
            }),
        }
    }
}

/// What the VF may use before it is given `wanted`; empty for no list. An error where it cannot be given that.
pub fn trunk_before(sysfs: &Sysfs, pf: Pf, wanted: &VlanSet) -> Result<VlanSet, TrunkError> {
    let file = File::of(sysfs, pf)?;
    let now = file.read()?;
    file.fits(&now, wanted).map(|()| now)
}

/// Whether the VF may use these VLANs and no other.
pub fn has_trunk(sysfs: &Sysfs, pf: Pf, wanted: &VlanSet) -> Result<bool, TrunkError> {
    Ok(File::of(sysfs, pf)?.read()? == *wanted)
}

/// Gives the VF these VLANs and no other.
pub(crate) fn set(sysfs: &Sysfs, pf: Pf, wanted: &VlanSet) -> Result<(), TrunkError> {
    File::of(sysfs, pf)?.put(wanted, |path, text| fs::write(path, text))
}

/// As [`set`], for what was before; where the list is gone with its driver there is nothing to put back.
pub(crate) fn restore(sysfs: &Sysfs, pf: Pf, before: &VlanSet) -> Result<(), TrunkError> {
    match set(sysfs, pf, before) {
        Err(TrunkError::Missing { .. }) => Ok(()),
        set => set,
    }
}

#[cfg(test)]
mod tests;
