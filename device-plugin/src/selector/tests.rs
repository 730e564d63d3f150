use pci::{Function, Role, VfIndex};

use super::*;

fn vf() -> Device {
    Device {
        function: Function {
            address: "0000:3b:02.1".parse().unwrap(),
            vendor: "8086".into(),
            device: "154c".into(),
            class: 0x02_00_00,
            driver: Some("iavf".into()),
            numa_node: None,
            role: Role::Vf { pf: "0000:3b:00.0".parse().unwrap(), index: VfIndex::new(1) },
            netdevs: vec!["ens1f0v1".into()],
            iommu_group: None,
            uio: None,
            vfio_dev: None,
            rdma: Vec::new(),
            acpi_index: Some("101".into()),
        },
        pf_name: Some("ens1f0".into()),
        left_out: None,
    }
}

/// A selector with one key.
fn with(key: Key, entries: &[&str]) -> Selector {
    let list: Vec<String> = entries.iter().map(ToString::to_string).collect();
    let mut wanted = Wanted::default();
    *match key {
        Key::Vendors => &mut wanted.vendors,
        Key::Devices => &mut wanted.devices,
        Key::Drivers => &mut wanted.drivers,
        Key::PciAddresses => &mut wanted.pci_addresses,
        Key::AcpiIndexes => &mut wanted.acpi_indexes,
        Key::PfNames => &mut wanted.pf_names,
        Key::RootDevices => &mut wanted.root_devices,
    } = list;
    Selector::new(wanted).0
}

#[test]
fn each_key_accepts_and_refuses() {
    let table: [(Key, &[&str], &[&str]); 7] = [
        (Key::Vendors, &["15b3", "8086"], &["15b3"]),
        (Key::Devices, &["154c"], &["154C"]),
        (Key::Drivers, &["vfio-pci", "iavf"], &["vfio-pci"]),
        (Key::PciAddresses, &["0000:3b:02.1", "0000:3b:02.0"], &["3b:02.1"]),
        (Key::AcpiIndexes, &["101"], &["1"]),
        (Key::PfNames, &["ens1f1", "ens1f0#0-1"], &["ens1f0#0"]),
        (Key::RootDevices, &["0000:3b:00.0#1"], &["0000:3b:00.0#2"]),
    ];
    for (key, accepting, refusing) in table {
        assert!(with(key, accepting).accepts(&vf()), "{key}");
        assert_eq!(with(key, refusing).refused_by(&vf()), Some(key));
        assert_eq!(with(key, refusing).refusal(&vf()).map(|refusal| refusal.key), Some(key));
        assert!(with(key, &[]).accepts(&vf()), "{key}: an empty list asks for nothing");
    }
}

#[test]
fn a_device_without_the_attribute_is_refused() {
    let mut plain = vf();
    plain.function.role = Role::Plain;
    plain.function.acpi_index = None;
    plain.function.driver = None;
    plain.pf_name = None;
    for key in [Key::AcpiIndexes, Key::PfNames, Key::RootDevices, Key::Drivers] {
        assert_eq!(with(key, &["ens1f0"]).refused_by(&plain), Some(key));
    }
}

#[test]
fn the_first_key_refuses() {
    let wanted =
        Wanted { devices: vec!["1017".into()], drivers: vec!["vfio-pci".into()], ..Wanted::default() };
    let refusal = Selector::new(wanted).0.refusal(&vf()).unwrap();
    assert_eq!(refusal.to_string(), "devices: found 154c, wanted 1017");
}

#[test]
fn refusals_say_found_and_wanted() {
    let text = |key, entries: &[&str]| with(key, entries).refusal(&vf()).unwrap().to_string();
    assert_eq!(
        text(Key::PfNames, &["ens1f0#0", "ens1f1"]),
        "pfNames: found ens1f0#1, wanted ens1f0#0 or ens1f1"
    );
    assert_eq!(
        text(Key::RootDevices, &["0000:5e:00.0"]),
        "rootDevices: found 0000:3b:00.0#1, wanted 0000:5e:00.0"
    );
    assert_eq!(
        text(Key::PciAddresses, &["3b:02.1"]),
        "pciAddresses: found 0000:3b:02.1, wanted nothing that there is"
    );
    let many = text(Key::Vendors, &["0001", "0002", "0003", "0004", "0005", "0006"]);
    assert_eq!(many, "vendors: found 8086, wanted 0001 or 0002 or 0003 or 0004 or 2 more");
}

#[test]
fn oddities_are_told() {
    let wanted = Wanted {
        pci_addresses: vec!["01:10.0".into(), "0000:3B:02.1".into(), "0000:3b:02.1".into()],
        pf_names: vec!["pf0#0#1".into()],
        ..Wanted::default()
    };
    let (_, oddities) = Selector::new(wanted);
    assert_eq!((oddities.addresses.len(), oddities.ranges.len()), (2, 1));
}
