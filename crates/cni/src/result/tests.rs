use super::*;

fn outcome() -> Outcome {
    Outcome {
        interfaces: vec![Interface {
            name: "net1".into(),
            mac: "02:00:00:00:00:01".into(),
            mtu: 1500,
            sandbox: "/run/netns/a".into(),
            pci_id: "0000:3b:02.1".into(),
        }],
        ips: vec![IpConfig {
            address: "192.0.2.5/24".parse().unwrap(),
            gateway: Some("192.0.2.1".parse().unwrap()),
            interface: Some(0),
        }],
        ..Outcome::default()
    }
}

#[test]
fn a_network_without_addresses_has_a_first_result_where_it_says_so() {
    let none = Outcome { ips: Vec::new(), ..outcome() };
    assert!(matches!(none.to_json(Version::V0_2_0), Err(ResultError::NoAddresses)));
    let said = Outcome { addressless: true, ..none }.to_json(Version::V0_1_0).unwrap();
    assert_eq!(said, "{\n    \"cniVersion\": \"0.1.0\",\n    \"dns\": {}\n}");
}

/// Go's readers take `null` for nothing wherever a list, a text or an object may stand.
#[test]
fn null_in_an_answer_is_nothing() {
    let lists = r#"{"interfaces":null,"ips":null,"routes":null,"dns":{"nameservers":null,"domain":null}}"#;
    assert_eq!(Outcome::parse(lists.as_bytes(), Version::V1_0_0).unwrap(), Outcome::default());
    let whole =
        r#"{"interfaces":[{"name":"net1","mac":null,"mtu":null,"sandbox":null,"pciID":null}],"dns":null}"#;
    let interface = Interface { name: "net1".into(), ..Interface::default() };
    let parsed = Outcome::parse(whole.as_bytes(), Version::V1_1_0).unwrap();
    assert_eq!(parsed, Outcome { interfaces: vec![interface], ..Outcome::default() });
    let first = r#"{"ip4":{"ip":"192.0.2.5/24","routes":null},"ip6":null,"dns":null}"#;
    let parsed = Outcome::parse(first.as_bytes(), Version::V0_2_0).unwrap();
    assert_eq!((parsed.ips.len(), parsed.routes.len()), (1, 0));
}

#[test]
fn current_keys_are_alphabetical_and_complete() {
    let text = r#"{
    "cniVersion": "1.1.0",
    "interfaces": [
        {
            "mac": "02:00:00:00:00:01",
            "mtu": 1500,
            "name": "net1",
            "pciID": "0000:3b:02.1",
            "sandbox": "/run/netns/a"
        }
    ],
    "ips": [
        {
            "address": "192.0.2.5/24",
            "gateway": "192.0.2.1",
            "interface": 0
        }
    ]
}"#;
    assert_eq!(outcome().to_json(Version::V1_1_0).unwrap(), text);
}

#[test]
fn older_versions_lose_what_they_cannot_say() {
    let text = outcome().to_json(Version::V1_0_0).unwrap();
    assert!(!text.contains("mtu") && !text.contains("pciID"), "{text}");
    let text = outcome().to_json(Version::V0_4_0).unwrap();
    assert!(text.starts_with("{\n    \"cniVersion\": \"0.4.0\",\n    \"interfaces\""), "{text}");
    assert!(text.contains("\"version\": \"4\"") && text.ends_with("\"dns\": {}\n}"), "{text}");
}

#[test]
fn the_first_versions_need_an_address() {
    let text = outcome().to_json(Version::V0_2_0).unwrap();
    assert!(text.contains("\"ip4\"") && text.ends_with("\"dns\": {}\n}"), "{text}");
    let error = Outcome::default().to_json(Version::V0_1_0).unwrap_err();
    assert_eq!(error.to_string(), "cannot convert: no valid IP addresses");
}

#[test]
fn every_version_is_read_back() {
    for version in Version::ALL {
        let text = outcome().to_json(version).unwrap();
        let again = Outcome::parse(text.as_bytes(), Version::V1_1_0).unwrap();
        assert_eq!(again.ips[0].address, outcome().ips[0].address, "{text}");
    }
}

#[test]
fn nulls_of_go_are_empty_lists() {
    for text in ["null", "", r#"{"cniVersion":"1.0.0","ips":null,"routes":null}"#] {
        assert_eq!(Outcome::parse(text.as_bytes(), Version::V1_0_0).unwrap(), Outcome::default());
    }
    assert!(Outcome::parse(b"{\"cniVersion\":\"7\"}", Version::V1_0_0).is_err());
}
