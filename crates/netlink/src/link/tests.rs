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
        settings: LinkSettings::of_flags(0),
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
        without_xdp: None,
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

/// Loads a program that lets everything pass.
#[expect(unsafe_code, reason = "nobody else here loads a program")]
fn passing() -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    const BPF_PROG_LOAD: i64 = 5;
    const BPF_PROG_TYPE_XDP: u32 = 6;
    // `r0 = XDP_PASS` and `exit`.
    let program: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];
    let license = c"GPL";
    // The head of `union bpf_attr` (include/uapi/linux/bpf.h).
    let mut attributes = [0_u64; 16];
    attributes[0] = u64::from(BPF_PROG_TYPE_XDP) | 2 << 32;
    attributes[1] = program.as_ptr().expose_provenance() as u64;
    attributes[2] = license.as_ptr().expose_provenance() as u64;
    // SAFETY: the kernel reads the attributes, and what they point at, while all of it is borrowed.
    let loaded =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, attributes.as_ptr(), size_of_val(&attributes)) };
    let fd = i32::try_from(loaded).unwrap();
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just given this descriptor to us.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }
}

#[test]
fn a_program_is_taken_off_in_the_way_in_which_it_is_attached() {
    use nix::sched::{CloneFlags, unshare};
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let add = ["link", "add", "v0", "type", "veth", "peer", "name", "v1"];
    assert!(std::process::Command::new("ip").args(add).status().unwrap().success());
    let mut netlink = Netlink::open().unwrap();
    let link = netlink.link_by_name(&"v0".parse().unwrap()).unwrap();
    assert_eq!(link.xdp, 0);
    let program = passing();
    for (how, flag) in [(1, 1_u32 << 2), (2, 1 << 1)] {
        let (mut xdp, mut attach) = (Vec::new(), header(link.index, 0, 0));
        push(&mut xdp, IFLA_XDP_FD, &program.as_raw_fd().to_ne_bytes());
        push(&mut xdp, IFLA_XDP_FLAGS, &flag.to_ne_bytes());
        push(&mut attach, IFLA_XDP | NLA_F_NESTED, &xdp);
        netlink.ask("attach a program", RTM_SETLINK, NLM_F_ACK, &attach).unwrap();
        assert_eq!(netlink.link_by_index(link.index).unwrap().xdp, how);
        let change = LinkChange { without_xdp: Some(how), ..LinkChange::default() };
        netlink.change_link(link.index, "take the program off", &change).unwrap();
        assert_eq!(netlink.link_by_index(link.index).unwrap().xdp, 0);
    }
}
