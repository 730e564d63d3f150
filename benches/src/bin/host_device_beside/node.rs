//! The veths that everyone moves, and the namespaces that they are moved between: a lane is one link and one pod.
//! It must not measure.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use netlink::{Group, IfName, Link, LinkChange, Netlink, Netns, Watch};
use testkit::netns::Namespace;

/// The link's name in the pod.
pub(crate) const IN_POD: &str = "net1";
/// How long a link may take to have a carrier; its peer is up.
const CARRIER: Duration = Duration::from_secs(10);

/// One link to give away, and a pod.
pub(crate) struct Lane {
    /// The link's name on the host.
    pub(crate) on_host: String,
    host: Side,
    pod: Side,
    /// The pod's namespace as `CNI_NETNS` gives it.
    pub(crate) pod_path: PathBuf,
}

/// One namespace and a socket in it.
struct Side {
    netns: Netns,
    netlink: Netlink,
    name: IfName,
}

impl Lane {
    /// Makes the veth of that number. The calling thread is in the host's namespace.
    pub(crate) fn new(number: usize, host: &Namespace, pod: &Namespace) -> Result<Self> {
        let (on_host, peer) = (format!("nic{number}"), format!("peer{number}"));
        host.ip(&["link", "add", &on_host, "type", "veth", "peer", "name", &peer]);
        host.ip(&["link", "set", &peer, "up"]);
        Ok(Self {
            host: Side::open(&host.path(), &on_host)?,
            pod: Side::open(&pod.path(), IN_POD)?,
            pod_path: pod.path(),
            on_host,
        })
    }

    /// The link where `command` takes it from, up and with a carrier, as a node's NIC is: everyone gets it in the same state,
    /// with nothing left of what came before.
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
        let watch = self.netns.enter(|| Watch::open(&[Group::Link]))??;
        let link = self.netlink.link_by_name(&self.name)?;
        if !link.up {
            let up = LinkChange { up: Some(true), ..LinkChange::default() };
            self.netlink.change_link(link.index, "set link up", &up)?;
        }
        let running = watch.until(CARRIER, || -> Result<Option<Link>> {
            Ok(Some(self.netlink.link_by_index(link.index)?).filter(|link| link.running))
        })?;
        running.with_context(|| format!("{} has no carrier", self.name))
    }
}
