use std::sync::{Arc, Mutex};

use serde_json::Map;

use super::*;
use crate::kernel::{self, Held, PF, Shared, VF_INDEX, address};
use crate::record::{Owner, Record, Sandbox, Undo};

const ADMIN: [u8; 6] = [2, 0, 0, 0, 2, 2];
const PODS: [u8; 6] = [2, 0, 0, 0, 1, 1];

fn held(own: [u8; 6], admin: [u8; 6]) -> Shared {
    Arc::new(Mutex::new(Held { own, admin, ..Held::default() }))
}

fn pf() -> Pf {
    Pf { address: PF.parse().unwrap(), vf: 0 }
}

fn record() -> Record {
    Record {
        version: Record::VERSION,
        owner: Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() },
        pod: None,
        sandbox: Sandbox::unknown(None),
        device: kernel::VF.into(),
        function: Some(kernel::VF.parse().unwrap()),
        pf: Some(pf()),
        ipam: None,
        config: Map::new(),
        undo: Vec::new(),
    }
}

/// Puts `ADMIN` back, as PF's and as own, where the pod's are; what the VF has then and what the PF holds.
fn restored(locked: Option<bool>) -> ([u8; 6], [u8; 6]) {
    let shared = held(PODS, PODS);
    let tree = kernel::node();
    let mut host = kernel::host(&tree, &shared);
    let link = host.netlink.link_by_index(VF_INDEX).unwrap();
    let before = MacBefore { admin: Some(address(ADMIN)), effective: Some(address(ADMIN)), locked };
    restore(&mut host, Some(pf()), Some(&link), &before, || Ok(())).unwrap();
    now(&shared)
}

fn now(shared: &Shared) -> ([u8; 6], [u8; 6]) {
    let held = shared.lock().unwrap();
    (held.own, held.admin)
}

#[test]
fn an_administrators_hold_comes_back_where_the_pf_shows_the_same_without_it() {
    assert_eq!(restored(Some(true)), (ADMIN, ADMIN));
    // Nobody noted whose it was, as for a pod of the Go plugin's.
    assert_eq!(restored(None), (ADMIN, ADMIN));
    // It is known that there was none.
    assert_eq!(restored(Some(false)), (ADMIN, [0; 6]));
}

#[test]
fn a_hold_that_a_killed_restore_took_off_comes_back() {
    let shared = held(ADMIN, [0; 6]);
    let tree = kernel::node();
    let mut host = kernel::host(&tree, &shared);
    let link = host.netlink.link_by_index(VF_INDEX).unwrap();
    let before =
        MacBefore { admin: Some(address(ADMIN)), effective: Some(address(ADMIN)), locked: Some(true) };
    restore(&mut host, Some(pf()), Some(&link), &before, || Ok(())).unwrap();
    assert_eq!(shared.lock().unwrap().admin, ADMIN);
}

/// Of a pod that was given no MAC nobody knows whether there was a hold, until the way back finds it.
#[test]
fn a_hold_is_noted_before_it_is_taken_off() {
    let shared = held(PODS, PODS);
    let tree = kernel::node();
    let mut host = kernel::host(&tree, &shared);
    let paths = crate::Paths { state: tree.root().join("state"), sysfs: tree.sys() };
    let store = crate::Store::sriov(&paths);
    let before = MacBefore { admin: Some(address(ADMIN)), effective: Some(address(ADMIN)), locked: None };
    let record = Record { undo: vec![Undo::Mac(before.clone())], ..record() };
    store.save(&record, &Map::new()).unwrap();
    let again = |host: &mut Host, dies_after| {
        shared.lock().unwrap().dies_after = dies_after;
        let record = store.load(&record.owner).unwrap().unwrap();
        let [Undo::Mac(before)] = &record.undo[..] else { panic!("{record:?}") };
        let link = host.netlink.link_by_index(VF_INDEX).unwrap();
        restore(host, Some(pf()), Some(&link), before, || store.amend(&record.with_hold()))
    };
    // After the hold is off and the VF's own MAC is back.
    again(&mut host, Some(1)).unwrap_err();
    assert_eq!(now(&shared), (ADMIN, [0; 6]));
    again(&mut host, None).unwrap();
    assert_eq!(shared.lock().unwrap().admin, ADMIN);
}

