//! A kernel with one PF and one VF of igb's manners, for unit tests: the PF shows the VF's own MAC until an administrator sets
//! one, and refuses the VF every other from then on. It must not judge what it is told.

use std::sync::{Arc, Mutex};

use netlink::{MacAddr, Netlink, Netns};
use testkit::netlink::Recorded;
use testkit::netlink::link::{Link, Vf};
use testkit::sysfs::Tree;

use crate::host::Host;

pub(crate) const PF: &str = "0000:3b:00.0";
pub(crate) const VF: &str = "0000:3b:02.0";
const PF_INDEX: u32 = 2;
pub(crate) const VF_INDEX: u32 = 5;
const RTM_SETLINK: u16 = 19;

/// What the kernel holds, and what the PF was told.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The VF's own MAC.
    pub(crate) own: [u8; 6],
    /// The administrator's; all zero for none.
    pub(crate) admin: [u8; 6],
    /// What was set through the PF, by its `IFLA_VF_…`, in order.
    pub(crate) told: Vec<u16>,
    /// How often the VF's link still shows its last MAC after it was given another, and the PF with it.
    pub(crate) late: u32,
    /// The MAC that it does not show yet.
    pub(crate) coming: Option<[u8; 6]>,
    /// How much may be set through the PF before whoever sets it is taken for dead.
    pub(crate) dies_after: Option<usize>,
}

pub(crate) type Shared = Arc<Mutex<Held>>;

/// The VF has VLAN 100, which an undo finds to be put back as often as it looks.
pub(crate) fn host(tree: &Tree, held: &Shared) -> Host {
    let held = Arc::clone(held);
    let netlink = Netlink::over(Box::new(Recorded::new(move |kind, request| {
        let mut held = held.lock().ok()?;
        let at_pf =
            request.get(4..8)? == PF_INDEX.to_ne_bytes() || request.windows(6).any(|it| it == b"ens1f0");
        let mac = |at: usize| request.get(at..at + 6)?.first_chunk::<6>().copied();
        if kind != RTM_SETLINK {
            if !at_pf && held.coming.is_some() {
                held.late = held.late.saturating_sub(1);
                if held.late == 0 {
                    held.own = held.coming.take().unwrap_or(held.own);
                }
            }
            let shown = if held.admin == [0; 6] { held.own } else { held.admin };
            let (spoofchk, trust) = (Some(true), Some(false));
            let vf = Vf { mac: shown, vlan: (100, 0), rate: (0, 0), spoofchk, trust, guids: false };
            let pf = Link::new(PF_INDEX, "ens1f0", [2, 0, 0, 0, 0, 0], PF).with_vfs(&[vf]);
            let link = if at_pf { pf } else { Link::new(VF_INDEX, "eth5", held.own, VF) };
            return Some(vec![link.message(at_pf)]);
        }
        if !at_pf {
            // After `struct ifinfomsg` and the attribute's header.
            let asked = mac(20)?;
            let allowed = held.admin == [0; 6] || held.admin == asked;
            match allowed {
                true if held.late > 0 => held.coming = Some(asked),
                true => held.own = asked,
                false => {}
            }
            return allowed.then(Vec::new);
        }
        // Two more headers on the way: the list's and the VF's.
        let attribute = u16::from_ne_bytes(*request.get(26..28)?.first_chunk()?);
        if held.dies_after.is_some_and(|most| held.told.len() >= most) {
            return None;
        }
        held.told.push(attribute);
        if attribute == 1 {
            held.admin = mac(32)?;
        }
        Some(Vec::new())
    })));
    Host { sysfs: pci::Sysfs::new(tree.sys()), netns: Netns::current().unwrap(), netlink }
}

/// A node whose VF is under a userspace driver.
pub(crate) fn node() -> Tree {
    let tree = Tree::new();
    tree.pf(PF, "ens1f0");
    tree.vf(VF, PF).on_vfio(7);
    tree
}

pub(crate) fn address(bytes: [u8; 6]) -> MacAddr {
    MacAddr::from_bytes(&bytes).unwrap()
}
