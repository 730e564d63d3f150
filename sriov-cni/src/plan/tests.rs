use attachment::Pf;
use netlink::{Link, Vf, VlanId, VlanProto};
use pci::{Function, Role, VfIndex};

use super::*;
use crate::conf::{Rate, Vlan};

pub(crate) fn observed(link: Option<Link>) -> Observed {
    let (address, pf) = ("0000:21:10.2".parse().unwrap(), "0000:21:00.0".parse().unwrap());
    Observed {
        function: Function {
            address,
            vendor: "8086".into(),
            device: "10ca".into(),
            class: 0x02_00_00,
            driver: Some("igbvf".into()),
            numa_node: Some(0),
            role: Role::Vf { pf, index: VfIndex::new(1) },
            netdevs: vec![],
            iommu_group: None,
            uio: None,
            vfio_dev: None,
            rdma: vec![],
            acpi_index: None,
        },
        pf: Pf { address: pf, vf: 1 },
        pf_link: Link { index: 2, name: "eth0".into(), ..Link::default() },
        vf: Vf {
            number: 1,
            mac: MacAddr::zero(),
            vlan: VlanId::default(),
            qos: 0,
            proto: VlanProto::Q,
            min_tx_rate: 0,
            max_tx_rate: 1000,
            spoofchk: Some(true),
            trust: None,
            link_state: Some(netlink::LinkState::Auto),
        },
        link,
        port: None,
        master: None,
    }
}

pub(crate) fn kernel_vf(up: bool) -> Link {
    let mac = Some("52:54:00:00:00:01".parse().unwrap());
    Link { index: 7, name: "eth5".into(), mac, mtu: 1500, up, ..Link::default() }
}

fn bare() -> Conf {
    Conf::default()
}

fn everything() -> Conf {
    Conf {
        vlan: Some(Vlan { id: 100_u32.try_into().unwrap(), qos: 2, proto: VlanProto::Q }),
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        rate: Some(Rate { min: 0, max: 100 }),
        spoofchk: Some(false),
        trust: Some(true),
        link_state: Some(netlink::LinkState::Enable),
        ..bare()
    }
}

fn net1() -> IfName {
    "net1".parse().unwrap()
}

#[test]
fn what_is_not_asked_for_is_not_touched() {
    let steps = plan(&bare(), &observed(Some(kernel_vf(false))), None, None, &net1()).unwrap();
    assert!(matches!(steps[..], [Step::Remember(Undo::Mac(_)), Step::Move { .. }]), "{steps:?}");
}

#[test]
fn every_change_carries_what_was_before() {
    let undo: Vec<Undo> = plan(&everything(), &observed(Some(kernel_vf(true))), None, None, &net1())
        .unwrap()
        .iter()
        .map(Step::undo)
        .collect();
    let untagged = VfAttribute::Vlan { vlan: VlanId::default(), qos: 0, proto: VlanProto::Q };
    let mac = MacBefore { admin: Some(MacAddr::zero()), effective: kernel_vf(true).mac, locked: None };
    let link = LinkBefore { pod_name: Some(net1()), ..LinkBefore::of(&kernel_vf(true), None).unwrap() };
    assert_eq!(
        undo,
        [
            Undo::Up,
            Undo::Vf(untagged),
            Undo::Mac(mac),
            Undo::Vf(VfAttribute::Rate { min: 0, max: 1000 }),
            Undo::Vf(VfAttribute::Spoofchk(true)),
            Undo::Vf(VfAttribute::Trust(false)),
            Undo::Vf(VfAttribute::LinkState(netlink::LinkState::Auto)),
            Undo::Link(link),
        ]
    );
}

/// The kernel lets a trusted VF change its address whoever holds it.
#[test]
fn trust_is_off_while_a_mac_is_tried_there_and_back() {
    let trusted = |mac: &str, link| {
        let observed = observed(link);
        let vf = Vf { trust: Some(true), mac: mac.parse().unwrap(), ..observed.vf };
        Observed { vf, ..observed }
    };
    let steps = |conf: &Conf, observed: &Observed| -> Vec<(Option<VfAttribute>, Undo)> {
        let steps = plan(conf, observed, None, None, &net1()).unwrap();
        let set = |step: &Step| match step {
            Step::Vf { set, .. } => Some(set.clone()),
            _ => None,
        };
        steps.iter().map(|step| (set(step), step.undo())).collect()
    };
    let mac = Conf { mac: everything().mac, ..bare() };
    let trust = VfAttribute::Trust;
    let found = steps(&mac, &trusted("02:00:00:00:02:02", Some(kernel_vf(false))));
    let [off, (None, Undo::Mac(_)), on, (None, Undo::Link(_))] = &found[..] else { panic!("{found:?}") };
    assert_eq!(*off, (Some(trust(false)), Undo::Vf(trust(true))));
    assert_eq!(*on, (Some(trust(true)), Undo::Vf(trust(false))));
    // What the network asks for is what the pod gets.
    let distrusted = Conf { trust: Some(false), ..mac.clone() };
    let found = steps(&distrusted, &trusted("02:00:00:00:02:02", Some(kernel_vf(false))));
    assert_eq!(found[2], (Some(trust(false)), Undo::Vf(trust(false))));
    // There is nothing to try, or nothing to find.
    for observed in [
        trusted("02:00:00:00:02:02", None),
        trusted("00:00:00:00:00:00", Some(kernel_vf(false))),
        observed(Some(kernel_vf(false))),
    ] {
        let found = steps(&mac, &observed);
        assert!(!found.iter().any(|(_, undo)| matches!(undo, Undo::Vf(VfAttribute::Trust(_)))), "{found:?}");
    }
}

