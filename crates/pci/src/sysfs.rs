//! Reads functions from a sysfs tree rooted at any path.
//! It must not write, and one odd function must never hide another.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::address::PciAddress;
use crate::function::{Function, IommuGroup, Role};
use crate::virtfn::{self, VfIndex};

/// A sysfs tree: `/sys`, or any directory of that shape.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
}

/// What stands between us and a function's description.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list of functions itself cannot be read: sysfs is not mounted, or the root is wrong.
    #[error("cannot list PCI functions in {path}: {source}; is sysfs mounted there?")]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The node has no such function.
    #[error("no PCI function {address} on this node ({path} does not exist); look at `lspci -D`")]
    Missing {
        /// The address asked for.
        address: PciAddress,
        /// Its directory.
        path: PathBuf,
    },
    /// An attribute cannot be read.
    #[error("PCI function {address}: cannot read {path}: {source}")]
    Read {
        /// The function.
        address: PciAddress,
        /// The attribute.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An attribute holds something else than the kernel writes there.
    #[error("PCI function {address}: {path} holds {found:?}, wanted {wanted}")]
    Malformed {
        /// The function.
        address: PciAddress,
        /// The attribute.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What the kernel would have written.
        wanted: &'static str,
    },
    /// A VF whose PF does not list it: the VFs are being created or removed at this moment.
    #[error("VF {address}: its PF {pf} has no virtfn link to it; the PF's VFs are changing, try again")]
    Orphan {
        /// The VF.
        address: PciAddress,
        /// Its PF.
        pf: PciAddress,
    },
}

impl Sysfs {
    /// The tree at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The tree of this machine, `/sys`.
    pub fn host() -> Self {
        Self::new("/sys")
    }

    /// The root as given.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of one function; it need not exist.
    pub fn function_dir(&self, address: PciAddress) -> PathBuf {
        self.root.join("bus/pci/devices").join(address.to_string())
    }

