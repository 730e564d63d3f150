use std::os::unix::fs::symlink;

use super::*;

/// A PF with two VFs, numbered against the order of their addresses.
fn tree() -> (tempfile::TempDir, Sysfs) {
    let root = tempfile::tempdir().unwrap();
    let sysfs = Sysfs::new(root.path());
    let pf = function(
        &sysfs,
        "0000:21:00.0",
        &[("sriov_totalvfs", "7\n"), ("sriov_numvfs", "2\n"), ("numa_node", "1\n")],
    );
    for (index, address) in [(1, "0000:21:10.0"), (0, "0000:21:10.2")] {
        let vf = function(&sysfs, address, &[("numa_node", "-1\n")]);
        symlink("../0000:21:00.0", vf.join("physfn")).unwrap();
        symlink(format!("../{address}"), pf.join(format!("virtfn{index}"))).unwrap();
    }
    (root, sysfs)
}

fn function(sysfs: &Sysfs, address: &str, attributes: &[(&str, &str)]) -> PathBuf {
    let dir = sysfs.function_dir(address.parse().unwrap());
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in [("vendor", "0x8086\n"), ("device", "0x10ca\n"), ("class", "0x020000\n")] {
        fs::write(dir.join(name), text).unwrap();
    }
    for (name, text) in attributes {
        fs::write(dir.join(name), text).unwrap();
    }
    dir
}

fn address(text: &str) -> PciAddress {
    text.parse().unwrap()
}

#[test]
fn pf_and_vfs_know_each_other() {
    let (_root, sysfs) = tree();
    let pf = sysfs.function(address("0000:21:00.0")).unwrap();
    assert_eq!(pf.role, Role::Pf { total_vfs: 7, num_vfs: 2 });
    assert_eq!((pf.numa_node, pf.base_class(), pf.vendor.as_str()), (Some(1), 2, "8086"));
    let vf = sysfs.function(address("0000:21:10.0")).unwrap();
    assert_eq!((vf.pf(), vf.vf_index()), (Some(pf.address), Some(VfIndex::new(1))));
    assert_eq!(vf.numa_node, None);
}

