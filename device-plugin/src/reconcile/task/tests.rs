use std::os::unix::net::UnixListener;
use std::path::Path;

use attachment::{Owner, Paths, Sandbox, Store};
use serde_json::Map;
use testkit::sysfs::Tree;

use super::*;

const DEVICE: &str = "0000:3b:02.0";

/// A node with a VF on vfio-pci, which the kernel says nothing of, and the record of a pod that is gone.
fn left_behind() -> (Tree, Setup) {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    tree.vf(DEVICE, "0000:3b:00.0").on_vfio(50);
    let state = tree.root().join("cni");
    let store = Store::sriov(&Paths { state: state.join("sriov"), sysfs: tree.sys() });
    let record = Record {
        version: Record::VERSION,
        owner: Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() },
        pod: None,
        sandbox: Sandbox::unknown(Some(&tree.root().join("gone"))),
        device: DEVICE.into(),
        function: DEVICE.parse().ok(),
        pf: None,
        ipam: None,
        config: Map::new(),
        undo: Vec::new(),
    };
    store.save(&record, &Map::new()).unwrap();
    store.set_claim(&record).unwrap();
    let setup = Setup {
        state,
        sysfs: tree.sys(),
        ipam: Vec::new(),
        sources: Sources::of(&tree.root().join("kubelet"), Some(&tree.root().join("kubelet.sock"))),
        grants: Grants::default(),
        interval: Duration::from_secs(30),
        limit: Duration::from_secs(30),
    };
    (tree, setup)
}

fn keeper() -> (Keeper, watch::Receiver<Unclean>) {
    Keeper::new(left_behind().1, Metrics::new())
}

#[tokio::test]
async fn nobody_waits_for_a_kubelet_that_is_silent() {
    let (tree, setup) = left_behind();
    // It takes the connection, and that is all.
    let _silent = UnixListener::bind(tree.root().join("kubelet.sock")).unwrap();
    let asked = std::time::Instant::now();
    let answer = tokio::spawn({
        let sources = setup.sources.clone();
        async move { (holdings::agreed(&sources).await.is_ok(), asked.elapsed()) }
    });
    let mut handle = start(setup, Metrics::new());
    handle.first().await;
    let started = asked.elapsed();
    assert!(handle.unclean().borrow().get(&DEVICE.parse().unwrap()).is_some());
    let (told, answered) = answer.await.unwrap();
    assert!(!told && started < answered / 2, "{started:?} of {answered:?}");
}

#[test]
fn what_cannot_be_looked_at_stays_as_it_was() {
    let dirty = |plugin, device: &str| (plugin, device.parse().unwrap(), "why".to_owned());
    let (mut keeper, receiver) = keeper();
    let published = || {
        let now = receiver.borrow();
        [DEVICE, "0000:3b:02.1"].map(|device| now.get(&device.parse().unwrap()).is_some())
    };
    keeper.publish(vec![dirty("sriov", DEVICE), dirty("host-device", "0000:3b:02.1")], &[]);
    keeper.publish(Vec::new(), &["sriov"]);
    assert_eq!(published(), [true, false]);
    // What can be looked at again counts as it is.
    keeper.publish(Vec::new(), &["host-device"]);
    assert_eq!(published(), [false, false]);
}

#[test]
fn a_state_that_cannot_be_read_is_unseen_and_no_empty_one() {
    let (tree, setup) = left_behind();
    let look = |state: &Path| pass::look(&Plugin::all(state, &tree.sys()));
    let sight = look(&setup.state);
    assert_eq!((sight.found.len(), sight.unseen.len()), (1, 0));
    let claims = setup.state.join("sriov/pci");
    std::fs::rename(&claims, tree.root().join("aside")).unwrap();
    std::fs::write(&claims, "").unwrap();
    assert_eq!(look(&setup.state).unseen, ["sriov"]);
}

/// The record of another pod that is gone, whose VF is on another bus.
fn another(tree: &Tree, setup: &Setup) {
    tree.pf("0000:5e:00.0", "ens2f0");
    tree.vf(OTHER, "0000:5e:00.0").on_vfio(60);
    let store = Store::sriov(&Paths { state: setup.state.join("sriov"), sysfs: tree.sys() });
    let mut record = store.records().unwrap().remove(0);
    record.owner.container_id = "c2".into();
    record.device = OTHER.into();
    record.function = OTHER.parse().ok();
    store.save(&record, &Map::new()).unwrap();
    store.set_claim(&record).unwrap();
}

const OTHER: &str = "0000:5e:02.0";

