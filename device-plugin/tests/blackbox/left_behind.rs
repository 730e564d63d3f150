//! What pods left behind, found by the running daemon: put back, kept from the kubelet, or left alone; and `explain` of pods.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use attachment::{DriverBefore, LinkBefore, Owner, Paths, Record, Sandbox, Store, Undo};
use netlink::{Link, Netns, NetnsId};
use serde_json::{Map, Value, json};
use testkit::kubelet::{Kubelet, State, Tells};
use testkit::netns::Namespace;
use testkit::pod::Pod;
use testkit::sysfs::Tree;

use crate::daemon::{Daemon, LIMIT, command, kubelet_root, node};
use crate::metrics;

const CONFIG: &str = r#"{"resourceList":[{"resourceName":"dpdk","selectors":{"drivers":["vfio-pci"]}},
        {"resourceName":"net","selectors":{"pfNames":["ens1f0#0-1"]}}]}"#;
const DPDK: &str = "intel.com/dpdk";
const FIRST: &str = "0000:3b:02.2";
const SECOND: &str = "0000:3b:02.3";

fn store(tree: &Tree) -> Store {
    Store::sriov(&Paths { state: tree.root().join("cni/sriov"), sysfs: tree.sys() })
}

/// The record of a DPDK pod whose namespace is at `netns`.
fn record(container: &str, pod: &str, device: &str, netns: &Path) -> Record {
    Record {
        version: Record::VERSION,
        owner: Owner { container_id: container.into(), ifname: "net1".parse().unwrap() },
        pod: Some(attachment::Pod { namespace: "ns".into(), name: pod.into(), uid: None }),
        sandbox: Netns::open(netns).map_or_else(|_| dead(netns), |netns| Sandbox::of(&netns)),
        device: device.into(),
        function: device.parse().ok(),
        pf: None,
        ipam: None,
        config: Map::new(),
        undo: Vec::new(),
    }
}

/// One that was there, and is told from others as ours are.
fn dead(netns: &Path) -> Sandbox {
    Sandbox { id: Some(NetnsId { dev: 4, ino: 7 }), ..Sandbox::unknown(Some(netns)) }
}

fn write(store: &Store, record: &Record) {
    store.save(record, &Map::new()).unwrap();
    store.set_claim(record).unwrap();
}

/// A path in a folder that is there, of a namespace that is not.
fn gone(tree: &Tree) -> PathBuf {
    let folder = tree.root().join("netns");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join("gone")
}

/// Whether record and claim are as they were written.
fn is_left(store: &Store, record: &Record) -> bool {
    let claim = store.claim(&record.device).unwrap();
    store.load(&record.owner).unwrap().is_some()
        && claim.is_some_and(|claim| claim.owner.as_ref() == Some(&record.owner))
}

fn explain(tree: &Tree, asked: &[&str]) -> Output {
    command(tree, CONFIG).arg("explain").args(asked).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_lost_del_is_made_good_at_start_and_a_living_pods_device_is_not_touched() {
    let (tree, pod) = (node(), Namespace::new("pod"));
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let store = store(&tree);
    let dead = record("c1", "dead", FIRST, &gone(&tree));
    let alive = record("c2", "alive", SECOND, &pod.path());
    write(&store, &dead);
    write(&store, &alive);
    let mut daemon = metrics::start(&tree, CONFIG);
    daemon.says("put back what a pod left");
    let counted = r#"sriovdp_reconciler_actions_total{action="restored"} 1"#;
    metrics::until(&tree, "GET /metrics", |_, text| text.contains(counted));
    // It is put back before the kubelet hears of any pool.
    let state = kubelet.until("both", LIMIT, |state| state.has(DPDK, 2)).unwrap();
    assert!(state.refusals.is_empty());
    assert_eq!(store.load(&dead.owner).unwrap(), None);
    assert_eq!(store.claim(FIRST).unwrap(), None);
    assert!(is_left(&store, &alive));
}

#[test]
fn what_cannot_be_put_back_yet_is_unhealthy_until_it_is() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let store = store(&tree);
    let dead = record("c1", "dead", FIRST, &gone(&tree));
    write(&store, &dead);
    // Nobody tells who holds the device, which has no link that could tell.
    let socket = tree.root().join("pod-resources.sock");
    let mut command = command(&tree, CONFIG);
    command.arg("--pod-resources-socket").arg(&socket).arg("--reconcile-interval=100ms");
    let _daemon = Daemon::spawn(command);
    kubelet.until("one unhealthy", LIMIT, |state| state.has(DPDK, 1)).unwrap();
    assert!(is_left(&store, &dead));
    std::os::unix::fs::symlink(kubelet.root().join("pod-resources/kubelet.sock"), &socket).unwrap();
    kubelet.until("both healthy", LIMIT, |state| state.has(DPDK, 2)).unwrap();
    assert_eq!(store.load(&dead.owner).unwrap(), None);
}

