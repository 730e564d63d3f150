use std::fs;

use netlink::{IfName, NetnsId};
use serde_json::Map;

use super::*;
use crate::paths::Paths;
use crate::record::Owner;

/// A node whose state and sysfs are in a directory, in this process's network namespace.
struct Node {
    dir: tempfile::TempDir,
    store: Store,
    host: Host,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths { state: dir.path().join("state"), sysfs: dir.path().join("sys") };
        fs::create_dir_all(dir.path().join("netns")).unwrap();
        Self { store: Store::sriov(&paths), host: Host::open(&paths).unwrap(), dir }
    }

    /// A function under a userspace driver.
    fn on_vfio(&self, address: &str) {
        let function = self.host.sysfs.function_dir(address.parse().unwrap());
        fs::create_dir_all(&function).unwrap();
        for (name, text) in [("vendor", "0x8086"), ("device", "0x10ca"), ("class", "0x020000")] {
            fs::write(function.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("../../drivers/vfio-pci", function.join("driver")).unwrap();
    }

    fn record(&self, ifname: &str, device: &str) -> Record {
        Record {
            version: Record::VERSION,
            owner: Owner { container_id: "c1".into(), ifname: ifname.parse::<IfName>().unwrap() },
            pod: None,
            sandbox: Sandbox {
                id: Some(NetnsId { dev: 4, ino: 7 }),
                ..Sandbox::unknown(Some(&self.dir.path().join("netns/gone")))
            },
            device: device.into(),
            function: Some(device.parse().unwrap()),
            pf: None,
            ipam: None,
            config: Map::new(),
            undo: Vec::new(),
        }
    }

    fn write(&self, record: &Record) {
        self.store.save(record, &Map::new()).unwrap();
        self.store.set_claim(record).unwrap();
    }

    fn survey(&mut self) -> Vec<Leftover> {
        survey(&self.store, &mut self.host).unwrap().0
    }
}

const VF: &str = "0000:21:10.1";

#[test]
fn a_sandbox_is_gone_only_where_its_directory_is_seen() {
    let node = Node::new();
    let life = |path: &str| Life::of(&Sandbox::unknown(Some(Path::new(path))), &node.host);
    let here = node.dir.path().display();
    assert_eq!(life(&format!("{here}/netns/pod")), Life::Over(End::NoPath));
    assert_eq!(life(&format!("{here}/not mounted/pod")), Life::Unseen);
    fs::write(node.dir.path().join("netns/plain"), "").unwrap();
    assert_eq!(life(&format!("{here}/netns/plain")), Life::Unseen);
    assert_eq!(life(""), Life::Unseen);
    assert_eq!(
        life("/proc/self/ns/net"),
        if sees_every_process() { Life::Over(End::Replaced) } else { Life::Unseen }
    );
    let before = Sandbox { boot: Some("another".into()), ..Sandbox::of(&node.host.netns) };
    assert_eq!(Life::of(&before, &node.host), Life::Over(End::EarlierBoot));
}

#[test]
fn each_record_and_claim_is_found_and_one_that_is_torn_hides_none() {
    let mut node = Node::new();
    node.on_vfio(VF);
    node.write(&node.record("net1", VF));
    node.write(&node.record("net2", "0000:21:10.3"));
    node.store.save(&node.record("net3", VF), &Map::new()).unwrap();
    fs::write(node.dir.path().join("state/torn-net1"), "{").unwrap();
    fs::write(node.dir.path().join("state/pci/0000:21:10.5"), "/run/netns/go").unwrap();
    let (found, odd) = survey(&node.store, &mut node.host).unwrap();
    let mut words: Vec<String> = found
        .iter()
        .map(|it| {
            let ifname =
                it.record.as_ref().map_or("none".to_owned(), |record| record.owner.ifname.to_string());
            format!("{} {ifname} {} {:?}", it.device, it.claimed, it.place)
        })
        .collect();
    words.sort();
    assert_eq!(
        words,
        [
            "0000:21:10.1 net1 true Linkless",
            "0000:21:10.1 net3 false Linkless",
            "0000:21:10.3 net2 true Absent",
            "0000:21:10.5 none true Untold",
        ]
    );
    assert_eq!(odd.len(), 1);
    assert!(odd[0].to_string().contains("torn-net1"));
}

#[test]
fn what_changed_since_the_decision_is_left() {
    let mut node = Node::new();
    node.on_vfio(VF);
    node.write(&node.record("net1", VF));
    let found = node.survey().remove(0);
    // An ADD that is at work.
    let lock = node.store.lock(VF).unwrap();
    assert!(matches!(undo(&node.store, &mut node.host, &found, Duration::ZERO, |_| true), Ok(Undone::Busy)));
    drop(lock);
    assert!(matches!(
        undo(&node.store, &mut node.host, &found, Duration::ZERO, |_| false),
        Ok(Undone::Changed)
    ));
    // Another pod has it by now.
    let other = Record {
        owner: Owner { container_id: "c2".into(), ..found.record.clone().unwrap().owner },
        ..node.record("net1", VF)
    };
    node.write(&other);
    assert!(matches!(
        undo(&node.store, &mut node.host, &found, Duration::ZERO, |now| now.claimed),
        Ok(Undone::Changed)
    ));
    assert_eq!(node.store.claim(VF).unwrap().unwrap().owner, Some(other.owner));
}

#[test]
fn an_undone_attachment_is_forgotten_when_its_addresses_are_released_too() {
    let mut node = Node::new();
    node.on_vfio(VF);
    node.write(&Record { ipam: Some("ipam".into()), ..node.record("net1", VF) });
    let found = node.survey().remove(0);
    let done = undo(&node.store, &mut node.host, &found, Duration::ZERO, |now| *now == found).unwrap();
    assert!(matches!(done, Undone::Done { addresses: true, .. }), "{done:?}");
    assert_eq!(node.store.claim(VF).unwrap(), None);
    let left = node.survey().remove(0);
    assert!(!left.claimed);
    let (record, limit) = (left.record.unwrap(), Duration::from_secs(10));
    assert!(!release(&node.store, &record, &[], limit).unwrap());
    assert_eq!(node.survey().len(), 1);
    let ipam = node.dir.path().join("ipam");
    fs::write(&ipam, "#!/bin/sh\necho $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME > \"${0%/*}/called\"\n")
        .unwrap();
    fs::set_permissions(&ipam, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(release(&node.store, &record, &[node.dir.path().to_owned()], limit).unwrap());
    assert_eq!(fs::read_to_string(node.dir.path().join("called")).unwrap(), "DEL c1 net1\n");
    assert_eq!(node.survey(), []);
}

#[test]
fn a_claim_that_has_no_record_is_dropped() {
    let mut node = Node::new();
    fs::create_dir_all(node.dir.path().join("state/pci")).unwrap();
    fs::write(
        node.dir.path().join("state/pci").join(VF),
        node.dir.path().join("netns/gone").to_str().unwrap(),
    )
    .unwrap();
    let found = node.survey().remove(0);
    assert_eq!((found.life, found.claimed), (Life::Over(End::NoPath), true));
    assert!(matches!(
        undo(&node.store, &mut node.host, &found, Duration::ZERO, |now| *now == found),
        Ok(Undone::Done { .. })
    ));
    assert_eq!(node.survey(), []);
}

#[test]
fn a_claim_whose_record_is_torn_is_told_from_one_without() {
    let mut node = Node::new();
    node.write(&node.record("net1", VF));
    fs::write(node.dir.path().join("state/c1-net1"), "{").unwrap();
    let found = node.survey();
    let torn = found.iter().map(|it| (it.device.as_str(), it.torn, it.claimed, it.record.is_none()));
    assert_eq!(torn.collect::<Vec<_>>(), [(VF, true, true, true)]);
    // A DEL moves it out of the way, and knows no more of the device than anybody.
    let owner = node.record("net1", VF).owner;
    node.store.set_aside(&owner).unwrap();
    assert_eq!(node.survey(), found);
    // Put right, it is there again.
    node.store.save(&node.record("net1", VF), &Map::new()).unwrap();
    assert!(node.survey().iter().all(|it| !it.torn && it.record.is_some()));
}

#[test]
fn a_pod_of_the_go_plugin_has_the_namespace_of_its_claim() {
    let mut node = Node::new();
    node.on_vfio(VF);
    let gone = node.dir.path().join("netns/gone");
    fs::create_dir_all(node.dir.path().join("state/pci")).unwrap();
    fs::write(node.dir.path().join("state/pci").join(VF), gone.to_str().unwrap()).unwrap();
    let cache = format!(r#"{{"deviceID":"{VF}","OrigVfState":{{}}}}"#);
    fs::write(node.dir.path().join("state/abc-net-1"), cache).unwrap();
    let found = node.survey().remove(0);
    let record = found.record.as_ref().unwrap();
    assert_eq!((record.owner.key().as_str(), record.sandbox.path.as_path()), ("abc-net-1", gone.as_path()));
    assert_eq!((found.claimed, found.life), (true, Life::Over(End::NoPath)));
    let done = undo(&node.store, &mut node.host, &found, Duration::ZERO, |now| *now == found).unwrap();
    assert!(matches!(done, Undone::Done { addresses: false, .. }), "{done:?}");
    assert_eq!(node.survey(), []);
}
