//! The keys of the Go sriov plugin's cache file, and the record that is made of them for a pod of its.
//! It must not be needed for our own records, and it writes nothing.

use netlink::{LinkSettings, LinkState, VfAttribute, VlanProto};
use pci::Sysfs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::record::{LinkBefore, MacBefore, Owner, Pf, Record, Sandbox, Undo};

/// `OrigVfState`: the VF before the ADD, in the Go plugin's spelling.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct OrigVfState {
    /// The link's name.
    #[serde(rename = "HostIFName")]
    pub host_ifname: String,
    /// Whether the PF checked the VF's source addresses.
    pub spoof_chk: bool,
    /// Whether the PF trusted the VF.
    pub trust: bool,
    /// The address that the PF held.
    #[serde(rename = "AdminMAC")]
    pub admin_mac: String,
    /// The address that the link had.
    #[serde(rename = "EffectiveMAC")]
    pub effective_mac: String,
    /// 0 for none.
    pub vlan: i64,
    /// The VLAN's priority, 0 to 7.
    #[serde(rename = "VlanQoS")]
    pub vlan_qos: u8,
    /// The VLAN's Ethertype.
    pub vlan_proto: u16,
    /// Mbit/s; 0 for none.
    pub min_tx_rate: u32,
    /// Mbit/s; 0 for none.
    pub max_tx_rate: u32,
    /// 0 auto, 1 enable, 2 disable.
    pub link_state: u32,
    /// Bytes; 0 where the version that wrote it (before 2.8) did not note it.
    #[serde(rename = "MTU")]
    pub mtu: u32,
}

/// What a VF is like that nobody configured: an older version noted less.
impl Default for OrigVfState {
    fn default() -> Self {
        Self {
            host_ifname: String::new(),
            spoof_chk: true,
            trust: false,
            admin_mac: String::new(),
            effective_mac: String::new(),
            vlan: 0,
            vlan_qos: 0,
            vlan_proto: ETH_P_8021Q,
            min_tx_rate: 0,
            max_tx_rate: 0,
            link_state: 0,
            mtu: 0,
        }
    }
}

const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;
const BEFORE: &str = "OrigVfState";

impl OrigVfState {
    /// The number of a VLAN's kind.
    pub fn vlan_proto(proto: VlanProto) -> u16 {
        if proto == VlanProto::Ad { ETH_P_8021AD } else { ETH_P_8021Q }
    }

    /// The number of a link state.
    pub fn link_state(state: Option<LinkState>) -> u32 {
        match state {
            None | Some(LinkState::Auto) => 0,
            Some(LinkState::Enable) => 1,
            Some(LinkState::Disable) => 2,
        }
    }
}

/// The keys of a cache file that tell what was configured.
#[derive(Deserialize)]
struct Cache {
    /// `None` before 2.3, which kept the three below instead.
    #[serde(rename = "OrigVfState")]
    before: Option<OrigVfState>,
    #[serde(rename = "HostIFNames")]
    host_names: Option<Names>,
    #[serde(rename = "adminMAC", default)]
    admin_mac: String,
    #[serde(rename = "effectiveMAC", default)]
    effective_mac: String,
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

/// One, or the list of the first 2.0.
#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    List(Vec<String>),
}

#[derive(Default, Deserialize)]
struct Ipam {
    #[serde(rename = "type", default)]
    kind: String,
}

/// The record of a pod that the Go plugin made; `None` where the keys are no attachment. The cache does not name the PF's
/// address: that is looked up by the VF.
pub(crate) fn record(owner: &Owner, keys: &Map<String, Value>, sysfs: &Sysfs) -> Option<Record> {
    let cache = Cache::deserialize(Value::Object(keys.clone())).ok()?;
    let function: pci::PciAddress = cache.device_id.parse().ok()?;
    let pf = sysfs.function(function).ok().and_then(|function| function.pf());
    Some(Record {
        version: Record::VERSION,
        owner: owner.clone(),
        pod: None,
        sandbox: Sandbox::unknown(None),
        device: cache.device_id.clone(),
        function: Some(function),
        pf: pf.map(|address| Pf { address, vf: cache.vf }),
        ipam: Some(cache.ipam.kind.clone()).filter(|kind| !kind.is_empty()),
        config: keys.clone(),
        undo: cache.undo(),
    })
}

/// What a cache does not tell of the VF before the pod, for an operator.
pub(crate) fn gap(record: &Record) -> Option<&'static str> {
    const GAP: &str = "the Go plugin that attached it, older than 2.3, did not keep what the PF held for the VF: what the network \
                       set goes back to the kernel's defaults";
    (record.is_of_go() && !record.undo.is_empty() && !record.config.contains_key(BEFORE)).then_some(GAP)
}

impl Cache {
    fn before(&self) -> OrigVfState {
        let host_ifname = match &self.host_names {
            Some(Names::One(name)) => Some(name),
            Some(Names::List(names)) => names.first(),
            None => None,
        };
        self.before.clone().unwrap_or_else(|| OrigVfState {
            host_ifname: host_ifname.cloned().unwrap_or_default(),
            admin_mac: self.admin_mac.clone(),
            effective_mac: self.effective_mac.clone(),
            ..OrigVfState::default()
        })
    }