#[test]
fn a_pod_that_the_kubelet_still_has_keeps_its_device() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let store = store(&tree);
    let mut command = command(&tree, CONFIG);
    command.arg("--reconcile-interval=50ms");
    let mut daemon = Daemon::spawn(command);
    kubelet.until("both", LIMIT, |state| state.has(DPDK, 2)).unwrap();
    let pod = Pod::new("ns", "mine").container("app", &[(DPDK, 2)]);
    kubelet.admit(&pod).unwrap();
    let (same, other) =
        (record("c1", "mine", FIRST, &gone(&tree)), record("c2", "before", SECOND, &gone(&tree)));
    write(&store, &same);
    write(&store, &other);
    // The other device's pod of before is gone: both are looked at in one pass.
    daemon.says("put back what a pod left");
    assert!(is_left(&store, &same));
    assert_eq!(store.load(&other.owner).unwrap(), None);
    assert!(kubelet.delete(&pod));
    daemon.says("put back what a pod left");
    assert_eq!(store.load(&same.owner).unwrap(), None);
}

/// A pod that was given both devices by a daemon that has ended.
fn admitted(tree: &Tree) -> (Kubelet, Pod) {
    let kubelet = Kubelet::start(kubelet_root(tree)).unwrap();
    let _daemon = Daemon::start(tree, CONFIG);
    kubelet.until("both", LIMIT, |state| state.has(DPDK, 2)).unwrap();
    let pod = Pod::new("ns", "mine").container("app", &[(DPDK, 2)]);
    kubelet.admit(&pod).unwrap();
    (kubelet, pod)
}

#[test]
fn after_a_boot_no_device_of_a_pod_is_unhealthy_though_the_kubelet_has_heard_of_static_pods_alone() {
    let tree = node();
    let (kubelet, _) = admitted(&tree);
    let store = store(&tree);
    // Of another boot, and not to be put back at once: its driver is not loaded.
    let before = DriverBefore { driver: Some("none".into()), only: None };
    let mut record = Record { undo: vec![Undo::Driver(before)], ..record("c1", "mine", FIRST, &gone(&tree)) };
    record.sandbox.boot = Some("another".into());
    write(&store, &record);
    kubelet.tells(Tells::StaticPods).unwrap();
    let mut daemon = Daemon::start(&tree, CONFIG);
    daemon.says("driver none is not loaded");
    let again = |state: &State| state.pools[DPDK].registrations == 2 && state.pools[DPDK].lists > 0;
    let state = kubelet.until("both again", LIMIT, again).unwrap();
    assert!(
        state.has(DPDK, 2),
        "a kubelet refuses to start a pod again whose device is unhealthy: {state:?}"
    );
    assert!(is_left(&store, &record));
}

#[test]
fn a_device_is_put_back_soon_after_the_kubelet_lets_go_of_it() {
    let tree = node();
    let (kubelet, pod) = admitted(&tree);
    let store = store(&tree);
    let mine = record("c1", "mine", FIRST, &gone(&tree));
    write(&store, &mine);
    // Nothing tells of a pod's end, and the interval is half a minute; the kubelet's accounts lag behind until its next list.
    let mut daemon = Daemon::start(&tree, CONFIG);
    daemon.says("registered");
    assert!(is_left(&store, &mine));
    assert!(kubelet.delete(&pod));
    daemon.says("put back what a pod left");
    assert_eq!(store.load(&mine.owner).unwrap(), None);
}

