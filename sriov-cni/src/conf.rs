//! The network configuration of `sriov`, parsed once into what can be done.
//! It must not look at the node.

use attachment::VlanSet;
use cni::Args;
use netlink::{IfName, LinkState, MacAddr};
use serde_json::{Map, Value};

mod error;
pub(crate) mod keys;
mod logging;
mod reader;
mod vf;
mod vlan;
mod warning;

pub(crate) use error::ConfError;
pub use logging::name_of_nameless;
pub(crate) use logging::{Logging, fold, is_addressless};
pub(crate) use vf::{ARGS, VfKey};
pub(crate) use vlan::Vlan;
pub(crate) use warning::Warning;

use reader::Keys;

/// A network configuration that makes sense.
#[derive(Clone, Debug)]
pub(crate) struct Netconf {
    /// The VF; `None` where nothing names one, as in a STATUS.
    pub(crate) vf: Option<VfKey>,
    /// What it is to be.
    pub(crate) conf: Conf,
    /// What it is called in the pod; `None`: as `CNI_IFNAME` says.
    pub(crate) ifname: Option<IfName>,
    /// What is odd, and did not stop it.
    pub(crate) warnings: Vec<Warning>,
}

/// What a VF is to be. `None` leaves it as it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Conf {
    pub(crate) vlan: Option<Vlan>,
    /// The VLANs that it may use, and no other.
    pub(crate) trunk: Option<VlanSet>,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) rate: Option<Rate>,
    pub(crate) spoofchk: Option<bool>,
    pub(crate) trust: Option<bool>,
    pub(crate) link_state: Option<LinkState>,
    /// Bytes.
    pub(crate) mtu: Option<u32>,
    /// Take every multicast frame.
    pub(crate) allmulti: bool,
    /// The driver that it gets for the pod, whatever it has on the host.
    pub(crate) driver: Option<&'static str>,
}

/// Mbit/s; 0 is no guarantee and no limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rate {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

/// The smallest MTU that IPv4 can do with (RFC 791), and the kernel lets an Ethernet device have.
const MIN_MTU: u32 = 68;

/// The drivers that can be asked for, the one for `driver` first.
const USERSPACE: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

/// The names that 2017's plugin kept for others in the pod.
const RESERVED: [&str; 3] = ["eth0", "eth1", "lo"];

impl Netconf {
    /// Reads a configuration and `CNI_ARGS`, which may name the VF and a MAC.
    pub(crate) fn of(raw: &Map<String, Value>, args: &Args) -> Result<Self, ConfError> {
        let mut raw = raw.clone();
        fold(&mut raw);
        let keys = Keys::new(&raw);
        let mut warnings = warning::unknown_keys(&raw);
        let vf = vf::vf(keys, args, &mut warnings)?;
        // The other keys of 2017 are for whoever chooses the VF as in 2017: the Go plugin of today passes over them.
        let legacy = if vf::is_below(vf.as_ref()) { keys } else { Keys::none() };
        let vlan = vlan::vlan(keys)?;
        let spoofchk = switch(keys, "spoofchk", &mut warnings)?;
        let trust = switch(keys, "trust", &mut warnings)?;
        let conf = Conf {
            vlan,
            trunk: vlan::trunk(keys, vlan)?,
            mac: mac(keys, args)?,
            rate: rate(keys, &mut warnings)?,
            spoofchk,
            trust,
            link_state: keys.text("link_state")?.map(link_state).transpose()?,
            mtu: mtu(keys)?,
            allmulti: allmulti(keys, trust)?,
            driver: driver(keys, legacy)?,
        };
        let log = Logging::of(&raw);
        warnings.extend(log.odd_level.map(|found| Warning::LogLevel { found }));
        let parsed = Self { vf, conf, ifname: ifname(legacy)?, warnings };
        parsed.hold_to(keys.get("strict")?.unwrap_or(false))
    }

