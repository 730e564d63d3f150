use attachment::Paths;
use cni::{NetConf, Version};
use netlink::Link;
use serde_json::Map;

use super::*;
use crate::plan::tests::observed;

const VFS: u32 = 8;

fn request() -> Request {
    let conf = NetConf { version: Version::V1_1_0, name: "n".into(), ipam: None, raw: Map::new() };
    Request {
        container_id: "c1".into(),
        netns: None,
        ifname: "net1".into(),
        args: String::new(),
        path: Vec::new(),
        stdin: Vec::new(),
        conf,
    }
}

/// A port has no addresses of its own, and carries the host's all the same.
#[test]
fn a_port_is_the_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths { state: dir.path().join("state"), sysfs: dir.path().join("sys") };
    let mut host = Host::open(&paths).unwrap();
    let link = Link { name: "eth5".into(), master: Some(9), ..Link::default() };
    let port = Observed { master: Some("bond0".parse().unwrap()), ..observed(Some(link)) };
    let why = against(&mut host, &port);
    assert_eq!(why.as_deref(), Some("eth5 is a port of bond0; name the VF by vf to take it"));
}

#[test]
fn however_many_vfs_are_locked_they_are_waited_for_together() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths { state: dir.path().join("state"), sysfs: dir.path().join("sys") };
    let (store, mut host) = (Store::sriov(&paths), Host::open(&paths).unwrap());
    let vf = |index: u32| (VfIndex::new(index), format!("0000:3b:02.{index}").parse().unwrap());
    let vfs: Vec<(VfIndex, PciAddress)> = (0..VFS).map(vf).collect();
    let _locks: Vec<Lock> = vfs.iter().map(|(_, vf)| store.lock(&vf.to_string()).unwrap()).collect();

    let (limit, begun) = (Duration::from_millis(500), Instant::now());
    let refused = any(&request(), &store, &mut host, &"eth0".parse().unwrap(), &vfs, limit);
    let waited = begun.elapsed();
    // One after the other it would be eight times as long.
    assert!(waited >= limit && waited < limit * VFS / 2, "{waited:?}");
    let Err(Error::Choose(ChooseError::NoneFree { why, .. })) = refused else { panic!("{refused:?}") };
    assert_eq!(why.len(), vfs.len());
    assert!(why.iter().all(|why| why.contains(".lock")), "{why:?}");
}
