//! Which driver a PCI function has, changed by way of sysfs: for the pod, and back. Nothing else here writes to sysfs.
//! It must not load a module, nor decide which driver is wanted.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::PathBuf;

use pci::{IommuGroup, PciAddress, Sysfs};

use crate::error::Error;
use crate::host::Host;
use crate::record::DriverBefore;

impl DriverBefore {
    /// What is to be remembered before the function goes to `driver`; an error where that one could not take it.
    pub fn of(host: &Host, function: PciAddress, driver: &str) -> Result<Self, Error> {
        let before = Self::now(&host.sysfs, function)?;
        loaded(&host.sysfs, function, driver).map(|_| before)
    }

    fn now(sysfs: &Sysfs, function: PciAddress) -> Result<Self, Error> {
        let only = fs::read_to_string(sysfs.function_dir(function).join(OVERRIDE)).unwrap_or_default();
        // The kernel prints a null pointer in its own way.
        let only = Some(only.trim().to_owned()).filter(|only| !only.is_empty() && only != "(null)");
        Ok(Self { driver: sysfs.function(function)?.driver, only })
    }
}

const OVERRIDE: &str = "driver_override";

/// Gives the function to `driver` alone.
pub(crate) fn bind(host: &Host, function: PciAddress, driver: &str) -> Result<(), Error> {
    let wanted = DriverBefore { driver: Some(driver.to_owned()), only: Some(driver.to_owned()) };
    put(&host.sysfs, function, &wanted)
}

/// Gives the function back to the driver that it had. Refuses while a process has it open: VFIO lets go of a function when
/// its last user has closed it, and waits for that beyond the reach of any signal (`vfio_unregister_group_dev`,
/// `drivers/vfio/vfio_main.c` of Linux 6.12).
pub(crate) fn restore(host: &Host, function: PciAddress, before: &DriverBefore) -> Result<(), Error> {
    let found = host.sysfs.function(function)?;
    match found.iommu_group.filter(|_| found.driver != before.driver) {
        Some(group) if is_open(&host.sysfs, &group) => Err(Error::InUse { function, group: group.number }),
        _ => put(&host.sysfs, function, before),
    }
}

