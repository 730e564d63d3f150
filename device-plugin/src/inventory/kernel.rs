//! What only the kernel tells and no file does: default routes of every table, switch modes, firmware, parameters, vDPA.
//! It must not be needed: a tree of files has none of it, and the scan then goes by sysfs alone.

use std::collections::BTreeMap;

use netlink::{Devlink, EswitchMode, Netlink, Vdpa};
use pci::PciAddress;

/// The kernel's answers. Those of [`Kernel::none`] are empty.
#[derive(Default)]
pub(super) struct Kernel {
    route: Option<Netlink>,
    devlink: Option<Devlink>,
    vdpa: Option<Vdpa>,
}

impl Kernel {
    /// No kernel: what is looked at is a tree of files.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// A kernel that has this devlink and nothing else.
    #[cfg(test)]
    fn with_devlink(devlink: Devlink) -> Self {
        Self { devlink: Some(devlink), ..Self::none() }
    }

    /// The running kernel, in this process's network namespace. devlink and vDPA may be missing.
    pub(super) fn live() -> Result<Self, netlink::Error> {
        Ok(Self {
            route: Some(Netlink::open()?),
            devlink: Devlink::open().unwrap_or_default(),
            vdpa: Vdpa::open().unwrap_or_default(),
        })
    }

    /// The names of the links that have a default route. None without a kernel.
    pub(super) fn default_links(&mut self) -> Result<Vec<String>, netlink::Error> {
        let Some(netlink) = &mut self.route else { return Ok(Vec::new()) };
        let routes = netlink.default_routes()?;
        if routes.is_empty() {
            return Ok(Vec::new());
        }
        let mut links = netlink.links()?;
        links.retain(|link| routes.iter().any(|route| route.link == link.index));
        // An Open vSwitch bridge's own port shows no way down; its physical ports are below the datapath's link.
        let datapath = links.iter().any(|link| link.kind.as_deref() == Some("openvswitch"));
        let names = links.into_iter().map(|link| link.name);
        Ok(names.chain(datapath.then(|| "ovs-system".to_owned())).collect())
    }

    /// The mode of a PF's switch; `None` where devlink does not answer.
    pub(super) fn eswitch_mode(&mut self, pf: PciAddress) -> Option<EswitchMode> {
        self.devlink.as_mut()?.eswitch_mode("pci", &pf.to_string()).ok().flatten()
    }

    /// The name of the profile that runs on a function, `fw.app.name`.
    pub(super) fn ddp_profile(&mut self, function: PciAddress) -> Option<String> {
        let versions = self.devlink.as_mut()?.running_versions("pci", &function.to_string()).ok()?;
        versions.into_iter().find(|(name, _)| name == "fw.app.name").map(|(_, value)| value)
    }

    /// Whether devlink says that RDMA is on, for `pci` and an address or `auxiliary` and an SF's name.
    pub(super) fn rdma_enabled(&mut self, bus: &str, device: &str) -> bool {
        let Some(devlink) = &mut self.devlink else { return false };
        devlink.flag(bus, device, "enable_rdma").ok().flatten() == Some(true)
    }

    /// The first vDPA device of each function that has any.
    pub(super) fn vdpa_devices(&mut self) -> BTreeMap<PciAddress, String> {
        let mut first = BTreeMap::new();
        for device in self.vdpa.as_mut().and_then(|vdpa| vdpa.devices().ok()).into_iter().flatten() {
            if device.bus.as_deref() == Some("pci")
                && let Ok(address) = device.parent.parse()
            {
                first.entry(address).or_insert(device.name);
            }
        }
        first
    }
}

#[cfg(test)]
mod tests;
