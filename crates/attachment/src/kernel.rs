//! A kernel with one PF and one VF of igb's manners, for unit tests: the PF shows the VF's own MAC until an administrator sets
//! one, and refuses the VF every other from then on. It must not judge what it is told.

use std::sync::{Arc, Mutex};

use netlink::{MacAddr, Netlink, Netns};
use nix::errno::Errno;
use testkit::netlink::link::{Link, Vf};
use testkit::netlink::{Message, Recorded};
use testkit::sysfs::Tree;

use crate::host::Host;

pub(crate) const PF: &str = "0000:3b:00.0";
pub(crate) const VF: &str = "0000:3b:02.0";
const PF_INDEX: u32 = 2;
pub(crate) const VF_INDEX: u32 = 5;
const RTM_SETLINK: u16 = 19;
const IFLA_VF_MAC: u16 = 1;
const IFLA_VF_RATE: u16 = 6;

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
    /// Sets no rate, as igb and ixgbe while their PF has no carrier.
    pub(crate) no_rate: bool,
    /// Refuses all zero for a VF's MAC, as be2net and qede.
    pub(crate) no_zero: bool,
    /// The PF has a carrier.
    pub(crate) carrier: bool,
}

pub(crate) type Shared = Arc<Mutex<Held>>;

/// The VF has VLAN 100, which an undo finds to be put back as often as it looks.
pub(crate) fn host(tree: &Tree, held: &Shared) -> Host {
    let held = Arc::clone(held);
    let netlink = Netlink::over(Box::new(Recorded::refusing(move |kind, request| {
        let mut held = held.lock().map_err(|_| Errno::ENODEV as i32)?;
        if held.refuses(kind, request) {
            return Err(Errno::EINVAL as i32);
        }
        held.answer(kind, request).ok_or(Errno::ENODEV as i32)
    })));
    Host { sysfs: pci::Sysfs::new(tree.sys()), netns: Netns::current().unwrap(), netlink }
}

/// What of the VF is set through the PF: two more headers are on the way, the list's and the VF's.
fn attribute(request: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*request.get(26..28)?.first_chunk()?))
}

fn is_at_pf(request: &[u8]) -> bool {
    request.get(4..8) == Some(&PF_INDEX.to_ne_bytes()) || request.windows(6).any(|it| it == b"ens1f0")
}

impl Held {
    /// Whether the PF's driver refuses what is set.
    fn refuses(&self, kind: u16, request: &[u8]) -> bool {
        let is_set = |wanted| kind == RTM_SETLINK && is_at_pf(request) && attribute(request) == Some(wanted);
        is_set(IFLA_VF_RATE) && self.no_rate
            || is_set(IFLA_VF_MAC) && self.no_zero && request.get(32..38) == Some(&[0; 6])
    }

    fn answer(&mut self, kind: u16, request: &[u8]) -> Option<Vec<Message>> {
        let held = self;
        let at_pf = is_at_pf(request);
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
            let pf = if held.carrier { pf.running() } else { pf };
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
        let attribute = attribute(request)?;
        if held.dies_after.is_some_and(|most| held.told.len() >= most) {
            return None;
        }
        held.told.push(attribute);
        if attribute == IFLA_VF_MAC {
            held.admin = mac(32)?;
        }
        Some(Vec::new())
    }
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
