use netlink_packet_core::Emitable;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBondPort, InfoKind, InfoPortData, InfoPortKind,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Prop,
};

use super::*;

fn message(attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = 7;
    message.attributes = attributes;
    message
}

fn emitted(message: &LinkMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn reply(attributes: Vec<LinkAttribute>) -> Vec<u8> {
    emitted(&message(attributes))
}

#[test]
fn reads_what_a_pod_cares_for() {
    let mac: MacAddr = "52:54:00:aa:00:01".parse().unwrap();
    let bytes = reply(vec![
        LinkAttribute::IfName("eth0".to_owned()),
        LinkAttribute::Address(mac.bytes().to_vec()),
        LinkAttribute::Mtu(9000),
        LinkAttribute::IfAlias("rack 7".to_owned()),
        LinkAttribute::ParentDevName("0000:00:06.0".to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
        LinkAttribute::Controller(3),
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
            In6AddrGenMode::None,
        )])]),
        LinkAttribute::PropList(vec![Prop::AltIfName("enp33s0".to_owned()), Prop::AltIfName("b".to_owned())]),
    ]);
    let read = parse("get link", &bytes).unwrap();
    let wanted = Link {
        index: 7,
        name: "eth0".to_owned(),
        mac: Some(mac),
        mtu: 9000,
        alias: "rack 7".to_owned(),
        alt_names: vec!["enp33s0".to_owned(), "b".to_owned()],
        parent: Some("0000:00:06.0".to_owned()),
        kind: Some("veth".to_owned()),
        master: Some(3),
        addr_gen_mode: Some(1),
        ..Link::default()
    };
    assert_eq!(read, wanted);
    for end in HEADER_LEN..bytes.len() {
        assert_eq!(parse("get link", &bytes[..end]).unwrap().index, 7);
    }
}

#[test]
fn a_port_of_a_bond_has_an_address_of_its_own() {
    let port = |kind| {
        let data = InfoPortData::BondPort(vec![
            InfoBondPort::LinkFailureCount(0),
            InfoBondPort::PermHwaddr(vec![2, 0, 0, 0, 0, 1]),
        ]);
        let bytes = reply(vec![
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
            LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(kind), LinkInfo::PortData(data)]),
        ]);
        parse("get link", &bytes).unwrap()
    };
    let own = |kind| port(kind).own_mac().map(ToString::to_string);
    assert_eq!(own(InfoPortKind::Bond).as_deref(), Some("02:00:00:00:00:01"));
    assert_eq!(own(InfoPortKind::Bridge).as_deref(), Some("02:00:00:00:00:09"));
    assert_eq!(own(InfoPortKind::Team), None);
    assert_eq!(port(InfoPortKind::Bond).kind, None);
}

#[test]
fn writes_what_the_library_writes() {
    let mac: MacAddr = "52:54:00:aa:00:01".parse().unwrap();
    let stdin = std::io::stdin();
    let change = LinkChange {
        netns: Some(std::os::fd::AsFd::as_fd(&stdin)),
        name: Some("net1"),
        mac: Some(&mac),
        mtu: Some(1400),
        alias: None,
        up: Some(true),
        allmulti: Some(false),
        master: Some(3),
        addr_gen_mode: Some(1),
    };
    let mut same = message(vec![
        LinkAttribute::NetNsFd(0),
        LinkAttribute::IfName("net1".to_owned()),
        LinkAttribute::Address(mac.bytes().to_vec()),
        LinkAttribute::Mtu(1400),
        LinkAttribute::Controller(3),
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
            In6AddrGenMode::None,
        )])]),
    ]);
    same.header.link_layer_type = 0.into();
    same.header.flags = LinkFlags::Up;
    same.header.change_mask = LinkFlags::Up | LinkFlags::Allmulti;
    assert_eq!(change.message(7), emitted(&same));
    same.attributes = vec![LinkAttribute::PropList(vec![Prop::AltIfName("enp33s0".to_owned())])];
    (same.header.flags, same.header.change_mask) = (LinkFlags::empty(), LinkFlags::empty());
    assert_eq!(alt_name(7, b"enp33s0"), emitted(&same));
}

#[test]
fn an_alias_goes_without_a_final_zero_and_none_as_one() {
    let alias = |alias| LinkChange { alias: Some(alias), ..LinkChange::default() }.message(7);
    assert_eq!(alias("eth1")[HEADER_LEN..], *b"\x08\0\x14\0eth1");
    assert_eq!(alias("")[HEADER_LEN..], *b"\x05\0\x14\0\0\0\0\0");
}

#[test]
fn a_name_that_is_no_text_is_known_by_its_bytes() {
    let mut bytes = reply(vec![]);
    bytes.extend([20, 0, 52, 0, 6, 0, 53, 0, b'a', 0, 0, 0, 7, 0, 53, 0, b'b', 255, 0, 0]);
    let link = parse("get link", &bytes).unwrap();
    assert_eq!((link.alt_names, link.odd_alt_names), (vec!["a".to_owned()], vec![vec![b'b', 255]]));
}

#[test]
fn an_odd_attribute_costs_only_itself() {
    let mut bytes = reply(vec![LinkAttribute::Mtu(9000)]);
    // IFLA_MTU again, with one byte where the kernel writes four.
    bytes.extend([5, 0, 4, 0, 1, 0, 0, 0]);
    bytes.extend(&reply(vec![LinkAttribute::IfName("eth0".to_owned())])[HEADER_LEN..]);
    let link = parse("get link", &bytes).unwrap();
    assert_eq!((link.name.as_str(), link.mtu), ("eth0", 9000));
}

#[test]
fn flags_that_are_not_named_stay() {
    let flags = |change: LinkChange<'_>| change.message(7)[8..HEADER_LEN].to_vec();
    assert_eq!(flags(LinkChange::default()), [0; 8]);
    let down = LinkChange { up: Some(false), allmulti: Some(true), ..LinkChange::default() };
    assert_eq!(flags(down), [IFF_ALLMULTI, IFF_UP | IFF_ALLMULTI].map(u32::to_ne_bytes).concat());
}

#[test]
fn a_reply_cut_short_is_an_error() {
    assert!(parse("get link", &[0; 7]).is_err() && parse("get link", &[0; 15]).is_err());
}
