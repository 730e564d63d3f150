//! rtnetlink over one blocking socket: links, VF attributes, addresses, routes, network namespaces, announcements; the
//! kernel's uevents; and devlink and vDPA, which are read only.
//! It must not know of pods, CNI or PCI, and it is the one room where `unsafe` may stand.

mod address;
mod announce;
mod arrivals;
mod attribute;
mod datagram;
mod default_route;
mod devlink;
mod error;
mod generic;
mod ifname;
mod ip_settings;
mod link;
mod listen;
mod mac;
mod netns;
mod news;
mod route;
mod saved;
mod settings;
mod socket;
mod transport;
mod uevent;
mod vdpa;
mod vf;
mod vlan;
mod watch;
mod words;

pub use address::Address;
pub use announce::announce;
pub use arrivals::Arrivals;
pub use default_route::DefaultRoute;
pub use devlink::{Devlink, EswitchMode};
pub use error::Error;
pub use ifname::{IfName, LinkName, ParseIfNameError, ParseLinkNameError};
pub use ip_settings::{IpSetting, IpSettings};
pub use link::{Link, LinkChange};
pub use mac::{MacAddr, ParseMacError};
pub use netns::{Netns, NetnsError, NetnsId};
pub use news::News;
pub use route::{Route, RouteScope};
pub use saved::SavedNetwork;
pub use settings::LinkSettings;
pub use socket::Netlink;
pub use transport::Transport;
pub use uevent::{Uevent, Uevents};
pub use vdpa::{Vdpa, VdpaDevice};
pub use vf::{LinkState, Vf, VfAttribute};
pub use vlan::{VlanError, VlanId, VlanProto};
pub use watch::{Group, Watch};