    /// The addresses of all functions, sorted. Entries that are no address are passed over.
    pub fn addresses(&self) -> Result<Vec<PciAddress>, Error> {
        let path = self.root.join("bus/pci/devices");
        let entries = fs::read_dir(&path).map_err(|source| Error::List { path: path.clone(), source })?;
        let mut addresses = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| Error::List { path: path.clone(), source })?;
            addresses.extend(entry.file_name().to_str().and_then(|name| name.parse::<PciAddress>().ok()));
        }
        addresses.sort_unstable();
        Ok(addresses)
    }

    /// The class of one function, by one small read: whoever scans a bus passes over what is no concern of theirs.
    pub fn class(&self, address: PciAddress) -> Result<u32, Error> {
        Attributes { address, dir: &self.function_dir(address) }.class()
    }

    /// The VFs of a PF, sorted by their number; empty for a function that has none.
    pub fn vfs(&self, pf: PciAddress) -> Result<Vec<(VfIndex, PciAddress)>, Error> {
        let path = self.function_dir(pf);
        virtfn::list(&path).map_err(|source| Error::Read { address: pf, path, source })
    }

    /// The names of the function's network devices in this network namespace, sorted, virtio's layout included.
    pub fn netdevs(&self, address: PciAddress) -> Vec<String> {
        let dir = self.function_dir(address);
        let direct = entries(&dir.join("net"));
        if !direct.is_empty() {
            return direct;
        }
        // A virtio function's network device sits one level down: ADDR/virtioN/net/NAME.
        let buses = entries(&dir).into_iter().filter(|name| name.starts_with("virtio"));
        buses.flat_map(|bus| entries(&dir.join(bus).join("net"))).collect()
    }

    /// The function whose network device in this network namespace has that name; `None` where there is none such, or it is
    /// no PCI function's.
    pub fn function_of(&self, netdev: &str) -> Option<PciAddress> {
        // <function>/net/<name>, and for virtio <function>/virtio<number>/net/<name>.
        let path = fs::canonicalize(self.root.join("class/net").join(netdev)).ok()?;
        let mut above = path.ancestors().skip(2).map_while(|dir| dir.file_name()?.to_str());
        let device = above.next()?;
        let function = if device.starts_with("virtio") { above.next()? } else { device };
        function.parse().ok()
    }

    /// The PCI bridges above a function, from the host's downwards: `pci0000:3a/0000:3a:00.0`. `None` where the tree has
    /// no links to tell it.
    pub fn bridges_above(&self, address: PciAddress) -> Option<String> {
        // ../../../devices/pci0000:3a/0000:3a:00.0/0000:3b:02.1
        let target = fs::read_link(self.function_dir(address)).ok()?;
        let (_, below) = target.parent()?.to_str()?.rsplit_once("devices/")?;
        Some(below.to_owned())
    }

    /// Where a network device stands among those of its function: `<dev_port>/<phys_port_name>`, which do not change with
    /// its name. `None` where it is not here.
    pub fn port(&self, address: PciAddress, netdev: &str) -> Option<String> {
        port(&self.function_dir(address).join("net").join(netdev))
    }

    /// As [`Sysfs::port`], for a network device of any bus.
    pub fn port_of(&self, netdev: &str) -> Option<String> {
        port(&self.root.join("class/net").join(netdev))
    }

    /// All there is to know of one function. A VF's number is worked out from its address, or else looked up in its PF's links;
    /// whoever reads many VFs passes the number to [`Sysfs::function_with`] instead and reads each PF once.
    pub fn function(&self, address: PciAddress) -> Result<Function, Error> {
        self.function_with(address, |pf| {
            if let Some(index) = self.index_by_address(pf, address) {
                return Ok(Some(index));
            }
            let vfs = self.vfs(pf)?;
            Ok(vfs.into_iter().find(|(_, vf)| *vf == address).map(|(index, _)| index))
        })
    }

    /// The VF's number by where the PF says that its VFs are (`sriov_offset`, `sriov_stride`), where the PF's link of that number
    /// agrees: a PF of 256 VFs has as many links.
    fn index_by_address(&self, pf: PciAddress, vf: PciAddress) -> Option<VfIndex> {
        let dir = self.function_dir(pf);
        let number = |name: &str| small_text(&dir.join(name)).ok()?.trim().parse().ok();
        let index = virtfn::index(pf, vf, number("sriov_offset")?, number("sriov_stride")?)?;
        let target = fs::read_link(dir.join(format!("virtfn{index}"))).ok()?;
        (target.file_name()?.to_str()?.parse() == Ok(vf)).then_some(index)
    }

    /// As [`Sysfs::function`], with the VF's number taken from `index_below(pf)`.
    pub fn function_with(
        &self,
        address: PciAddress,
        index_below: impl FnOnce(PciAddress) -> Result<Option<VfIndex>, Error>,
    ) -> Result<Function, Error> {
        let dir = self.function_dir(address);
        if !dir.exists() {
            return Err(Error::Missing { address, path: dir });
        }
        let class = Attributes { address, dir: &dir }.class()?;
        self.function_of_class(address, class, index_below)
    }

    /// As [`Sysfs::function_with`], of a function whose [`Sysfs::class`] was read.
    pub fn function_of_class(
        &self,
        address: PciAddress,
        class: u32,
        index_below: impl FnOnce(PciAddress) -> Result<Option<VfIndex>, Error>,
    ) -> Result<Function, Error> {
        let dir = self.function_dir(address);
        let attributes = Attributes { address, dir: &dir };
        let role = match attributes.link("physfn")? {
            Some(name) => {
                let pf = name
                    .parse()
                    .map_err(|_| attributes.malformed("physfn", &name, "a link to a PCI function"))?;
                let index = index_below(pf)?.ok_or(Error::Orphan { address, pf })?;
                Role::Vf { pf, index }
            }
            None => match attributes.number("sriov_totalvfs")? {
                // Not by `sriov_numvfs`: to read it waits for the function's lock (`sriov_numvfs_show`, drivers/pci/iov.c of
                // Linux 6.12), which whoever makes or removes VFs has for as long as that takes.
                Some(total_vfs) => {
                    let num_vfs = virtfn::count(&dir).map_err(|source| attributes.unreadable("", source))?;
                    Role::Pf { total_vfs, num_vfs }
                }
                None => Role::Plain,
            },
        };
        let driver = attributes.link("driver")?;
        // A bus below a function is virtio's, under no other driver.
        let netdevs = match driver.as_deref() {
            Some("virtio-pci") => self.netdevs(address),
            _ => entries(&dir.join("net")),
        };
        Ok(Function {
            address,
            vendor: attributes.id("vendor")?,
            device: attributes.id("device")?,
            class,
            driver,
            // Whatever is wrong with it, the function is fit for use without.
            numa_node: attributes.text("numa_node").ok().flatten().and_then(|node| node.parse().ok()),
            role,
            netdevs,
            iommu_group: attributes.iommu_group()?,
            uio: entries(&dir.join("uio")).into_iter().next(),
            vfio_dev: entries(&dir.join("vfio-dev")).into_iter().next(),
            rdma: entries(&dir.join("infiniband")),
            acpi_index: attributes.text("acpi_index")?.filter(|index| !index.is_empty()),
        })
    }
}

