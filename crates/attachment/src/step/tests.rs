use serde_json::Map;
use testkit::netns::Namespace;

use super::*;
use crate::paths::Paths;
use crate::record::{Owner, Record, Sandbox};
use crate::store::Store;

/// Moves a link into a pod where `taken` may have come to its index after that was foretold; returns its index on the host,
/// in the pod, and in the record that a DEL would find.
fn indexes(taken: bool) -> (u32, u32, Option<u32>) {
    let (node, sandbox) = (Namespace::new("host"), Namespace::new("pod"));
    node.ip(&["link", "add", "nic0", "index", "77", "type", "veth", "peer", "name", "peer0"]);
    let netns = Netns::open(node.path()).unwrap();
    let netlink = netns.netlink().unwrap().unwrap();
    let mut host = Host { sysfs: pci::Sysfs::new("/nonexistent"), netns, netlink };
    let mut pod = Pod::open(Netns::open(sandbox.path()).unwrap()).unwrap();
    let link = host.netlink.link_by_name(&"nic0".parse().unwrap()).unwrap();
    let before = LinkBefore { pod_index: Some(link.index), ..LinkBefore::of(&link, None).unwrap() };
    let record = Record {
        version: Record::VERSION,
        owner: Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() },
        pod: None,
        sandbox: Sandbox::of(&pod.netns),
        device: "nic0".into(),
        function: None,
        pf: None,
        ipam: None,
        config: Map::new(),
        undo: vec![Undo::Link(before.clone())],
    };
    if taken {
        sandbox.ip(&["link", "add", "other", "index", "77", "type", "veth", "peer", "name", "far"]);
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::host_device(&Paths { state: dir.path().to_owned(), sysfs: "/nonexistent".into() });
    let mut journal = Journal::open(&store, record.clone(), Map::new()).unwrap();
    let steps = [Step::Move { name: "net1".parse().unwrap(), alias: Some("nic0".into()), before }];
    let moved = apply(&steps, &mut host, &mut pod, Some(&link), Arrival::Up, &mut journal).unwrap().unwrap();
    let kept = store.load(&record.owner).unwrap().unwrap();
    assert_eq!(&kept, journal.record());
    let [Undo::Link(kept)] = &kept.undo[..] else { panic!("{kept:?}") };
    (link.index, moved.index, kept.pod_index)
}

#[test]
fn the_record_has_the_index_that_the_link_came_to() {
    assert_eq!(indexes(false), (77, 77, Some(77)));
    let (foretold, found, kept) = indexes(true);
    assert_ne!(found, foretold);
    assert_eq!(kept, Some(found));
}