    /// Strict: what would be a warning is an error. That a key is old is no mistake.
    fn hold_to(self, strict: bool) -> Result<Self, ConfError> {
        let mistakes: Vec<Warning> =
            self.warnings.iter().filter(|warning| strict && warning.is_mistake()).cloned().collect();
        if mistakes.is_empty() { Ok(self) } else { Err(ConfError::Strict { mistakes }) }
    }
}

/// The more specific wins: the pod's annotation over the arguments over the network. Where `args` has it, the specification
/// has `CNI_ARGS` passed over.
fn mac(keys: Keys<'_>, args: &Args) -> Result<Option<MacAddr>, ConfError> {
    let ways = [
        keys.runtime()?.text("mac")?,
        keys.arguments().text("mac")?,
        args.get("MAC").filter(|mac| !mac.is_empty()).map(str::to_owned),
        keys.text("mac")?,
    ];
    let mac = ways.into_iter().flatten().next().map(|text| text.parse::<MacAddr>()).transpose()?;
    match mac {
        Some(found) if !found.is_unicast() => Err(ConfError::NotUnicast { found }),
        mac => Ok(mac),
    }
}

fn rate(keys: Keys<'_>, warnings: &mut Vec<Warning>) -> Result<Option<Rate>, ConfError> {
    let (min, max): (Option<u32>, Option<u32>) = (keys.get("min_tx_rate")?, keys.get("max_tx_rate")?);
    if min.is_none() && max.is_none() {
        return Ok(None);
    }
    let rate = Rate { min: min.unwrap_or(0), max: max.unwrap_or(0) };
    if rate.max > 0 && rate.min > rate.max {
        warnings.push(Warning::Rates { min: rate.min, max: rate.max });
    }
    Ok(Some(rate))
}

/// `on` is on; whatever else is there is off, as for the Go plugin.
fn switch(keys: Keys<'_>, key: &'static str, warnings: &mut Vec<Warning>) -> Result<Option<bool>, ConfError> {
    let Some(found) = keys.text(key)? else { return Ok(None) };
    let on = found == "on";
    if !on && found != "off" {
        warnings.push(Warning::Switch { key, found });
    }
    Ok(Some(on))
}

fn link_state(found: String) -> Result<LinkState, ConfError> {
    match found.as_str() {
        "auto" => Ok(LinkState::Auto),
        "enable" => Ok(LinkState::Enable),
        "disable" => Ok(LinkState::Disable),
        _ => Err(ConfError::LinkState { found }),
    }
}

fn mtu(keys: Keys<'_>) -> Result<Option<u32>, ConfError> {
    match keys.get("mtu")? {
        Some(found) if found < MIN_MTU => Err(ConfError::Mtu { found }),
        mtu => Ok(mtu),
    }
}

fn allmulti(keys: Keys<'_>, trust: Option<bool>) -> Result<bool, ConfError> {
    let wanted = keys.get("allmulti")?.unwrap_or(false);
    if wanted && trust != Some(true) { Err(ConfError::AllmultiWithoutTrust) } else { Ok(wanted) }
}

/// The one driver that makes no network device and guards the host's memory; networks of 2017 may name those that do not.
fn driver(keys: Keys<'_>, legacy: Keys<'_>) -> Result<Option<&'static str>, ConfError> {
    let (found, known) = match (keys.text("driver")?, legacy.dpdk()?.text("dpdk_driver")?) {
        (Some(found), _) => (found, &USERSPACE[..1]),
        (None, Some(found)) => (found, &USERSPACE[..]),
        (None, None) => return Ok(None),
    };
    let driver = known.iter().copied().find(|driver| *driver == found);
    driver.map(Some).ok_or(ConfError::Driver { found })
}

fn ifname(keys: Keys<'_>) -> Result<Option<IfName>, ConfError> {
    match keys.text("if0name")? {
        Some(found) if RESERVED.contains(&found.as_str()) => Err(ConfError::If0Name { found }),
        Some(name) => Ok(Some(name.parse()?)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
