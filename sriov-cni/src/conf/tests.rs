use super::*;

const DEVICE: &str = "0000:3b:02.1";

fn validate(keys: &str, mac_in_args: Option<&str>) -> Result<Conf, ConfError> {
    let wire: Wire = serde_json::from_str(&format!(r#"{{"deviceID":"{DEVICE}"{keys}}}"#)).unwrap();
    wire.validate(mac_in_args)
}

fn error(keys: &str) -> String {
    validate(keys, None).unwrap_err().to_string()
}

#[test]
fn the_device_alone_changes_nothing() {
    let conf = validate("", None).unwrap();
    let nothing = Conf {
        device: DEVICE.parse().unwrap(),
        vlan: None,
        mac: None,
        rate: None,
        spoofchk: None,
        trust: None,
        link_state: None,
    };
    assert_eq!(conf, nothing);
}

#[test]
fn vlan_rules_are_the_go_plugins() {
    for (keys, text) in [
        (r#","vlanQoS":0"#, "vlan id must be configured to set vlan QoS to a non-nil value"),
        (r#","vlanProto":"802.1q""#, "vlan id must be configured to set vlan proto to a non-nil value"),
        (r#","vlan":4095"#, "vlan id 4095 invalid: value must be in the range 0-4094"),
        (r#","vlan":-1"#, "vlan id -1 invalid: value must be in the range 0-4094"),
        (r#","vlan":5,"vlanQoS":8"#, "vlan QoS PCP 8 invalid: value must be in the range 0-7"),
        (
            r#","vlan":0,"vlanQoS":1"#,
            "non-zero vlan id must be configured to set vlan QoS to a non-zero value",
        ),
        (r#","vlan":5,"vlanProto":"q""#, "vlan Proto q invalid: value must be '802.1Q' or '802.1ad'"),
        (
            r#","vlan":0,"vlanProto":"802.1AD""#,
            "non-zero vlan id must be configured to set vlan proto 802.1ad",
        ),
        (r#","link_state":"up""#, "invalid link_state value: up"),
    ] {
        assert_eq!(error(keys), text);
    }
    let vlan = validate(r#","vlan":100,"vlanQoS":3,"vlanProto":"802.1AD""#, None).unwrap().vlan.unwrap();
    assert_eq!((vlan.id.get(), vlan.qos, vlan.proto), (100, 3, VlanProto::Ad));
}

#[test]
fn an_absent_vlan_is_not_vlan_zero() {
    assert!(validate(r#","vlan":0"#, None).unwrap().vlan.unwrap().id.is_untagged());
    assert_eq!(validate(r#","vlan":null"#, None).unwrap().vlan, None);
}

#[test]
fn the_more_specific_mac_wins() {
    let mac = |keys, args| validate(keys, args).unwrap().mac.unwrap().to_string();
    let (conf, runtime) =
        (r#","mac":"02:00:00:00:00:01""#, r#","runtimeConfig":{"mac":"02-00-00-00-00-03"}"#);
    assert_eq!(mac(conf, None), "02:00:00:00:00:01");
    assert_eq!(mac(conf, Some("02:00:00:00:00:02")), "02:00:00:00:00:02");
    assert_eq!(mac(&format!("{conf}{runtime}"), Some("02:00:00:00:00:02")), "02:00:00:00:00:03");
    assert!(error(r#","mac":"01:00:5e:00:00:01""#).contains("cannot be a station's"));
}

#[test]
fn switches_and_rates() {
    let conf = validate(r#","spoofchk":"off","trust":"on","max_tx_rate":100"#, None).unwrap();
    assert_eq!((conf.spoofchk, conf.trust), (Some(false), Some(true)));
    assert_eq!(conf.rate, Some(Rate { min: 0, max: 100 }));
    assert_eq!(validate(r#","spoofchk":"","trust":"""#, None).unwrap().trust, None);
}

#[test]
fn a_missing_device_is_told_in_the_go_plugins_words() {
    let wire: Wire = serde_json::from_str(r#"{"deviceID":""}"#).unwrap();
    assert_eq!(wire.validate(None).unwrap_err().to_string(), "VF pci addr is required");
}
