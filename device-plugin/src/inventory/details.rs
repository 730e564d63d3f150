//! What a device is beside its own attributes, and costs more than those to know: link type, keys, profiles, RDMA, vDPA.
//! It must not be asked where no configuration wants it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use netlink::EswitchMode;
use pci::{PciAddress, Role, Sysfs};

use super::ddptool::{self, Silent};
use super::kernel::Kernel;
use super::{Device, Needs};

/// Answers, each asked for once.
pub(super) struct Details<'a> {
    sysfs: &'a Sysfs,
    kernel: Kernel,
    pf_names: HashMap<PciAddress, Option<String>>,
    ddp: HashMap<PciAddress, Option<String>>,
    vdpa: BTreeMap<PciAddress, String>,
    tool: ddptool::Tool,
    unprofiled: Vec<PciAddress>,
}

impl<'a> Details<'a> {
    pub(super) fn new(sysfs: &'a Sysfs, mut kernel: Kernel, needs: &Needs<'_>) -> Self {
        let mut vdpa = BTreeMap::new();
        if needs.vdpa {
            // The kernel's word first; sysfs for the drivers that have no management device.
            vdpa = kernel.vdpa_devices();
            for (name, function) in sysfs.vdpa_devices() {
                vdpa.entry(function).or_insert(name);
            }
        }
        Self {
            sysfs,
            kernel,
            pf_names: HashMap::new(),
            ddp: HashMap::new(),
            vdpa,
            tool: ddptool::Tool::default(),
            unprofiled: Vec::new(),
        }
    }

    /// Fills in what is needed.
    pub(super) fn complete(&mut self, device: &mut Device, needs: &Needs<'_>) {
        let function = device.function.address;
        if let Some(root) = device.root() {
            device.pf_name = self.pf_name(root);
        }
        if needs.link_types {
            device.link_type = self.link_type(device);
        }
        if needs.carriers {
            device.carrier = device.port().and_then(|port| carrier(self.sysfs, port));
        }
        if needs.bridges {
            device.above = self.sysfs.bridges_above(function);
        }
        if needs.p_keys {
            device.pkey = self.pkey(device);
        }
        if needs.rdma && device.rdma().is_empty() {
            device.rdma_enabled = match &device.sf {
                Some(sf) => self.kernel.rdma_enabled("auxiliary", &sf.name.to_string()),
                None => self.kernel.rdma_enabled("pci", &function.to_string()),
            };
        }
        if device.sf.is_none() {
            device.vdpa = self.vdpa.get(&function).and_then(|name| self.sysfs.vdpa(name));
            if needs.ddp.is_some_and(|wanted| wanted(device)) {
                let known = needs.known.and_then(|known| known.snapshot.get(&device.id()));
                let known = known.filter(|known| device.is_same(known));
                let anew = known.is_none() || needs.known.is_some_and(|known| known.anew);
                let told = if anew { self.ddp_profile(device) } else { Err(Silent) };
                device.ddp_profile = told.unwrap_or_else(|Silent| known?.ddp_profile.clone());
            }
        }
    }

    fn pf_name(&mut self, pf: PciAddress) -> Option<String> {
        if let Some(known) = self.pf_names.get(&pf) {
            return known.clone();
        }
        let name = self.uplink(pf);
        self.pf_names.insert(pf, name.clone());
        name
    }

    /// The network device of a PF's port: of a switch the uplink's and no other, since a representor stands for a VF; else
    /// the first. Where devlink does not tell the mode, an uplink is believed, and no representor can be told.
    fn uplink(&mut self, pf: PciAddress) -> Option<String> {
        let netdevs = self.sysfs.netdevs(pf);
        let first = netdevs.first().cloned()?;
        let mode = self.kernel.eswitch_mode(pf);
        if mode == Some(EswitchMode::Legacy) {
            return Some(first);
        }
        let dir = self.sysfs.function_dir(pf).join("net");
        let uplink = netdevs.into_iter().find(|netdev| is_uplink(&dir.join(netdev)));
        if mode == Some(EswitchMode::Switchdev) { uplink } else { uplink.or(Some(first)) }
    }

