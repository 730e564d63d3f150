//! The keys that the Go plugin's DEL reads, written beside our record so that going back works.
//! It must not be needed for our own records.

use attachment::OrigVfState;
use netlink::MacAddr;
use serde_json::{Map, Value, json};

use crate::conf::Conf;
use crate::observe::Observed;

/// The keys that the Go plugin's DEL reads.
pub(crate) fn beside(
    raw: &Map<String, Value>,
    conf: &Conf,
    observed: &Observed,
    ipam: Option<&str>,
) -> Map<String, Value> {
    let vf = &observed.vf;
    let link = observed.link.as_ref();
    let text = |mac: Option<&MacAddr>| mac.map(ToString::to_string).unwrap_or_default();
    let before = OrigVfState {
        host_ifname: link.map(|link| link.name.clone()).unwrap_or_default(),
        spoof_chk: vf.spoofchk.unwrap_or(true),
        trust: vf.trust.unwrap_or(false),
        admin_mac: vf.mac.to_string(),
        effective_mac: text(link.and_then(|link| link.mac.as_ref())),
        vlan: vf.vlan.get().into(),
        vlan_qos: vf.qos,
        vlan_proto: OrigVfState::vlan_proto(vf.proto),
        min_tx_rate: vf.min_tx_rate,
        max_tx_rate: vf.max_tx_rate,
        link_state: OrigVfState::link_state(vf.link_state),
        mtu: link.map_or(0, |link| link.mtu),
    };
    let mut keys = raw.clone();
    keys.remove("prevResult");
    keys.insert("OrigVfState".to_owned(), serde_json::to_value(before).unwrap_or_default());
    keys.insert("Master".to_owned(), observed.pf_link.name.clone().into());
    keys.insert("MAC".to_owned(), text(conf.mac.as_ref()).into());
    keys.insert("MTU".to_owned(), link.map_or(observed.pf_link.mtu, |link| link.mtu).into());
    keys.insert("VFID".to_owned(), observed.pf.vf.into());
    keys.insert("deviceID".to_owned(), observed.function.address.to_string().into());
    keys.insert("ipam".to_owned(), ipam.map_or_else(|| json!({}), |kind| json!({ "type": kind })));
    keys
}
