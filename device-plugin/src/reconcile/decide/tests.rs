use std::path::Path;

use attachment::{DriverBefore, Owner, Record, Sandbox};

use super::*;

fn record(pod: Option<(&str, &str)>) -> Record {
    let pod = pod.map(|(name, uid)| Pod { namespace: "ns".into(), name: name.into(), uid: Some(uid.into()) });
    Record {
        version: Record::VERSION,
        owner: Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() },
        pod,
        sandbox: Sandbox::unknown(Some(Path::new("/run/netns/a"))),
        device: "0000:3b:02.1".into(),
        function: Some("0000:3b:02.1".parse().unwrap()),
        pf: None,
        ipam: None,
        config: serde_json::Map::new(),
        undo: Vec::new(),
    }
}

fn leftover(life: Life, place: Place) -> Leftover {
    let record = record(Some(("mine", "u1")));
    Leftover { device: record.device.clone(), record: Some(record), claimed: true, torn: false, life, place }
}

fn holder(pod: PodName) -> Holder {
    Holder { resource: "intel.com/net".into(), pod, container: "c".into() }
}

fn named(name: &str) -> Holder {
    holder(PodName::Named { namespace: "ns".into(), name: name.into() })
}

const LIVES: [Life; 5] = [
    Life::Alive,
    Life::Unseen,
    Life::Over(End::EarlierBoot),
    Life::Over(End::Replaced),
    Life::Over(End::NoPath),
];
const PLACES: [Place; 6] =
    [Place::Home, Place::Away, Place::Linkless, Place::Died, Place::Absent, Place::Untold];

/// One letter for each place: Leave, Wait, Restore or Forget; small where the device may be handed out meanwhile.
fn row(life: Life, holding: Holding<'_>) -> String {
    let letter = |place| {
        let verdict = decide(&leftover(life, place), holding);
        let letter = match verdict.act {
            Act::Leave => 'L',
            Act::Wait => 'W',
            Act::Restore => 'R',
            Act::Forget => 'F',
        };
        if verdict.unclean { letter } else { letter.to_ascii_lowercase() }
    };
    PLACES.into_iter().map(letter).collect()
}

#[test]
fn every_namespace_every_place_and_everything_that_the_kubelet_can_say() {
    let (mine, other) = (named("mine"), named("other"));
    let (my_uid, other_uid) = (holder(PodName::Uid("u1".into())), holder(PodName::Uid("u2".into())));
    // Columns: home, away, linkless, died, absent, untold.
    let table: [(Life, [&str; 5]); 5] = [
        // The kubelet:       says nothing  nobody    that pod  another   given now
        (Life::Alive, ["llllll", "llllll", "llllll", "llllll", "llllll"]),
        (Life::Unseen, ["Rlllll", "Rlllll", "rlllll", "rlllll", "rlllll"]),
        (Life::Over(End::EarlierBoot), ["RWRRWW", "RWRRWW", "rwrrww", "rwrrww", "rwrrww"]),
        (Life::Over(End::Replaced), ["RWWRWW", "RWRRWW", "rwlrww", "rwrrww", "rwwrww"]),
        (Life::Over(End::NoPath), ["RWWRWW", "RWRRWW", "rwlrww", "rwrrww", "rwwrww"]),
    ];
    for (life, rows) in table {
        let holdings =
            [Holding::Untold, Holding::Nobody, Holding::By(&mine), Holding::By(&other), Holding::Given];
        let found = holdings.map(|holding| row(life, holding));
        assert_eq!(found.each_ref().map(String::as_str), rows, "{life:?}");
        assert_eq!(row(life, Holding::By(&my_uid)), rows[2], "{life:?}, by UID");
        assert_eq!(row(life, Holding::By(&other_uid)), rows[3], "{life:?}, by UID");
    }
}

