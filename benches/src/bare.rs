//! The kernel operations that an ADD and a DEL of `sriov` come down to: what the kernel has to be told for one VF, and no more.
//! It must not measure.

use std::os::fd::AsFd;

use anyhow::Result;
use netlink::{IfName, LinkChange, Netlink, Netns, VfAttribute, VlanId, VlanProto};

/// What each VF is given.
pub const VLAN: u16 = 100;
/// The link's name in the pod.
pub const IN_POD: &str = "net1";

/// A network namespace and a socket to it.
pub struct Side {
    /// The namespace.
    pub netns: Netns,
    /// rtnetlink there.
    pub netlink: Netlink,
}

/// A VF on the host.
pub struct Vf {
    /// The index of its PF's link.
    pub pf: u32,
    /// Its number below the PF.
    pub number: u32,
    /// Its own link's name.
    pub name: IfName,
}

impl Side {
    /// Opens a namespace and a socket to it.
    pub fn of(netns: Netns) -> Result<Self> {
        let netlink = netns.netlink()??;
        Ok(Self { netns, netlink })
    }
}

impl Vf {
    /// VLAN and trust, then into the pod and up there.
    pub fn add(&self, host: &mut Side, pod: &mut Side) -> Result<()> {
        self.attributes(&mut host.netlink, VLAN, true)?;
        let link = host.netlink.link_by_name(&self.name)?;
        let moved =
            LinkChange { netns: Some(pod.netns.as_fd()), name: Some(IN_POD), ..LinkChange::default() };
        host.netlink.change_link(link.index, "move link", &moved)?;
        let link = pod.netlink.link_by_name(&IN_POD.parse()?)?;
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        Ok(pod.netlink.change_link(link.index, "set link up", &up)?)
    }

    /// Home under its name and down, then without VLAN and trust.
    pub fn del(&self, host: &mut Side, pod: &mut Side) -> Result<()> {
        let link = pod.netlink.link_by_name(&IN_POD.parse()?)?;
        let home = LinkChange {
            netns: Some(host.netns.as_fd()),
            name: Some(self.name.as_str()),
            up: Some(false),
            ..LinkChange::default()
        };
        pod.netlink.change_link(link.index, "move link back", &home)?;
        self.attributes(&mut host.netlink, 0, false)
    }

    fn attributes(&self, netlink: &mut Netlink, vlan: u16, trust: bool) -> Result<()> {
        let vlan = VlanId::try_from(i64::from(vlan))?;
        netlink.set_vf(self.pf, self.number, &VfAttribute::Vlan { vlan, qos: 0, proto: VlanProto::Q })?;
        Ok(netlink.set_vf(self.pf, self.number, &VfAttribute::Trust(trust))?)
    }
}
