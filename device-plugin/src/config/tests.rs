use super::*;

fn parse(text: &str) -> Result<Config, Invalid> {
    Config::parse(text.as_bytes(), "intel.com")
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// A file with one pool, whose other members are given.
fn pool(members: &str) -> Config {
    parse(&format!(r#"{{"resourceList":[{{"resourceName":"net",{members}}}]}}"#)).unwrap()
}

#[test]
fn an_object_and_a_list_of_it_are_the_same() {
    let object = pool(r#""selectors":{"vendors":["8086"]}"#);
    let list = pool(r#""selectors":[{"vendors":["8086"]}]"#);
    assert_eq!(object.pools, list.pools);
    assert!(object.warnings.is_empty() && object.refused.is_empty());
    assert_eq!(object.pools[0].resource.to_string(), "intel.com/net");
}

#[test]
fn keys_are_found_in_any_case_and_the_last_counts() {
    let exact = pool(r#""selectors":{"pciAddresses":["0000:00:06.0"]},"excludeTopology":true"#);
    let folded = pool(r#""SELECTORS":{"pciaddresses":["0000:00:06.0"]},"ExcludeTopology":true"#);
    assert_eq!(exact.pools, folded.pools);
    let twice = pool(
        r#""selectors":{"vendors":["1"],"Vendors":["8086"],"pciAddresses":["0000:00:06.0"],"vendors":null},"excludetopology":true"#,
    );
    assert_eq!(exact.pools, twice.pools);
    let upper = parse(r#"{"RESOURCElist":[{"resourcename":"net","selectors":{}}]}"#).unwrap();
    assert_eq!(upper.pools, pool(r#""selectors":{}"#).pools);
}

/// `encoding/json` on two members of one key: null empties a list and leaves anything else.
#[test]
fn null_after_a_value_leaves_a_string_and_a_truth_value() {
    let twice = pool(
        r#""deviceType":"accelerator","DeviceType":null,"excludeTopology":true,"excludetopology":null,
           "selectors":{"vendors":["8086"]}"#,
    );
    let once = pool(r#""deviceType":"accelerator","excludeTopology":true,"selectors":{"vendors":["8086"]}"#);
    assert_eq!(twice.pools, once.pools);
    let twice = pool(r#""selectors":{"isRdma":true,"isRdma":null,"vendors":["8086"],"vendors":null}"#);
    assert_eq!(twice.pools, pool(r#""selectors":{"isRdma":true}"#).pools);
    let last = pool(r#""selectors":{"isRdma":true,"isRdma":null,"isrdma":false}"#);
    assert_eq!(last.pools, pool(r#""selectors":{}"#).pools);
}

#[test]
fn unknown_keys_are_passed_over_and_told() {
    let config = parse(
        r#"{"bar":{"x":[1,2.5,true,"y",-3]},"resourceList":[{"resourceName":"net","sriovMode":true,
            "SelectorObj":null,"SelectorObjs":null,"selectors":{"vendor":["8086"]}}]}"#,
    )
    .unwrap();
    let told: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().any(|text| text.starts_with("resourceList[0].selectors.vendor: no such key")));
    assert_eq!(config.pools, pool(r#""selectors":{}"#).pools);
}

#[test]
fn null_is_the_default() {
    let config = pool(
        r#""resourcePrefix":null,"deviceType":null,"excludeTopology":null,"additionalInfo":null,
           "selectors":{"vendors":null,"isRdma":null,"vdpaType":null}"#,
    );
    assert_eq!(config.pools, pool(r#""selectors":{}"#).pools);
}

#[test]
fn missing_and_null_selectors_are_told_and_take_everything() {
    for members in [r#""selectors":null"#, r#""excludeTopology":false"#] {
        let config = pool(members);
        assert_eq!(config.pools, pool(r#""selectors":{}"#).pools);
        assert!(matches!(config.warnings[..], [Warning::NoSelectors { .. }]), "{:?}", config.warnings);
    }
}

#[test]
fn a_type_error_in_selectors_costs_that_pool_alone() {
    for selectors in ["[null]", "[]", r#""x""#, "7", r#"{"vendors":"8086"}"#, r#"[{},{"isRdma":"yes"}]"#] {
        let config = parse(&format!(
            r#"{{"resourceList":[{{"resourceName":"a.b","selectors":{selectors}}},{{"resourceName":"net","selectors":{{}}}}]}}"#
        ))
        .unwrap();
        assert_eq!((config.refused.len(), config.pools.len()), (1, 1), "{selectors}");
        assert_eq!(config.refused[0].path, "resourceList[0]");
    }
}

#[test]
fn refusals_say_what_was_found() {
    let config = pool(r#""selectors":[{},{"vendors":["8086",7]}]"#);
    assert_eq!(
        config.refused[0].to_string(),
        "pool \"net\" (resourceList[0]) is not served: resourceList[0].selectors[1].vendors[1] is a number, \
         wanted a string"
    );
}

#[test]
fn a_type_error_elsewhere_costs_the_file() {
    let whole = |members: &str| {
        let text = format!(r#"{{"resourceList":[{{"resourceName":"net","selectors":{{}},{members}}}]}}"#);
        assert!(matches!(parse(&text), Err(Invalid::Type { .. })), "{members}");
    };
    whole(r#""excludeTopology":"true""#);
    whole(r#""additionalInfo":{"*":{"a":1}}"#);
    whole(r#""additionalInfo":[]"#);
    whole(r#""resourcePrefix":7"#);
    for text in ["[]", "7", "null", r#"{"resourceList":{}}"#, r#"{"resourceList":["net"]}"#] {
        assert!(matches!(parse(text), Err(Invalid::Type { .. })), "{text}");
    }
    assert_eq!(error("[]"), "the document is a list, wanted an object");
}

#[test]
fn what_is_no_json_and_what_is_nothing() {
    for text in ["", "{", r#"{"resourceList":[],}"#, "\u{feff}{}", "{} {}", "// no"] {
        assert!(matches!(parse(text), Err(Invalid::Json { .. })), "{text:?}");
    }
    for text in ["{}", r#"{"resourceList":null}"#, r#"{"resourceList":[]}"#] {
        assert!(matches!(parse(text), Err(Invalid::NoPool)), "{text}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(parse(&deep), Err(Invalid::Json { .. })));
}

#[test]
fn invalid_utf8_is_replaced() {
    let bytes = b"{\"resourceList\":[{\"resourceName\":\"net\",\"selectors\":{\"drivers\":[\"\xff\"]}}]}";
    assert_eq!(Config::parse(bytes, "intel.com").unwrap().pools.len(), 1);
}

#[test]
fn names_are_checked_and_unique() {
    let named = |name: &str| format!(r#"{{"resourceList":[{{"resourceName":"{name}","selectors":{{}}}}]}}"#);
    assert!(error(&named("a.b")).starts_with("resourceList[0]: resourceName is \"a.b\", wanted letters"));
    assert!(matches!(parse(&named("")), Err(Invalid::Resource { .. })));
    assert!(matches!(parse(r#"{"resourceList":[null]}"#), Err(Invalid::Resource { .. })));
    let two = |prefix: &str| {
        parse(&format!(
            r#"{{"resourceList":[{{"resourceName":"a","selectors":{{}}}},
                {{"resourceName":"a","resourcePrefix":"{prefix}","selectors":{{}}}}]}}"#
        ))
    };
    assert_eq!(two("amazon.com").unwrap().pools.len(), 2);
    assert!(matches!(two("intel.com"), Err(Invalid::Duplicate { .. })));
    assert!(matches!(two(""), Err(Invalid::Duplicate { .. })));
}

#[test]
fn allocation_policies() {
    let read = |policy: &str| {
        let text = format!(
            r#"{{"resourceList":[{{"resourceName":"a","selectors":{{}},"allocationPolicy":{policy}}}]}}"#
        );
        Config::parse(text.as_bytes(), "intel.com").map(|config| config.pools[0].allocation_policy)
    };
    assert_eq!(read("null").unwrap(), AllocationPolicy::None);
    assert_eq!(read("\"none\"").unwrap(), AllocationPolicy::None);
    assert_eq!(read("\"pcie\"").unwrap(), AllocationPolicy::Pcie);
    assert_eq!(
        read("\"Packed\"").unwrap_err().to_string(),
        "resourceList[0].allocationPolicy is \"Packed\", wanted none, packed, spread, numa or pcie"
    );
}

#[test]
fn device_types() {
    assert_eq!(pool(r#""deviceType":"accelerator","selectors":{}"#).pools[0].kind, Kind::Accelerator);
    assert_eq!(pool(r#""deviceType":"","selectors":{}"#).pools[0].kind, Kind::Network);
    let text = r#"{"resourceList":[{"resourceName":"a","deviceType":"netdevice","selectors":{}}]}"#;
    assert_eq!(
        error(text),
        "resourceList[0].deviceType is \"netdevice\", wanted netDevice, accelerator or auxNetDevice"
    );
}

#[test]
fn every_key_is_read_and_only_where_it_belongs() {
    let value = |key: &str| match key {
        "isRdma" | "needVhostNet" => "true",
        "vdpaType" => r#""vhost""#,
        "auxTypes" => r#"["sf"]"#,
        _ => r#"["0000"]"#,
    };
    for (kind, device_type) in [
        (Kind::Network, "netDevice"),
        (Kind::Accelerator, "accelerator"),
        (Kind::Subfunction, "auxNetDevice"),
    ] {
        for (key, kinds) in keys::SELECTOR {
            let aux =
                if kind == Kind::Subfunction && key != "auxTypes" { r#""auxTypes":["sf"],"# } else { "" };
            let config =
                pool(&format!(r#""deviceType":"{device_type}","selectors":{{{aux}"{key}":{}}}"#, value(key)));
            let foreign = config.warnings.iter().any(|warning| matches!(warning, Warning::NotForType { .. }));
            assert_eq!(foreign, !kinds.contains(&kind), "{key} of {device_type}: {:?}", config.warnings);
            let unknown = config.warnings.iter().any(|warning| matches!(warning, Warning::UnknownKey { .. }));
            assert!(!unknown, "{key}: {:?}", config.warnings);
            let wrong = pool(&format!(r#""deviceType":"{device_type}","selectors":{{{aux}"{key}":7}}"#));
            if foreign {
                assert_eq!(wrong.pools, config.pools, "{key}: nobody looks at what it says");
                assert_eq!(wrong.warnings, config.warnings, "{key} is told of");
            } else {
                assert!(matches!(wrong.refused[0].reason, RefusedBecause::Selectors(_)), "{key} is not read");
            }
        }
    }
    for key in keys::POOL.iter().filter(|key| **key != "selectors") {
        let wrong = parse(&format!(r#"{{"resourceList":[{{"{key}":7}}]}}"#));
        assert!(matches!(wrong, Err(Invalid::Type(_))), "{key} is not read");
    }
}

#[test]
fn typing_errors_are_guessed() {
    let config = pool(r#""selectors":{"pfName":["a"]},"resourceprefx":"b","nonsense":1"#);
    let told: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|text| text.ends_with("passed over; is pfNames meant?")), "{told:?}");
    assert!(told.iter().any(|text| text.ends_with("passed over; is resourcePrefix meant?")), "{told:?}");
    assert!(told.iter().any(|text| text.ends_with("nonsense: no such key; it is passed over")), "{told:?}");
}

#[test]
fn the_address_of_a_pf_is_in_full_and_in_any_case() {
    let config = pool(r#""selectors":{"rootDevices":["3B:00.0#0-3","0000:3B:00.1","0000:3b:00.2#1"]}"#);
    let told: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "resourceList[0].selectors.rootDevices: \"3b:00.0\" is not a PCI address; wanted DDDD:BB:DD.F in lower-case \
          hexadecimal, such as 0000:3b:02.1; it selects nothing; write 0000:3b:00.0"
        ]
    );
}

#[test]
fn a_name_for_shells_is_given_where_it_is_free() {
    let config = parse(
        r#"{"resourceList":[{"resourceName":"ena-vfio","selectors":{}},{"resourceName":"a_b","selectors":{}},
            {"resourceName":"a-b","selectors":{}}]}"#,
    )
    .unwrap();
    let names: Vec<_> = config.pools.iter().map(|pool| pool.shell_variable.as_deref()).collect();
    assert_eq!(names, [Some("PCIDEVICE_INTEL_COM_ENA_VFIO"), None, None]);
}

#[test]
fn what_can_never_be_right_costs_the_file() {
    let one = |members: &str| parse(&format!(r#"{{"resourceList":[{{"resourceName":"a",{members}}}]}}"#));
    let both = one(r#""selectors":[{},{"isRdma":true,"vdpaType":"vhost"}]"#);
    assert!(matches!(both, Err(Invalid::RdmaAndVdpa { .. })));
    assert!(one(r#""selectors":[{"isRdma":true},{"vdpaType":"vhost"}]"#).is_ok());
    for types in ["", r#","selectors":{"auxTypes":["eth"]}"#, r#","selectors":[{"auxTypes":["sf"]},{}]"#] {
        let aux = one(&format!(r#""deviceType":"auxNetDevice"{types}"#));
        assert!(matches!(aux, Err(Invalid::AuxTypes { .. })), "{types}");
    }
}

#[test]
fn an_accelerator_has_fewer_selectors() {
    let config = pool(r#""deviceType":"accelerator","selectors":{"acpiIndexes":["1"],"pfNames":["pf0"]}"#);
    assert_eq!(config.pools[0].selectors, [Selector::default()]);
    assert!(matches!(config.warnings[..], [Warning::NotForType { .. }, Warning::NotForType { .. }]));
}

#[test]
fn what_a_key_of_another_type_says_does_not_matter() {
    for (device_type, selectors, key) in [
        ("netDevice", r#"{"auxTypes":"sf"}"#, "auxTypes"),
        ("accelerator", r#"{"pfNames":"x"}"#, "pfNames"),
        ("auxNetDevice", r#"{"auxTypes":["sf"],"pciAddresses":"0000:00:06.0"}"#, "pciAddresses"),
    ] {
        let config = pool(&format!(r#""deviceType":"{device_type}","selectors":{selectors}"#));
        assert_eq!((config.pools.len(), config.refused.len()), (1, 0), "{device_type}");
        let path = format!("resourceList[0].selectors.{key}");
        assert_eq!(config.warnings, [Warning::NotForType { path }]);
    }
    let nothing = r#""deviceType":"accelerator","selectors":{"pfNames":[],"isRdma":false,"vdpaType":""}"#;
    assert_eq!(pool(nothing).warnings, [], "what asks for nothing is not told of");
}

#[test]
fn what_selects_nothing_is_told() {
    let config = pool(
        r#""selectors":{"pciAddresses":["01:10.0"],"pfNames":["pf0#0,x"],"devices":["154C"],"vdpaType":"x"}"#,
    );
    let mut told: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told.remove(0),
        "resourceList[0].selectors.devices: \"154C\" selects nothing; wanted four lower-case hexadecimal digits, \
         such as 8086; is 154c meant?"
    );
    assert!(told.remove(0).ends_with("vdpaType is \"x\", which selects nothing; wanted virtio or vhost"));
    assert!(told[0].contains("\"01:10.0\" is not a PCI address"), "{told:?}");
    assert!(told[0].ends_with("it selects nothing; write 0000:01:10.0"), "{told:?}");
    assert!(
        told[1].starts_with("resourceList[0].selectors.pfNames: \"pf0#0,x\" counts only up to \"x\""),
        "{told:?}"
    );
}

#[test]
fn additional_info_of_a_device_goes_over_that_of_all() {
    let config = pool(r#""selectors":{},"additionalInfo":{"*":{"a":"1","B":"2"},"0000:00:06.0":{"a":"3"}}"#);
    let extra = |device: &str| config.pools[0].extra(device).unwrap().into_iter().collect::<Vec<_>>();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(extra("0000:00:06.0"), [pair("B", "2"), pair("a", "3")]);
    assert_eq!(extra("0000:00:07.0"), [pair("B", "2"), pair("a", "1")]);
    assert_eq!(pool(r#""selectors":{}"#).pools[0].extra("0000:00:06.0"), None);
}

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

#[test]
fn the_reference_page_has_every_key_and_no_other() {
    let page = page("configuration.md");
    let headed: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let selector = keys::SELECTOR.map(|(key, _)| key);
    let wanted: Vec<&str> = [&keys::FILE[..], &keys::POOL, &selector].concat();
    assert_eq!(headed, wanted);
    let rows: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(key, rest)| (key, rest.split(" |").next().unwrap()))
        .collect();
    let type_of = |kind: &Kind| match kind {
        Kind::Network => "netDevice",
        Kind::Accelerator => "accelerator",
        Kind::Subfunction => "auxNetDevice",
    };
    let wanted: Vec<(&str, String)> = keys::SELECTOR
        .iter()
        .map(|(key, kinds)| (*key, kinds.iter().map(type_of).collect::<Vec<_>>().join(", ")))
        .collect();
    let rows: Vec<(&str, String)> = rows.into_iter().map(|(key, types)| (key, types.to_owned())).collect();
    assert_eq!(rows, wanted);
    let example = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(parse(example).unwrap().warnings.is_empty());
}

#[test]
fn the_page_of_options_has_every_option() {
    use clap::CommandFactory;

    let page = page("device-plugin.md");
    for option in crate::cli::Cli::command().get_arguments().filter_map(clap::Arg::get_long) {
        let alias = option.replace("log-dir", "log_dir");
        assert!(page.contains(&format!("-{option}`")) || page.contains(&format!("`-{alias}`")), "--{option}");
    }
    for command in crate::cli::Cli::command().get_subcommands() {
        assert!(page.contains(&format!("| `sriovdp {}", command.get_name())), "{}", command.get_name());
    }
}
