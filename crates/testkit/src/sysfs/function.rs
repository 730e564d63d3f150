//! One PCI function's directory, attribute by attribute.
//! It must not check that they fit together: tests of odd functions need odd ones.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The directory of one function. Each method writes at once and gives the handle back.
#[derive(Clone, Debug)]
pub struct Function {
    sys: PathBuf,
    address: String,
}

impl Function {
    pub(super) fn create(sys: &Path, address: &str) -> Self {
        let function = Self::open(sys, address);
        fs::create_dir_all(function.dir()).expect("a function's directory");
        function.ids("8086", "10d3").class(0x02_00_00).attribute("numa_node", "-1")
    }

    pub(super) fn open(sys: &Path, address: &str) -> Self {
        Self { sys: sys.to_owned(), address: address.to_owned() }
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its directory.
    pub fn dir(&self) -> PathBuf {
        self.sys.join("bus/pci/devices").join(&self.address)
    }

    /// Writes one attribute; the newline is the kernel's.
    pub fn attribute(self, name: &str, text: &str) -> Self {
        fs::write(self.dir().join(name), format!("{text}\n")).expect("an attribute");
        self
    }

    /// Removes one attribute, link or directory.
    pub fn without(self, name: &str) -> Self {
        let path = self.dir().join(name);
        if path.is_dir() && !path.is_symlink() {
            self.discard(&path);
        } else {
            fs::remove_file(path).expect("a file to remove");
        }
        self
    }

    /// Vendor and device, four hexadecimal digits each.
    pub fn ids(self, vendor: &str, device: &str) -> Self {
        self.attribute("vendor", &format!("0x{vendor}")).attribute("device", &format!("0x{device}"))
    }

    /// Base class, subclass and programming interface, such as `0x02_00_00`.
    pub fn class(self, class: u32) -> Self {
        self.attribute("class", &format!("0x{class:06x}"))
    }

    /// Binds a driver, in the place of the one that is bound.
    pub fn driver(self, driver: &str) -> Self {
        fs::create_dir_all(self.sys.join("bus/pci/drivers").join(driver)).expect("a driver's directory");
        self.relink("driver", &format!("../../drivers/{driver}"))
    }

    /// Leaves the function without a driver.
    pub fn unbound(self) -> Self {
        self.unlink("driver");
        self
    }

    /// The NUMA node; -1 is none.
    pub fn numa(self, node: i32) -> Self {
        self.attribute("numa_node", &node.to_string())
    }

    /// Puts the function into an IOMMU group.
    pub fn iommu_group(self, number: u32) -> Self {
        self.group(number, "")
    }

    /// Puts the function into a group that VFIO made up without an IOMMU.
    pub fn noiommu_group(self, number: u32) -> Self {
        self.group(number, "vfio-noiommu\n")
    }

    fn group(self, number: u32, name: &str) -> Self {
        let group = self.sys.join("kernel/iommu_groups").join(number.to_string());
        fs::create_dir_all(group.join("devices")).expect("a group's directory");
        if !name.is_empty() {
            fs::write(group.join("name"), name).expect("a group's name");
        }
        self.relink("iommu_group", &format!("../../../../kernel/iommu_groups/{number}"))
    }

    /// Adds a network device.
    pub fn netdev(self, name: &str) -> Self {
        super::below::write_netdev(&self.sys, &self.dir().join("net").join(name), name);
        self
    }

    /// Takes all its network devices away, as a move to another network namespace or another driver does.
    pub fn without_netdevs(self) -> Self {
        self.without("net")
    }

    /// Adds a UIO device, such as `uio0`.
    pub fn uio(self, name: &str) -> Self {
        self.subdirectory("uio", name)
    }

    /// Adds a VFIO device, such as `vfio0`.
    pub fn vfio_dev(self, name: &str) -> Self {
        self.subdirectory("vfio-dev", name)
    }

    /// Adds an RDMA device, such as `mlx5_0`.
    pub fn rdma(self, name: &str) -> Self {
        self.subdirectory("infiniband", name)
    }

    /// Binds `vfio-pci` with everything that follows from it: no network device, a VFIO device.
    pub fn on_vfio(self, group: u32) -> Self {
        let function = if self.dir().join("net").exists() { self.without_netdevs() } else { self };
        function.driver("vfio-pci").iommu_group(group).vfio_dev(&format!("vfio{group}"))
    }

    fn subdirectory(self, dir: &str, name: &str) -> Self {
        fs::create_dir_all(self.dir().join(dir).join(name)).expect("a directory of the function");
        self
    }

    /// Makes a symbolic link in the function's directory.
    pub fn link(self, name: &str, target: &str) -> Self {
        symlink(target, self.dir().join(name)).expect("a symbolic link");
        self
    }

    fn relink(self, name: &str, target: &str) -> Self {
        self.unlink(name);
        self.link(name, target)
    }

    fn unlink(&self, name: &str) {
        let path = self.dir().join(name);
        if path.is_symlink() {
            fs::remove_file(path).expect("a link to remove");
        }
    }

    /// How many VFs it lists, which is the next one's number.
    pub(super) fn count_vfs(&self) -> usize {
        let entries = fs::read_dir(self.dir()).expect("the PF's directory").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("virtfn")).count()
    }

    pub(super) fn remove(&self) {
        let dir = self.dir();
        if let Ok(pf) = fs::read_link(dir.join("physfn")) {
            for entry in fs::read_dir(dir.join(pf)).expect("the PF's directory").flatten() {
                if fs::read_link(entry.path()).is_ok_and(|target| target.ends_with(&self.address)) {
                    fs::remove_file(entry.path()).expect("the PF's link");
                }
            }
        }
        self.discard(&dir);
    }

    /// At once, as the kernel does: whoever looks meanwhile sees all of it or nothing.
    fn discard(&self, dir: &Path) {
        let aside = self.sys.with_file_name("discarded");
        fs::rename(dir, &aside).expect("a directory to move away");
        fs::remove_dir_all(aside).expect("a directory to remove");
    }
}
