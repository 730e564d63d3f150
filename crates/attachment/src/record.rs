//! The record of an attachment: who has which function, and how to undo all that was or will be done to it.
//! It must not be acted on here, nor know where it is kept.

use std::path::{Path, PathBuf};

use cni::{Args, Request};
use netlink::{
    IfName, IpSettings, Link, LinkSettings, MacAddr, Netns, NetnsId, ParseIfNameError, SavedNetwork,
    VfAttribute,
};
use pci::PciAddress;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::boot;
use crate::vlan_set::VlanSet;

/// Whose attachment it is: the pair by which CNI names one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_IFNAME`
    pub ifname: IfName,
}

impl Owner {
    /// Whose attachment a request is about.
    pub fn of(request: &Request) -> Result<Self, ParseIfNameError> {
        Ok(Self { container_id: request.container_id.clone(), ifname: request.ifname.parse()? })
    }

    /// The name of its record: no container id holds a `/`.
    pub fn key(&self) -> String {
        format!("{}-{}", self.container_id, self.ifname)
    }
}

/// The pod, as the runtime names it beside the attachment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pod {
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Option<String>,
}

impl Pod {
    /// The pod that `CNI_ARGS` names; `None` where there is none, or no Kubernetes.
    pub fn of(request: &Request) -> Option<Self> {
        const NAMESPACE: &str = "K8S_POD_NAMESPACE";
        const NAME: &str = "K8S_POD_NAME";
        const UID: &str = "K8S_POD_UID";
        let args = Args::parse(&request.args, &[NAMESPACE, NAME, UID, "K8S_POD_INFRA_CONTAINER_ID", "MAC"]);
        let args = args.ok()?;
        let get = |key| args.get(key).filter(|value| !value.is_empty()).map(str::to_owned);
        Some(Self { namespace: get(NAMESPACE)?, name: get(NAME)?, uid: get(UID) })
    }
}

/// The pod's network namespace, told by more than its path: paths are used again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sandbox {
    /// `CNI_NETNS`
    pub path: PathBuf,
    /// What tells it from another one at the same path; `None` where the record is the Go plugin's, which keeps none.
    pub id: Option<NetnsId>,
    /// The boot in which it was; `None` in records of versions that did not note it.
    #[serde(default)]
    pub boot: Option<String>,
    /// What the kernel gives to no other namespace of that boot; `None` before Linux 5.14, and until an ADD has opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
}

impl Sandbox {
    /// The sandbox that is open as `netns`, called by the path that the runtime gave.
    pub fn of(netns: &Netns) -> Self {
        Self { path: netns.path().to_owned(), id: Some(netns.id()), boot: boot::id(), cookie: None }
    }

    /// The sandbox of a record that has none, from the request that names it.
    pub fn unknown(path: Option<&Path>) -> Self {
        Self { path: path.map(Path::to_owned).unwrap_or_default(), id: None, boot: None, cookie: None }
    }

    /// True where `netns` is this sandbox. Inodes are given out anew by each boot, and to the next namespace when one is gone.
    pub fn is(&self, netns: &Netns) -> bool {
        let same_cookie =
            || self.cookie.is_none_or(|cookie| netns.cookie().is_none_or(|found| found == cookie));
        self.id.is_none_or(|id| id == netns.id()) && !self.is_of_an_earlier_boot() && same_cookie()
    }

    /// True where no namespace of now can be this sandbox.
    pub fn is_of_an_earlier_boot(&self) -> bool {
        boot::is_over(self.boot.as_deref())
    }
}

/// Where a VF stands below its PF.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pf {
    /// The PF.
    pub address: PciAddress,
    /// The VF's number.
    pub vf: u32,
}

