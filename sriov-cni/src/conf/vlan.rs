//! The VLAN of a VF, its priority and protocol, and the list of VLANs that no kernel keeps.
//! It must not know what the PF holds.

use netlink::{VlanId, VlanProto};
use serde_json::Value;

use super::error::ConfError;
use super::keys::Keys;

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

/// The field's form is a text, `100-200,300`, or the bridge plugin's list of objects. Whichever it is, it is refused here,
/// before anything is touched: `do_setvfinfo` of net/core/rtnetlink.c takes a list of one VLAN (`MAX_VLAN_LIST_LEN`), and
/// `docs/decisions/0010` has the rest.
pub(super) fn trunk(keys: Keys<'_>) -> Result<(), ConfError> {
    let (found, well_formed) = match keys.value("vlanTrunk") {
        None => return Ok(()),
        Some(Value::String(text)) if text.is_empty() => return Ok(()),
        Some(Value::Array(list)) if list.is_empty() => return Ok(()),
        Some(Value::String(text)) => (text.clone(), text.split(',').all(is_range)),
        Some(list @ Value::Array(entries)) => (list.to_string(), entries.iter().all(is_entry)),
        Some(other) => (other.to_string(), false),
    };
    Err(if well_formed { ConfError::Trunk { found } } else { ConfError::TrunkForm { found } })
}

fn is_range(text: &str) -> bool {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match text.split_once('-') {
        Some((first, last)) => is_span(number(first), number(last)),
        None => is_span(number(text), number(text)),
    }
}

/// `{"id": 42}` or `{"minID": 200, "maxID": 299}`
fn is_entry(entry: &Value) -> bool {
    let number = |key| entry.get(key).and_then(Value::as_u64);
    is_span(number("id"), number("id")) || is_span(number("minID"), number("maxID"))
}

fn is_span(first: Option<u64>, last: Option<u64>) -> bool {
    first.zip(last).is_some_and(|(first, last)| first >= 1 && first <= last && last <= 4094)
}
