//! Devices on the auxiliary bus below a PCI function, such as an SF's `mlx5_core.sf.2`.
//! It must not know what any of them is for.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::PciAddress;
use crate::sysfs::{Error, Sysfs, entries};

/// The name of an auxiliary device: `<module>.<kind>.<number>` (`__auxiliary_device_add`, drivers/base/auxiliary.c).
/// Ordered by its number, not by its text.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuxName {
    module: String,
    kind: String,
    number: u32,
}

/// The text is no auxiliary device's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{found:?} is not an auxiliary device's name; wanted one such as mlx5_core.sf.2")]
pub struct ParseAuxNameError {
    found: String,
}

/// An SF as sysfs describes it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Subfunction {
    /// Its name, which is its directory's.
    pub name: AuxName,
    /// `sfnum`: the number that its maker gave it.
    pub number: u32,
    /// Its network devices in this network namespace, sorted.
    pub netdevs: Vec<String>,
    /// Its RDMA devices, sorted.
    pub rdma: Vec<String>,
}

impl AuxName {
    /// The middle part, such as `sf`.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

impl FromStr for AuxName {
    type Err = ParseAuxNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (rest, number) = text.rsplit_once('.')?;
            let (module, kind) = rest.rsplit_once('.')?;
            let canonical = number == "0" || !number.starts_with(['0', '+']);
            let named = !module.is_empty() && !kind.is_empty() && !text.contains('/');
            let number = number.parse().ok().filter(|_| canonical && named)?;
            Some(Self { module: module.to_owned(), kind: kind.to_owned(), number })
        };
        parse().ok_or_else(|| ParseAuxNameError { found: text.to_owned() })
    }
}

impl fmt::Display for AuxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, kind, number } = self;
        write!(f, "{module}.{kind}.{number}")
    }
}

impl TryFrom<String> for AuxName {
    type Error = ParseAuxNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AuxName> for String {
    fn from(name: AuxName) -> Self {
        name.to_string()
    }
}

impl Sysfs {
    /// Every auxiliary device and the PCI function that it is below, sorted. What has none is passed over; a kernel without
    /// the bus has none.
    pub fn auxiliaries(&self) -> Vec<(AuxName, PciAddress)> {
        let mut found: Vec<_> = linked(&self.root().join("bus/auxiliary/devices"))
            .filter_map(|(name, function)| Some((name.parse().ok()?, function)))
            .collect();
        found.sort_unstable();
        found
    }

    /// Reads the SF of that name, which is below `function`.
    pub fn subfunction(&self, name: &AuxName, function: PciAddress) -> Result<Subfunction, Error> {
        let dir = self.auxiliary_dir(name);
        let path = dir.join("sfnum");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text.trim().to_owned(),
            Err(source) if source.kind() == io::ErrorKind::NotFound && !dir.exists() => {
                return Err(Error::Missing { address: function, path: dir });
            }
            Err(source) => return Err(Error::Read { address: function, path, source }),
        };
        let Ok(number) = text.parse() else {
            return Err(Error::Malformed {
                address: function,
                path,
                found: text,
                wanted: "a decimal number",
            });
        };
        Ok(Subfunction {
            name: name.clone(),
            number,
            netdevs: entries(&dir.join("net")),
            rdma: entries(&dir.join("infiniband")),
        })
    }

    /// The directory of an auxiliary device; it need not exist.
    pub fn auxiliary_dir(&self, name: &AuxName) -> PathBuf {
        self.root().join("bus/auxiliary/devices").join(name.to_string())
    }
}

/// The names in a bus's folder, each with the last PCI function on the way to it: the links there lead through the tree of
/// devices, `../../../devices/pci0000:3a/0000:3b:00.0/mlx5_core.sf.2`.
pub(crate) fn linked(dir: &Path) -> impl Iterator<Item = (String, PciAddress)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        let function = target.components().rev().find_map(|part| part.as_os_str().to_str()?.parse().ok())?;
        Some((entry.file_name().into_string().ok()?, function))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names() {
        let name: AuxName = "mlx5_core.sf.12".parse().unwrap();
        assert_eq!((name.kind(), name.to_string().as_str()), ("sf", "mlx5_core.sf.12"));
        assert!("mlx5_core.sf.2".parse::<AuxName>().unwrap() < name);
        for text in [
            "",
            "sf.2",
            "mlx5_core.sf.",
            "mlx5_core.sf.x",
            "mlx5_core.sf.02",
            "mlx5_core.sf.+2",
            "..2",
            "a/b.sf.2",
        ] {
            assert!(text.parse::<AuxName>().is_err(), "{text}");
        }
    }

    #[test]
    fn found_by_their_link_and_read() {
        let root = tempfile::tempdir().unwrap();
        let sysfs = Sysfs::new(root.path());
        assert!(sysfs.auxiliaries().is_empty());
        let bus = root.path().join("bus/auxiliary/devices");
        fs::create_dir_all(&bus).unwrap();
        let function = root.path().join("devices/pci10000:00/10000:00:02.0/10000:3b:00.0");
        for name in ["mlx5_core.sf.10", "mlx5_core.sf.2", "mlx5_core.eth.0"] {
            fs::create_dir_all(function.join(name).join("net/eth7")).unwrap();
            symlink(
                format!("../../../devices/pci10000:00/10000:00:02.0/10000:3b:00.0/{name}"),
                bus.join(name),
            )
            .unwrap();
        }
        fs::create_dir_all(root.path().join("devices/virtual/snd.sf.1")).unwrap();
        symlink("../../../devices/virtual/snd.sf.1", bus.join("snd.sf.1")).unwrap();
        let found = sysfs.auxiliaries();
        let names: Vec<_> = found.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["mlx5_core.eth.0", "mlx5_core.sf.2", "mlx5_core.sf.10"]);
        let (name, parent) = &found[1];
        assert_eq!(parent.to_string(), "10000:3b:00.0");
        assert!(matches!(sysfs.subfunction(name, *parent), Err(Error::Read { .. })));
        fs::write(function.join("mlx5_core.sf.2/sfnum"), "88\n").unwrap();
        let sf = sysfs.subfunction(name, *parent).unwrap();
        assert_eq!((sf.number, sf.netdevs), (88, vec!["eth7".to_owned()]));
        let gone: AuxName = "mlx5_core.sf.3".parse().unwrap();
        assert!(matches!(sysfs.subfunction(&gone, *parent), Err(Error::Missing { .. })));
    }
}