/// A link as it was on the host. What is `None` is not known, and left alone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LinkBefore {
    /// Its name.
    pub name: IfName,
    /// Its index on the host; 0 in a record made for a pod of the Go plugin's.
    #[serde(default)]
    pub index: u32,
    /// Its index in the pod: foretold, where it could be, because the kernel keeps an index that is free; amended when it is
    /// there, where it came out otherwise.
    pub pod_index: Option<u32>,
    /// The bus address of its device, where the kernel tells: it names the link wherever it is and whatever it is called.
    pub parent: Option<String>,
    /// The kind of a virtual link, such as `veth`, which dies with its namespace.
    pub kind: Option<String>,
    /// Its port among those of its device, where the device has several.
    pub port: Option<String>,
    /// Its hardware address, a bond's port's own.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// Its alias; empty for none.
    pub alias: Option<String>,
    /// Its alternative names.
    pub alt_names: Option<Vec<String>>,
    /// Whether it took every multicast frame.
    #[serde(default)]
    pub allmulti: Option<bool>,
    /// How the kernel makes its IPv6 link-local address.
    #[serde(default)]
    pub addr_gen_mode: Option<u8>,
    /// What else was set on it.
    #[serde(default)]
    pub settings: LinkSettings,
    /// The settings of IP, which the move takes from it.
    #[serde(default)]
    pub ip: Box<IpSettings>,
    /// Whether it had an XDP program.
    #[serde(default)]
    pub xdp: Option<bool>,
    /// Its name in the pod; `None`: the owner's interface.
    #[serde(default)]
    pub pod_name: Option<IfName>,
}

impl LinkBefore {
    /// What is to be remembered of a link on the host.
    pub fn of(link: &Link, port: Option<String>) -> Result<Self, ParseIfNameError> {
        Ok(Self {
            name: link.name.parse()?,
            index: link.index,
            pod_index: None,
            parent: link.parent.clone(),
            kind: link.kind.clone(),
            port,
            mac: link.own_mac().cloned(),
            mtu: Some(link.mtu),
            alias: Some(link.alias.clone()),
            alt_names: Some(link.alt_names.clone()),
            allmulti: Some(link.allmulti),
            addr_gen_mode: link.addr_gen_mode,
            settings: link.settings.clone(),
            ip: Box::new(link.ip.clone()),
            xdp: Some(link.xdp != 0),
            pod_name: None,
        })
    }
}

/// The hardware addresses as they were.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MacBefore {
    /// What the PF held for the VF; all zero for none. `None` for a function without a PF.
    pub admin: Option<MacAddr>,
    /// What the link had; `None` for a function without one.
    pub effective: Option<MacAddr>,
    /// Whether `admin` was an administrator's, so that the VF could not change it; `None` until it was tried.
    pub locked: Option<bool>,
}

/// Which driver a function had, and which one its administrator wants for it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DriverBefore {
    /// The driver; `None` for none.
    pub driver: Option<String>,
    /// `driver_override`: the only driver that may take it; `None` for any.
    pub only: Option<String>,
}

/// One thing to put back. Each is a state to reach and not a change to make, so that doing it twice, or without the step
/// that it undoes having been done, is harmless.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// The addresses and routes that the link had on the host.
    Network(SavedNetwork),
    /// The link was up on the host.
    Up,
    /// The link was a port of this bond, bridge or VRF of the host's, which the kernel takes it from with the move.
    Master(IfName),
    /// An attribute that the PF held for the VF.
    Vf(VfAttribute),
    /// The VLANs that the PF let the VF use.
    Trunk(VlanSet),
    /// The hardware addresses.
    Mac(MacBefore),
    /// The link belongs on the host, as it was.
    Link(LinkBefore),
    /// The driver, for a function that was given to another for the pod.
    Driver(DriverBefore),
    /// What only a newer release knows to put back.
    #[serde(untagged)]
    Unknown(Unknown),
}

/// Something to put back as a newer release wrote it. What leads a device back is none: without it nobody knows where that is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Value")]
pub struct Unknown(Value);

impl Unknown {
    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        let key = || self.0.as_object().and_then(|object| object.keys().next()).map(String::as_str);
        self.0.as_str().or_else(key).unwrap_or_default()
    }
}

impl TryFrom<Value> for Unknown {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let unknown = Self(value);
        match unknown.name() {
            "" | "link" | "driver" => Err("not something to put back"),
            _ => Ok(unknown),
        }
    }
}

/// An attachment as it is kept on disk.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The form of this record: 1.
    pub version: u32,
    /// Whose it is.
    pub owner: Owner,
    /// The pod, where the runtime named it; for people, and to hold against what the kubelet says.
    #[serde(default)]
    pub pod: Option<Pod>,
    /// Where it is attached.
    pub sandbox: Sandbox,
    /// The name under which the device is claimed: its PCI address, or the link's name where it has none.
    pub device: String,
    /// Its PCI address.
    pub function: Option<PciAddress>,
    /// Its PF.
    pub pf: Option<Pf>,
    /// The IPAM plugin that holds addresses for it.
    pub ipam: Option<String>,
    /// The network configuration as it came, for whoever must call IPAM later.
    pub config: Map<String, Value>,
    /// What to put back, in the order in which the steps change it; to be undone from the end.
    pub undo: Vec<Undo>,
}

