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
    // The Go plugin finds its own keys whatever their case, and these come after `MAC` and `MTU`.
    for ours in ["mac", "mtu"] {
        keys.remove(ours);
    }
    keys.insert("OrigVfState".to_owned(), serde_json::to_value(before).unwrap_or_default());
    keys.insert("Master".to_owned(), observed.pf_link.name.clone().into());
    keys.insert("MAC".to_owned(), text(conf.mac.as_ref()).into());
    keys.insert("MTU".to_owned(), link.map_or(observed.pf_link.mtu, |link| link.mtu).into());
    keys.insert("VFID".to_owned(), observed.pf.vf.into());
    keys.insert("deviceID".to_owned(), observed.function.address.to_string().into());
    keys.insert("ipam".to_owned(), ipam.map_or_else(|| json!({}), |kind| json!({ "type": kind })));
    keys
}

#[cfg(test)]
mod tests {
    use netlink::{LinkState, VlanProto};

    use super::*;
    use crate::plan::tests::{kernel_vf, observed};

    /// Every key that the Go plugin writes (but those that it leaves out where they are empty), from a VF in which nothing is
    /// the default.
    #[test]
    fn the_go_plugin_finds_all_that_it_would_have_written() {
        let raw = json!({
            "cniVersion": "1.0.0", "name": "storage", "type": "sriov", "deviceID": "0000:21:10.2", "vlan": 100, "vlanQoS": 3,
            "vlanProto": "802.1ad", "mac": "02:00:00:00:00:09", "spoofchk": "off", "trust": "on", "link_state": "enable",
            "min_tx_rate": null, "max_tx_rate": 100, "mtu": 1300, "logLevel": "debug", "logFile": "/var/log/sriov.log",
            "runtimeConfig": {"mac": "02:00:00:00:00:01"}, "capabilities": {"mac": true}, "dns": {"nameservers": ["192.0.2.53"]},
            "ipam": {"type": "host-local", "subnet": "192.0.2.0/24"}, "prevResult": {"cniVersion": "1.0.0"},
        });
        let mut observed = observed(Some(kernel_vf(true)));
        observed.vf = netlink::Vf {
            number: 1,
            mac: "02:00:00:00:02:02".parse().unwrap(),
            vlan: 7_u32.try_into().unwrap(),
            qos: 1,
            proto: VlanProto::Ad,
            min_tx_rate: 10,
            max_tx_rate: 1000,
            spoofchk: Some(false),
            trust: Some(true),
            link_state: Some(LinkState::Disable),
        };
        let conf = Conf { mac: Some("02:00:00:00:00:01".parse().unwrap()), ..Conf::default() };
        let written = beside(raw.as_object().unwrap(), &conf, &observed, Some("host-local"));
        let wanted = json!({
            "OrigVfState": {
                "HostIFName": "eth5", "SpoofChk": false, "Trust": true, "AdminMAC": "02:00:00:00:02:02",
                "EffectiveMAC": "52:54:00:00:00:01", "Vlan": 7, "VlanQoS": 1, "VlanProto": 34984, "MinTxRate": 10,
                "MaxTxRate": 1000, "LinkState": 2, "MTU": 1500,
            },
            "Master": "eth0", "MAC": "02:00:00:00:00:01", "MTU": 1500, "vlan": 100, "vlanQoS": 3, "vlanProto": "802.1ad",
            "deviceID": "0000:21:10.2", "VFID": 1, "min_tx_rate": null, "max_tx_rate": 100, "spoofchk": "off", "trust": "on",
            "link_state": "enable", "runtimeConfig": {"mac": "02:00:00:00:00:01"}, "logLevel": "debug",
            "logFile": "/var/log/sriov.log", "cniVersion": "1.0.0", "name": "storage", "type": "sriov",
            "ipam": {"type": "host-local"}, "dns": {"nameservers": ["192.0.2.53"]}, "capabilities": {"mac": true},
        });
        assert_eq!(Value::Object(written), wanted);
    }

    /// Of a network of 2017, which names no VF, and for DPDK: what the Go plugin of today needs to take it back.
    #[test]
    fn what_the_network_does_not_say_is_there_all_the_same() {
        let raw = json!({"type": "sriov", "if0": "eth0"});
        let written = beside(raw.as_object().unwrap(), &Conf::default(), &observed(None), None);
        for (key, wanted) in [
            ("deviceID", json!("0000:21:10.2")),
            ("Master", json!("eth0")),
            ("MAC", json!("")),
            ("VFID", json!(1)),
            ("ipam", json!({})),
        ] {
            assert_eq!(written[key], wanted, "{key}");
        }
        let before = &written["OrigVfState"];
        assert_eq!((&before["HostIFName"], &before["EffectiveMAC"]), (&json!(""), &json!("")));
        assert_eq!(before["AdminMAC"], json!("00:00:00:00:00:00"));
    }
}
