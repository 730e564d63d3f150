//! The steps from what is to what the configuration asks for, each with its undo.
//! It must do no I/O: the same configuration and observation always give the same plan.

use attachment::{DriverBefore, LinkBefore, MacBefore, Step, Undo, VlanSet};
use netlink::{IfName, MacAddr, ParseIfNameError, VfAttribute};

use crate::conf::{Conf, ConfError};
use crate::observe::Observed;

/// A driver for the pod, and what the VF has instead of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Binding {
    pub(crate) driver: &'static str,
    pub(crate) before: DriverBefore,
}

/// The steps of an ADD. The PF's side comes first, so that the VF's first frame in the pod is already on its VLAN; the move
/// comes last, so that undoing from the end takes the VF out of the pod before it loses its VLAN. `trunk` is what the PF lets
/// the VF use, where that is to be changed.
pub(crate) fn plan(
    conf: &Conf,
    observed: &Observed,
    binding: Option<Binding>,
    trunk: Option<VlanSet>,
    ifname: &IfName,
) -> Result<Vec<Step>, ParseIfNameError> {
    let vf = &observed.vf;
    let mut steps = Vec::new();
    if observed.link.as_ref().is_some_and(|link| link.up) {
        // The move or the other driver takes it down anyway; only a new address needs it down before.
        steps.push(if conf.mac.is_some() { Step::Down } else { Step::Remember(Undo::Up) });
    }
    steps.extend(observed.master.clone().map(Step::Leave));
    if let Some(vlan) = conf.vlan {
        steps.push(Step::Vf {
            set: VfAttribute::Vlan { vlan: vlan.id, qos: vlan.qos, proto: vlan.proto },
            before: VfAttribute::Vlan { vlan: vf.vlan, qos: vf.qos, proto: vf.proto },
        });
    }
    // After the VLAN: with one there can be no list.
    if let Some((set, before)) = conf.trunk.clone().zip(trunk) {
        steps.push(Step::Trunk { set, before });
    }
    let before = MacBefore {
        admin: Some(vf.mac.clone()),
        effective: observed.link.as_ref().and_then(|link| link.own_mac().cloned()),
        locked: None,
    };
    // A trusted VF changes its address under an administrator's hold as if there were none: to see whether there is one, trust is
    // off for as long, and so it is on the way back.
    let probed = conf.mac.is_some() && observed.link.is_some() && vf.trust == Some(true) && !vf.mac.is_zero();
    if probed {
        steps.push(Step::Vf { set: VfAttribute::Trust(false), before: VfAttribute::Trust(true) });
    }
    steps.push(match conf.mac.clone() {
        Some(set) => Step::Mac { set, before },
        None => Step::Remember(Undo::Mac(before)),
    });
    if let Some(rate) = conf.rate {
        steps.push(Step::Vf {
            set: VfAttribute::Rate { min: rate.min, max: rate.max },
            before: VfAttribute::Rate { min: vf.min_tx_rate, max: vf.max_tx_rate },
        });
    }
    // Where the driver does not say what is set, the kernel's default is what there is to go back to.
    if let Some(on) = conf.spoofchk {
        let before = VfAttribute::Spoofchk(vf.spoofchk.unwrap_or(true));
        steps.push(Step::Vf { set: VfAttribute::Spoofchk(on), before });
    }
    if let Some(on) = conf.trust.or(probed.then_some(true)) {
        let before = VfAttribute::Trust(vf.trust.unwrap_or(false) && !probed);
        steps.push(Step::Vf { set: VfAttribute::Trust(on), before });
    }
    if let Some(state) = conf.link_state {
        let before = VfAttribute::LinkState(vf.link_state.unwrap_or(netlink::LinkState::Auto));
        steps.push(Step::Vf { set: VfAttribute::LinkState(state), before });
    }
    if let Some(Binding { driver, before }) = binding {
        // Undone from the end: its own driver first, and then what the link was like that this one makes.
        if let Some(link) = &observed.link {
            let before = LinkBefore::of(link, observed.port.clone())?;
            steps.push(Step::Remember(Undo::Link(before)));
        }
        steps.push(Step::Bind { driver, before });
    } else if let Some(link) = &observed.link {
        let mut before = LinkBefore::of(link, observed.port.clone())?;
        before.pod_name = Some(ifname.clone());
        steps.push(Step::Move { name: ifname.clone(), alias: None, before });
    }
    Ok(steps)
}

/// Whether the PF can carry what is asked for, as far as it says before anything is touched.
pub(crate) fn fits(conf: &Conf, observed: &Observed) -> Result<(), ConfError> {
    let found = observed.pf_link.mtu;
    match conf.mtu {
        Some(mtu) if mtu > found => {
            Err(ConfError::MtuAbovePf { mtu, pf: observed.pf_link.name.clone(), found })
        }
        _ => Ok(()),
    }
}

/// The attributes that the PF is to hold.
pub(crate) fn wanted(conf: &Conf) -> Vec<VfAttribute> {
    let vlan = conf.vlan.map(|vlan| VfAttribute::Vlan { vlan: vlan.id, qos: vlan.qos, proto: vlan.proto });
    let rate = conf.rate.map(|rate| VfAttribute::Rate { min: rate.min, max: rate.max });
    let mac = conf.mac.clone().map(VfAttribute::Mac);
    let spoofchk = conf.spoofchk.map(VfAttribute::Spoofchk);
    let trust = conf.trust.map(VfAttribute::Trust);
    let link_state = conf.link_state.map(VfAttribute::LinkState);
    [vlan, mac, rate, spoofchk, trust, link_state].into_iter().flatten().collect()
}

/// The MAC to report: the one asked for; for a VF whose link does not move the PF's, where it holds one. `None` for a link that
/// keeps its own: a driver may give it another on its way into the pod.
pub(crate) fn reported_mac(conf: &Conf, observed: &Observed, moves: bool) -> Option<MacAddr> {
    let held = || Some(observed.vf.mac.clone()).filter(|mac| !mac.is_zero() && !moves);
    conf.mac.clone().or_else(held)
}

#[cfg(test)]
pub(crate) mod tests;
