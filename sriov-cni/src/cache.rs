//! The keys of the Go plugin's cache file: written beside our record so that going back works, read for its pods.
//! It must not be needed for our own records.

use attachment::{LinkBefore, MacBefore, Owner, Pf, Record, Sandbox, Undo};
use netlink::{LinkState, MacAddr, VfAttribute, VlanProto};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::conf::Conf;
use crate::observe::Observed;

/// `OrigVfState`: the VF before the ADD, in the Go plugin's spelling.
#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
struct OrigVfState {
    #[serde(rename = "HostIFName")]
    host_ifname: String,
    spoof_chk: bool,
    trust: bool,
    #[serde(rename = "AdminMAC")]
    admin_mac: String,
    #[serde(rename = "EffectiveMAC")]
    effective_mac: String,
    vlan: i64,
    #[serde(rename = "VlanQoS")]
    vlan_qos: u8,
    vlan_proto: u16,
    min_tx_rate: u32,
    max_tx_rate: u32,
    link_state: u32,
    #[serde(rename = "MTU")]
    mtu: u32,
}

const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;

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
        vlan_proto: if vf.proto == VlanProto::Ad { ETH_P_8021AD } else { ETH_P_8021Q },
        min_tx_rate: vf.min_tx_rate,
        max_tx_rate: vf.max_tx_rate,
        link_state: match vf.link_state {
            None | Some(LinkState::Auto) => 0,
            Some(LinkState::Enable) => 1,
            Some(LinkState::Disable) => 2,
        },
        mtu: link.map_or(0, |link| link.mtu),
    };
    let mut keys = raw.clone();
    keys.remove("prevResult");
    keys.insert("OrigVfState".to_owned(), serde_json::to_value(before).unwrap_or_default());
    keys.insert("Master".to_owned(), observed.pf_link.name.clone().into());
    keys.insert("MAC".to_owned(), text(conf.mac.as_ref()).into());
    keys.insert("MTU".to_owned(), link.map_or(observed.pf_link.mtu, |link| link.mtu).into());
    keys.insert("VFID".to_owned(), observed.pf.vf.into());
    keys.insert("deviceID".to_owned(), conf.device.to_string().into());
    keys.insert("ipam".to_owned(), ipam.map_or_else(|| json!({}), |kind| json!({ "type": kind })));
    keys
}

/// The keys of a cache file that tell what was configured.
#[derive(Deserialize)]
struct Cache {
    #[serde(rename = "OrigVfState")]
    before: OrigVfState,
    #[serde(rename = "deviceID")]
    device_id: String,
    #[serde(rename = "VFID", default)]
    vf: u32,
    vlan: Option<i64>,
    #[serde(default)]
    spoofchk: String,
    #[serde(default)]
    trust: String,
    #[serde(default)]
    link_state: String,
    min_tx_rate: Option<u32>,
    max_tx_rate: Option<u32>,
    #[serde(default)]
    ipam: Ipam,
}

#[derive(Default, Deserialize)]
struct Ipam {
    #[serde(rename = "type", default)]
    kind: String,
}

/// The record of a pod that the Go plugin made. Its cache does not name the PF's address: that is looked up by the VF.
pub(crate) fn record(owner: &Owner, keys: &Map<String, Value>) -> Option<Record> {
    let cache = Cache::deserialize(Value::Object(keys.clone())).ok()?;
    let function: pci::PciAddress = cache.device_id.parse().ok()?;
    let pf = pci::Sysfs::host().function(function).ok().and_then(|function| function.pf());
    Some(Record {
        version: Record::VERSION,
        owner: owner.clone(),
        sandbox: Sandbox::unknown(None),
        device: cache.device_id.clone(),
        function: Some(function),
        pf: pf.map(|address| Pf { address, vf: cache.vf }),
        ipam: Some(cache.ipam.kind.clone()).filter(|kind| !kind.is_empty()),
        config: keys.clone(),
        undo: cache.undo(),
    })
}

impl Cache {
    /// What the Go plugin would put back: what was configured, and the addresses always.
    fn undo(&self) -> Vec<Undo> {
        let before = &self.before;
        let mut undo = Vec::new();
        if let Some(vlan) = self.vlan.and_then(|_| before.vlan.try_into().ok()) {
            let proto = if before.vlan_proto == ETH_P_8021AD { VlanProto::Ad } else { VlanProto::Q };
            undo.push(Undo::Vf(VfAttribute::Vlan { vlan, qos: before.vlan_qos, proto }));
        }
        let (admin, effective) = (before.admin_mac.parse().ok(), before.effective_mac.parse().ok());
        undo.push(Undo::Mac(MacBefore { admin, effective, locked: None }));
        if self.min_tx_rate.is_some() || self.max_tx_rate.is_some() {
            undo.push(Undo::Vf(VfAttribute::Rate { min: before.min_tx_rate, max: before.max_tx_rate }));
        }
        if !self.spoofchk.is_empty() {
            undo.push(Undo::Vf(VfAttribute::Spoofchk(before.spoof_chk)));
        }
        if !self.trust.is_empty() {
            undo.push(Undo::Vf(VfAttribute::Trust(before.trust)));
        }
        if !self.link_state.is_empty() {
            let state = match before.link_state {
                1 => LinkState::Enable,
                2 => LinkState::Disable,
                _ => LinkState::Auto,
            };
            undo.push(Undo::Vf(VfAttribute::LinkState(state)));
        }
        if let Ok(name) = before.host_ifname.parse() {
            undo.push(Undo::Link(LinkBefore {
                name,
                index: 0,
                pod_index: None,
                parent: None,
                kind: None,
                port: None,
                mac: None,
                // Before 2.8 the cache had none.
                mtu: Some(before.mtu).filter(|mtu| *mtu > 0),
                alias: None,
                alt_names: None,
            }));
        }
        undo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_the_go_plugin_is_undone_as_the_go_plugin_would() {
        let keys = r#"{"OrigVfState":{"HostIFName":"eth5","SpoofChk":true,"Trust":false,"AdminMAC":"00:00:00:00:00:00",
            "EffectiveMAC":"52:54:00:00:00:01","Vlan":0,"VlanQoS":0,"VlanProto":33024,"MinTxRate":0,"MaxTxRate":0,
            "LinkState":0,"MTU":1500},"Master":"eth0","MAC":"","MTU":1500,"vlan":100,"vlanQoS":null,"deviceID":"0000:21:10.2",
            "VFID":1,"min_tx_rate":null,"max_tx_rate":null,"spoofchk":"off","trust":"","link_state":"","ipam":{"type":"static"}}"#;
        let keys: Map<String, Value> = serde_json::from_str(keys).unwrap();
        let owner = Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() };
        let record = record(&owner, &keys).unwrap();
        assert_eq!((record.device.as_str(), record.ipam.as_deref()), ("0000:21:10.2", Some("static")));
        let kinds: Vec<&str> = record
            .undo
            .iter()
            .map(|undo| match undo {
                Undo::Vf(VfAttribute::Vlan { .. }) => "vlan",
                Undo::Mac(_) => "mac",
                Undo::Vf(VfAttribute::Spoofchk(true)) => "spoofchk on",
                Undo::Link(before) if before.name.as_str() == "eth5" => "link eth5",
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, ["vlan", "mac", "spoofchk on", "link eth5"]);
    }

    #[test]
    fn a_file_that_is_no_cache_is_no_attachment() {
        let owner = Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() };
        assert_eq!(record(&owner, &Map::new()), None);
    }
}
