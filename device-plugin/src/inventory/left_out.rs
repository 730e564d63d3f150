//! Why a function is never offered, whatever a configuration says.
//! It must not read anything.

use std::fmt;

use pci::{Function, Role};

use super::routes::Carriers;
use super::{Device, Kind};

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
    /// An SF whose PF has no network device here.
    NoPfName,
    /// It is not there any more; a pod that holds it is why it is still known.
    Gone,
}

impl LeftOut {
    /// What keeps a function out, seen from its PCI side; an SF's function may be a PF with VFs.
    pub(super) fn of(function: &Function, carriers: &Carriers) -> Option<Self> {
        let network = Kind::of_class(function.class) == Some(Kind::Network);
        let in_use = network.then(|| Self::by_route(&function.netdevs, carriers)).flatten();
        in_use.or(match function.role {
            Role::Pf { num_vfs: count @ 1.., .. } if network => Some(Self::HasVfs { count }),
            _ => function.driver.is_none().then_some(Self::NoDriver),
        })
    }

    /// What keeps an SF out.
    pub(super) fn of_subfunction(device: &Device, carriers: &Carriers) -> Option<Self> {
        let in_use = Self::by_route(device.netdevs(), carriers);
        in_use.or_else(|| device.function.driver.is_none().then_some(Self::NoDriver)).or_else(|| {
            // As the Go plugin: without it nothing tells which port the SF is on.
            device.pf_name.is_none().then_some(Self::NoPfName)
        })
    }

    fn by_route(netdevs: &[String], carriers: &Carriers) -> Option<Self> {
        let (netdev, route) = netdevs.iter().find_map(|netdev| carriers.get_key_value(netdev))?;
        Some(Self::DefaultRoute { netdev: netdev.clone(), route: route.clone() })
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
            Self::Gone => f.write_str("it is not there any more"),
            Self::NoPfName => f.write_str("its PF has no network device in this network namespace"),
        }
    }
}
