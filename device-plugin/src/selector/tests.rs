use pci::{Function, Role, VfIndex};

use super::*;

/// A VF that meets every key.
fn vf() -> Device {
    let function = Function {
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
        rdma: vec!["irdma0".into()],
        acpi_index: Some("101".into()),
    };
    Device {
        function,
        sf: None,
        pf_name: Some("ens1f0".into()),
        link_type: Some("infiniband".into()),
        pkey: Some("0x7fff".into()),
        ddp_profile: Some("GTPv1-C/U IPv4/IPv6 payload".into()),
        rdma_enabled: false,
        vdpa: Some(pci::Vdpa {
            name: "vdpa0".into(),
            driver: Some("vhost_vdpa".into()),
            vhost: Some("vhost-vdpa-0".into()),
        }),
        carrier: None,
        above: None,
        left_out: None,
    }
}

/// The SF 88 of the same PF.
fn sf() -> Device {
    let mut device = vf();
    device.function.address = "0000:3b:00.0".parse().unwrap();
    device.function.role = Role::Pf { total_vfs: 8, num_vfs: 1 };
    device.sf = Some(pci::Subfunction {
        name: "mlx5_core.sf.2".parse().unwrap(),
        number: 88,
        netdevs: vec!["ens1f0s88".into()],
        rdma: vec!["mlx5_7".into()],
    });
    device
}

/// A selector with one key.
fn with(key: Key, entries: &[&str]) -> Selector {
    let list: Vec<String> = entries.iter().map(ToString::to_string).collect();
    let mut wanted = Wanted::default();
    let list_of = match key {
        Key::Vendors => &mut wanted.vendors,
        Key::Devices => &mut wanted.devices,
        Key::Drivers => &mut wanted.drivers,
        Key::PciAddresses => &mut wanted.pci_addresses,
        Key::AcpiIndexes => &mut wanted.acpi_indexes,
        Key::AuxTypes => &mut wanted.aux_types,
        Key::PfNames => &mut wanted.pf_names,
        Key::RootDevices => &mut wanted.root_devices,
        Key::LinkTypes => &mut wanted.link_types,
        Key::DdpProfiles => &mut wanted.ddp_profiles,
        Key::PKeys => &mut wanted.p_keys,
        Key::IsRdma => {
            wanted.is_rdma = !list.is_empty();
            return Selector::new(wanted).0;
        }
        Key::VdpaType => {
            wanted.vdpa_type = list.concat();
            return Selector::new(wanted).0;
        }
    };
    *list_of = list;
    Selector::new(wanted).0
}

#[test]
fn each_key_accepts_and_refuses() {
    let table: [(Key, &[&str], &[&str]); 11] = [
        (Key::Vendors, &["15b3", "8086"], &["15b3"]),
        (Key::Devices, &["154c"], &["154C"]),
        (Key::Drivers, &["vfio-pci", "iavf"], &["vfio-pci"]),
        (Key::PciAddresses, &["0000:3b:02.1", "0000:3b:02.0"], &["3b:02.1"]),
        (Key::AcpiIndexes, &["101"], &["1"]),
        (Key::PfNames, &["ens1f1", "ens1f0#0-1"], &["ens1f0#0"]),
        (Key::RootDevices, &["0000:3b:00.0#1"], &["0000:3b:00.0#2"]),
        (Key::LinkTypes, &["ether", "infiniband"], &["ether"]),
        (Key::DdpProfiles, &["GTPv1-C/U IPv4/IPv6 payload"], &["GTPv1-C/U"]),
        (Key::PKeys, &["0x7fff"], &["0x7FFF"]),
        (Key::VdpaType, &["vhost"], &["virtio"]),
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
fn rdma_is_seen_or_said_to_be_on() {
    let mut device = vf();
    assert!(with(Key::IsRdma, &["x"]).accepts(&device));
    device.function.rdma.clear();
    assert_eq!(
        with(Key::IsRdma, &["x"]).refusal(&device).unwrap().to_string(),
        "isRdma: found none, wanted an RDMA device"
    );
    device.rdma_enabled = true;
    assert!(with(Key::IsRdma, &["x"]).accepts(&device));
}

#[test]
fn a_profile_and_a_link_type_without_name() {
    let mut device = vf();
    (device.ddp_profile, device.link_type) = (Some(String::new()), None);
    assert!(!with(Key::DdpProfiles, &[""]).accepts(&device), "an empty profile never matches");
    assert!(with(Key::LinkTypes, &[""]).accepts(&device), "an unknown link type is an empty one");
}

#[test]
fn an_sf_is_chosen_by_its_own_number_and_its_functions_address() {
    let sf = sf();
    assert!(with(Key::AuxTypes, &["sf"]).accepts(&sf));
    assert!(!with(Key::AuxTypes, &["sf"]).accepts(&vf()));
    assert!(with(Key::PfNames, &["ens1f0#88"]).accepts(&sf));
    assert!(with(Key::RootDevices, &["0000:3b:00.0#80-90"]).accepts(&sf));
    assert!(!with(Key::RootDevices, &["0000:3b:00.0#2"]).accepts(&sf));
    assert_eq!(sf.id().to_string(), "mlx5_core.sf.2");
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
