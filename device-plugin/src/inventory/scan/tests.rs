use testkit::sysfs::Tree;

use super::super::DeviceId;
use super::*;

fn roots(tree: &Tree) -> Roots {
    Roots { sysfs: Sysfs::new(tree.sys()), proc: tree.proc() }
}

fn scanned(tree: &Tree) -> Snapshot {
    let scan = scan(&roots(tree), &Needs::default()).unwrap();
    assert!(scan.odd.is_empty(), "{:?}", scan.odd);
    scan.snapshot
}

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

#[test]
fn vfs_know_their_pf_and_number() {
    let tree = Tree::generated(2, 3);
    let snapshot = scanned(&tree);
    assert_eq!(snapshot.devices().len(), 8);
    let vf = snapshot.get(&id(&Tree::generated_address(1, 2))).unwrap();
    assert_eq!(vf.pf_name.as_deref(), Some("pf1"));
    assert_eq!(vf.function.vf_index(), Some(VfIndex::new(2)));
    assert_eq!(vf.function.numa_node, Some(1));
    assert_eq!(snapshot, scanned(&tree));
}

#[test]
fn only_what_a_pool_could_ask_for() {
    let tree = Tree::new();
    tree.function("0000:00:00.0").class(0x06_00_00);
    tree.function("0000:00:05.0").class(0x02_07_00).driver("mlx5_core");
    tree.function("0000:00:06.0").class(0x12_00_00).driver("vfio-pci");
    let kinds: Vec<_> = scanned(&tree).devices().iter().map(|device| device.kind()).collect();
    assert_eq!(kinds, [Some(Kind::Network), Some(Kind::Accelerator)]);
}

#[test]
fn left_out_and_why() {
    let tree = Tree::new();
    tree.function("0000:00:05.0").driver("ena").netdev("eth0");
    tree.function("0000:00:06.0").driver("ena").netdev("eth1");
    tree.function("0000:00:07.0");
    tree.function("0000:00:08.0").class(0x12_00_00).attribute("sriov_totalvfs", "4").driver("x");
    tree.pf("0000:3b:00.0", "ens1f0");
    tree.vf("0000:3b:02.0", "0000:3b:00.0");
    tree.pf("0000:3b:00.1", "ens1f1");
    tree.default_route("eth0");
    let snapshot = scanned(&tree);
    let why = |text: &str| snapshot.get(&id(text)).unwrap().left_out.as_ref().map(ToString::to_string);
    assert_eq!(why("0000:00:05.0").unwrap(), "eth0 carries a default route");
    assert_eq!(why("0000:00:06.0"), None);
    assert_eq!(why("0000:00:07.0").unwrap(), "no driver is bound");
    assert_eq!(why("0000:00:08.0"), None);
    assert_eq!(why("0000:3b:00.0").unwrap(), "1 VF is enabled");
    assert_eq!(why("0000:3b:00.1"), None);
    assert_eq!(why("0000:3b:02.0"), None);
}

#[test]
fn an_accelerator_keeps_its_vfs_and_itself() {
    let tree = Tree::new();
    let pf = tree.function("0000:5e:00.0").class(0x12_00_00).driver("pci-pf-stub");
    pf.attribute("sriov_totalvfs", "16").attribute("sriov_numvfs", "16");
    assert_eq!(scanned(&tree).devices()[0].left_out, None);
}

#[test]
fn an_odd_function_hides_no_other() {
    let tree = Tree::generated(1, 2);
    tree.existing("0000:01:00.0").attribute("vendor", "junk");
    let scan = scan(&roots(&tree), &Needs::default()).unwrap();
    assert_eq!((scan.snapshot.devices().len(), scan.odd.len()), (2, 1));
}