    /// The device's own, or else its PF's. `type` is what rtnetlink has in `ifi_type` (`dev->type` in both).
    fn link_type(&self, device: &Device) -> Option<String> {
        // By its name: a virtio function's network device is a level further down than others'.
        let of = |netdev: &str| {
            let file = self.sysfs.root().join("class/net").join(netdev).join("type");
            Some(link_type_name(fs::read_to_string(file).ok()?.trim().parse().ok()?))
        };
        let own = device.netdevs().first().and_then(|netdev| of(netdev));
        own.or_else(|| of(device.pf_name.as_deref()?))
    }

    /// The key at index 0 of the first port, as the kernel prints it.
    fn pkey(&self, device: &Device) -> Option<String> {
        if self.link_type(device).as_deref() != Some("infiniband") {
            return None;
        }
        let first = device.rdma().first()?;
        let dir = self.sysfs.function_dir(device.function.address);
        let text = fs::read_to_string(dir.join("infiniband").join(first).join("ports/1/pkeys/0")).ok()?;
        Some(text.trim().to_owned())
    }

    /// devlink of the function, then of its PF, then the tool.
    fn ddp_profile(&mut self, device: &Device) -> Result<Option<String>, Silent> {
        let function = device.function.address;
        let known = match device.function.role {
            Role::Vf { pf, .. } => {
                let of_pf = || self.kernel.ddp_profile(pf);
                let by_pf = self.ddp.entry(pf).or_insert_with(of_pf).clone();
                self.kernel.ddp_profile(function).or(by_pf)
            }
            Role::Pf { .. } | Role::Plain => self.kernel.ddp_profile(function),
        };
        if known.is_some() {
            return Ok(known);
        }
        let told = self.tool.profile(function);
        if told.is_err() {
            self.unprofiled.push(function);
        }
        told
    }

    /// The functions whose profile was asked for and nobody could tell.
    pub(super) fn unprofiled(&self) -> &[PciAddress] {
        &self.unprofiled
    }
}

/// Whether a network device has a carrier. The file cannot be read while the device is down (`carrier_show`,
/// net/core/net-sysfs.c): nothing goes through then either. `None` where it is not here.
pub(super) fn carrier(sysfs: &Sysfs, netdev: &str) -> Option<bool> {
    let dir = sysfs.root().join("class/net").join(netdev);
    match fs::read_to_string(dir.join("carrier")) {
        Ok(text) => Some(text.trim() == "1"),
        Err(_) => dir.exists().then_some(false),
    }
}

/// The port of a switch that leads out is named `p` and a number; representors are `pf0vf3`, `pf0sf88`, `c1pf0vf3`
/// (`devlink_nl_port_attrs_put` and `__devlink_port_phys_port_name_get`, net/devlink/port.c).
fn is_uplink(dir: &Path) -> bool {
    // Reading fails with EOPNOTSUPP where there is no switch.
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default().trim().to_owned();
    let port = read("phys_port_name");
    let number = port.strip_prefix('p').unwrap_or_default();
    !read("phys_switch_id").is_empty()
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// `ARPHRD_*` of `include/uapi/linux/if_arp.h` under the names that the Go plugin's library gives them.
const LINK_TYPES: [(u16, &str); 10] = [
    (0, "generic"),
    (1, "ether"),
    (24, "ieee1394"),
    (32, "infiniband"),
    (256, "slip"),
    (512, "ppp"),
    (772, "loopback"),
    (801, "ieee802.11"),
    (65534, "none"),
    (65535, "void"),
];

fn link_type_name(number: u16) -> String {
    let known = LINK_TYPES.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("unknown{number}"), |(_, name)| (*name).to_owned())
}

/// Whether a device can have that link type, `""` for an unknown one included.
pub fn is_link_type(text: &str) -> bool {
    let numbered = || text.strip_prefix("unknown").is_some_and(|number| number.parse::<u16>().is_ok());
    text.is_empty() || LINK_TYPES.iter().any(|(_, name)| *name == text) || numbered()
}
