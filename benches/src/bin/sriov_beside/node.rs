//! The VFs that everyone attaches, a pod for each, and the kernel operations that an ADD and a DEL come down to.
//! It must not measure.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use netlink::{IfName, LinkChange, Netlink, Netns, VfAttribute, VlanId, VlanProto};
use testkit::netns::Namespace;

/// What each VF is given.
pub(crate) const VLAN: u16 = 100;
/// The link's name in the pod.
pub(crate) const IN_POD: &str = "net1";

/// A host with VFs to give away, and pods.
pub(crate) struct Node {
    host: Netns,
    netlink: Netlink,
    attachments: Vec<Attachment>,
}

/// One VF and its pod.
struct Attachment {
    address: String,
    number: u32,
    pf: u32,
    name: IfName,
    pod: Namespace,
    netns: Netns,
    netlink: Netlink,
}

impl Node {
    /// Takes the VFs of the PFs whose directories in sysfs these are, at most `limit`.
    pub(crate) fn new(pfs: &[PathBuf], limit: usize) -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let mut attachments = Vec::new();
        for pf in pfs {
            let index = netlink.link_by_name(&first(&pf.join("net"))?.parse()?)?.index;
            let count: u32 = fs::read_to_string(pf.join("sriov_numvfs"))?.trim().parse()?;
            for number in 0..count {
                let vf = fs::canonicalize(pf.join(format!("virtfn{number}")))?;
                attachments.push(Attachment::of(&vf, number, index)?);
            }
        }
        attachments.truncate(limit);
        Ok(Self { host: Netns::current()?, netlink, attachments })
    }

    /// How many VFs there are.
    pub(crate) fn vfs(&self) -> usize {
        self.attachments.len()
    }

    /// The VF's address and its pod's namespace.
    pub(crate) fn pod(&self, vf: usize) -> (&str, PathBuf) {
        let attachment = &self.attachments[vf];
        (&attachment.address, attachment.pod.path())
    }

    /// Fails unless the first `vfs` are where `command` takes them from: no one is measured while doing nothing.
    pub(crate) fn ready(&mut self, command: &str, vfs: usize) -> Result<()> {
        for attachment in &mut self.attachments[..vfs] {
            let pod = attachment.netlink.link_by_name(&IN_POD.parse()?);
            match (command, pod) {
                ("ADD", Err(error)) if error.is_no_link() => {
                    self.netlink.link_by_name(&attachment.name).context("before ADD")?;
                }
                ("DEL", Ok(_)) => {}
                (_, found) => bail!("before {command} of {}: {found:?} in the pod", attachment.address),
            }
        }
        Ok(())
    }

    /// All that the kernel need be told for one VF.
    pub(crate) fn bare(&mut self, command: &str, vf: usize) -> Result<()> {
        let Attachment { number, pf, name, netns, netlink, .. } = &mut self.attachments[vf];
        if command == "ADD" {
            attributes(&mut self.netlink, *pf, *number, VLAN, true)?;
            let link = self.netlink.link_by_name(name)?;
            let moved =
                LinkChange { netns: Some(netns.as_fd()), name: Some(IN_POD), ..LinkChange::default() };
            self.netlink.change_link(link.index, "move link", &moved)?;
            let link = netlink.link_by_name(&IN_POD.parse()?)?;
            let up = LinkChange { up: Some(true), ..LinkChange::default() };
            return Ok(netlink.change_link(link.index, "set link up", &up)?);
        }
        let link = netlink.link_by_name(&IN_POD.parse()?)?;
        let home = LinkChange {
            netns: Some(self.host.as_fd()),
            name: Some(name.as_str()),
            up: Some(false),
            ..LinkChange::default()
        };
        netlink.change_link(link.index, "move link back", &home)?;
        attributes(&mut self.netlink, *pf, *number, 0, false)
    }
}

impl Attachment {
    fn of(vf: &Path, number: u32, pf: u32) -> Result<Self> {
        let address = vf.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = first(&vf.join("net"))?.parse()?;
        let pod = Namespace::new("bench-pod");
        let netns = Netns::open(pod.path())?;
        let netlink = netns.netlink()??;
        Ok(Self { address, number, pf, name, pod, netns, netlink })
    }
}

fn attributes(netlink: &mut Netlink, pf: u32, vf: u32, vlan: u16, trust: bool) -> Result<()> {
    let vlan = VlanId::try_from(i64::from(vlan))?;
    netlink.set_vf(pf, vf, &VfAttribute::Vlan { vlan, qos: 0, proto: VlanProto::Q })?;
    Ok(netlink.set_vf(pf, vf, &VfAttribute::Trust(trust))?)
}

/// The name of the first entry.
fn first(dir: &Path) -> Result<String> {
    let entry = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?.next();
    let entry = entry.with_context(|| format!("{} is empty: no network device here", dir.display()))??;
    Ok(entry.file_name().to_string_lossy().into_owned())
}