#[test]
fn a_second_look_sees_the_new_driver_and_the_gone_function() {
    let tree = Tree::generated(1, 1);
    let sysfs = Sysfs::new(tree.sys());
    let snapshot = scanned(&tree);
    let vf = snapshot.get(&id("0000:01:00.0")).unwrap();
    assert_eq!(&reread(&sysfs, vf).unwrap(), vf);
    tree.existing("0000:01:00.0").on_vfio(9);
    assert_eq!(reread(&sysfs, vf).unwrap().function.driver.as_deref(), Some("vfio-pci"));
    tree.remove("0000:01:00.0");
    assert!(matches!(reread(&sysfs, vf), Err(pci::Error::Missing { .. })));
}

#[test]
fn a_function_that_comes_while_others_are_read_is_in_the_scan() {
    let tree = Tree::generated(1, 2);
    let first = tree.existing("0000:00:00.0").dir().join("vendor");
    std::fs::remove_file(&first).unwrap();
    nix::unistd::mkfifo(&first, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let scanned = std::thread::scope(|scope| {
        let scan = scope.spawn(|| scanned(&tree));
        // Opened as soon as somebody reads.
        let mut reading = std::fs::OpenOptions::new().write(true).open(&first).unwrap();
        tree.vf("0000:01:01.0", "0000:00:00.0");
        std::io::Write::write_all(&mut reading, b"0x8086\n").unwrap();
        drop(reading);
        scan.join().unwrap()
    });
    let ids: Vec<_> = scanned.devices().iter().map(|device| device.id().to_string()).collect();
    assert_eq!(ids, ["0000:00:00.0", "0000:01:00.0", "0000:01:00.1", "0000:01:01.0"]);
}

/// Everything that can be asked for.
fn all(tree: &Tree) -> Snapshot {
    let needs = Needs {
        link_types: true,
        p_keys: true,
        rdma: true,
        vdpa: true,
        subfunctions: true,
        ..Needs::default()
    };
    scan(&roots(tree), &needs).unwrap().snapshot
}

#[test]
fn the_uplink_among_representors_names_the_pf() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "eth0").netdev("enp59s0f0np0").netdev("eth1");
    tree.existing("0000:3b:00.0").port("eth0", "pf0vf0").port("eth1", "pf0vf1").port("enp59s0f0np0", "p0");
    tree.vf("0000:3b:02.0", "0000:3b:00.0");
    let name = || all(&tree).get(&id("0000:3b:02.0")).unwrap().pf_name.clone();
    assert_eq!(name().as_deref(), Some("enp59s0f0np0"));
    tree.existing("0000:3b:00.0").port("enp59s0f0np0", "p0sf1");
    assert_eq!(name().as_deref(), Some("enp59s0f0np0"), "without an uplink the first");
    tree.existing("0000:3b:00.0").port("eth1", "p1");
    assert_eq!(name().as_deref(), Some("eth1"));
}

#[test]
fn link_types_and_keys() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ib0").infiniband("ib0", "mlx5_0", "0xffff");
    tree.vf("0000:3b:02.0", "0000:3b:00.0").netdev("ib1").infiniband("ib1", "mlx5_1", "0x7fff");
    tree.vf("0000:3b:02.1", "0000:3b:00.0");
    tree.function("0000:00:06.0").driver("ena").netdev("eth1");
    tree.function("0000:00:07.0").driver("ena");
    let snapshot = all(&tree);
    let of = |text: &str| {
        let device = snapshot.get(&id(text)).unwrap();
        (device.link_type.as_deref(), device.pkey.as_deref())
    };
    assert_eq!(of("0000:3b:02.0"), (Some("infiniband"), Some("0x7fff")));
    assert_eq!(of("0000:3b:02.1"), (Some("infiniband"), None), "its PF's type, no device of its own");
    assert_eq!(of("0000:00:06.0"), (Some("ether"), None));
    assert_eq!(of("0000:00:07.0"), (None, None));
}