#[test]
fn a_driver_that_takes_its_time_gets_no_hold_for_it() {
    let shared = held(PODS, [0; 6]);
    shared.lock().unwrap().late = 2;
    let tree = kernel::node();
    let mut host = kernel::host(&tree, &shared);
    let link = host.netlink.link_by_index(VF_INDEX).unwrap();
    let before =
        MacBefore { admin: Some(address(ADMIN)), effective: Some(address(ADMIN)), locked: Some(false) };
    restore(&mut host, Some(pf()), Some(&link), &before, || Ok(())).unwrap();
    assert_eq!(now(&shared), (ADMIN, [0; 6]));
}

#[test]
fn a_link_that_goes_away_with_its_driver_tells_whether_the_pf_holds_it() {
    for (admin, wanted) in [(ADMIN, true), ([0; 6], false)] {
        let shared = held(ADMIN, admin);
        let tree = kernel::node();
        let mut host = kernel::host(&tree, &shared);
        let link = host.netlink.link_by_index(VF_INDEX).unwrap();
        let mut noted = None;
        let note = |refused| {
            noted = Some(refused);
            Ok(())
        };
        set(&mut host, Some(pf()), Some((&link, Stay::Passing)), &address(PODS), note).unwrap();
        assert_eq!(noted, Some(wanted));
        assert_eq!(shared.lock().unwrap().admin, PODS);
    }
}

#[test]
fn a_port_that_never_left_its_bond_keeps_the_bonds() {
    let shared = held(PODS, [0; 6]);
    let mut host = kernel::host(&kernel::node(), &shared);
    let found = host.netlink.link_by_index(VF_INDEX).unwrap();
    let (master_kind, mac_before_bond) = (Some("bond".to_owned()), Some(address(ADMIN)));
    let link = Link { master: Some(9), master_kind, mac_before_bond, ..found };
    let before = MacBefore { admin: None, effective: Some(address(ADMIN)), locked: None };
    restore(&mut host, None, Some(&link), &before, || Ok(())).unwrap();
    assert_eq!(now(&shared), (PODS, [0; 6]));
}

#[test]
fn a_driver_that_refuses_all_zero_is_given_the_address_itself() {
    let shared = held(ADMIN, ADMIN);
    shared.lock().unwrap().no_zero = true;
    let tree = kernel::node();
    let mut host = kernel::host(&tree, &shared);
    let link = host.netlink.link_by_index(VF_INDEX).unwrap();
    set(&mut host, Some(pf()), Some((&link, Stay::Kept)), &address(PODS), |_| Ok(())).unwrap();
    assert_eq!(now(&shared), (PODS, PODS));
    let link = host.netlink.link_by_index(VF_INDEX).unwrap();
    let before =
        MacBefore { admin: Some(address(ADMIN)), effective: Some(address(ADMIN)), locked: Some(true) };
    assert!(restore(&mut host, Some(pf()), Some(&link), &before, || Ok(())).unwrap().is_none());
    assert_eq!(now(&shared), (ADMIN, ADMIN));
}

/// A DEL that fails for that would fail for ever.
#[test]
fn that_such_a_driver_held_nothing_before_is_told_and_no_error() {
    for (own, link, wanted) in [(Some(ADMIN), true, (ADMIN, ADMIN)), (None, false, (PODS, PODS))] {
        let shared = held(PODS, PODS);
        shared.lock().unwrap().no_zero = true;
        let tree = kernel::node();
        let mut host = kernel::host(&tree, &shared);
        let link = link.then(|| host.netlink.link_by_index(VF_INDEX).unwrap());
        let before =
            MacBefore { admin: Some(MacAddr::zero()), effective: own.map(address), locked: Some(false) };
        let told = restore(&mut host, Some(pf()), link.as_ref(), &before, || Ok(())).unwrap().unwrap();
        assert_eq!(
            told.to_string(),
            "failed to set MAC address to 00:00:00:00:00:00: invalid argument (vf 0 of PF ens1f0)"
        );
        assert_eq!(now(&shared), wanted);
    }
}
