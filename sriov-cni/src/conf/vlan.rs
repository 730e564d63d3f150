//! The VLAN of a VF, its priority and protocol, or the list of those that it may use.
//! It must not know what the PF holds.

use std::ops::RangeInclusive;

use attachment::VlanSet;
use netlink::{VlanId, VlanProto};
use serde_json::Value;

use super::error::ConfError;
use super::reader::Keys;

/// The tag that the PF puts on a VF's frames; VLAN 0 takes it off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Vlan {
    pub(crate) id: VlanId,
    pub(crate) qos: u8,
    pub(crate) proto: VlanProto,
}

/// An absent VLAN is not VLAN 0: it leaves what is.
pub(super) fn vlan(keys: Keys<'_>) -> Result<Option<Vlan>, ConfError> {
    let (qos, proto): (Option<i64>, Option<String>) = (keys.get("vlanQoS")?, keys.get("vlanProto")?);
    let Some(number) = keys.get::<i64>("vlan")? else {
        return match (qos, proto) {
            (Some(_), _) => Err(ConfError::QosWithoutVlan),
            (None, Some(_)) => Err(ConfError::ProtoWithoutVlan),
            (None, None) => Ok(None),
        };
    };
    let id = VlanId::try_from(number)?;
    let found = qos.unwrap_or(0);
    let qos = u8::try_from(found).ok().filter(|qos| *qos <= 7).ok_or(ConfError::Qos { found })?;
    if qos > 0 && id.is_untagged() {
        return Err(ConfError::QosOnVlanZero);
    }
    let proto = proto.map_or(Ok(VlanProto::Q), protocol)?;
    if proto == VlanProto::Ad && id.is_untagged() {
        return Err(ConfError::ProtoOnVlanZero);
    }
    Ok(Some(Vlan { id, qos, proto }))
}

fn protocol(found: String) -> Result<VlanProto, ConfError> {
    match found.to_ascii_lowercase().as_str() {
        "802.1q" => Ok(VlanProto::Q),
        "802.1ad" => Ok(VlanProto::Ad),
        _ => Err(ConfError::Proto { found }),
    }
}

/// The field's form is a text, `100-200,300`, or the bridge plugin's list of objects. Whether the PF's driver keeps such a list
/// is seen when there is a PF.
pub(super) fn trunk(keys: Keys<'_>, vlan: Option<Vlan>) -> Result<Option<VlanSet>, ConfError> {
    let (found, ranges): (String, Option<Vec<_>>) = match keys.value("vlanTrunk") {
        None => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::Array(list)) if list.is_empty() => return Ok(None),
        Some(Value::String(text)) => (text.clone(), text.split(',').map(range).collect()),
        Some(list @ Value::Array(entries)) => (list.to_string(), entries.iter().map(entry).collect()),
        Some(other) => (other.to_string(), None),
    };
    match (ranges, vlan) {
        (None, _) => Err(ConfError::TrunkForm { found }),
        (Some(_), Some(vlan)) if !vlan.id.is_untagged() => Err(ConfError::TrunkWithVlan),
        (Some(ranges), _) => Ok(Some(VlanSet::of(ranges))),
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match text.split_once('-') {
        Some((first, last)) => span(number(first), number(last)),
        None => span(number(text), number(text)),
    }
}

/// `{"id": 42}` or `{"minID": 200, "maxID": 299}`
fn entry(entry: &Value) -> Option<RangeInclusive<u16>> {
    let number = |key| entry.get(key).and_then(Value::as_u64);
    span(number("id"), number("id")).or_else(|| span(number("minID"), number("maxID")))
}

fn span(first: Option<u64>, last: Option<u64>) -> Option<RangeInclusive<u16>> {
    let (first, last) = (u16::try_from(first?).ok()?, u16::try_from(last?).ok()?);
    (first >= 1 && first <= last && last <= 4094).then_some(first..=last)
}