#[test]
fn a_device_whose_record_is_torn_is_given_to_nobody() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let store = store(&tree);
    let torn = record("c1", "dead", FIRST, &gone(&tree));
    write(&store, &torn);
    std::fs::write(store.path(&torn.owner), "{").unwrap();
    let mut daemon = Daemon::start(&tree, CONFIG);
    daemon.says("its record cannot be read");
    let state = kubelet.until("the other", LIMIT, |state| state.has(DPDK, 1)).unwrap();
    assert!(!state.pools[DPDK].devices[FIRST].healthy);
    assert!(store.claim(FIRST).unwrap().is_some());
}

#[test]
fn fifty_lost_dels_at_one_start() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    let devices: Vec<String> = (0..50).map(|vf| format!("0000:3b:{:02x}.{}", 2 + vf / 8, vf % 8)).collect();
    for (vf, device) in (0..).zip(&devices) {
        tree.vf(device, "0000:3b:00.0").on_vfio(50 + vf);
    }
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let (store, sandbox) = (store(&tree), Namespace::new("pod"));
    let living = record("c-living", "living", &devices[0], &sandbox.path());
    write(&store, &living);
    let lost = (1..).zip(&devices[1..]);
    let lost: Vec<Record> =
        lost.map(|(pod, device)| record(&format!("c{pod}"), "dead", device, &gone(&tree))).collect();
    for record in &lost {
        write(&store, record);
    }
    let _daemon = Daemon::start(&tree, CONFIG);
    // The limit is the promise, too.
    kubelet.until("all of them", LIMIT, |state| state.has(DPDK, 50)).unwrap();
    assert!(lost.iter().all(|record| store.load(&record.owner).unwrap().is_none()));
    assert!(is_left(&store, &living));
}

