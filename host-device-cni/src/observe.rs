//! Which device the configuration means on this node, and what it is like.
//! It must not change anything.

use std::path::{Path, PathBuf};

use attachment::Host;
use netlink::{IfName, Link, MacAddr, SavedNetwork};
use pci::{PciAddress, Sysfs};

use crate::conf::DeviceKey;

/// The device as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Observed {
    /// The name under which it is claimed.
    pub(crate) device: String,
    /// Its PCI function, where it has one.
    pub(crate) function: Option<PciAddress>,
    /// Its link; `None` under a userspace driver.
    pub(crate) link: Option<Link>,
    /// The addresses and routes that it has on the host.
    pub(crate) network: SavedNetwork,
    /// Which of its function's links it is, where that has several.
    pub(crate) port: Option<String>,
    /// The bond, bridge or VRF whose port its link is.
    pub(crate) master: Option<IfName>,
}

/// Why there is no such device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    #[error("failed to find host device: {0}")]
    Link(#[from] netlink::Error),
    #[error("failed to find host device: failed to find physical interface: no link has the address {mac}")]
    NoMac { mac: MacAddr },
    #[error(
        "failed to find host device: failed to read directory {dir}: no network device there; is it in a pod already?"
    )]
    NoNetDir { dir: PathBuf },
    #[error("error with host device: {0}")]
    Function(#[from] pci::Error),
    #[error(
        "failed to find host device: no net directory under pci device {address}: its driver is {}, and its network device, \
         if any, is in another network namespace", driver.as_deref().unwrap_or("none")
    )]
    NoNetdev { address: PciAddress, driver: Option<String> },
    #[error("runtime config DeviceID {id} not found or unsupported")]
    Unknown { id: String },
    #[error("failed to find host device: {0}")]
    Host(#[from] attachment::Error),
    #[error(
        "{name} carries this node's default route (table {table}){}: without it the node is cut off; name another device, or \
         say \"allowDefaultRoute\": true", under(above.as_ref())
    )]
    DefaultRoute { name: String, table: u32, above: Option<IfName> },
}

fn under(above: Option<&IfName>) -> String {
    above.map(|above| format!(", which leaves by {above} above it")).unwrap_or_default()
}

/// Looks the device up, with the addresses and routes that it has, and with its master.
pub(crate) fn observe(host: &mut Host, key: &DeviceKey) -> Result<Observed, ObserveError> {
    let mut observed = find(host, key)?;
    if let Some(link) = &observed.link {
        observed.network = host.netlink.save_network(link.index, link.ip.follows_routers())?;
        let master = link.master.map(|master| host.netlink.link_by_index(master)).transpose()?;
        // A name that the kernel gave is one.
        observed.master = master.and_then(|master| master.name.parse().ok());
    }
    Ok(observed)
}

/// Refuses the link through which the node itself reaches the world, be it as what is below a bond, a bridge or a VLAN.
pub(crate) fn refuse_default_route(host: &mut Host, link: &Link) -> Result<(), ObserveError> {
    let name = || link.name.clone();
    if let Some(route) = host.netlink.default_route_by(link.index)? {
        return Err(ObserveError::DefaultRoute { name: name(), table: route.table, above: None });
    }
    for above in all_above(&host.sysfs, &link.name) {
        // One that is going meanwhile carries nothing.
        let Ok(upper) = host.netlink.link_by_name(&above) else { continue };
        if let Some(route) = host.netlink.default_route_by(upper.index)? {
            return Err(ObserveError::DefaultRoute { name: name(), table: route.table, above: Some(above) });
        }
    }
    Ok(())
}

/// Everything that stands on a link: its master, VLANs and the like, and what stands on those.
fn all_above(sysfs: &Sysfs, link: &str) -> Vec<IfName> {
    let directly = |name: &str| {
        let entries =
            std::fs::read_dir(sysfs.root().join("class/net").join(name)).into_iter().flatten().flatten();
        let upper = |name: &str| name.strip_prefix("upper_")?.parse::<IfName>().ok();
        entries.filter_map(|entry| upper(entry.file_name().to_str()?)).collect::<Vec<_>>()
    };
    let mut found = directly(link);
    let mut seen = 0;
    while let Some(name) = found.get(seen).cloned() {
        let more: Vec<IfName> =
            directly(name.as_str()).into_iter().filter(|more| !found.contains(more)).collect();
        found.extend(more);
        seen += 1;
    }
    found
}

/// Looks the device up.
pub(crate) fn find(host: &mut Host, key: &DeviceKey) -> Result<Observed, ObserveError> {
    match key {
        DeviceKey::Name(name) => {
            let link = host.netlink.link_by_any_name(name)?;
            Ok(of_link(host, link))
        }
        DeviceKey::Mac(mac) => {
            let found = host.netlink.links()?.into_iter().find(|link| link.mac.as_ref() == Some(mac));
            let found = found.ok_or_else(|| ObserveError::NoMac { mac: mac.clone() })?;
            // A list does not tell all of a link.
            let link = host.netlink.link_by_index(found.index)?;
            Ok(of_link(host, link))
        }
        DeviceKey::KernelPath(path) => {
            let link = first_below(host, &kernel_dir(&host.sysfs, path))?;
            Ok(of_link(host, link))
        }
        DeviceKey::Pci(address) => of_function(host, *address),
        DeviceKey::Allocated(address) => of_function(host, *address).map_err(|error| match error {
            ObserveError::Function(pci::Error::Missing { .. }) => {
                ObserveError::Unknown { id: address.to_string() }
            }
            error => error,
        }),
        DeviceKey::Auxiliary(name) => of_auxiliary(host, name.as_str()),
    }
}

