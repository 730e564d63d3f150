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
        interval: Duration::from_secs(30),
    };
    (tree, setup)
}

fn keeper() -> (Keeper, watch::Receiver<Unclean>) {
    let (unclean, receiver) = watch::channel(Unclean::default());
    let keeper = Keeper {
        setup: left_behind().1,
        metrics: Metrics::new(),
        unclean,
        found: Vec::new(),
        published: false,
        wake: Arc::default(),
        said: BTreeMap::new(),
        reserved: BTreeMap::new(),
        releases: None,
    };
    (keeper, receiver)
}

#[tokio::test]
async fn nobody_waits_for_a_kubelet_that_is_silent() {
    let (tree, setup) = left_behind();
    // It takes the connection, and that is all.
    let _silent = UnixListener::bind(tree.root().join("kubelet.sock")).unwrap();
    let asked = std::time::Instant::now();
    let answer = tokio::spawn({
        let sources = setup.sources.clone();
        async move { (holdings::read(&sources).await.is_ok(), asked.elapsed()) }
    });
    let handle = start(setup, Metrics::new()).await;
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
