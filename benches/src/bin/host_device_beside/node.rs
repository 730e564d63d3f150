//! The veth that everyone moves, and the two namespaces that it is moved between.
//! It must not measure.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use netlink::{IfName, Link, LinkChange, Netlink, Netns};
use testkit::netns::Namespace;

/// The link's name on the host.
pub(crate) const ON_HOST: &str = "nic0";
/// The link's name in the pod.
pub(crate) const IN_POD: &str = "net1";

/// A host with one link to give away, and a pod.
pub(crate) struct Node {
    host: Side,
    pod: Side,
    pod_path: PathBuf,
}

/// One namespace and a socket in it.
struct Side {
    netns: Netns,
    netlink: Netlink,
    name: IfName,
}

impl Node {
    /// Makes the veth. The calling thread is in the host's namespace.
    pub(crate) fn new(host: &Namespace, pod: &Namespace) -> Result<Self> {
        host.ip(&["link", "add", ON_HOST, "type", "veth", "peer", "name", "peer0"]);
        host.ip(&["link", "set", "peer0", "up"]);
        Ok(Self {
            host: Side::open(&host.path(), ON_HOST)?,
            pod: Side::open(&pod.path(), IN_POD)?,
            pod_path: pod.path(),
        })
    }

    /// The pod's namespace, as `CNI_NETNS` gives it.
    pub(crate) fn pod_path(&self) -> &Path {
        &self.pod_path
    }

    /// The link where `command` takes it from, set up: everyone gets it in the same state.
    pub(crate) fn ready(&mut self, command: &str) -> Result<Link> {
        let (from, to) = self.way(command);
        if let Some(link) = to.link()? {
            bail!("before {command} the link is where it has to go: {}", link.name);
        }
        from.ready()
    }

    /// All that the kernel need be told: one message, to the other side and under its name there.
    pub(crate) fn bare(&mut self, command: &str, index: u32) -> Result<()> {
        let (from, to) = self.way(command);
        let netns = Some(to.netns.as_fd());
        let moved = LinkChange { netns, name: Some(to.name.as_str()), ..LinkChange::default() };
        Ok(from.netlink.change_link(index, "move link", &moved)?)
    }

    fn way(&mut self, command: &str) -> (&mut Side, &mut Side) {
        if command == "ADD" { (&mut self.host, &mut self.pod) } else { (&mut self.pod, &mut self.host) }
    }
}

impl Side {
    fn open(path: &Path, name: &str) -> Result<Self> {
        let netns = Netns::open(path)?;
        let netlink = netns.netlink()??;
        Ok(Self { netns, netlink, name: name.parse()? })
    }

    fn link(&mut self) -> Result<Option<Link>> {
        match self.netlink.link_by_name(&self.name) {
            Ok(link) => Ok(Some(link)),
            Err(error) if error.is_no_link() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn ready(&mut self) -> Result<Link> {
        let link = self.netlink.link_by_name(&self.name)?;
        if !link.up {
            let up = LinkChange { up: Some(true), ..LinkChange::default() };
            self.netlink.change_link(link.index, "set link up", &up)?;
        }
        Ok(link)
    }
}