#[test]
fn the_link_type_of_a_virtio_function_is_that_of_its_device_a_level_down() {
    let tree = Tree::new();
    let function = tree.function("0000:00:06.0").ids("1af4", "1041").driver("virtio-pci");
    let netdev = function.dir().join("virtio3/net/eth4");
    std::fs::create_dir_all(&netdev).unwrap();
    std::fs::write(netdev.join("type"), "1\n").unwrap();
    std::os::unix::fs::symlink(&netdev, tree.sys().join("class/net/eth4")).unwrap();
    let snapshot = all(&tree);
    let device = snapshot.get(&id("0000:00:06.0")).unwrap();
    assert_eq!((device.netdevs(), device.link_type.as_deref()), (&["eth4".to_owned()][..], Some("ether")));
}

#[test]
fn sfs_stand_behind_functions_and_keep_to_themselves() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0").driver("mlx5_core");
    tree.vf("0000:3b:02.0", "0000:3b:00.0");
    tree.sf("mlx5_core.sf.10", "0000:3b:00.0", 89, Some("ens1f0s89"));
    tree.sf("mlx5_core.sf.2", "0000:3b:00.0", 88, Some("ens1f0s88"));
    tree.sf("mlx5_core.eth.0", "0000:3b:00.0", 0, None);
    std::fs::remove_file(tree.sf("mlx5_core.sf.3", "0000:3b:00.0", 0, None).join("sfnum")).unwrap();
    tree.default_route("ens1f0s89");
    let needs = Needs { subfunctions: true, ..Needs::default() };
    let scan = scan(&roots(&tree), &needs).unwrap();
    let ids: Vec<_> = scan.snapshot.devices().iter().map(|device| device.id().to_string()).collect();
    assert_eq!(ids, ["0000:3b:00.0", "0000:3b:02.0", "mlx5_core.sf.2", "mlx5_core.sf.10"]);
    assert_eq!(scan.odd.len(), 1, "an SF without its number is told of, and hides no other");
    let sf = scan.snapshot.get(&id("mlx5_core.sf.2")).unwrap();
    assert_eq!((sf.pf_name.as_deref(), sf.index(), sf.left_out.as_ref()), (Some("ens1f0"), Some(88), None));
    assert_eq!(sf.kind(), Some(Kind::Subfunction));
    let other = scan.snapshot.get(&id("mlx5_core.sf.10")).unwrap();
    assert_eq!(other.left_out.as_ref().unwrap().to_string(), "ens1f0s89 carries a default route");
    assert_eq!(&reread(&Sysfs::new(tree.sys()), sf).unwrap(), sf);
}

#[test]
fn vdpa_devices_are_found_by_their_links() {
    let tree = Tree::generated(1, 3);
    let vf = |index| Tree::generated_address(0, index);
    tree.vdpa(0, &vf(0), "vhost_vdpa");
    tree.vdpa(1, &vf(1), "virtio_vdpa");
    let snapshot = all(&tree);
    let types: Vec<_> = (0..3).map(|index| snapshot.get(&id(&vf(index))).unwrap().vdpa_type()).collect();
    assert_eq!(types, [Some("vhost"), Some("virtio"), None]);
}

#[test]
fn host_interfaces_are_offered_where_that_is_allowed() {
    let tree = Tree::new();
    tree.function("0000:00:05.0").driver("ena").netdev("eth0");
    tree.default_route("eth0");
    let needs = Needs { host_interfaces: true, ..Needs::default() };
    assert_eq!(scan(&roots(&tree), &needs).unwrap().snapshot.devices()[0].left_out, None);
}

#[test]
fn profiles_are_asked_for_where_one_matters() {
    let tree = Tree::generated(1, 3);
    let asked = std::cell::RefCell::new(Vec::new());
    let matters = |device: &Device| {
        asked.borrow_mut().push(device.id().to_string());
        false
    };
    let needs = Needs { ddp: Some(&matters), ..Needs::default() };
    scan(&roots(&tree), &needs).unwrap();
    assert_eq!(asked.into_inner().len(), 4);
}
