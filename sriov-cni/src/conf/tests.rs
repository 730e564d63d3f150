use netlink::VlanProto;
use serde_json::json;

use super::*;

const DEVICE: &str = "0000:3b:02.1";

fn read(keys: Value, args: &str) -> Result<Netconf, ConfError> {
    let Value::Object(mut raw) =
        json!({"cniVersion": "1.0.0", "name": "n", "type": "sriov", "deviceID": DEVICE})
    else {
        panic!("an object")
    };
    let Value::Object(keys) = keys else { panic!("an object") };
    raw.extend(keys);
    Netconf::of(&raw, &Args::parse(args, &vf::ARGS).unwrap())
}

fn conf(keys: Value) -> Conf {
    read(keys, "").unwrap().conf
}

fn error(keys: Value) -> String {
    read(keys, "").unwrap_err().to_string()
}

fn warnings(keys: Value) -> Vec<String> {
    read(keys, "").unwrap().warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_device_alone_changes_nothing() {
    let Netconf { vf, conf, ifname, warnings } = read(json!({}), "").unwrap();
    assert_eq!(vf, Some(VfKey::Address(DEVICE.parse().unwrap())));
    assert_eq!((conf, ifname, warnings), (Conf::default(), None, vec![]));
}

#[test]
fn vlan_rules_are_the_go_plugins() {
    for (keys, text) in [
        (json!({"vlanQoS": 0}), "vlan id must be configured to set vlan QoS to a non-nil value"),
        (json!({"vlanProto": "802.1q"}), "vlan id must be configured to set vlan proto to a non-nil value"),
        (json!({"vlanProto": ""}), "vlan id must be configured to set vlan proto to a non-nil value"),
        (json!({"vlan": 4095}), "vlan id 4095 invalid: value must be in the range 0-4094"),
        (json!({"vlan": -1}), "vlan id -1 invalid: value must be in the range 0-4094"),
        (json!({"vlan": 5, "vlanQoS": 8}), "vlan QoS PCP 8 invalid: value must be in the range 0-7"),
        (
            json!({"vlan": 0, "vlanQoS": 1}),
            "non-zero vlan id must be configured to set vlan QoS to a non-zero value",
        ),
        (json!({"vlan": 5, "vlanProto": "q"}), "vlan Proto q invalid: value must be '802.1Q' or '802.1ad'"),
        (
            json!({"vlan": 0, "vlanProto": "802.1AD"}),
            "non-zero vlan id must be configured to set vlan proto 802.1ad",
        ),
        (json!({"link_state": "up"}), "invalid link_state value: up"),
    ] {
        assert_eq!(error(keys), text);
    }
    let vlan = conf(json!({"vlan": 100, "vlanQoS": 3, "vlanProto": "802.1AD"})).vlan.unwrap();
    assert_eq!((vlan.id.get(), vlan.qos, vlan.proto), (100, 3, VlanProto::Ad));
}

#[test]
fn an_absent_vlan_is_not_vlan_zero() {
    assert!(conf(json!({"vlan": 0})).vlan.unwrap().id.is_untagged());
    assert_eq!(conf(json!({"vlan": null})).vlan, None);
}

#[test]
fn the_more_specific_mac_wins() {
    let mac = |keys, args| read(keys, args).unwrap().conf.mac.unwrap().to_string();
    let mut keys = json!({"mac": "02:00:00:00:00:01"});
    assert_eq!(mac(keys.clone(), ""), "02:00:00:00:00:01");
    let args = "IgnoreUnknown=1;MAC=02:00:00:00:00:02";
    assert_eq!(mac(keys.clone(), args), "02:00:00:00:00:02");
    keys["args"] = json!({"cni": {"mac": "02:00:00:00:00:03", "labels": []}});
    assert_eq!(mac(keys.clone(), args), "02:00:00:00:00:03");
    keys["runtimeConfig"] = json!({"MAC": "02-00-00-00-00-0A"});
    assert_eq!(mac(keys, args), "02:00:00:00:00:0a");
    assert!(error(json!({"mac": "01:00:5e:00:00:01"})).contains("cannot be a station's"));
}

#[test]
fn switches_and_rates() {
    let all = conf(json!({"spoofchk": "off", "trust": "on", "max_tx_rate": 100}));
    assert_eq!((all.spoofchk, all.trust), (Some(false), Some(true)));
    assert_eq!(all.rate, Some(Rate { min: 0, max: 100 }));
    assert_eq!(conf(json!({"spoofchk": "", "trust": ""})), Conf::default());
    assert_eq!(
        warnings(json!({"trust": "yes"})),
        [r#"trust "yes" is taken for "off": wanted "on" or "off""#]
    );
    assert_eq!(conf(json!({"trust": "yes"})).trust, Some(false));
    assert!(warnings(json!({"min_tx_rate": 9, "max_tx_rate": 5}))[0].starts_with("min_tx_rate 9 is above"));
    assert_eq!(warnings(json!({"min_tx_rate": 9, "max_tx_rate": 0})), [""; 0]);
}

#[test]
fn a_missing_device_is_found_out_later_and_not_by_a_status() {
    for none in [json!(""), json!(null)] {
        assert_eq!(read(json!({"deviceID": none}), "").unwrap().vf, None);
    }
    assert_eq!(ConfError::NoDevice.to_string(), "VF pci addr is required");
}

#[test]
fn the_device_may_come_in_any_way() {
    let other = "0000:3b:02.7";
    for keys in [
        json!({"deviceID": "", "pciBusID": other}),
        json!({"deviceID": null, "runtimeConfig": {"deviceid": other}}),
        json!({"deviceID": null, "args": {"cni": {"deviceID": other}}}),
    ] {
        assert_eq!(read(keys, "").unwrap().vf, Some(VfKey::Address(other.parse().unwrap())));
    }
    let by_args = read(json!({"deviceID": null}), "deviceID=0000:3b:02.7").unwrap();
    assert_eq!(by_args.vf, Some(VfKey::Address(other.parse().unwrap())));
}

#[test]
fn ways_that_name_several_devices_are_all_shown() {
    let keys = json!({"pciBusID": DEVICE, "runtimeConfig": {"deviceID": "0000:3b:02.2"}, "args": {"cni": {"deviceID": DEVICE}}});
    let error = read(keys, "deviceID=0000:3b:02.3").unwrap_err().to_string();
    assert_eq!(
        error,
        "the VF is not named alike: deviceID 0000:3b:02.1, pciBusID 0000:3b:02.1, runtimeConfig.deviceID 0000:3b:02.2, \
         args.cni.deviceID 0000:3b:02.1, CNI_ARGS deviceID 0000:3b:02.3; all that are there must be the same"
    );
    let same = read(json!({"pciBusID": DEVICE}), "").unwrap();
    assert_eq!(same.warnings, []);
}

#[test]
fn a_value_of_the_wrong_type_names_its_key() {
    assert!(error(json!({"vlan": "5"})).starts_with("vlan: invalid type: string"));
    assert!(error(json!({"max_tx_rate": -1})).starts_with("max_tx_rate: invalid value"));
    assert!(error(json!({"runtimeConfig": {"mac": 1}})).starts_with("runtimeConfig.mac: invalid type"));
    assert_eq!(error(json!({"runtimeConfig": []})), "runtimeConfig: wanted an object");
    assert!(error(json!({"strict": "yes"})).starts_with("strict: invalid type"));
    let aux = error(json!({"deviceID": "mlx5_core.sf.4"}));
    assert!(aux.starts_with("failed to get VF information: \""), "{aux}");
}

#[test]
fn unknown_keys_are_told_and_in_strict_networks_refused() {
    let misspelt = json!({"max-tx-rate": 100, "mySwitch": true, "cni.dev/valid-attachments": [], "VLANQOS": null, "dns": {}});
    let told = warnings(misspelt.clone());
    assert_eq!(
        told,
        [
            r#"unknown key "max-tx-rate" with 100 is passed over; did you mean "max_tx_rate"?"#,
            r#"unknown key "mySwitch" with true is passed over"#,
        ]
    );
    let mut strict = misspelt;
    strict["strict"] = json!(true);
    assert_eq!(error(strict), format!("strict: {}; {}", told[0], told[1]));
    assert!(error(json!({"strict": true, "spoofchk": "enabled"})).contains("taken for \"off\""));
    assert!(error(json!({"strict": true, "logLevel": "verbose"})).contains("taken for \"info\""));
    assert!(warnings(json!({"x": "y".repeat(1000)}))[0].len() < 200);
}

#[test]
fn what_runtimes_and_the_go_plugin_add_is_known() {
    let added = json!({"strict": true, "capabilities": {"mac": true}, "prevResult": {}, "pciBusID": DEVICE, "ipMasq": false,
        "OrigVfState": {}, "Master": "eth0", "VFID": 3, "DPDKMode": true, "args": {"cni": {"x": 1}}, "runtimeConfig": {"y": 1},
        "disableGC": true, "ipam": {}, "logLevel": "debug", "logFile": "/var/log/x"});
    let told: Vec<String> = warnings(added);
    assert_eq!(told, ["master is passed over: the VF is named by its address"]);
}

#[test]
fn one_driver_can_be_bound_for_a_pod() {
    assert_eq!(conf(json!({})).driver, None);
    assert_eq!(conf(json!({"driver": "vfio-pci"})).driver, Some("vfio-pci"));
    assert_eq!(
        error(json!({"driver": "igb_uio"})),
        r#"driver "igb_uio" cannot be bound for a pod: wanted "vfio-pci", or no driver key to take the VF as it is"#
    );
    let of_2017 = |driver: &str| {
        let dpdk =
            json!({"kernel_driver": "ixgbevf", "dpdk_driver": driver, "dpdk_tool": "/opt/dpdk-devbind.py"});
        legacy(json!({"if0": "enp2s0", "dpdk": dpdk})).map(|netconf| netconf.conf.driver)
    };
    assert_eq!((of_2017("igb_uio"), of_2017("")), (Ok(Some("igb_uio")), Ok(None)));
    assert!(of_2017("ixgbevf").unwrap_err().starts_with("driver \"ixgbevf\" cannot be bound"));
    assert!(legacy(json!({"if0": "e", "dpdk": true})).unwrap_err().ends_with("dpdk: wanted an object"));
}

#[test]
fn the_link_in_the_pod() {
    let all = conf(json!({"mtu": 9000, "allmulti": true, "trust": "on"}));
    assert_eq!((all.mtu, all.allmulti), (Some(9000), true));
    assert_eq!(error(json!({"mtu": 67})), "mtu 67 invalid: wanted 68 or more");
    for untrusted in [json!({"allmulti": true}), json!({"allmulti": true, "trust": "off"})] {
        assert!(error(untrusted).starts_with("allmulti needs \"trust\": \"on\""));
    }
}

#[test]
fn a_trunk_is_a_text_or_the_bridge_plugins_list() {
    for trunk in [json!("100-200,300"), json!([{"minID": 100, "maxID": 200}, {"id": 300}])] {
        let wanted = Some("100-200,300".parse().unwrap());
        assert_eq!(conf(json!({"vlanTrunk": trunk})).trunk, wanted);
        assert_eq!(conf(json!({"vlanTrunk": trunk, "vlan": 0})).trunk, wanted);
        let with_vlan = error(json!({"vlanTrunk": trunk, "vlan": 7}));
        assert!(with_vlan.starts_with("vlanTrunk and a vlan above 0 exclude each other"), "{with_vlan}");
    }
    for malformed in
        [json!("200-100"), json!("0-5"), json!("1,4095"), json!("a"), json!(5), json!([{"id": 0}])]
    {
        let refused = error(json!({"vlanTrunk": malformed}));
        assert!(refused.contains("wanted VLANs and ranges of 1 to 4094"), "{refused}");
    }
    assert_eq!(conf(json!({"vlanTrunk": ""})), Conf::default());
}

#[test]
fn the_reference_page_has_every_key_and_no_other() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sriov.md");
    let page = std::fs::read_to_string(page).unwrap();
    let headed: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    assert_eq!(headed, [&keys::OURS[..], &keys::LEGACY].concat());
    let mut examples = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let example = |text: &str| Netconf::of(&serde_json::from_str(text).unwrap(), &Args::default()).unwrap();
    assert_eq!(example(examples.next().unwrap()).warnings, []);
    let of_2017 = example(examples.next().unwrap());
    assert_eq!((of_2017.warnings, examples.next()), (vec![Warning::Legacy { key: "if0" }], None));
}

/// A configuration of 2017: no device plugin, so nothing names the VF.
fn legacy(mut keys: Value) -> Result<Netconf, String> {
    keys["deviceID"] = Value::Null;
    read(keys, "").map_err(|error| error.to_string())
}

#[test]
fn the_configurations_of_2017_name_a_pf() {
    let below = |pf: &str, vf| Some(VfKey::Below { pf: pf.parse().unwrap(), vf });
    let first = legacy(json!({"if0": "enp12s0f1", "ipam": {"type": "host-local"}})).unwrap();
    assert_eq!((first.vf, first.ifname), (below("enp12s0f1", None), None));
    let second = legacy(json!({"if0": "enp2s0", "vlan": 210, "if0name": "north", "l2enable": true})).unwrap();
    assert_eq!((second.vf, second.conf.vlan.unwrap().id.get()), (below("enp2s0", None), 210));
    assert_eq!(second.ifname.unwrap().as_str(), "north");
    assert!(second.warnings[0].to_string().starts_with("if0 chooses the VF as in 2017"));
    assert_eq!(legacy(json!({"master": "eth1", "vf": 1})).unwrap().vf, below("eth1", Some(1)));
    for name in ["eth0", "eth1", "lo"] {
        assert!(legacy(json!({"if0": "e", "if0name": name})).unwrap_err().starts_with("\"if0name\""));
    }
    assert!(legacy(json!({"if0": "a", "master": "b"})).unwrap_err().starts_with("the PF is not named alike"));
    assert!(legacy(json!({"if0": "a/b"})).unwrap_err().starts_with("the PF \"a/b\":"));
    // Old is not wrong.
    assert!(legacy(json!({"if0": "e", "strict": true})).is_ok());
}

#[test]
fn only_networks_of_2017_may_lack_a_name() {
    let named = |keys: Value| name_of_nameless(keys.as_object().unwrap());
    assert_eq!(named(json!({"IF0": "e"})).as_deref(), Some("sriov"));
    assert_eq!(named(json!({"deviceID": DEVICE})), None);
}

#[test]
fn a_network_without_a_pf_goes_past_all_keys_of_2017() {
    let leftover = json!({
        "if0": "a", "master": "b/c", "vf": "first", "if0name": "eth0", "l2enable": true, "dpdk": {"dpdk_driver": "igb_uio"},
    });
    for (device, because) in [
        (json!(DEVICE), "the VF is named by its address"),
        (Value::Null, "neither if0 nor master names a PF"),
    ] {
        let mut keys = leftover.clone();
        if device.is_null() {
            keys.as_object_mut().unwrap().retain(|key, _| key != "if0" && key != "master");
        }
        keys["deviceID"] = device;
        let found = read(keys.clone(), "").unwrap();
        assert_eq!((found.ifname, found.conf), (None, Conf::default()), "{keys}");
        let expected = keys::LEGACY.into_iter().filter(|key| keys.get(key).is_some());
        let expected: Vec<Warning> = expected.map(|key| Warning::PassedOver { key, because }).collect();
        assert_eq!(found.warnings, expected, "{keys}");
    }
}

#[test]
fn only_networks_of_2017_go_without_addresses() {
    let of = |keys: Value, args: &str| {
        is_addressless(keys.as_object().unwrap(), &Args::parse(args, &ARGS).unwrap())
    };
    assert!(
        of(json!({"if0": "e", "l2enable": true}), "") && of(json!({"master": "e", "l2enable": true}), "")
    );
    assert!(!of(json!({"if0": "e"}), "") && !of(json!({"l2enable": true}), ""));
    assert!(!of(json!({"if0": "e", "l2enable": true, "deviceID": DEVICE}), ""));
    assert!(!of(json!({"if0": "e", "l2enable": true}), &format!("deviceID={DEVICE}")));
}

#[test]
fn where_to_log_is_known_before_anything_is_checked() {
    let of = |keys: Value| Logging::of(keys.as_object().unwrap());
    let all = of(json!({"logLevel": "debug", "logFile": "/var/log/sriov.log", "vlan": "odd"}));
    assert_eq!((all.level, all.file), (cni::log::Level::Debug, Some("/var/log/sriov.log".into())));
    let odd = of(json!({"logLevel": "trace", "logFile": 5}));
    assert_eq!((odd.level, odd.odd_level.as_deref()), (cni::log::Level::Info, Some("trace")));
}