#[test]
fn addresses_are_released_after_the_device_and_wait_where_ipam_is_not_there() {
    let tree = node();
    let _kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let store = store(&tree);
    let bin = tree.root().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let plugin = "#!/bin/sh\nprintf '%s %s %s %s' \"$CNI_COMMAND\" \"$CNI_CONTAINERID\" \"$CNI_IFNAME\" \"$CNI_ARGS\" > \"${0%/*}/called\"\n";
    std::fs::write(bin.join("lease"), plugin).unwrap();
    std::fs::set_permissions(bin.join("lease"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let with = |container, device, ipam: &str| Record {
        ipam: Some(ipam.into()),
        ..record(container, container, device, &gone(&tree))
    };
    let (released, kept) = (with("c1", FIRST, "lease"), with("c2", SECOND, "elsewhere"));
    write(&store, &released);
    let mut command = command(&tree, CONFIG);
    command.arg("--cni-bin-dir").arg(&bin).arg("--reconcile-interval=50ms");
    let mut daemon = Daemon::spawn(command);
    daemon.says("released the addresses of a pod that is gone");
    let called = std::fs::read_to_string(bin.join("called")).unwrap();
    assert_eq!(called, "DEL c1 net1 IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=c1");
    assert_eq!(store.load(&released.owner).unwrap(), None);
    write(&store, &kept);
    daemon.says("its IPAM plugin is not in --cni-bin-dir; a DEL or GC can release them");
    // The device is free all the same.
    assert_eq!(store.claim(SECOND).unwrap(), None);
    assert_eq!(store.load(&kept.owner).unwrap().as_ref(), Some(&kept));
}

#[test]
fn it_can_be_switched_off() {
    let tree = node();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let store = store(&tree);
    let dead = record("c1", "dead", FIRST, &gone(&tree));
    write(&store, &dead);
    let mut command = command(&tree, CONFIG);
    command.arg("--reconcile=false");
    let mut daemon = Daemon::spawn(command);
    daemon.says("--reconcile=false");
    kubelet.until("both", LIMIT, |state| state.has(DPDK, 2)).unwrap();
    assert!(is_left(&store, &dead));
}

#[test]
fn a_link_that_came_home_under_the_pods_name_is_named_and_set_as_it_was() {
    let (tree, host, living) = (node(), Namespace::new("host"), Namespace::new("living"));
    for (nic, mac) in [("nic0", "02:00:00:00:00:10"), ("nic1", "02:00:00:00:00:11")] {
        host.ip(&["link", "add", nic, "address", mac, "mtu", "1400", "alias", "rack 7", "type", "veth"]);
    }
    let before = |name: &str, mac: &str| {
        let link = host.link(name).unwrap();
        let index = link["ifindex"].as_u64().unwrap().try_into().unwrap();
        let link = Link {
            index,
            name: name.into(),
            mac: mac.parse().ok(),
            mtu: 1400,
            alias: "rack 7".into(),
            kind: Some("veth".into()),
            ..Link::default()
        };
        LinkBefore::of(&link, None).unwrap()
    };
    let (nic0, nic1) = (before("nic0", "02:00:00:00:00:10"), before("nic1", "02:00:00:00:00:11"));
    let store = Store::host_device(&Paths { state: tree.root().join("cni/host-device"), sysfs: tree.sys() });
    let of = |container, device: &str, netns: &Path, before: &LinkBefore| Record {
        function: None,
        undo: vec![Undo::Link(before.clone())],
        ..record(container, container, device, netns)
    };
    // The dead pod's link is back, with the pod's name, MTU and our alias; the living pod has the other.
    host.ip(&["link", "set", "nic0", "down", "name", "net1", "mtu", "9000", "alias", "nic0"]);
    host.ip(&["link", "set", "nic1", "netns", living.name(), "name", "net1", "mtu", "9000", "alias", "nic1"]);
    write(&store, &of("dead", "nic0", &gone(&tree), &nic0));
    let alive = of("alive", "nic1", &living.path(), &nic1);
    write(&store, &alive);
    let untouched = living.json(&["link", "show"]);
    let daemon = command(&tree, CONFIG);
    let mut inside = host.process(Path::new(daemon.get_program()));
    inside.args(daemon.get_args());
    let mut daemon = Daemon::spawn(inside);
    daemon.says("put back what a pod left");
    let link = host.link("nic0").expect("nic0 is back");
    assert_eq!((&link["mtu"], &link["ifalias"]), (&json!(1400), &json!("rack 7")));
    assert_eq!(living.json(&["link", "show"]), untouched);
    assert!(is_left(&store, &alive));
}

#[test]
fn the_running_daemon_explains_a_pod_and_says_where_its_chain_breaks() {
    let (tree, sandbox) = (node(), Namespace::new("pod"));
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let store = store(&tree);
    let not_running = explain(&tree, &["ns/web"]);
    assert_eq!(not_running.status.code(), Some(1));
    let words = String::from_utf8(not_running.stderr).unwrap();
    assert!(words.contains("is the daemon running on this node"), "{words}");

    let _daemon = Daemon::start(&tree, CONFIG);
    kubelet.until("both", LIMIT, |state| state.has(DPDK, 2)).unwrap();
    assert!(text(&explain(&tree, &["ns/web"])).contains("the kubelet does not tell of such a pod"));
    let pod = Pod::new("ns", "web").container("app", &[(DPDK, 1)]);
    kubelet.admit(&pod).unwrap();
    let unattached = text(&explain(&tree, &["ns/web"]));
    assert!(unattached.contains("no CNI plugin of Sluice attached it"), "{unattached}");

    let json: Value = serde_json::from_str(&text(&explain(&tree, &["ns/web", "-o", "json"]))).unwrap();
    let device = json["devices"][0]["device"].as_str().unwrap().to_owned();
    write(&store, &record("c1", "web", &device, &sandbox.path()));
    let whole = text(&explain(&tree, &["ns/web"]));
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(sandbox.path()).unwrap());
    let wanted = format!(
        "pod ns/web\n  container app has {device} as {DPDK}  vfio-pci\n    net1 by sriov, container c1 for pod ns/web\n    \
         in {} (inode {inode}), alive\neverything agrees\n",
        sandbox.path().display()
    );
    assert_eq!(whole, wanted);
    drop(sandbox);
    let broken = text(&explain(&tree, &["ns/web"]));
    assert!(
        broken.contains("first that does not agree") && broken.contains("that network namespace is gone"),
        "{broken}"
    );

    // A pool of that name goes before a pod.
    let pool = text(&explain(&tree, &[DPDK]));
    assert!(pool.contains("takes it by selectors[0]"), "{pool}");
    let socket = tree.root().join("control/sriovdp.sock");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(socket.parent().unwrap()).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(Command::new("test").arg("-S").arg(&socket).status().unwrap().code(), Some(0));
}
