//! Which VF a configuration is about: named by its address, or chosen below a PF as in 2017.
//! It must not look whether there is one.

use std::collections::BTreeSet;

use cni::Args;
use netlink::IfName;
use pci::PciAddress;

use super::error::ConfError;
use super::keys::LEGACY;
use super::reader::Keys;
use super::warning::Warning;

/// How the VF is named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum VfKey {
    /// By its address, which a device plugin allocated.
    Address(PciAddress),
    /// Below a PF, by its number or as any that is free.
    Below {
        /// The PF's network device.
        pf: IfName,
        /// The VF's number.
        vf: Option<u32>,
    },
}

/// `CNI_ARGS` of ours.
pub(crate) const ARGS: [&str; 2] = ["MAC", "deviceID"];

/// An address wins over a PF: the device plugin allocated it, and the Go plugin passes over the other keys.
pub(super) fn vf(
    keys: Keys<'_>,
    args: &Args,
    warnings: &mut Vec<Warning>,
) -> Result<Option<VfKey>, ConfError> {
    let address = address(keys, args)?.map(VfKey::Address);
    let named = address.is_some();
    let vf = address.map_or_else(|| below(keys), |address| Ok(Some(address)))?;
    if is_below(vf.as_ref()) {
        warnings.push(Warning::Legacy { key: "if0" });
        return Ok(vf);
    }
    let because = if named { "the VF is named by its address" } else { "neither if0 nor master names a PF" };
    for key in LEGACY.into_iter().filter(|key| keys.value(key).is_some()) {
        warnings.push(Warning::PassedOver { key, because });
    }
    Ok(vf)
}

/// Whether it is a network of 2017: no other has the keys of those that say what the VF is to be.
pub(super) fn is_below(vf: Option<&VfKey>) -> bool {
    matches!(vf, Some(VfKey::Below { .. }))
}

/// The address, which runtimes bring in several ways; where they differ, nobody knows which one the pod was given.
fn address(keys: Keys<'_>, args: &Args) -> Result<Option<PciAddress>, ConfError> {
    let ways = [
        ("deviceID", keys.text("deviceID")?),
        ("pciBusID", keys.text("pciBusID")?),
        ("runtimeConfig.deviceID", keys.runtime()?.text("deviceID")?),
        ("args.cni.deviceID", keys.arguments().text("deviceID")?),
        ("CNI_ARGS deviceID", args.get("deviceID").filter(|id| !id.is_empty()).map(str::to_owned)),
    ];
    let found: Vec<(&'static str, String)> =
        ways.into_iter().filter_map(|(way, id)| id.map(|id| (way, id))).collect();
    let addresses: BTreeSet<PciAddress> = found.iter().map(|(_, id)| id.parse()).collect::<Result<_, _>>()?;
    if addresses.len() > 1 { Err(ConfError::Devices { found }) } else { Ok(addresses.into_iter().next()) }
}

fn below(keys: Keys<'_>) -> Result<Option<VfKey>, ConfError> {
    let pf = match (keys.text("if0")?, keys.text("master")?) {
        (Some(if0), Some(master)) if if0 != master => return Err(ConfError::Pfs { if0, master }),
        (Some(pf), _) | (None, Some(pf)) => pf,
        (None, None) => return Ok(None),
    };
    let named = |source| ConfError::PfName { found: pf.clone(), source };
    Ok(Some(VfKey::Below { pf: pf.parse().map_err(named)?, vf: keys.get("vf")? }))
}