    /// What the Go plugin would put back: what was configured, and the addresses always.
    fn undo(&self) -> Vec<Undo> {
        let before = &self.before();
        // Where it was no pointer yet, 0 was none.
        let configured = self.vlan.filter(|vlan| self.before.is_some() || *vlan != 0);
        let mut undo = Vec::new();
        if let Some(vlan) = configured.and_then(|_| before.vlan.try_into().ok()) {
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
                allmulti: None,
                addr_gen_mode: None,
                settings: LinkSettings::default(),
                ip: Box::default(),
                xdp: None,
                pod_name: None,
            }));
        }
        undo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() }
    }

    #[test]
    fn a_pod_of_the_go_plugin_is_undone_as_the_go_plugin_would() {
        let keys = r#"{"OrigVfState":{"HostIFName":"eth5","SpoofChk":true,"Trust":false,"AdminMAC":"00:00:00:00:00:00",
            "EffectiveMAC":"52:54:00:00:00:01","Vlan":0,"VlanQoS":0,"VlanProto":33024,"MinTxRate":0,"MaxTxRate":0,
            "LinkState":0,"MTU":1500},"Master":"eth0","MAC":"","MTU":1500,"vlan":100,"vlanQoS":null,"deviceID":"0000:21:10.2",
            "VFID":1,"min_tx_rate":null,"max_tx_rate":null,"spoofchk":"off","trust":"","link_state":"","ipam":{"type":"static"}}"#;
        let keys: Map<String, Value> = serde_json::from_str(keys).unwrap();
        let record = record(&owner(), &keys, &Sysfs::new("/nonexistent")).unwrap();
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

    /// As 2.2 has it, and the first 2.0.
    #[test]
    fn a_cache_of_an_older_version_is_an_attachment_all_the_same() {
        let undo = |keys: &str| {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap();
            let record = record(&owner(), &keys, &Sysfs::new("/nonexistent")).unwrap();
            assert!(gap(&record).is_some());
            record.undo
        };
        let mac = |mac: &str| Some(mac.parse().unwrap());
        let of_2_2 = undo(
            r#"{"DPDKMode":false,"Master":"eth0","MAC":"52:54:00:00:00:09","adminMAC":"52:54:00:00:00:02",
            "effectiveMAC":"52:54:00:00:00:01","vlan":100,"vlanQoS":0,"deviceID":"0000:21:10.2","VFID":1,"HostIFNames":"eth5",
            "ContIFNames":"net1","min_tx_rate":null,"max_tx_rate":null,"spoofchk":"off","trust":"on","runtimeConfig":{},
            "cniVersion":"0.3.1","name":"n","type":"sriov","ipam":{},"dns":{}}"#,
        );
        let [vlan, addresses, spoofchk, trust, Undo::Link(link)] = &of_2_2[..] else { panic!("{of_2_2:?}") };
        let none = VfAttribute::Vlan { vlan: 0_u32.try_into().unwrap(), qos: 0, proto: VlanProto::Q };
        assert_eq!(*vlan, Undo::Vf(none));
        let before =
            MacBefore { admin: mac("52:54:00:00:00:02"), effective: mac("52:54:00:00:00:01"), locked: None };
        assert_eq!(*addresses, Undo::Mac(before));
        assert_eq!(*spoofchk, Undo::Vf(VfAttribute::Spoofchk(true)));
        assert_eq!(*trust, Undo::Vf(VfAttribute::Trust(false)));
        assert_eq!((link.name.as_str(), link.mtu), ("eth5", None));
        let of_2_0 = undo(
            r#"{"vlan":0,"deviceID":"0000:21:10.2","VFID":1,"HostIFNames":["eth5"],"ContIFNames":["net1"]}"#,
        );
        let [Undo::Mac(MacBefore { admin: None, effective: None, .. }), Undo::Link(link)] = &of_2_0[..]
        else {
            panic!("{of_2_0:?}")
        };
        assert_eq!(link.name.as_str(), "eth5");
    }

    /// One without `SpoofChk` says nothing of it, least of all that it was off.
    #[test]
    fn what_an_older_version_did_not_note_is_as_the_kernel_has_it() {
        let before: OrigVfState = serde_json::from_str(r#"{"HostIFName":"eth5"}"#).unwrap();
        assert_eq!((before.spoof_chk, before.trust, before.link_state), (true, false, 0));
    }

    #[test]
    fn the_pf_is_looked_up_in_the_tree_that_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let devices = dir.path().join("bus/pci/devices");
        let (pf, vf) = (devices.join("0000:21:00.0"), devices.join("0000:21:10.2"));
        for function in [&pf, &vf] {
            std::fs::create_dir_all(function).unwrap();
            for (name, text) in [("vendor", "0x8086\n"), ("device", "0x10ca\n"), ("class", "0x020000\n")] {
                std::fs::write(function.join(name), text).unwrap();
            }
        }
        std::os::unix::fs::symlink("../0000:21:00.0", vf.join("physfn")).unwrap();
        std::os::unix::fs::symlink("../0000:21:10.2", pf.join("virtfn1")).unwrap();
        let keys = r#"{"OrigVfState":{},"deviceID":"0000:21:10.2","VFID":1}"#;
        let keys: Map<String, Value> = serde_json::from_str(keys).unwrap();
        let record = record(&owner(), &keys, &Sysfs::new(dir.path())).unwrap();
        assert_eq!(record.pf, Some(Pf { address: "0000:21:00.0".parse().unwrap(), vf: 1 }));
    }

    #[test]
    fn a_file_that_is_no_cache_is_no_attachment() {
        assert_eq!(record(&owner(), &Map::new(), &Sysfs::new("/nonexistent")), None);
    }
}