/// A link by itself, claimed as what every other key would call it: its PCI function, a virtio device's among them, or its
/// auxiliary device. One of several of its function is claimed by its own name, and so is one that has none of these.
fn of_link(host: &Host, link: Link) -> Observed {
    let parent = link.parent.as_deref();
    let function =
        parent.and_then(|parent| parent.parse().ok().or_else(|| host.sysfs.function_of(&link.name)));
    let port = parent.and_then(|_| host.port_of(function, &link.name));
    let alone = |function| host.sysfs.netdevs(function).len() < 2;
    let is_auxiliary = |name: &&str| auxiliary_dir(&host.sysfs, name).exists();
    let device = match (function, parent.filter(is_auxiliary)) {
        (Some(function), _) if alone(function) => function.to_string(),
        (None, Some(auxiliary)) => auxiliary.to_owned(),
        _ => link.name.clone(),
    };
    Observed { device, function, link: Some(link), network: SavedNetwork::default(), port, master: None }
}

fn of_function(host: &mut Host, address: PciAddress) -> Result<Observed, ObserveError> {
    let function = host.sysfs.function(address)?;
    let link = if function.is_userspace_bound() {
        None
    } else {
        let link = host.link_of(address, None)?;
        Some(link.ok_or(ObserveError::NoNetdev { address, driver: function.driver })?)
    };
    let port = link.as_ref().and_then(|link| host.port_of(Some(address), &link.name));
    let (device, network) = (address.to_string(), SavedNetwork::default());
    Ok(Observed { device, function: Some(address), link, network, port, master: None })
}

fn of_auxiliary(host: &mut Host, id: &str) -> Result<Observed, ObserveError> {
    let dir = auxiliary_dir(&host.sysfs, id);
    if !dir.exists() {
        return Err(ObserveError::Unknown { id: id.to_owned() });
    }
    let link = first_below(host, &dir)?;
    let port = host.port_of(None, &link.name);
    Ok(Observed {
        device: id.to_owned(),
        function: None,
        link: Some(link),
        network: SavedNetwork::default(),
        port,
        master: None,
    })
}

/// The first network device in `<dir>/net`.
fn first_below(host: &mut Host, dir: &Path) -> Result<Link, ObserveError> {
    let first = netdevs(dir).into_iter().min();
    let first = first.ok_or_else(|| ObserveError::NoNetDir { dir: dir.join("net") })?;
    Ok(host.netlink.link_by_name(&first)?)
}

/// The network devices in `<dir>/net`, which are those of this process's network namespace alone.
pub(crate) fn netdevs(dir: &Path) -> Vec<IfName> {
    let entries = std::fs::read_dir(dir.join("net")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The directory of the device that a configuration names by its place on a bus; `None` where it names the link itself.
pub(crate) fn bus_place(sysfs: &Sysfs, key: &DeviceKey) -> Option<PathBuf> {
    match key {
        DeviceKey::Name(_) | DeviceKey::Mac(_) => None,
        DeviceKey::KernelPath(path) => Some(kernel_dir(sysfs, path)),
        DeviceKey::Pci(address) | DeviceKey::Allocated(address) => Some(sysfs.function_dir(*address)),
        DeviceKey::Auxiliary(name) => Some(auxiliary_dir(sysfs, name.as_str())),
    }
}

fn kernel_dir(sysfs: &Sysfs, path: &Path) -> PathBuf {
    sysfs.root().join(path.strip_prefix("/sys").unwrap_or(path))
}

fn auxiliary_dir(sysfs: &Sysfs, id: &str) -> PathBuf {
    sysfs.root().join("bus/auxiliary/devices").join(id)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use netlink::{Netlink, Netns};
    use testkit::netlink::link;

    use super::*;

    /// A device has one claim, whichever key named it.
    #[test]
    fn a_link_by_its_name_is_claimed_as_what_the_other_keys_call_it() {
        let sys = tempfile::tempdir().unwrap();
        let function = "devices/pci0000:00/0000:00:06.0";
        for (dir, name) in [
            (format!("{function}/virtio3"), "eth3"),
            (format!("{function}/mlx5_core.sf.4"), "eth4"),
            (function.to_owned(), "eth5"),
            ("devices/vmbus-7".to_owned(), "eth6"),
        ] {
            let net = sys.path().join(dir).join("net").join(name);
            std::fs::create_dir_all(&net).unwrap();
            std::fs::create_dir_all(sys.path().join("class/net")).unwrap();
            symlink(net, sys.path().join("class/net").join(name)).unwrap();
        }
        std::fs::create_dir_all(sys.path().join("bus/auxiliary/devices/mlx5_core.sf.4")).unwrap();
        let mac = [2, 0, 0, 0, 0, 1];
        for (name, parent, wanted) in [
            ("eth3", "virtio3", "0000:00:06.0"),
            ("eth4", "mlx5_core.sf.4", "mlx5_core.sf.4"),
            ("eth5", "0000:00:06.0", "0000:00:06.0"),
            ("eth6", "vmbus-7", "eth6"),
        ] {
            let netlink = Netlink::over(Box::new(link::node(vec![link::Link::new(3, name, mac, parent)])));
            let mut host = Host { sysfs: Sysfs::new(sys.path()), netns: Netns::current().unwrap(), netlink };
            let found = find(&mut host, &DeviceKey::Name(name.parse().unwrap())).unwrap();
            assert_eq!(found.device, wanted, "{name}");
            assert_eq!(
                found.function.map(|it| it.to_string()).is_some(),
                wanted.starts_with("0000"),
                "{name}"
            );
        }
    }
}
