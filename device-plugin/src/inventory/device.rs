//! One function or SF with all that selection needs, and whether it may be offered at all.
//! It must not read anything by itself: the scan fills it.

use std::fmt;
use std::str::FromStr;

use pci::{AuxName, Function, PciAddress, Role, Subfunction, Vdpa};
use serde::{Serialize, Serializer};

use super::LeftOut;

/// A function or SF that a pool could take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Device {
    /// What sysfs says of the PCI function: itself, or the one that an SF is below.
    pub function: Function,
    /// The SF, where it is one.
    pub sf: Option<Subfunction>,
    /// The network device of the port that it belongs to, for a VF or SF: the PF's, and among several of a switch the
    /// uplink. `None` while the PF has none in this network namespace.
    pub pf_name: Option<String>,
    /// The link type of its network device, or else of its PF's; only where a configuration asks.
    pub link_type: Option<String>,
    /// The first partition key; only where a configuration asks.
    pub pkey: Option<String>,
    /// The dynamic device personalization profile; only where a configuration asks.
    pub ddp_profile: Option<String>,
    /// devlink says that RDMA is on, although no RDMA device is seen in this network namespace.
    pub rdma_enabled: bool,
    /// Its vDPA device; only where a configuration asks.
    pub vdpa: Option<Vdpa>,
    /// Whether the port that it sends through has a carrier, its PF's or its own; only where a configuration asks, and
    /// only where the port's network device is here.
    pub carrier: Option<bool>,
    /// The PCI bridges above it, from the host's downwards, `pci0000:3a/0000:3a:00.0`; only where a configuration asks.
    pub above: Option<String>,
    /// Why no pool may take it, where that is so.
    pub left_out: Option<LeftOut>,
}

/// What the kubelet calls a device. Functions stand before SFs.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DeviceId {
    /// A function, by its address.
    Function(PciAddress),
    /// An SF, by its auxiliary device.
    Subfunction(AuxName),
}

/// The kinds of device that pools choose from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// `netDevice`: PCI base class 0x02, network controllers of any sort.
    Network,
    /// `accelerator`: PCI base class 0x12, processing accelerators.
    Accelerator,
    /// `auxNetDevice`: SFs below network controllers.
    Subfunction,
}

impl Device {
    /// A function that nothing more is known of.
    pub(crate) fn new(function: Function, sf: Option<Subfunction>) -> Self {
        Self {
            function,
            sf,
            pf_name: None,
            link_type: None,
            pkey: None,
            ddp_profile: None,
            rdma_enabled: false,
            vdpa: None,
            carrier: None,
            above: None,
            left_out: None,
        }
    }

    /// The device as it was last seen, and not there any more.
    pub(super) fn gone(&self) -> Self {
        Self { left_out: Some(LeftOut::Gone), ..self.clone() }
    }

    /// Fills in what was `known` of the same device and cannot be told while network devices are in a pod: it must not
    /// count as another device for that.
    pub(super) fn remember(&mut self, known: &Self) {
        if !self.is_same(known) {
            return;
        }
        if self.netdevs().is_empty() && self.link_type.is_none() {
            self.link_type.clone_from(&known.link_type);
        }
        if self.pf_name.is_none() && known.pf_name.is_some() {
            self.pf_name.clone_from(&known.pf_name);
            self.left_out.take_if(|left_out| *left_out == LeftOut::NoPfName);
        }
    }

    /// Whether it is the device that was `known` under its id, on the same driver, and not another in its place.
    pub(super) fn is_same(&self, known: &Self) -> bool {
        let (now, before) = (&self.function, &known.function);
        known.left_out != Some(LeftOut::Gone)
            && (&now.vendor, &now.device, &now.driver) == (&before.vendor, &before.device, &before.driver)
            && self.root() == known.root()
    }

    /// The device's id for the kubelet.
    pub fn id(&self) -> DeviceId {
        match &self.sf {
            Some(sf) => DeviceId::Subfunction(sf.name.clone()),
            None => DeviceId::Function(self.function.address),
        }
    }

    /// What kind it is; `None` for what no pool can ask for.
    pub fn kind(&self) -> Option<Kind> {
        match (&self.sf, Kind::of_class(self.function.class)) {
            (Some(_), Some(Kind::Network)) => Some(Kind::Subfunction),
            (Some(_), _) => None,
            (None, kind) => kind,
        }
    }

    /// The address that `rootDevices` means: a VF's PF, or the function that an SF is below.
    pub fn root(&self) -> Option<PciAddress> {
        if self.sf.is_some() { Some(self.function.address) } else { self.function.pf() }
    }

    /// The number that follows `#` in `pfNames`: a VF's below its PF, or an SF's own.
    pub fn index(&self) -> Option<u32> {
        match &self.sf {
            Some(sf) => Some(sf.number),
            None => self.function.vf_index().map(pci::VfIndex::get),
        }
    }

    /// The kind of auxiliary device; `None` for a function.
    pub fn aux_type(&self) -> Option<&str> {
        self.sf.as_ref().map(|sf| sf.name.kind())
    }

    /// Its own network devices.
    pub fn netdevs(&self) -> &[String] {
        self.sf.as_ref().map_or(&self.function.netdevs, |sf| &sf.netdevs)
    }

    /// The network device of the port that it sends through: its PF's, or its own where it has no PF.
    pub fn port(&self) -> Option<&str> {
        match self.root() {
            Some(_) => self.pf_name.as_deref(),
            None => self.netdevs().first().map(String::as_str),
        }
    }

    /// Its own RDMA devices.
    pub fn rdma(&self) -> &[String] {
        self.sf.as_ref().map_or(&self.function.rdma, |sf| &sf.rdma)
    }

    /// Whether `isRdma` takes it.
    pub fn is_rdma(&self) -> bool {
        self.rdma_enabled || !self.rdma().is_empty()
    }

    /// `vhost` or `virtio`, by the driver of its vDPA device.
    pub fn vdpa_type(&self) -> Option<&'static str> {
        match self.vdpa.as_ref()?.driver.as_deref()? {
            "vhost_vdpa" => Some("vhost"),
            "virtio_vdpa" => Some("virtio"),
            _ => None,
        }
    }

    /// What to call it in a message: `vf 0000:3b:02.1`.
    pub fn label(&self) -> impl fmt::Display {
        let what = match (&self.sf, &self.function.role) {
            (Some(_), _) => "sf",
            (None, Role::Vf { .. }) => "vf",
            (None, Role::Pf { .. }) => "pf",
            (None, Role::Plain) => "function",
        };
        format!("{what} {}", self.id())
    }
}

impl Kind {
    /// The kind that a PCI class belongs to.
    pub fn of_class(class: u32) -> Option<Self> {
        match class >> 16 {
            0x02 => Some(Self::Network),
            0x12 => Some(Self::Accelerator),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network functions",
            Self::Accelerator => "accelerators",
            Self::Subfunction => "SFs",
        })
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(address) => address.fmt(f),
            Self::Subfunction(name) => name.fmt(f),
        }
    }
}

impl FromStr for DeviceId {
    type Err = pci::ParseAddressError;

    /// What is neither is taken for an address.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<AuxName>() {
            Ok(name) if text.parse::<PciAddress>().is_err() => Ok(Self::Subfunction(name)),
            _ => text.parse().map(Self::Function),
        }
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