/// Whether a process has the group's node open: the kernel opens it for one at a time (`vfio_group_fops_open`,
/// drivers/vfio/group.c). What cannot be opened for another reason cannot be told.
fn is_open(sysfs: &Sysfs, group: &IommuGroup) -> bool {
    let prefix = if group.noiommu { "noiommu-" } else { "" };
    // A tree of files has no device nodes.
    let node =
        sysfs.root().parent().unwrap_or(sysfs.root()).join(format!("dev/vfio/{prefix}{}", group.number));
    let opened = OpenOptions::new().read(true).write(true).open(node);
    opened.is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

fn put(sysfs: &Sysfs, function: PciAddress, wanted: &DriverBefore) -> Result<(), Error> {
    for (path, text) in writes(sysfs, function, &DriverBefore::now(sysfs, function)?, wanted)? {
        fs::write(&path, text).map_err(|source| Error::Driver {
            function,
            driver: wanted.driver.clone().unwrap_or_else(|| "no driver".to_owned()),
            path,
            source,
        })?;
    }
    let found = sysfs.function(function)?.driver;
    if found == wanted.driver {
        return Ok(());
    }
    Err(Error::OtherDriver { function, wanted: wanted.driver.clone(), found })
}

/// What is to be written, in that order, to come from `now` to `wanted`. The override goes first: a driver that is asked to
/// take the function looks at it, and so does one that is loaded in between.
fn writes(
    sysfs: &Sysfs,
    function: PciAddress,
    now: &DriverBefore,
    wanted: &DriverBefore,
) -> Result<Vec<(PathBuf, String)>, Error> {
    let dir = sysfs.function_dir(function);
    let mut writes = Vec::new();
    if now.only != wanted.only {
        // A line feed alone takes it away (`driver_set_override`, drivers/base/driver.c of Linux 6.12).
        writes.push((dir.join(OVERRIDE), wanted.only.clone().unwrap_or_else(|| "\n".to_owned())));
    }
    if now.driver != wanted.driver {
        let taken = wanted.driver.as_deref().map(|driver| loaded(sysfs, function, driver)).transpose()?;
        writes.extend(now.driver.is_some().then(|| (dir.join("driver/unbind"), function.to_string())));
        writes.extend(taken.map(|driver| (driver.join("bind"), function.to_string())));
    }
    Ok(writes)
}

/// The driver's directory.
fn loaded(sysfs: &Sysfs, function: PciAddress, driver: &str) -> Result<PathBuf, Error> {
    let dir = sysfs.root().join("bus/pci/drivers").join(driver);
    if dir.is_dir() { Ok(dir) } else { Err(Error::NoDriver { function, driver: driver.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use testkit::sysfs::Tree;

    use super::*;

    const VF: &str = "0000:3b:02.0";

    fn node() -> (Tree, Sysfs, PciAddress) {
        let tree = Tree::new();
        tree.pf("0000:3b:00.0", "ens1f0");
        tree.vf(VF, "0000:3b:00.0").attribute(OVERRIDE, "(null)");
        tree.write("sys/bus/pci/drivers/vfio-pci/bind", "");
        let sysfs = Sysfs::new(tree.sys());
        (tree, sysfs, VF.parse().unwrap())
    }

    fn told(sysfs: &Sysfs, now: &DriverBefore, wanted: &DriverBefore) -> Vec<String> {
        let writes = writes(sysfs, VF.parse().unwrap(), now, wanted).unwrap();
        let short =
            |path: PathBuf| path.strip_prefix(sysfs.root().join("bus/pci")).unwrap().display().to_string();
        writes.into_iter().map(|(path, text)| format!("{} < {}", short(path), text.trim())).collect()
    }

    #[test]
    fn there_and_back_from_wherever_a_kill_left_it() {
        let (_tree, sysfs, function) = node();
        let before = DriverBefore::now(&sysfs, function).unwrap();
        assert_eq!(before, DriverBefore { driver: Some("iavf".into()), only: None });
        let bound = DriverBefore { driver: Some("vfio-pci".into()), only: Some("vfio-pci".into()) };
        let [over, unbind] =
            ["devices/0000:3b:02.0/driver_override <", "devices/0000:3b:02.0/driver/unbind <"];
        assert_eq!(
            told(&sysfs, &before, &bound),
            [format!("{over} vfio-pci"), format!("{unbind} {VF}"), format!("drivers/vfio-pci/bind < {VF}")]
        );
        assert_eq!(
            told(&sysfs, &bound, &before),
            [format!("{over} "), format!("{unbind} {VF}"), format!("drivers/iavf/bind < {VF}")]
        );
        let unbound = DriverBefore { driver: None, only: bound.only.clone() };
        assert_eq!(
            told(&sysfs, &unbound, &before),
            [format!("{over} "), format!("drivers/iavf/bind < {VF}")]
        );
        let only_said = DriverBefore { driver: before.driver.clone(), only: bound.only.clone() };
        assert_eq!(told(&sysfs, &only_said, &before), [format!("{over} ")]);
        assert_eq!(told(&sysfs, &before, &before), [""; 0]);
    }

    #[test]
    fn a_driver_that_is_not_loaded_is_refused_before_anything_is_written() {
        let (tree, sysfs, function) = node();
        fs::remove_dir_all(tree.sys().join("bus/pci/drivers/vfio-pci")).unwrap();
        let wanted = DriverBefore { driver: Some("vfio-pci".into()), only: Some("vfio-pci".into()) };
        let error = put(&sysfs, function, &wanted).unwrap_err().to_string();
        assert_eq!(
            error,
            "0000:3b:02.0: driver vfio-pci is not loaded on this node; load it with modprobe vfio-pci"
        );
        assert_eq!(fs::read_to_string(sysfs.function_dir(function).join(OVERRIDE)).unwrap().trim(), "(null)");
    }

    #[test]
    fn a_kernel_that_gives_it_to_nobody_is_told_of() {
        let (_tree, sysfs, function) = node();
        let wanted = DriverBefore { driver: Some("vfio-pci".into()), only: Some("vfio-pci".into()) };
        let error = put(&sysfs, function, &wanted).unwrap_err().to_string();
        assert_eq!(error, "0000:3b:02.0: driver is iavf, wanted vfio-pci; the kernel's log says why");
    }
}
