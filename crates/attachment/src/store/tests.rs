use netlink::NetnsId;

use super::*;
use crate::record::{Sandbox, Undo};

fn record() -> Record {
    Record {
        version: Record::VERSION,
        owner: Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() },
        pod: None,
        sandbox: Sandbox {
            path: "/run/netns/a".into(),
            id: Some(NetnsId { dev: 4, ino: 4_026_532_000 }),
            boot: None,
            cookie: None,
        },
        device: "0000:3b:02.1".into(),
        function: Some("0000:3b:02.1".parse().unwrap()),
        pf: None,
        ipam: Some("static".into()),
        config: Map::new(),
        undo: vec![Undo::Up, Undo::Vf(netlink::VfAttribute::Trust(false))],
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths { state: dir.path().to_owned(), sysfs: "/nonexistent".into() };
    (dir, Store::sriov(&paths))
}

#[test]
fn a_record_comes_back_with_what_stands_beside_it() {
    let (_dir, store) = store();
    let beside: Map<String, Value> = serde_json::from_str(r#"{"deviceID":"0000:3b:02.1"}"#).unwrap();
    store.save(&record(), &beside).unwrap();
    assert_eq!(store.load(&record().owner).unwrap(), Some(record()));
    let text = fs::read_to_string(store.path(&record().owner)).unwrap();
    assert!(text.starts_with(r#"{"deviceID":"0000:3b:02.1","sluice":{"#), "{text}");
    store.forget(&record().owner).unwrap();
    store.forget(&record().owner).unwrap();
    assert_eq!(store.load(&record().owner).unwrap(), None);
}

#[test]
fn a_claim_is_the_go_plugins_file_with_an_owner_beside_it() {
    let (dir, store) = store();
    store.set_claim(&record()).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("pci/0000:3b:02.1")).unwrap(), "/run/netns/a");
    let claim = store.claim("0000:3b:02.1").unwrap().unwrap();
    assert_eq!((claim.netns, claim.owner), (Some(PathBuf::from("/run/netns/a")), Some(record().owner)));
    store.drop_claim("0000:3b:02.1").unwrap();
    assert_eq!(store.claim("0000:3b:02.1").unwrap(), None);
}

#[test]
fn a_claim_of_the_go_plugin_has_no_owner() {
    let (dir, store) = store();
    fs::create_dir(dir.path().join("pci")).unwrap();
    fs::write(dir.path().join("pci/0000:3b:02.1"), "/run/netns/b").unwrap();
    assert_eq!(store.claim("0000:3b:02.1").unwrap().unwrap().owner, None);
}

#[test]
fn a_file_of_the_go_plugin_is_read_where_it_keeps_them() {
    let (dir, store) = store();
    fs::write(dir.path().join("c1-net1"), r#"{"deviceID":"0000:3b:02.1","OrigVfState":{}}"#).unwrap();
    let record = store.load(&record().owner).unwrap().unwrap();
    assert_eq!((record.device.as_str(), record.sandbox.id), ("0000:3b:02.1", None));
    let other = Store::host_device(&Paths { state: dir.path().to_owned(), sysfs: "/nonexistent".into() });
    assert_eq!(other.load(&record.owner).unwrap(), None);
}

#[test]
fn a_kill_between_writing_and_renaming_leaves_one_file_that_goes_with_the_record() {
    let (dir, store) = store();
    fs::write(dir.path().join(".c1-net1.new"), "{\"torn").unwrap();
    assert_eq!(store.load(&record().owner).unwrap(), None);
    store.forget(&record().owner).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_owner_from_before_the_go_plugins_claim_does_not_count() {
    let (dir, store) = store();
    store.set_claim(&record()).unwrap();
    fs::write(dir.path().join("pci/0000:3b:02.1"), "/run/netns/go").unwrap();
    let claim = store.claim("0000:3b:02.1").unwrap().unwrap();
    assert_eq!((claim.netns, claim.owner), (Some(PathBuf::from("/run/netns/go")), None));
}

#[test]
fn a_record_of_the_same_file_name_is_not_another_owners() {
    let (_dir, store) = store();
    let mine =
        Record { owner: Owner { container_id: "c".into(), ifname: "x-net1".parse().unwrap() }, ..record() };
    store.save(&mine, &Map::new()).unwrap();
    let other = Owner { container_id: "c-x".into(), ifname: "net1".parse().unwrap() };
    assert_eq!(store.path(&other), store.path(&mine.owner));
    assert_eq!(store.load(&other).unwrap(), None);
    store.forget_draft(&other).unwrap();
    assert_eq!(store.load(&mine.owner).unwrap(), Some(mine));
}

#[test]
fn a_torn_record_says_which_file() {
    let (dir, store) = store();
    fs::write(dir.path().join("c1-net1"), "{\"slu").unwrap();
    let error = store.load(&record().owner).unwrap_err().to_string();
    assert!(error.contains("c1-net1 is no attachment record"), "{error}");
}

#[test]
fn a_lock_is_held_until_dropped() {
    let (dir, store) = store();
    let lock = store.lock("0000:3b:02.1").unwrap();
    let file = File::open(dir.path().join("pci/vf_lock/0000:3b:02.1.lock")).unwrap();
    assert!(matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
    drop(lock);
    file.try_lock().unwrap();
}