/// The attributes of one function, each absent, well formed, or an error that names it.
struct Attributes<'a> {
    address: PciAddress,
    dir: &'a Path,
}

impl Attributes<'_> {
    fn text(&self, name: &str) -> Result<Option<String>, Error> {
        match small_text(&self.dir.join(name)) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.unreadable(name, source)),
        }
    }

    fn required(&self, name: &str) -> Result<String, Error> {
        self.text(name)?.ok_or_else(|| self.unreadable(name, io::ErrorKind::NotFound.into()))
    }

    /// A 16-bit id, `0x8086\n` in the file.
    fn id(&self, name: &str) -> Result<String, Error> {
        let text = self.required(name)?;
        let digits =
            text.strip_prefix("0x").filter(|d| d.len() == 4 && d.bytes().all(|b| b.is_ascii_hexdigit()));
        digits.map(str::to_ascii_lowercase).ok_or_else(|| self.malformed(name, &text, "an id such as 0x8086"))
    }

    fn class(&self) -> Result<u32, Error> {
        let text = self.required("class")?;
        let digits = text.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        digits.ok_or_else(|| self.malformed("class", &text, "a class such as 0x020000"))
    }

    fn number(&self, name: &str) -> Result<Option<u32>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.malformed(name, &text, "a decimal number"))
    }

    /// The last component of a symbolic link's target.
    fn link(&self, name: &str) -> Result<Option<String>, Error> {
        match fs::read_link(self.dir.join(name)) {
            Ok(target) => Ok(target.file_name().map(|name| name.to_string_lossy().into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.unreadable(name, source)),
        }
    }

    fn iommu_group(&self) -> Result<Option<IommuGroup>, Error> {
        let Some(name) = self.link("iommu_group")? else { return Ok(None) };
        let number =
            name.parse().map_err(|_| self.malformed("iommu_group", &name, "a link to a numbered group"))?;
        let noiommu = self.text("iommu_group/name")?.as_deref() == Some("vfio-noiommu");
        Ok(Some(IommuGroup { number, noiommu }))
    }

    fn unreadable(&self, name: &str, source: io::Error) -> Error {
        Error::Read { address: self.address, path: self.dir.join(name), source }
    }

    fn malformed(&self, name: &str, found: &str, wanted: &'static str) -> Error {
        Error::Malformed { address: self.address, path: self.dir.join(name), found: found.to_owned(), wanted }
    }
}

fn port(dir: &Path) -> Option<String> {
    // The second is an error on most drivers, which then have one network device a function.
    let read = |name| small_text(&dir.join(name)).ok().map(|text| text.trim().to_owned());
    dir.exists().then(|| {
        format!("{}/{}", read("dev_port").unwrap_or_default(), read("phys_port_name").unwrap_or_default())
    })
}

/// What most attributes fit in: an id, a number, a name.
const SHORT: usize = 64;

/// A file of a page at most, as attributes are: one that a read does not fill has no more (`kernfs_fop_read_iter`,
/// fs/kernfs/file.c of Linux 6.12).
fn small_text(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut bytes = vec![0; SHORT];
    let mut length = 0;
    loop {
        let read = file.read(&mut bytes[length..])?;
        length += read;
        if read == 0 || length < bytes.len() {
            break;
        }
        bytes.resize(length * 2, 0);
    }
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The sorted names in a directory; none where it cannot be read.
pub(crate) fn entries(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests;