#[test]
fn a_driver_is_not_taken_from_a_pod_that_may_have_the_device_open() {
    let before = DriverBefore { driver: Some("iavf".into()), only: None };
    let bound = Record { undo: vec![Undo::Driver(before)], ..record(Some(("mine", "u1"))) };
    let ended = leftover(Life::Over(End::NoPath), Place::Linkless);
    let ended = Leftover { record: Some(bound), ..ended };
    assert_eq!(decide(&ended, Holding::By(&named("other"))).act, Act::Wait);
    assert_eq!(decide(&ended, Holding::Nobody).act, Act::Restore);
}

#[test]
fn a_living_namespace_is_never_touched_whatever_else_is_seen() {
    let other = named("other");
    for place in PLACES {
        for holding in [Holding::Untold, Holding::Nobody, Holding::By(&other)] {
            for claimed in [true, false] {
                let leftover = Leftover { claimed, ..leftover(Life::Alive, place) };
                let verdict = decide(&leftover, holding);
                assert_eq!((verdict.act, verdict.unclean), (Act::Leave, false), "{place:?} {holding:?}");
            }
        }
    }
}

#[test]
fn what_has_no_claim_or_no_record_is_forgotten_once_its_pod_is_gone_and_keeps_no_device() {
    for life in LIVES {
        let wanted = if matches!(life, Life::Over(_)) { Act::Forget } else { Act::Leave };
        for place in PLACES {
            let unclaimed = Leftover { claimed: false, ..leftover(life, place) };
            let verdict = decide(&unclaimed, Holding::Nobody);
            assert_eq!((verdict.act, verdict.unclean), (wanted, false), "{life:?} {place:?}");
        }
        let claim = Leftover { record: None, ..leftover(life, Place::Untold) };
        let verdict = decide(&claim, Holding::Nobody);
        assert_eq!((verdict.act, verdict.unclean), (wanted, false), "{life:?}");
    }
}

#[test]
fn a_claim_whose_record_cannot_be_read_keeps_the_device_from_the_next_pod() {
    let torn = |life| Leftover { record: None, torn: true, ..leftover(life, Place::Untold) };
    let verdict = decide(&torn(Life::Over(End::NoPath)), Holding::Nobody);
    assert_eq!((verdict.act, verdict.unclean), (Act::Wait, true));
    let held = named("mine");
    assert!(!decide(&torn(Life::Over(End::NoPath)), Holding::By(&held)).unclean);
    for life in [Life::Alive, Life::Unseen] {
        assert_eq!(decide(&torn(life), Holding::Nobody).act, Act::Leave);
    }
}

#[test]
fn a_link_that_is_no_functions_is_not_taken_for_home_while_its_namespace_is_unseen() {
    let by_name = Record { function: None, ..record(None) };
    let at_home = |life| Leftover { record: Some(by_name.clone()), ..leftover(life, Place::Home) };
    assert_eq!(decide(&at_home(Life::Unseen), Holding::Nobody).act, Act::Leave);
    assert_eq!(decide(&at_home(Life::Over(End::NoPath)), Holding::Nobody).act, Act::Restore);
}

#[test]
fn a_record_that_names_no_pod_is_taken_for_the_holders() {
    let nameless =
        Leftover { record: Some(record(None)), ..leftover(Life::Over(End::NoPath), Place::Linkless) };
    assert_eq!(decide(&nameless, Holding::By(&named("other"))).act, Act::Leave);
    assert_eq!(decide(&nameless, Holding::Nobody).act, Act::Restore);
}

#[test]
fn the_reason_is_a_sentence() {
    let why = |life, place, holding: Holding<'_>| decide(&leftover(life, place), holding).why;
    let gone = Life::Over(End::NoPath);
    assert_eq!(
        why(gone, Place::Home, Holding::Nobody),
        "its pod's network namespace is gone, its network device is back on the host"
    );
    assert_eq!(
        why(gone, Place::Linkless, Holding::By(&named("other"))),
        "its pod's network namespace is gone, and pod ns/other holds the device, which is another"
    );
}