/// A bond gives its port's own address back when that leaves: the pod's would be gone.
#[test]
fn a_port_leaves_before_its_address_changes_and_is_one_again_with_its_own() {
    let (own, master): (MacAddr, IfName) = ("52:54:00:00:00:02".parse().unwrap(), "bond0".parse().unwrap());
    let link = Link {
        master: Some(9),
        master_kind: Some("bond".into()),
        mac_before_bond: Some(own.clone()),
        ..kernel_vf(true)
    };
    let observed = Observed { master: Some(master.clone()), ..observed(Some(link)) };
    let steps = plan(&everything(), &observed, None, None, &net1()).unwrap();
    let undo: Vec<Undo> = steps.iter().map(Step::undo).collect();
    assert_eq!(undo[..2], [Undo::Up, Undo::Master(master)]);
    let before = MacBefore { admin: Some(MacAddr::zero()), effective: Some(own), locked: None };
    assert_eq!(undo[3], Undo::Mac(before));
}

#[test]
fn a_vf_under_a_userspace_driver_stays_where_it_is() {
    let steps = plan(&everything(), &observed(None), None, None, &net1()).unwrap();
    assert!(!steps.iter().any(|step| matches!(step, Step::Move { .. } | Step::Down)), "{steps:?}");
    assert_eq!(steps.len(), 6);
}

#[test]
fn the_reported_mac_is_the_one_that_will_be_seen() {
    assert_eq!(reported_mac(&everything(), &observed(Some(kernel_vf(false))), true), everything().mac);
    assert_eq!(reported_mac(&bare(), &observed(Some(kernel_vf(false))), true), None);
    assert_eq!(reported_mac(&bare(), &observed(None), false), None);
}

#[test]
fn an_mtu_above_the_pfs_is_found_out_first() {
    let pf_link = Link { mtu: 1500, ..observed(None).pf_link };
    let observed = Observed { pf_link, ..observed(Some(kernel_vf(false))) };
    let fits = |mtu| fits(&Conf { mtu, ..bare() }, &observed).map_err(|error| error.to_string());
    assert_eq!((fits(None), fits(Some(1500))), (Ok(()), Ok(())));
    let refused = "mtu 1501 is above the 1500 of the PF eth0; raise the PF's first";
    assert_eq!(fits(Some(1501)), Err(refused.to_owned()));
}

#[test]
fn a_vf_that_is_bound_for_the_pod_is_given_back_driver_first() {
    let before = DriverBefore { driver: Some("igbvf".into()), only: None };
    let binding = Binding { driver: "vfio-pci", before: before.clone() };
    let steps = plan(&everything(), &observed(Some(kernel_vf(true))), Some(binding), None, &net1()).unwrap();
    assert!(!steps.iter().any(|step| matches!(step, Step::Move { .. })));
    // Its MAC is tried on it before: drivers refuse that while it is up.
    assert_eq!(steps[0], Step::Down);
    assert_eq!(steps.last(), Some(&Step::Bind { driver: "vfio-pci", before: before.clone() }));
    let undo: Vec<Undo> = steps.iter().map(Step::undo).collect();
    let [.., Undo::Link(link), Undo::Driver(driver)] = &undo[..] else { panic!("{undo:?}") };
    assert_eq!((link.name.as_str(), driver), ("eth5", &before));
    assert_eq!(undo[0], Undo::Up);
}

#[test]
fn a_list_of_vlans_comes_after_the_vlan_and_goes_before_it() {
    let conf = Conf { trunk: Some("100-200".parse().unwrap()), ..everything() };
    let before: VlanSet = "7".parse().unwrap();
    let steps = plan(&conf, &observed(None), None, Some(before.clone()), &net1()).unwrap();
    let undo: Vec<Undo> = steps.iter().map(Step::undo).collect();
    assert!(matches!(&undo[0], Undo::Vf(VfAttribute::Vlan { .. })), "{undo:?}");
    assert_eq!(undo[1], Undo::Trunk(before));
}
