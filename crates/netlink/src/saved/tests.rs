use super::kept::*;
use super::message::*;
use super::*;
use crate::attribute::{push, word};
use crate::default_route::RTA_NH_ID;
use crate::route::RTA_OIF;

#[test]
fn what_is_kept_is_read_back() {
    let message = Message(vec![0x02, 0xff, 0x00, 0x9a]);
    let text = String::from(message.clone());
    assert_eq!((text.as_str(), Message::try_from(text.clone()).unwrap()), ("02ff009a", message));
    for odd in ["0", "0g", "é0"] {
        assert!(Message::try_from(odd.to_owned()).is_err());
    }
}

#[test]
fn an_address_of_the_kernels_own_is_not_kept() {
    let address = |proto: &[u8]| {
        let mut bytes = vec![2, 24, 0, 0, 7, 0, 0, 0];
        bytes.extend([u8::try_from(4 + proto.len()).unwrap(), 0, 11, 0]);
        bytes.extend(proto);
        bytes
    };
    assert!(!is_address(&address(&[2, 0, 0, 0]), 7));
    assert!(is_address(&address(&[9, 0, 0, 0]), 7));
    // One without a value says nothing.
    assert!(is_address(&address(&[]), 7));
}

#[test]
fn a_route_goes_to_the_links_new_index_without_its_state() {
    let mut bytes = vec![2, 24, 0, 0, 254, 3, 0, 1, 0x14, 0, 0, 0];
    bytes.extend([8, 0, 1, 0, 192, 0, 2, 0]);
    bytes.extend([8, 0, 4, 0, 7, 0, 0, 0]);
    let ways = |bytes: &[u8], link| Ways::of(bytes, libc::AF_INET, link);
    assert_eq!((ways(&bytes, 7), ways(&bytes, 8)), (Ways::ByThisLink, Ways::None));
    let moved = Message(bytes).through(9);
    assert_eq!(ways(&moved, 9), Ways::ByThisLink);
    assert_eq!(moved[ROUTE_FLAGS], 4);
    for end in 0..moved.len() {
        let _ = Message(moved[..end].to_vec()).through(9);
    }
}

#[test]
fn a_route_that_has_ended_and_the_kernels_own_of_old_are_not_kept() {
    let route = |to: &[u8], length, table, expires: i32| {
        let mut bytes = vec![10, length, 0, 0, table, 3, 0, 1, 0, 0, 0, 0];
        push(&mut bytes, RTA_DST, to);
        push(&mut bytes, RTA_OIF, &7_u32.to_ne_bytes());
        let life = [0, 0, expires, 0, 0, 0, 0, 0].map(i32::to_ne_bytes).concat();
        push(&mut bytes, RTA_CACHEINFO, &life);
        bytes
    };
    let own = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let groups = [0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (expires, ended, lifetime) in [(-100, true, None), (0, false, None), (101, false, Some(2))] {
        let bytes = route(&own, 64, 254, expires);
        assert_eq!(has_ended(&bytes), ended, "{expires}");
        let moved = Message(bytes).through(9);
        let asked = nested(&moved[ROUTE_HEADER..], RTA_EXPIRES).find_map(|value| word(value, 0));
        assert!(ended || asked == lifetime, "{expires}: {asked:?}");
    }
    let ways = |bytes: &[u8]| Ways::of(bytes, libc::AF_INET6, 7);
    assert_eq!(ways(&route(&groups, 8, RT_TABLE_LOCAL, 0)), Ways::None);
    assert_eq!(ways(&route(&groups, 8, 254, 0)), Ways::ByThisLink);
    assert_eq!(ways(&route(&own, 64, RT_TABLE_LOCAL, 0)), Ways::ByThisLink);
}

#[test]
fn a_route_through_a_nexthop_object_comes_back_as_a_plain_one() {
    let mut bytes = vec![2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    bytes.extend([8, 0, 1, 0, 192, 0, 2, 0]);
    bytes.extend([8, 0, 30, 0, 9, 0, 0, 0]);
    // `net.ipv4.nexthop_compat_mode` off: nothing tells where it leads.
    assert_eq!(Ways::of(&bytes, libc::AF_INET, 7), Ways::ByOthersToo);
    bytes.extend([8, 0, 4, 0, 7, 0, 0, 0]);
    assert_eq!(Ways::of(&bytes, libc::AF_INET, 7), Ways::ByThisLink);
    let moved = Message(bytes.clone()).through(9);
    assert_eq!((moved.len(), Ways::of(&moved, libc::AF_INET, 9)), (bytes.len() - 8, Ways::ByThisLink));
    assert_eq!(nested(&moved[ROUTE_HEADER..], RTA_NH_ID).count(), 0);
}

#[test]
fn every_way_of_a_route_goes_to_the_links_new_index() {
    let several = |links: [u8; 2]| {
        let mut bytes = vec![2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        bytes.extend([8, 0, 1, 0, 192, 0, 2, 0, 36, 0, 9, 0]);
        for link in links {
            // On the link, and without a carrier.
            bytes.extend([16, 0, 4 | 16, 1, link, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, link]);
        }
        bytes
    };
    assert_eq!(Ways::of(&several([7, 8]), libc::AF_INET, 7), Ways::ByOthersToo);
    assert_eq!(Ways::of(&several([8, 8]), libc::AF_INET, 7), Ways::None);
    let bytes = several([7, 7]);
    let moved = Message(bytes.clone()).through(9);
    assert_eq!(Ways::of(&moved, libc::AF_INET, 9), Ways::ByThisLink);
    let hops = nested(&moved[ROUTE_HEADER..], RTA_MULTIPATH).next().unwrap();
    assert_eq!((hops[HOP_FLAGS], hops[16 + HOP_FLAGS]), (4, 4));
    for end in 0..bytes.len() {
        let _ = Message(bytes[..end].to_vec()).through(9);
    }
}

#[test]
fn a_source_of_a_route_is_valid_at_once() {
    let source = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
    let with = |head: &[u8], kind: u8| [head, &[20, 0, kind, 0], &source].concat();
    let address = with(&[10, 64, 0x80, 0, 7, 0, 0, 0, 8, 0, 8, 0, 0x80, 0, 0, 0], 1);
    let route = |kind| Message(with(&[10, 64, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0], kind));
    let saved = |kind| SavedNetwork { routes: vec![route(kind)], ..SavedNetwork::default() };
    let message = Message(address.clone());
    assert!(saved(7).is_source(&message) && !saved(1).is_source(&message));
    let first = Message(address.clone()).without_detection().0;
    assert_eq!((first[ADDRESS_FLAGS], first[12], &first[13..]), (0x82, 0x82, &address[13..]));
}
