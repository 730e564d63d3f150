//! One function with what selection needs beside sysfs: its PF's name, and whether it may be offered at all.
//! It must not read anything by itself: the scan fills it.

use std::fmt;

use pci::{Function, PciAddress, Role};

/// A function that a pool could take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Device {
    /// What sysfs says of it.
    pub function: Function,
    /// The PF's first network device, for a VF; `None` while the PF has none in this network namespace.
    pub pf_name: Option<String>,
    /// Why no pool may take it, where that is so.
    pub left_out: Option<LeftOut>,
}

/// The kinds of function that pools choose from, by PCI base class.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// 0x02, network controllers of any sort.
    Network,
    /// 0x12, processing accelerators.
    Accelerator,
}

/// Why a function is never offered.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum LeftOut {
    /// The node's own traffic goes through it.
    DefaultRoute {
        /// The function's network device.
        netdev: String,
        /// The interface that has the route: the same, or one stacked on it.
        route: String,
    },
    /// Its VFs are offered in its place.
    HasVfs {
        /// How many there are.
        count: u32,
    },
    /// Nothing drives it.
    NoDriver,
}

impl Device {
    /// The device's id for the kubelet.
    pub fn id(&self) -> PciAddress {
        self.function.address
    }

    /// What kind it is; `None` for what no pool can ask for.
    pub fn kind(&self) -> Option<Kind> {
        Kind::of_class(self.function.class)
    }

    /// What to call it in a message: `vf 0000:3b:02.1`.
    pub fn label(&self) -> impl fmt::Display {
        let what = match self.function.role {
            Role::Vf { .. } => "vf",
            Role::Pf { .. } => "pf",
            Role::Plain => "function",
        };
        format!("{what} {}", self.function.address)
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
        })
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultRoute { netdev, route } if netdev == route => {
                write!(f, "{netdev} carries a default route")
            }
            Self::DefaultRoute { netdev, route } => {
                write!(f, "{netdev} carries the default route of {route}")
            }
            Self::HasVfs { count: 1 } => f.write_str("1 VF is enabled"),
            Self::HasVfs { count } => write!(f, "{count} VFs are enabled"),
            Self::NoDriver => f.write_str("no driver is bound"),
        }
    }
}
