use testkit::sysfs::Tree;

use super::*;

fn roots(tree: &Tree) -> Roots {
    Roots { sysfs: Sysfs::new(tree.sys()), proc: tree.proc() }
}

fn scanned(tree: &Tree) -> Snapshot {
    let scan = scan(&roots(tree)).unwrap();
    assert!(scan.odd.is_empty(), "{:?}", scan.odd);
    scan.snapshot
}

fn address(text: &str) -> PciAddress {
    text.parse().unwrap()
}

#[test]
fn vfs_know_their_pf_and_number() {
    let tree = Tree::generated(2, 3);
    let snapshot = scanned(&tree);
    assert_eq!(snapshot.devices().len(), 8);
    let vf = snapshot.get(address(&Tree::generated_address(1, 2))).unwrap();
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
    let kinds: Vec<_> = scanned(&tree).devices().iter().map(Device::kind).collect();
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
    let why = |text: &str| snapshot.get(address(text)).unwrap().left_out.as_ref().map(ToString::to_string);
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
    let scan = scan(&roots(&tree)).unwrap();
    assert_eq!((scan.snapshot.devices().len(), scan.odd.len()), (2, 1));
}

#[test]
fn a_second_look_sees_the_new_driver_and_the_gone_function() {
    let tree = Tree::generated(1, 1);
    let sysfs = Sysfs::new(tree.sys());
    let snapshot = scanned(&tree);
    let vf = snapshot.get(address("0000:01:00.0")).unwrap();
    assert_eq!(&reread(&sysfs, vf).unwrap(), vf);
    tree.existing("0000:01:00.0").on_vfio(9);
    assert_eq!(reread(&sysfs, vf).unwrap().function.driver.as_deref(), Some("vfio-pci"));
    tree.remove("0000:01:00.0");
    assert!(matches!(reread(&sysfs, vf), Err(pci::Error::Missing { .. })));
}