/// A kubelet that has given nothing to anybody.
fn gives_nothing(setup: &Setup) {
    std::fs::create_dir_all(setup.sources.checkpoint.parent().unwrap()).unwrap();
    std::fs::write(&setup.sources.checkpoint, r#"{"Data":{"PodDeviceEntries":null},"Checksum":1}"#).unwrap();
}

fn pipe(path: &Path) {
    let _ = std::fs::remove_file(path);
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

fn has(unclean: &Unclean, device: &str) -> bool {
    unclean.get(&device.parse().unwrap()).is_some()
}

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_device_that_hangs_keeps_no_other_from_being_put_back() {
    let (tree, setup) = left_behind();
    another(&tree, &setup);
    gives_nothing(&setup);
    let store = Store::sriov(&Paths { state: setup.state.join("sriov"), sysfs: tree.sys() });
    let mut records = store.records().unwrap();
    records.retain(|record| record.device == DEVICE);
    let before = attachment::DriverBefore { driver: Some("iavf".into()), only: None };
    records[0].undo = vec![attachment::Undo::Driver(before)];
    store.save(&records[0], &Map::new()).unwrap();
    // Nobody writes to it: whoever reads which driver is wanted waits, as in the kernel.
    pipe(&tree.sys().join("bus/pci/devices").join(DEVICE).join("driver_override"));
    let handle = start(setup, Metrics::new());
    let mut unclean = handle.unclean();
    let put_back = unclean.wait_for(|now| has(now, DEVICE) && !has(now, OTHER));
    tokio::time::timeout(PATIENCE, put_back).await.unwrap().unwrap();
    assert_eq!(store.records().unwrap().len(), 1);
}

#[tokio::test]
async fn a_device_that_hangs_is_not_called_clean_while_the_kubelet_is_slow() {
    let (tree, setup) = left_behind();
    let store = Store::sriov(&Paths { state: setup.state.join("sriov"), sysfs: tree.sys() });
    let mut record = store.records().unwrap().remove(0);
    // Put back whatever the kubelet says.
    record.sandbox.boot = Some("00000000-0000-4000-8000-000000000000".to_owned());
    let before = attachment::DriverBefore { driver: Some("iavf".into()), only: None };
    record.undo = vec![attachment::Undo::Driver(before)];
    store.save(&record, &Map::new()).unwrap();
    pipe(&tree.sys().join("bus/pci/devices").join(DEVICE).join("driver_override"));
    let _silent = UnixListener::bind(tree.root().join("kubelet.sock")).unwrap();
    let (mut keeper, receiver) = Keeper::new(setup, Metrics::new());
    // A pass before has begun with it.
    let sight = keeper.look().await;
    let word = Word { held: None, asked: Instant::now(), grants: keeper.setup.grants.clone() };
    assert_eq!(keeper.work.begin(sight.found, &word).len(), 1);
    keeper.pass().await;
    assert!(has(&receiver.borrow(), DEVICE));
    let device: DeviceId = DEVICE.parse().unwrap();
    let given = keeper.setup.grants.give(&[device], "intel.com/dpdk", std::time::Instant::now());
    given.unwrap_err();
}

#[tokio::test]
async fn a_look_that_hangs_is_told_to_whoever_asks_whether_the_daemon_is_alive() {
    let (tree, mut setup) = left_behind();
    setup.limit = Duration::from_millis(100);
    let vendor = tree.sys().join("bus/pci/devices").join(DEVICE).join("vendor");
    pipe(&vendor);
    let metrics = Metrics::new();
    let mut handle = start(setup, metrics.clone());
    assert!(tokio::time::timeout(Duration::from_millis(500), handle.first()).await.is_err());
    let told = metrics.liveness();
    assert_eq!(told.reasons, ["a look at what pods left behind has not ended for 100ms"]);
    drop(handle);
    // Its thread ends with this.
    std::fs::write(&vendor, "0x8086\n").unwrap();
}

#[tokio::test]
async fn what_was_given_while_the_kubelet_answered_is_left_and_not_called_unhealthy() {
    let (tree, setup) = left_behind();
    gives_nothing(&setup);
    let store = Store::sriov(&Paths { state: setup.state.join("sriov"), sysfs: tree.sys() });
    setup.grants.note(DEVICE.parse().unwrap(), "intel.com/dpdk".to_owned(), std::time::Instant::now());
    let (mut keeper, receiver) = Keeper::new(setup, Metrics::new());
    keeper.pass().await;
    assert!(!has(&receiver.borrow(), DEVICE));
    assert_eq!(store.records().unwrap().len(), 1);
    assert!(store.claim(DEVICE).unwrap().is_some());
}

#[tokio::test]
async fn what_is_unclean_is_not_given_whatever_the_pool_says() {
    let (_tree, setup) = left_behind();
    let grants = setup.grants.clone();
    let device: DeviceId = DEVICE.parse().unwrap();
    let (mut keeper, _receiver) = Keeper::new(setup, Metrics::new());
    keeper.pass().await;
    let refused = grants.give(std::slice::from_ref(&device), "intel.com/dpdk", std::time::Instant::now());
    assert_eq!(refused.unwrap_err().0, device);
}

#[tokio::test]
async fn what_was_said_of_a_record_is_forgotten_with_it() {
    let (_tree, setup) = left_behind();
    let (mut keeper, _receiver) = Keeper::new(setup, Metrics::new());
    keeper.reserved.insert("c9-net1".to_owned(), "why".to_owned());
    keeper.reserved.insert("c1-net1".to_owned(), "why".to_owned());
    keeper.pass().await;
    assert_eq!(keeper.reserved.keys().collect::<Vec<_>>(), ["c1-net1"]);
    assert_eq!(keeper.said.len(), 1);
}