impl Record {
    /// The form that this version writes.
    pub const VERSION: u32 = 1;

    /// Whether the pod was promised a link: one that was moved, and not given to another driver.
    pub fn promises_link(&self) -> bool {
        let has = |kind: fn(&Undo) -> bool| self.undo.iter().any(kind);
        has(|undo| matches!(undo, Undo::Link(_))) && !has(|undo| matches!(undo, Undo::Driver(_)))
    }

    /// The same, with the MAC at the PF known to be an administrator's.
    pub(crate) fn with_hold(&self) -> Self {
        let mut record = self.clone();
        for undo in &mut record.undo {
            if let Undo::Mac(before) = undo {
                before.locked = Some(true);
            }
        }
        record
    }

    /// True for one made of the Go plugin's cache, which is written after the changes that it tells of.
    pub(crate) fn is_of_go(&self) -> bool {
        self.sandbox.id.is_none()
    }

    /// The network's name.
    pub(crate) fn network(&self) -> Option<&str> {
        self.config.get("name").and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(args: &str) -> Request {
        let conf =
            cni::NetConf { version: cni::Version::V1_1_0, name: "n".into(), ipam: None, raw: Map::new() };
        Request {
            container_id: "c1".into(),
            netns: None,
            ifname: "net1".into(),
            args: args.into(),
            path: Vec::new(),
            stdin: Vec::new(),
            conf,
        }
    }

    #[test]
    fn the_pod_is_the_one_that_multus_names() {
        let args = "IgnoreUnknown=true;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=u;OTHER=1";
        let pod = Pod { namespace: "ns".into(), name: "p".into(), uid: Some("u".into()) };
        assert_eq!(Pod::of(&request(args)), Some(pod));
        for none in ["", "MAC=02:00:00:00:00:01", "IgnoreUnknown=1;K8S_POD_NAME=p;K8S_POD_NAMESPACE="] {
            assert_eq!(Pod::of(&request(none)), None, "{none}");
        }
    }

    #[test]
    fn a_sandbox_of_an_earlier_boot_is_none_of_today() {
        let netns = Netns::current().unwrap();
        let sandbox = Sandbox::of(&netns);
        assert!(sandbox.is(&netns) && !sandbox.is_of_an_earlier_boot());
        let before = Sandbox { boot: Some("00000000-0000-4000-8000-000000000000".into()), ..sandbox };
        assert!(!before.is(&netns) && before.is_of_an_earlier_boot());
    }

    #[test]
    fn a_namespace_with_the_inode_of_one_that_is_gone_is_another() {
        let netns = Netns::current().unwrap();
        let cookie = netns.cookie();
        let sandbox = Sandbox { cookie, ..Sandbox::of(&netns) };
        assert!(sandbox.is(&netns));
        let before = Sandbox { cookie: cookie.map(|cookie| cookie + 1), ..sandbox };
        assert_eq!(before.is(&netns), cookie.is_none());
    }

    #[test]
    fn what_a_newer_release_knows_to_put_back_keeps_nothing_else_from_it() {
        let text = r#"["up",{"vf":{"colour":3}},{"lamp":{"on":true}},"blink"]"#;
        let undo: Vec<Undo> = serde_json::from_str(text).unwrap();
        let names = undo.iter().map(|undo| match undo {
            Undo::Unknown(unknown) => unknown.name(),
            _ => "known",
        });
        assert_eq!(names.collect::<Vec<_>>(), ["known", "vf", "lamp", "blink"]);
        assert_eq!(serde_json::to_string(&undo).unwrap(), text);
        // Nobody knows where the device is.
        for torn in [r#"{"link":{"name":7}}"#, r#"{"driver":7}"#, "7", "{}"] {
            serde_json::from_str::<Undo>(torn).unwrap_err();
        }
    }

    #[test]
    fn a_record_of_an_older_version_has_neither_pod_nor_boot() {
        let text = r#"{"path":"/run/netns/a","id":{"dev":4,"ino":7}}"#;
        assert_eq!(serde_json::from_str::<Sandbox>(text).unwrap().boot, None);
    }
}
