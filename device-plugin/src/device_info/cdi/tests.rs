use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::config::Config;

fn pools(text: &str) -> Vec<PoolConfig> {
    Config::parse(text.as_bytes(), "intel.com").unwrap().pools
}

fn pool(prefix: &str, name: &str) -> PoolConfig {
    let text = format!(
        r#"{{"resourceList":[{{"resourcePrefix":"{prefix}","resourceName":"{name}","selectors":{{}}}}]}}"#
    );
    pools(&text).remove(0)
}

fn vfio(group: u32) -> Vec<Node> {
    let node = |host: String, container: String| Node { host, container };
    let both = "/dev/vfio/vfio".to_owned();
    vec![node(both.clone(), both), node(format!("/dev/vfio/noiommu-{group}"), format!("/dev/vfio/{group}"))]
}

#[test]
fn a_specification_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let cdi = Cdi::new(dir.path().join("cdi"));
    let pool = pool("intel.com", "vf_1");
    let devices =
        BTreeMap::from([("0000:3b:02.0".to_owned(), Vec::new()), ("0000:3b:02.1".to_owned(), vfio(7))]);
    cdi.replace(&pool, devices).unwrap();
    let path = dir.path().join("cdi/sriov-dp-intel.com-net-pci-vf_1.yaml");
    let wanted = r#"---
cdiVersion: "0.5.0"
devices:
- containerEdits:
    env:
    - "SLUICE_CDI_0000_3B_02_0=0000:3b:02.0"
  name: "0000:3b:02.0"
- containerEdits:
    deviceNodes:
    - hostPath: "/dev/vfio/vfio"
      path: "/dev/vfio/vfio"
      permissions: "rw"
    - hostPath: "/dev/vfio/noiommu-7"
      path: "/dev/vfio/7"
      permissions: "rw"
  name: "0000:3b:02.1"
kind: "intel.com/net-pci"
"#;
    assert_eq!(fs::read_to_string(&path).unwrap(), wanted);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn written_again_only_where_a_node_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let cdi = Cdi::new(dir.path().to_owned());
    let pool = pool("intel.com", "a");
    let path = dir.path().join("sriov-dp-intel.com-net-pci-a.yaml");
    let inode = || fs::metadata(&path).unwrap().ino();
    let both = BTreeMap::from([("x".to_owned(), vfio(1)), ("y".to_owned(), vfio(2))]);
    cdi.replace(&pool, both.clone()).unwrap();
    let first = inode();
    cdi.update(&pool, BTreeMap::from([("y".to_owned(), vfio(2))])).unwrap();
    cdi.replace(&pool, both).unwrap();
    assert_eq!(inode(), first, "nothing has changed");
    cdi.update(&pool, BTreeMap::from([("y".to_owned(), vfio(3))])).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("/dev/vfio/1") && text.contains("/dev/vfio/3") && !text.contains("/dev/vfio/2"));
}

#[test]
fn written_again_where_somebody_else_has_been() {
    let dir = tempfile::tempdir().unwrap();
    let cdi = Cdi::new(dir.path().to_owned());
    let pool = pool("intel.com", "a");
    let path = dir.path().join("sriov-dp-intel.com-net-pci-a.yaml");
    let devices = BTreeMap::from([("x".to_owned(), vfio(1))]);
    assert!(cdi.is_intact(&pool), "no file was written");
    cdi.replace(&pool, devices.clone()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let spoil: [&dyn Fn(); 3] =
        [&|| fs::remove_file(&path).unwrap(), &|| fs::write(&path, "cut").unwrap(), &|| {
            // Of the same length, and another file.
            fs::write(dir.path().join("aside"), text.replace("/dev/vfio/1", "/dev/vfio/9")).unwrap();
            fs::rename(dir.path().join("aside"), &path).unwrap();
        }];
    for again in [Cdi::replace, Cdi::update] {
        for spoil in spoil {
            assert!(cdi.is_intact(&pool));
            spoil();
            assert!(!cdi.is_intact(&pool));
            again(&cdi, &pool, devices.clone()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
    cdi.remove(&pool);
    assert!(cdi.is_intact(&pool), "none is wanted");
}

#[test]
fn files_of_pools_that_are_no_more_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["sriov-dp-intel.com-net-pci-a.yaml", "sriov-dp-intel.com-net-pci-old.yaml", "nvidia.yaml"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    assert!(!Cdi::new(dir.path().to_owned()).cut_others(&[&pool("intel.com", "a")], |_, _| true));
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["nvidia.yaml", "sriov-dp-intel.com-net-pci-a.yaml"]);
}

#[test]
fn a_file_of_an_earlier_run_keeps_what_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sriov-dp-intel.com-net-pci-old.yaml");
    let three = ["x", "y", "z"].map(|id| (id.to_owned(), if id == "y" { vec![] } else { vfio(1) }));
    Cdi::new(dir.path().to_owned()).replace(&pool("intel.com", "old"), three.clone().into()).unwrap();
    // Another run: it knows nothing of the one before.
    let cdi = Cdi::new(dir.path().to_owned());
    let held = |file: &str, device: &str| is_file_of(file, "intel.com/old") && device != "x";
    assert!(cdi.cut_others(&[], held));
    let [_, y, z] = three;
    assert_eq!(fs::read_to_string(&path).unwrap(), spec::text("intel.com/net-pci", &[y, z].into()));
    let go = "---\ncdiVersion: 0.5.0\ncontainerEdits: {}\ndevices:\n- containerEdits:\n    env:\n    - A=b\n  name: x\n\
              - containerEdits:\n    env:\n    - A=c\n  name: \"y\"\nkind: intel.com/net-pci\n";
    fs::write(&path, go).unwrap();
    assert!(cdi.cut_others(&[], held));
    let cut = go.replace("- containerEdits:\n    env:\n    - A=b\n  name: x\n", "");
    assert_eq!(fs::read_to_string(&path).unwrap(), cut, "as the Go plugin writes");
    assert!(!cdi.cut_others(&[], |_, _| false));
    assert!(!path.exists());
}

#[test]
fn keys_differ_and_fit() {
    let key = |prefix: &str, name: &str| annotation_key(&pool(prefix, name));
    assert_eq!(key("intel.com", "a"), "cdi.k8s.io/intel.com_net-pci_a");
    assert_eq!(key("intel.com", "a_"), "cdi.k8s.io/intel.com_net-pci_a0");
    let (one, two) = (key("intel.com", &"x".repeat(80)), key("intel.com", &"x".repeat(81)));
    assert_ne!(one, two);
    assert_eq!(one.len(), "cdi.k8s.io/".len() + LONGEST_KEY);
}

#[test]
fn names_of_devices() {
    let names = names(&pool("intel.com", "a"), &["0000:3b:02.1".to_owned(), "0000:3b:02.0".to_owned()]);
    assert_eq!(names.devices, ["intel.com/net-pci=0000:3b:02.1", "intel.com/net-pci=0000:3b:02.0"]);
    let (_, value) = names.annotation.unwrap();
    assert_eq!(value, "intel.com/net-pci=0000:3b:02.1,intel.com/net-pci=0000:3b:02.0");
    assert_eq!(super::names(&pool("intel.com", "a"), &[]), Names::default());
}

#[test]
fn a_prefix_that_is_no_vendor_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for prefix in ["4g.com", "a/b", "intel.com.", "ä"] {
        let error = Cdi::new(dir.path().to_owned()).replace(&pool(prefix, "a"), BTreeMap::new()).unwrap_err();
        assert!(matches!(error, Error::Vendor { .. }), "{prefix}: {error}");
    }
}
