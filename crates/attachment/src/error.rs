//! What can stand between a function and its pod, and the one table of CNI codes for it.
//! It must not hold a plugin's own prefixes.

use std::io;
use std::path::PathBuf;

use netlink::{IfName, Link, MacAddr, NetnsError, ParseIfNameError, VfAttribute, VlanProto};
use pci::PciAddress;

use crate::go_cache::OrigVfState;
use crate::record::Owner;
use crate::trunk::TrunkError;

/// Why an attachment could not be made or undone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// sysfs does not show the function as it should.
    #[error(transparent)]
    Function(#[from] pci::Error),
    /// `CNI_IFNAME` is no interface name.
    #[error(transparent)]
    IfName(#[from] ParseIfNameError),
    /// A network namespace cannot be opened or entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// rtnetlink refused.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// rtnetlink refused a change of this device.
    #[error("{device}: {source}")]
    Device {
        /// Its address or name.
        device: String,
        /// Why.
        source: netlink::Error,
    },
    /// The link is home, and the kernel did not take back something that it had.
    #[error("{device}: cannot put back its {what}: {source}")]
    NotBack {
        /// The device.
        device: String,
        /// What it had.
        what: String,
        /// Why.
        source: netlink::Error,
    },
    /// A newer release wrote down what it alone can put back.
    #[error("{device}: its {what:?} is not put back: a newer release changed it; put it right by hand")]
    Unknown {
        /// The device.
        device: String,
        /// What the release calls it.
        what: String,
    },
    /// A PF's driver refused an attribute of a VF.
    #[error("failed to set {}: {} (vf {vf} of PF {pf})", told(*vf, attribute), reason(source))]
    Vf {
        /// The PF's link.
        pf: String,
        /// The VF's number.
        vf: u32,
        /// What was to be set.
        attribute: VfAttribute,
        /// Why.
        source: netlink::Error,
    },
    /// A rate that the driver sets only while the PF has a carrier.
    #[error(
        "{0}; the PF has no carrier, and some drivers set no rate without: it is put back when there is one"
    )]
    NoCarrier(#[source] Box<Self>),
    /// A PF's driver does not keep the VLANs that a VF may use.
    #[error(transparent)]
    Trunk(#[from] TrunkError),
    /// The PF has no network device here through which its VFs could be set.
    #[error("PF {pf} has no network device in this network namespace; bind it to its kernel driver")]
    NoPfLink {
        /// The PF.
        pf: PciAddress,
    },
    /// A driver that is wanted is not there.
    #[error("{function}: driver {driver} is not loaded on this node; load it with modprobe {driver}")]
    NoDriver {
        /// The function.
        function: PciAddress,
        /// The driver.
        driver: String,
    },
    /// The kernel does not let the function change its driver.
    #[error("{function}: cannot give it to {driver}: writing {path}: {source}")]
    Driver {
        /// The function.
        function: PciAddress,
        /// The driver that it was to have.
        driver: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel took the change of drivers, and it has another all the same.
    #[error(
        "{function}: driver is {}, wanted {}; the kernel's log says why", found.as_deref().unwrap_or("none"),
        wanted.as_deref().unwrap_or("none")
    )]
    OtherDriver {
        /// The function.
        function: PciAddress,
        /// The driver that it was to have.
        wanted: Option<String>,
        /// The one that it has.
        found: Option<String>,
    },
    /// To take it from its driver would wait for whoever has it open, without end.
    #[error("{function}: a process has /dev/vfio/{group} open; it is put back when that process has ended")]
    InUse {
        /// The function.
        function: PciAddress,
        /// Its IOMMU group.
        group: u32,
    },
    /// A state file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    State {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A state file holds something else than a record.
    #[error("{path} is no attachment record: {source}; move it away if the pod is gone")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
    /// Another process holds the device's lock.
    #[error("time out while waiting to acquire exclusive lock on [{path}]")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A living pod has the device.
    #[error("pci address {device} is already allocated{}", by(owner.as_ref()))]
    Allocated {
        /// The device.
        device: String,
        /// Who has it, where known.
        owner: Option<Owner>,
    },
    /// Whether the pod that has the device lives cannot be told.
    #[error(
        "pci address {device} may be allocated: whether its pod lives cannot be told: {source}; it is free when that path is gone, \
         or leads to another namespace"
    )]
    Unseen {
        /// The device.
        device: String,
        /// Why its network namespace cannot be opened.
        source: NetnsError,
    },
    /// Another attachment's record has the file that this one's would have.
    #[error(
        "{} of container {} cannot be recorded: its file is that of {} of container {}; give the interface another name",
        owner.ifname, owner.container_id, other.ifname, other.container_id
    )]
    Namesake {
        /// Whose record it would be.
        owner: Owner,
        /// Whose it is.
        other: Owner,
    },
    /// An attachment whose record's file, or another of its files, would have too long a name.
    #[error(
        "{} of container {} cannot be recorded: its files' names would have {length} bytes, and 255 are the most; give the container a \
         shorter id",
        owner.ifname, owner.container_id
    )]
    NameTooLong {
        /// Whose record it would be.
        owner: Owner,
        /// Bytes of the longest name.
        length: usize,
    },
    /// The driver took another address than it was given.
    #[error("failed to set MAC address to {wanted}: the driver shows {found}")]
    MacNotTaken {
        /// The address asked for.
        wanted: MacAddr,
        /// What the driver shows.
        found: String,
    },
    /// The link is neither on the host nor in its pod.
    #[error(
        "{device}: its network device is neither on the host nor in the pod's network namespace; a process that outlives \
         the pod may still hold that namespace"
    )]
    LinkAway {
        /// The device.
        device: String,
    },
    /// Several links could be the one, and the wrong one must not be touched.
    #[error("{device}: any of {} could be its network device; rename the others, or move it back by hand", names.join(", "))]
    Ambiguous {
        /// The device.
        device: String,
        /// Their names.
        names: Vec<String>,
    },
    /// The name that the link had on the host belongs to another link now.
    #[error("{device}: the name {name} is taken on the host meanwhile; the link came back as {found}")]
    NameTaken {
        /// The device.
        device: String,
        /// The name it had.
        name: IfName,
        /// The name it has.
        found: String,
    },
    /// Another station has the pod's IPv6 address.
    #[error("IPv6 duplicate address detection failed for {address} on {link}")]
    Duplicate {
        /// The address.
        address: String,
        /// The link's name.
        link: String,
    },
    /// A link that came home with an XDP program, and had none.
    #[error(
        "{device}: {link} has an XDP program that it did not have before, the pod's or somebody's on this host; if it is nobody's \
         here, take it off with ip link set dev {link} xdp off"
    )]
    Xdp {
        /// The device.
        device: String,
        /// The link's name.
        link: String,
    },
    /// A kernel setting of a link cannot be written.
    #[error("cannot set {path} to {value:?}: {source}")]
    Sysctl {
        /// The setting.
        path: PathBuf,
        /// The value.
        value: String,
        /// Why.
        source: io::Error,
    },
    /// The pod has an interface of that name already, which is somebody else's.
    #[error("{name}: file exists: the pod has an interface of that name already")]
    NameInPod {
        /// The name.
        name: IfName,
    },
    /// The IPAM plugin refused.
    #[error(transparent)]
    Ipam(#[from] cni::Error),
    /// The IPAM plugin gave a result without an address.
    #[error("IPAM plugin returned missing IP config")]
    NoAddresses,
    /// The result cannot be said in the version that the runtime asked for.
    #[error(transparent)]
    Result(#[from] cni::ResultError),
    /// More than one thing went wrong; each was gone past.
    #[error("{}", join(.0))]
    Several(Vec<Self>),
}

fn by(owner: Option<&Owner>) -> String {
    owner.map(|owner| format!(" to {} of container {}", owner.ifname, owner.container_id)).unwrap_or_default()
}

/// An attribute in the Go plugin's words.
fn told(vf: u32, attribute: &VfAttribute) -> String {
    let flag = |on: bool| if on { "on" } else { "off" };
    match attribute {
        VfAttribute::Mac(mac) => format!("MAC address to {mac}"),
        VfAttribute::Vlan { vlan, qos, proto } => {
            let proto = if *proto == VlanProto::Ad { "802.1ad" } else { "802.1q" };
            format!("vf {vf} vlan configuration - id {}, qos {qos} and proto {proto}", vlan.get())
        }
        VfAttribute::Rate { min, max } => {
            format!("vf {vf} min_tx_rate to {min} Mbps: max_tx_rate to {max} Mbps")
        }
        VfAttribute::Spoofchk(on) => format!("vf {vf} spoofchk flag to {}", flag(*on)),
        VfAttribute::Trust(on) => format!("vf {vf} trust flag to {}", flag(*on)),
        VfAttribute::LinkState(state) => {
            format!("vf {vf} link state to {}", OrigVfState::link_state(Some(*state)))
        }
    }
}

/// A refusal as the Go plugin ends its own words with: without what was asked for.
fn reason(source: &netlink::Error) -> String {
    let text = source.to_string();
    let netlink::Error::Refused { request, .. } = source else { return text };
    text.strip_prefix(request).and_then(|text| text.strip_prefix(": ")).map_or(text.clone(), str::to_owned)
}

fn join(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// What a driver's refusal of an attribute is.
    pub(crate) fn vf<'a>(
        pf: &'a Link,
        vf: u32,
        attribute: &'a VfAttribute,
    ) -> impl FnOnce(netlink::Error) -> Self + use<'a> {
        move |source| Self::Vf { pf: pf.name.clone(), vf, attribute: attribute.clone(), source }
    }

    /// All of `errors` as one; `None` where there is none.
    pub fn all(mut errors: Vec<Self>) -> Option<Self> {
        if errors.len() > 1 { Some(Self::Several(errors)) } else { errors.pop() }
    }

    /// True where the kernel refused a value of a link for good: trying again would keep a pod for ever.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::NotBack { source, .. } | Self::Device { source, .. } => source.is_final(),
            _ => false,
        }
    }

    /// True where nothing is left but what has to wait, for as long as it likes, and neither the pod's link nor its namespace
    /// is in it.
    pub(crate) fn is_put_off(&self) -> bool {
        match self {
            Self::NoCarrier(_) => true,
            Self::Several(errors) => errors.iter().all(Self::is_put_off),
            _ => false,
        }
    }

    /// The CNI code: the one table for both plugins.
    pub fn code(&self) -> cni::Code {
        match self {
            Self::State { .. } | Self::Driver { .. } => cni::Code::IO,
            Self::IfName(_) | Self::Namesake { .. } | Self::NameTooLong { .. } => cni::Code::ENVIRONMENT,
            Self::Corrupt { .. } => cni::Code::DECODE,
            Self::Locked { .. } | Self::Allocated { .. } | Self::Unseen { .. } => cni::Code::TRY_AGAIN,
            Self::Ipam(error) => error.code,
            Self::Several(errors) => errors.first().map_or(cni::Code::INTERNAL, Self::code),
            _ => cni::Code::INTERNAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use netlink::LinkState;
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_refused_attribute_is_told_in_the_go_plugins_words() {
        let pf = Link { name: "eth0".to_owned(), ..Link::default() };
        let told = |attribute: VfAttribute| {
            let source = netlink::Error::Refused {
                request: "set VF trust",
                source: Errno::EINVAL.into(),
                message: None,
            };
            let told = Error::vf(&pf, 3, &attribute)(source).to_string();
            told.strip_suffix(": invalid argument (vf 3 of PF eth0)").unwrap().to_owned()
        };
        let vlan = 100_u32.try_into().unwrap();
        for (attribute, text) in [
            (
                VfAttribute::Vlan { vlan, qos: 3, proto: VlanProto::Ad },
                "failed to set vf 3 vlan configuration - id 100, qos 3 and proto 802.1ad",
            ),
            (VfAttribute::Mac(MacAddr::zero()), "failed to set MAC address to 00:00:00:00:00:00"),
            (
                VfAttribute::Rate { min: 1, max: 0 },
                "failed to set vf 3 min_tx_rate to 1 Mbps: max_tx_rate to 0 Mbps",
            ),
            (VfAttribute::Spoofchk(true), "failed to set vf 3 spoofchk flag to on"),
            (VfAttribute::Trust(false), "failed to set vf 3 trust flag to off"),
            (VfAttribute::LinkState(LinkState::Enable), "failed to set vf 3 link state to 1"),
        ] {
            assert_eq!(told(attribute), text);
        }
    }
}