#[test]
fn a_numa_node_that_cannot_be_told_is_none() {
    let (_root, sysfs) = tree();
    let (pf, path) = (address("0000:21:00.0"), sysfs.function_dir(address("0000:21:00.0")).join("numa_node"));
    for junk in [&b""[..], b"junk\n", b"1 \xff\n", b"-2\n"] {
        fs::write(&path, junk).unwrap();
        assert_eq!(sysfs.function(pf).unwrap().numa_node, None, "{junk:?}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(sysfs.function(pf).unwrap().numa_node, None, "unreadable");
}

#[test]
fn the_vfs_of_a_pf_are_counted_without_its_lock() {
    let (_root, sysfs) = tree();
    let pf = address("0000:21:00.0");
    // A read of it waits until all VFs are made, or all are gone.
    fs::remove_file(sysfs.function_dir(pf).join("sriov_numvfs")).unwrap();
    assert_eq!(sysfs.function(pf).unwrap().role, Role::Pf { total_vfs: 7, num_vfs: 2 });
}

#[test]
fn class_alone_is_the_functions_class() {
    let (_root, sysfs) = tree();
    let pf = address("0000:21:00.0");
    assert_eq!(sysfs.class(pf).unwrap(), sysfs.function(pf).unwrap().class);
    assert!(matches!(sysfs.class(address("0000:99:00.0")), Err(Error::Read { .. })));
}

#[test]
fn an_odd_entry_hides_no_other() {
    let (root, sysfs) = tree();
    fs::create_dir(root.path().join("bus/pci/devices/pci0000:00")).unwrap();
    assert_eq!(sysfs.addresses().unwrap().len(), 3);
}

#[test]
fn iommu_group_driver_and_uio() {
    let (root, sysfs) = tree();
    let dir = sysfs.function_dir(address("0000:21:10.2"));
    let group = root.path().join("kernel/iommu_groups/12");
    fs::create_dir_all(&group).unwrap();
    fs::write(group.join("name"), "vfio-noiommu\n").unwrap();
    symlink(&group, dir.join("iommu_group")).unwrap();
    symlink("../../drivers/igb_uio", dir.join("driver")).unwrap();
    fs::create_dir_all(dir.join("uio/uio3")).unwrap();
    let vf = sysfs.function(address("0000:21:10.2")).unwrap();
    assert_eq!(vf.iommu_group, Some(IommuGroup { number: 12, noiommu: true }));
    assert_eq!((vf.uio.as_deref(), vf.is_userspace_bound()), (Some("uio3"), true));
}

#[test]
fn virtio_netdevs_sit_one_level_down() {
    let (_root, sysfs) = tree();
    let dir = sysfs.function_dir(address("0000:21:00.0"));
    fs::create_dir_all(dir.join("virtio3/net/eth4")).unwrap();
    assert_eq!(sysfs.netdevs(address("0000:21:00.0")), ["eth4"]);
}

#[test]
fn a_network_device_leads_to_its_function_and_to_no_other() {
    let (root, sysfs) = tree();
    let dir = sysfs.function_dir(address("0000:21:00.0"));
    fs::create_dir_all(root.path().join("class/net")).unwrap();
    for (below, name) in
        [("net/eth0", "eth0"), ("virtio3/net/eth4", "eth4"), ("mlx5_core.sf.4/net/eth5", "eth5")]
    {
        fs::create_dir_all(dir.join(below)).unwrap();
        symlink(dir.join(below), root.path().join("class/net").join(name)).unwrap();
    }
    assert_eq!(sysfs.function_of("eth0"), Some(address("0000:21:00.0")));
    assert_eq!(sysfs.function_of("eth4"), Some(address("0000:21:00.0")));
    assert_eq!((sysfs.function_of("eth5"), sysfs.function_of("eth9")), (None, None));
}

#[test]
fn errors_say_what_was_wanted_and_found() {
    let (_root, sysfs) = tree();
    let missing = sysfs.function(address("0000:99:00.0")).unwrap_err().to_string();
    assert!(missing.starts_with("no PCI function 0000:99:00.0 on this node"), "{missing}");
    fs::write(sysfs.function_dir(address("0000:21:10.0")).join("vendor"), "junk").unwrap();
    let malformed = sysfs.function(address("0000:21:10.0")).unwrap_err().to_string();
    assert!(malformed.ends_with("holds \"junk\", wanted an id such as 0x8086"), "{malformed}");
}

#[test]
fn a_vf_that_its_pf_does_not_list_is_an_orphan() {
    let (_root, sysfs) = tree();
    fs::remove_file(sysfs.function_dir(address("0000:21:00.0")).join("virtfn1")).unwrap();
    let error = sysfs.function(address("0000:21:10.0")).unwrap_err();
    assert!(matches!(error, Error::Orphan { .. }), "{error}");
}

#[test]
fn the_bridges_above_a_function() {
    let (root, sysfs) = tree();
    let devices = root.path().join("devices/pci0000:20/0000:20:01.0/0000:22:00.0");
    fs::create_dir_all(&devices).unwrap();
    let link = root.path().join("bus/pci/devices/0000:22:00.0");
    symlink("../../../devices/pci0000:20/0000:20:01.0/0000:22:00.0", link).unwrap();
    let above = sysfs.bridges_above(address("0000:22:00.0"));
    assert_eq!(above.as_deref(), Some("pci0000:20/0000:20:01.0"));
    assert_eq!(sysfs.bridges_above(address("0000:21:00.0")), None, "a copied tree has no links");
}

#[test]
fn a_vfs_number_is_worked_out_where_the_pf_tells_and_its_link_agrees() {
    let (_root, sysfs) = tree();
    let (pf, vf) = (sysfs.function_dir("0000:21:00.0".parse().unwrap()), "0000:21:10.2".parse().unwrap());
    let number = || sysfs.function(vf).unwrap().vf_index().unwrap().get();
    // A second link, so that it shows which was looked at.
    symlink("../0000:21:10.2", pf.join("virtfn5")).unwrap();
    assert_eq!(number(), 0, "the list's first");
    fs::write(pf.join("sriov_stride"), "1\n").unwrap();
    fs::write(pf.join("sriov_offset"), "125\n").unwrap();
    assert_eq!(number(), 5, "130 functions after the PF");
    fs::write(pf.join("sriov_offset"), "129\n").unwrap();
    assert_eq!(number(), 0, "virtfn1 is another VF's, so that the list counts");
}
