use std::borrow::Cow;

use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::*;

/// A reply as a driver with that many VFs gives it.
fn reply(vfs: u32) -> Vec<u8> {
    let infos = (0..vfs).map(|vf| {
        LinkVfInfo(vec![
            VfInfo::Mac(VfInfoMac::new(vf, &[2, 0, 0, 0, vf.to_be_bytes()[2], vf.to_be_bytes()[3]])),
            VfInfo::Vlan(VfInfoVlan::new(vf, vf % 4095, 3)),
            VfInfo::VlanList(vec![VfVlan::Info(VfVlanInfo::new(vf, vf % 4095, 3, VlanProtocol::Ieee8021Ad))]),
            VfInfo::Rate(VfInfoRate::new(vf, 10, 100)),
            VfInfo::SpoofCheck(VfInfoSpoofCheck::new(vf, true)),
            VfInfo::LinkState(VfInfoLinkState::new(vf, VfLinkState::Disable)),
            VfInfo::Trust(VfInfoTrust::new(vf, false)),
        ])
    });
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::Mtu(1500), LinkAttribute::VfInfoList(infos.collect())];
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

#[test]
fn reads_every_attribute_of_every_vf() {
    let vfs = list(&reply(256));
    assert_eq!(vfs.len(), 256);
    assert_eq!(
        vfs[255],
        Vf {
            number: 255,
            mac: "02:00:00:00:00:ff".parse().unwrap(),
            vlan: 255_u32.try_into().unwrap(),
            qos: 3,
            proto: VlanProto::Ad,
            min_tx_rate: 10,
            max_tx_rate: 100,
            spoofchk: Some(true),
            trust: Some(false),
            link_state: Some(LinkState::Disable),
        }
    );
}

#[test]
fn what_the_driver_does_not_say_is_not_on() {
    assert_eq!((setting(u32::MAX), setting(1), setting(0)), (None, Some(true), Some(false)));
}

#[test]
fn a_list_cut_anywhere_is_read_as_far_as_it_goes() {
    let bytes = reply(3);
    for end in 0..bytes.len() {
        assert!(list(&bytes[..end]).len() <= 3);
    }
}

#[test]
fn no_vfs_is_an_empty_list() {
    assert!(list(&reply(0)).is_empty());
}

#[test]
fn sets_with_the_librarys_own_message() {
    let info = || VfInfo::Trust(VfInfoTrust::new(3, true));
    let mut message = LinkMessage::default();
    message.header.index = 7;
    message.header.link_layer_type = 0.into();
    message.attributes = vec![LinkAttribute::VfInfoList(vec![LinkVfInfo(vec![info()])])];
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    assert_eq!(set_message(7, info()), bytes);
}

/// The error number for an attribute, or 0.
type Refusal = fn(u16) -> i32;

/// A driver that refuses some of a VF's attributes with an error number.
struct Driver {
    refuses: Refusal,
    asked: std::sync::mpsc::Sender<u16>,
    answer: Vec<u8>,
}

impl crate::transport::Transport for Driver {
    fn send(&mut self, request: &[u8]) -> std::io::Result<()> {
        const NLMSG_ERROR: u16 = 2;
        let links = &request[16 + crate::link::HEADER_LEN..];
        let mut kinds = nested(links, IFLA_VFINFO_LIST)
            .flat_map(|list| nested(list, IFLA_VF_INFO))
            .flat_map(attributes)
            .map(|(kind, _)| kind);
        let kind = kinds.next().unwrap();
        self.asked.send(kind).unwrap();
        self.answer = 36_u32.to_ne_bytes().to_vec();
        self.answer.extend(NLMSG_ERROR.to_ne_bytes());
        self.answer.extend([0; 2]);
        self.answer.extend(&request[8..12]);
        self.answer.extend([0; 4]);
        self.answer.extend((-(self.refuses)(kind)).to_ne_bytes());
        self.answer.extend(&request[..16]);
        Ok(())
    }

    fn receive(&mut self) -> std::io::Result<Cow<'_, [u8]>> {
        Ok(std::mem::take(&mut self.answer).into())
    }
}

#[test]
fn a_plain_tag_is_set_by_the_old_attribute_where_the_list_is_not_known() {
    let old = |kind| if kind == IFLA_VF_VLAN_LIST { libc::EOPNOTSUPP } else { 0 };
    let other_protocol = |kind| if kind == IFLA_VF_VLAN_LIST { libc::EPROTONOSUPPORT } else { 0 };
    let busy = |kind| if kind == IFLA_VF_VLAN_LIST { libc::EBUSY } else { 0 };
    let (list, plain) = (IFLA_VF_VLAN_LIST, IFLA_VF_VLAN);
    let cases: [(Refusal, VlanProto, &[u16], Option<i32>); 6] = [
        (|_| 0, VlanProto::Q, &[list], None),
        (old, VlanProto::Q, &[list, plain], None),
        (other_protocol, VlanProto::Q, &[list, plain], None),
        (old, VlanProto::Ad, &[list], Some(libc::EOPNOTSUPP)),
        (busy, VlanProto::Q, &[list], Some(libc::EBUSY)),
        (|_| libc::EOPNOTSUPP, VlanProto::Q, &[list, plain], Some(libc::EOPNOTSUPP)),
    ];
    for (refuses, proto, wanted, errno) in cases {
        let (asked, seen) = std::sync::mpsc::channel();
        let mut netlink = Netlink::over(Box::new(Driver { refuses, asked, answer: Vec::new() }));
        let set = VfAttribute::Vlan { vlan: 100_u32.try_into().unwrap(), qos: 3, proto };
        let outcome = netlink.set_vf(2, 1, &set);
        assert_eq!(outcome.err().and_then(|error| error.errno()), errno);
        drop(netlink);
        assert_eq!(seen.iter().collect::<Vec<_>>(), wanted);
    }
}
