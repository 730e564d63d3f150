//! The node's side: its sysfs, its network namespace and a socket to it.
//! It must not hold the pod's side.

use netlink::{Link, Netlink, Netns};
use pci::{Function, PciAddress, Sysfs, VfIndex};

use crate::error::Error;
use crate::paths::Paths;
use crate::record::Record;

/// The node as a plugin sees it.
pub struct Host {
    /// Its sysfs.
    pub sysfs: Sysfs,
    /// Its network namespace.
    pub netns: Netns,
    /// rtnetlink in that namespace.
    pub netlink: Netlink,
}

/// What became of a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Device {
    /// It has a driver, and so a link somewhere.
    Bound,
    /// It has none, and no link.
    Unbound,
    /// It is not on this node any more.
    Gone,
}

impl Host {
    /// The node on which this process runs, in the network namespace of this process.
    pub fn open(paths: &Paths) -> Result<Self, Error> {
        Ok(Self { sysfs: Sysfs::new(&paths.sysfs), netns: Netns::current()?, netlink: Netlink::open()? })
    }

    /// The function of a record; `None` where it is not on this node any more, or the record has none. Its number comes from the
    /// record: to look it up is to read all of its PF's links.
    pub(crate) fn function(&self, record: &Record) -> Result<Option<Function>, Error> {
        let Some(address) = record.function else { return Ok(None) };
        let index = VfIndex::new(record.pf.map_or(0, |pf| pf.vf));
        match self.sysfs.function_with(address, |_| Ok(Some(index))) {
            Err(pci::Error::Missing { .. }) => Ok(None),
            function => Ok(Some(function?)),
        }
    }

    /// The link through which the PF's VFs are set. A PF in switchdev mode has its VFs' representors beside its own
    /// network device; its own is the one whose physical port is named `p<number>`.
    pub fn pf_link(&mut self, pf: PciAddress) -> Result<Link, Error> {
        let names = self.sysfs.netdevs(pf);
        let uplink = match &names[..] {
            [only] => Some(only),
            names => names.iter().find(|name| self.is_uplink(pf, name)).or(names.first()),
        };
        let name = uplink.and_then(|name| name.parse().ok()).ok_or(Error::NoPfLink { pf })?;
        Ok(self.netlink.link_by_name(&name)?)
    }

    /// The network device of a function on the host; `None` while there is none here. Of several, the one at `port`.
    pub fn link_of(&mut self, function: PciAddress, port: Option<&str>) -> Result<Option<Link>, Error> {
        let mut names = self.sysfs.netdevs(function);
        if port.is_some() {
            names.retain(|name| self.sysfs.port(function, name).as_deref() == port);
            if names.len() > 1 {
                return Err(Error::Ambiguous { device: function.to_string(), names });
            }
        }
        let Some(name) = names.first().and_then(|name| name.parse().ok()) else { return Ok(None) };
        match self.netlink.link_by_name(&name) {
            Ok(link) => Ok(Some(link)),
            // It left between the two looks.
            Err(error) if error.is_no_link() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What tells a network device on the host from others of its function, or of its device where that is on no PCI bus, those
    /// included that are in pods now.
    pub fn port_of(&self, function: Option<PciAddress>, name: &str) -> Option<String> {
        match function {
            Some(function) => self.sysfs.port(function, name),
            None => self.sysfs.port_of(name),
        }
    }

    /// What became of a device of any bus, such as `virtio3` or `mlx5_core.sf.4`.
    pub(crate) fn device(&self, name: &str) -> Device {
        let buses = std::fs::read_dir(self.sysfs.root().join("bus")).into_iter().flatten().flatten();
        let mut devices =
            buses.map(|bus| bus.path().join("devices").join(name)).filter(|device| device.exists());
        match devices.next() {
            Some(device) if device.join("driver").exists() => Device::Bound,
            Some(_) => Device::Unbound,
            None => Device::Gone,
        }
    }

    fn is_uplink(&self, pf: PciAddress, name: &str) -> bool {
        let port = std::fs::read_to_string(
            self.sysfs.function_dir(pf).join("net").join(name).join("phys_port_name"),
        );
        let number = port.ok().and_then(|port| port.trim().strip_prefix('p').map(str::to_owned));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    }
}
