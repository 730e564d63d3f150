//! One PCI function: what sysfs says of it, and which driver it is bound to.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;

use super::command;
use super::watch;

const DEVICES: &str = "/sys/bus/pci/devices";
const DRIVERS: &str = "/sys/bus/pci/drivers";

/// How long a driver may take to bring up its netdev; seconds on a loaded host.
const PROBE: Duration = Duration::from_secs(30);

/// A PCI function by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    address: String,
}

impl Function {
    /// The function at an address such as `0000:21:10.0`; fails if there is none.
    pub(crate) fn at(address: &str) -> Result<Self> {
        let function = Self { address: address.to_owned() };
        ensure!(function.path().is_dir(), "no PCI function {address}");
        Ok(function)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its folder in sysfs.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new(DEVICES).join(&self.address)
    }

    /// One of its attributes, without the line's end.
    pub(crate) fn attribute(&self, name: &str) -> Result<String> {
        let path = self.path().join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.trim_end().to_owned())
    }

    /// Writes one of its attributes.
    pub(crate) fn set_attribute(&self, name: &str, value: &str) -> Result<()> {
        let path = self.path().join(name);
        fs::write(&path, value).with_context(|| format!("cannot write {value:?} to {}", path.display()))
    }

    /// `8086:10ca`.
    pub(crate) fn ids(&self) -> Result<String> {
        let id = |name| Ok::<_, anyhow::Error>(self.attribute(name)?.trim_start_matches("0x").to_owned());
        Ok(format!("{}:{}", id("vendor")?, id("device")?))
    }

    /// Its NUMA node, -1 if it has none.
    pub(crate) fn numa_node(&self) -> Result<i32> {
        Ok(self.attribute("numa_node")?.parse()?)
    }

    /// The driver that it is bound to.
    pub(crate) fn driver(&self) -> Option<String> {
        self.link("driver")
    }

    /// The number of its IOMMU group, in which /dev/vfio names it.
    pub(crate) fn iommu_group(&self) -> Option<String> {
        self.link("iommu_group")
    }

    /// `/dev/vfio/N`, while it is bound to vfio-pci.
    pub(crate) fn vfio_node(&self) -> Result<String> {
        let group = self.iommu_group().with_context(|| format!("{self} has no IOMMU group"))?;
        Ok(format!("/dev/vfio/{group}"))
    }

    /// `/dev/uioN`, while it is bound to a UIO driver.
    pub(crate) fn uio_node(&self) -> Result<String> {
        let name =
            first_entry(&self.path().join("uio"))?.with_context(|| format!("{self} has no uio device"))?;
        Ok(format!("/dev/{name}"))
    }

    /// Its netdev's name in this network namespace, if it has one there now.
    pub(crate) fn netdev(&self) -> Result<Option<String>> {
        if let Some(name) = first_entry(&self.path().join("net"))? {
            return Ok(Some(name));
        }
        // A virtio NIC's netdev belongs to the virtio device below the function.
        for entry in fs::read_dir(self.path()).with_context(|| format!("cannot list {self}"))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("virtio") {
                return first_entry(&entry.path().join("net"));
            }
        }
        Ok(None)
    }

    /// Waits for its netdev, which a driver makes some time after it was bound.
    pub(crate) fn wait_netdev(&self) -> Result<String> {
        watch::until(&format!("netdev of {self}"), PROBE, || self.netdev())
    }

    /// Binds it to `driver`, whatever it was bound to before; the driver's module is loaded if need be.
    pub(crate) fn bind(&self, driver: &str) -> Result<()> {
        if !Path::new(DRIVERS).join(driver).is_dir() {
            command::run(Command::new("modprobe").arg(driver))?;
        }
        self.rebind(driver)?;
        ensure!(
            self.driver().as_deref() == Some(driver),
            "{self}: bound to {:?}, wanted {driver}",
            self.driver()
        );
        Ok(())
    }

    /// Gives it back to the driver that the kernel chooses for it, and returns its netdev.
    pub(crate) fn bind_default(&self) -> Result<String> {
        self.rebind("\n")?;
        self.wait_netdev()
    }

    /// Takes its driver away.
    pub(crate) fn unbind(&self) -> Result<()> {
        if self.driver().is_some() {
            self.set_attribute("driver/unbind", &self.address)?;
        }
        Ok(())
    }

    fn rebind(&self, over: &str) -> Result<()> {
        self.set_attribute("driver_override", over)?;
        self.unbind()?;
        fs::write("/sys/bus/pci/drivers_probe", &self.address)
            .with_context(|| format!("no driver took {self} (driver_override {over:?})"))
    }

    fn link(&self, name: &str) -> Option<String> {
        let target = fs::read_link(self.path().join(name)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

impl fmt::Display for Function {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.address)
    }
}

fn first_entry(folder: &Path) -> Result<Option<String>> {
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            Ok(entries.next().transpose()?.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot list {}", folder.display())),
    }
}
