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
