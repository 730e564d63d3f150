use std::fs;
use std::os::unix::fs::PermissionsExt;

use testkit::sysfs::Tree;

use super::*;
use crate::config::Config;
use crate::inventory::{Needs, Roots, scan};
use crate::pool::unheld;

const VF: &str = "0000:3b:02.0";

/// A PF with one VF on `iavf`.
fn node() -> Tree {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    tree.vf(VF, "0000:3b:00.0");
    tree
}

fn host(tree: &Tree) -> Host {
    Host {
        sysfs: Sysfs::new(tree.sys()),
        dev: tree.dev(),
        devinfo: tree.root().join("run/devinfo/dp"),
        cdi: None,
        grants: crate::pool::Grants::default(),
    }
}

/// The first pool of the node as it is now; `members` are those beside its name.
fn pool(tree: &Tree, members: &str) -> Pool {
    let roots = Roots { sysfs: Sysfs::new(tree.sys()), proc: tree.proc() };
    let text = format!(r#"{{"resourceList":[{{"resourceName":"ena-dpdk_1",{members}}}]}}"#);
    let config = Config::parse(text.as_bytes(), "amazon.com").unwrap();
    unheld(&config.pools, &scan(&roots, &Needs::default()).unwrap().snapshot).remove(0).0
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn prepare(tree: &Tree) -> Grant {
    host(tree).prepare(&pool(tree, r#""selectors":{}"#), &ids(&[VF])).unwrap()
}

/// Host path and container path of each node.
fn nodes(grant: &Grant) -> Vec<(&str, &str)> {
    grant.nodes.iter().map(|node| (node.host.as_str(), node.container.as_str())).collect()
}

fn info(grant: &Grant) -> &str {
    &grant.envs["PCIDEVICE_AMAZON_COM_ENA-DPDK_1_INFO"]
}

#[test]
fn a_kernel_device_needs_no_nodes() {
    let grant = prepare(&node());
    let names: Vec<&str> = grant.envs.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "PCIDEVICE_AMAZON_COM_ENA-DPDK_1",
            "PCIDEVICE_AMAZON_COM_ENA-DPDK_1_INFO",
            "PCIDEVICE_AMAZON_COM_ENA_DPDK_1",
            "PCIDEVICE_AMAZON_COM_ENA_DPDK_1_INFO"
        ]
    );
    assert_eq!(grant.envs["PCIDEVICE_AMAZON_COM_ENA-DPDK_1"], VF);
    assert_eq!(grant.envs["PCIDEVICE_AMAZON_COM_ENA_DPDK_1"], VF);
    assert_eq!(info(&grant), r#"{"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"}}}"#);
    assert_eq!(nodes(&grant), []);
}

#[test]
fn vfio() {
    let tree = node();
    tree.existing(VF).on_vfio(12);
    let grant = prepare(&tree);
    assert_eq!(nodes(&grant), [("/dev/vfio/vfio", "/dev/vfio/vfio"), ("/dev/vfio/12", "/dev/vfio/12")]);
    assert_eq!(
        info(&grant),
        r#"{"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"vfio":{"dev-mount":"/dev/vfio/12","mount":"/dev/vfio/vfio"}}}"#
    );
}

#[test]
fn vfio_without_an_iommu() {
    let tree = node();
    tree.existing(VF).driver("vfio-pci").noiommu_group(3);
    let grant = prepare(&tree);
    assert_eq!(nodes(&grant)[1], ("/dev/vfio/noiommu-3", "/dev/vfio/3"));
    assert!(info(&grant).contains(r#""dev-mount":"/dev/vfio/3""#));
}

#[test]
fn uio() {
    for driver in ["uio", "igb_uio", "uio_pci_generic"] {
        let tree = node();
        tree.existing(VF).driver(driver).uio("uio7");
        let grant = prepare(&tree);
        assert_eq!(nodes(&grant), [("/dev/uio7", "/dev/uio7")], "{driver}");
        assert!(info(&grant).contains(r#""uio":{"mount":"/dev/uio7"}"#));
    }
}

#[test]
fn a_driver_without_its_device_is_an_error() {
    for (driver, wanted) in [("vfio-pci", "without an IOMMU group"), ("igb_uio", "made no uio device")] {
        let tree = node();
        tree.existing(VF).driver(driver);
        let error = host(&tree).prepare(&pool(&tree, r#""selectors":{}"#), &ids(&[VF])).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn nodes_come_once_and_ids_in_the_requests_order() {
    let tree = node();
    tree.vf("0000:3b:02.1", "0000:3b:00.0").on_vfio(12);
    tree.existing(VF).on_vfio(12);
    let grant = host(&tree).prepare(&pool(&tree, r#""selectors":{}"#), &ids(&["0000:3b:02.1", VF])).unwrap();
    assert_eq!(nodes(&grant).len(), 2);
    assert_eq!(grant.envs["PCIDEVICE_AMAZON_COM_ENA-DPDK_1"], "0000:3b:02.1,0000:3b:02.0");
    assert!(info(&grant).starts_with(r#"{"0000:3b:02.0":"#), "keys are sorted: {}", info(&grant));
}

#[test]
fn extra_is_escaped_as_go_does() {
    let tree = node();
    tree.existing(VF).on_vfio(3);
    let pool = pool(
        &tree,
        r#""selectors":{},"additionalInfo":{"*":{"k":"v"},"0000:3b:02.0":{"u":"<a&b>\u2028\"\n"}}"#,
    );
    let grant = host(&tree).prepare(&pool, &ids(&[VF])).unwrap();
    assert_eq!(
        info(&grant),
        concat!(
            r#"{"0000:3b:02.0":{"extra":{"k":"v","u":"\u003ca\u0026b\u003e\u2028\"\n"},"#,
            r#""generic":{"deviceID":"0000:3b:02.0"},"#,
            r#""vfio":{"dev-mount":"/dev/vfio/3","mount":"/dev/vfio/vfio"}}}"#
        )
    );
}

#[test]
fn a_driver_bound_after_start_decides() {
    let tree = node();
    let pool = pool(&tree, r#""selectors":{"drivers":["iavf","vfio-pci"]}"#);
    tree.existing(VF).on_vfio(12);
    let grant = host(&tree).prepare(&pool, &ids(&[VF])).unwrap();
    assert_eq!(nodes(&grant)[1].0, "/dev/vfio/12");
    tree.existing(VF).driver("igb_uio").uio("uio0");
    let error = host(&tree).prepare(&pool, &ids(&[VF])).unwrap_err();
    assert!(matches!(error, Error::Unfit(Unfit::Driver { .. })), "{error}");
}

#[test]
fn unknown_gone_and_taken_away() {
    let tree = node();
    let pool = pool(&tree, r#""selectors":{}"#);
    let error = |id: &str| host(&tree).prepare(&pool, &ids(&[id])).unwrap_err();
    assert!(
        error("0000:99:00.0").to_string().contains("\"0000:99:00.0\" is not in pool amazon.com/ena-dpdk_1")
    );
    assert!(matches!(error("junk"), Error::Unknown { .. }));
    tree.existing(VF).unbound();
    assert!(error(VF).to_string().starts_with("vf 0000:3b:02.0: no driver is bound, so pool"));
    tree.remove(VF);
    assert!(matches!(error(VF), Error::Gone { .. }));
    assert!(error(VF).to_string().contains("no PCI function 0000:3b:02.0 on this node"));
}

#[test]
fn device_info_file() {
    let tree = node();
    let host = host(&tree);
    let pool = pool(&tree, r#""selectors":{}"#);
    for _ in 0..2 {
        host.publish(&pool, &host.prepare(&pool, &ids(&[VF])).unwrap()).unwrap();
    }
    let path = host.devinfo.join("amazon.com-ena-dpdk_1-0000:3b:02.0-device.json");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.0"}}"#
    );
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
    assert_eq!(fs::metadata(&host.devinfo).unwrap().permissions().mode() & 0o755, 0o755);
    assert_eq!(fs::read_dir(&host.devinfo).unwrap().count(), 1);
}

#[test]
fn an_accelerator_has_no_device_info_file() {
    let tree = Tree::new();
    tree.function("0000:5e:00.0").class(0x12_00_00).driver("x");
    let host = host(&tree);
    let pool = pool(&tree, r#""deviceType":"accelerator","selectors":{}"#);
    host.publish(&pool, &host.prepare(&pool, &ids(&["0000:5e:00.0"])).unwrap()).unwrap();
    assert!(!host.devinfo.exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let tree = node();
    tree.write("run", "a file in the way");
    let pool = pool(&tree, r#""selectors":{}"#);
    let grant = host(&tree).prepare(&pool, &ids(&[VF])).unwrap();
    let error = host(&tree).publish(&pool, &grant).unwrap_err();
    assert!(error.to_string().contains("0000:3b:02.0: cannot write its device-info file"), "{error}");
}

#[tokio::test]
async fn a_kept_device_that_is_asked_for_raises_a_doubt() {
    let tree = node();
    let (host, id) = (host(&tree), VF.parse().unwrap());
    let doubted = async || {
        let soon = std::time::Duration::ZERO;
        tokio::time::timeout(soon, host.grants.doubted()).await.is_ok()
    };
    let mut pool = pool(&tree, r#""selectors":{}"#);
    host.prepare(&pool, &ids(&["0000:3b:02.7"])).unwrap_err();
    assert!(!doubted().await, "it was never there");
    // As after another configuration: it is here for its holder alone.
    let config =
        Config::parse(br#"{"resourceList":[{"resourceName":"x","selectors":{"vendors":["15b3"]}}]}"#, "a.b");
    pool.config = std::sync::Arc::new(config.unwrap().pools.remove(0));
    pool.kept.insert(id);
    host.prepare(&pool, &ids(&[VF])).unwrap_err();
    assert!(doubted().await);
}

#[test]
fn what_turned_out_unclean_since_the_pool_was_made_is_refused_before_anything_is_written() {
    let tree = node();
    let (host, pool) = (host(&tree), pool(&tree, r#""selectors":{}"#));
    let grant = host.prepare(&pool, &ids(&[VF])).unwrap();
    let unclean = [(VF.parse().unwrap(), "its VLAN is 7".to_owned())];
    host.grants.bar(unclean.into(), Instant::now());
    let error = host.publish(&pool, &grant).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{VF}: pool \"ena-dpdk_1\" cannot give it now: not restored yet: its VLAN is 7")
    );
    assert!(!host.devinfo.exists());
}
