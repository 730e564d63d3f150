//! Pods that the Go plugin made, and some of ours, as a DEL, a GC and the next ADD find them.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use cni::{NetConf, Request, Version};
use netlink::VfAttribute;
use serde_json::{Value, json};
use testkit::sysfs::Tree;

use crate::host::Host;
use crate::kernel::{self, Shared, VF};
use crate::record::{Owner, Undo};
use crate::{Paths, Store, detach, gc, recover};

const VLAN: u16 = 12;
const SPOOFCHK: u16 = 4;
const RATE: u16 = 6;
const TRUST: u16 = 9;

struct Node {
    tree: Tree,
    store: Store,
    paths: Paths,
    held: Shared,
    host: Host,
}

impl Node {
    fn new(tree: Tree) -> Self {
        let paths = Paths { state: tree.root().join("state"), sysfs: tree.sys() };
        let held = Shared::default();
        let host = kernel::host(&tree, &held);
        fs::create_dir_all(paths.state.join("pci")).unwrap();
        Self { store: Store::sriov(&paths), paths, held, host, tree }
    }

    /// A pod with VLAN 100, whose cache says nothing of `without`.
    fn attached(&self, without: &[&str], ipam: &Value) {
        let mut cache = json!({
            "OrigVfState": {"AdminMAC": "00:00:00:00:00:00"}, "vlan": 100, "deviceID": VF, "VFID": 0, "name": "n",
            "ipam": ipam,
        });
        cache.as_object_mut().unwrap().retain(|key, _| !without.contains(&key.as_str()));
        fs::write(self.paths.state.join("c1-net1"), cache.to_string()).unwrap();
    }

    fn claimed(&self, netns: &str) {
        fs::write(self.paths.state.join("pci").join(VF), netns).unwrap();
    }

    /// An IPAM plugin that wants to know its ranges, as host-local does, and keeps what it was told.
    fn ipam(&self) {
        let file = self.tree.root().join("ipam");
        let text = "#!/bin/sh\ncat > \"$0.$CNI_COMMAND\"\n[ \"$CNI_COMMAND\" != DEL ] || grep -q subnet \"$0.DEL\"\n";
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn request(&self, container: &str, network: &str) -> Request {
        let conf = json!({
            "name": network, "ipam": {"type": "ipam", "subnet": "192.0.2.0/24"}, "cni.dev/valid-attachments": [],
        });
        let raw = conf.as_object().unwrap().clone();
        let ipam = Some("ipam".to_owned());
        Request {
            container_id: container.into(),
            netns: None,
            ifname: "net1".into(),
            args: String::new(),
            path: vec![self.tree.root().to_owned()],
            stdin: conf.to_string().into_bytes(),
            conf: NetConf { version: Version::V1_1_0, name: network.into(), ipam, raw },
        }
    }

    fn undo(&mut self) -> Result<(), crate::Error> {
        let record = self.store.load(&owner()).unwrap().unwrap();
        detach::undo(&self.request("c1", "n"), &self.store, &mut self.host, &record)
    }

    fn told(&self) -> Vec<u16> {
        self.held.lock().unwrap().told.clone()
    }

    fn is_forgotten(&self) -> bool {
        self.store.load(&owner()).unwrap().is_none() && self.store.claim(VF).unwrap().is_none()
    }
}

fn owner() -> Owner {
    Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() }
}

/// The Go plugin was killed between its cache and its claim, or while it wrote that, or is of a version that makes none; or its
/// cache is of a version that did not note the VF's state.
#[test]
fn a_pod_without_a_claim_is_undone() {
    for (claim, without) in [(None, &[][..]), (Some(""), &[]), (None, &["OrigVfState"])] {
        let mut node = Node::new(kernel::node());
        node.attached(without, &json!({}));
        if let Some(claim) = claim {
            node.claimed(claim);
        }
        node.undo().unwrap();
        assert_eq!(node.told(), [VLAN], "{claim:?} {without:?}");
        assert!(node.is_forgotten());
    }
}

#[test]
fn a_record_of_ours_without_a_claim_was_never_obeyed() {
    let mut node = Node::new(kernel::node());
    node.attached(&[], &json!({}));
    let mut record = node.store.load(&owner()).unwrap().unwrap();
    record.sandbox = crate::Sandbox::of(&node.host.netns);
    node.store.save(&record, &serde_json::Map::new()).unwrap();
    node.undo().unwrap();
    assert_eq!(node.told(), [0; 0]);
    assert!(node.is_forgotten());
}

/// igb and ixgbe set no rate while their PF has no carrier, and a node with a dead uplink is drained for that.
#[test]
fn a_rate_that_waits_for_the_pfs_carrier_keeps_the_device_and_no_pod() {
    let mut node = Node::new(kernel::node());
    node.attached(&[], &json!({}));
    let mut record = node.store.load(&owner()).unwrap().unwrap();
    record.undo = vec![
        Undo::Vf(VfAttribute::Trust(true)),
        Undo::Vf(VfAttribute::Rate { min: 0, max: 9 }),
        Undo::Vf(VfAttribute::Spoofchk(false)),
    ];
    record.sandbox =
        crate::Sandbox { path: "/run/netns/gone".into(), ..crate::Sandbox::of(&node.host.netns) };
    node.store.save(&record, &serde_json::Map::new()).unwrap();
    node.store.set_claim(&record).unwrap();
    node.held.lock().unwrap().no_rate = true;
    detach::forgive(&record, node.undo()).unwrap();
    assert_eq!(node.told(), [SPOOFCHK, TRUST]);
    assert!(node.store.claim(VF).unwrap().is_some() && node.store.load(&owner()).unwrap().is_some());
    // No pod gets it like that.
    let add = node.request("c2", "n");
    let error = recover::free(&add, &node.store, &mut node.host, VF).unwrap_err().to_string();
    assert!(
        error.contains("max_tx_rate to 9 Mbps: invalid argument (vf 0 of PF ens1f0); the PF has no carrier"),
        "{error}"
    );
    node.held.lock().unwrap().no_rate = false;
    recover::free(&add, &node.store, &mut node.host, VF).unwrap();
    assert!(node.told().contains(&RATE) && node.is_forgotten());
}

/// With a carrier it would be refused tomorrow, too, and somebody has to see to it.
#[test]
fn a_rate_that_is_refused_with_a_carrier_is_an_error() {
    let mut node = Node::new(kernel::node());
    node.attached(&[], &json!({}));
    let mut record = node.store.load(&owner()).unwrap().unwrap();
    record.undo = vec![Undo::Vf(VfAttribute::Rate { min: 0, max: 9 })];
    record.sandbox = crate::Sandbox::of(&node.host.netns);
    node.store.save(&record, &serde_json::Map::new()).unwrap();
    node.store.set_claim(&record).unwrap();
    {
        let mut held = node.held.lock().unwrap();
        (held.no_rate, held.carrier) = (true, true);
    }
    detach::forgive(&record, node.undo()).unwrap_err();
}

/// Its VF may be another's by then, or an administrator's.
#[test]
fn what_waits_for_its_addresses_alone_is_put_back_once() {
    let mut node = Node::new(kernel::node());
    node.attached(&[], &json!({"type": "missing"}));
    node.claimed("/run/netns/gone");
    for _ in 0..2 {
        let error = node.undo().unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
    }
    assert_eq!(node.told(), [VLAN]);
    assert!(!node.is_forgotten());
}

#[test]
fn gc_tells_ipam_what_the_cache_does_not() {
    let tree = Tree::new();
    // Without a PF nothing is asked of this machine's kernel.
    tree.function(VF).on_vfio(7);
    let node = Node::new(tree);
    node.ipam();
    node.attached(&[], &json!({"type": "ipam"}));
    node.claimed("/run/netns/gone");
    gc(&node.request("", "n"), &node.store, &node.paths).unwrap();
    assert!(node.is_forgotten());
    let told = fs::read_to_string(node.tree.root().join("ipam.DEL")).unwrap();
    assert!(told.contains("192.0.2.0/24") && told.contains("OrigVfState"), "{told}");
}

#[test]
fn the_next_add_puts_back_what_a_dead_pod_left() {
    // Of the same network, and of one that cannot tell IPAM what the other's needs.
    for (network, released) in [("n", true), ("other", false)] {
        let mut node = Node::new(kernel::node());
        node.ipam();
        node.attached(&[], &json!({"type": "ipam"}));
        node.claimed("/run/netns/gone");
        let add = node.request("c2", network);
        recover::free(&add, &node.store, &mut node.host, VF).unwrap();
        assert_eq!(node.told(), [VLAN], "{network}");
        assert_eq!(node.store.claim(VF).unwrap(), None);
        assert_eq!(node.is_forgotten(), released, "{network}");
    }
}

#[test]
fn the_next_add_leaves_a_device_that_could_not_be_put_back() {
    let mut node = Node::new(kernel::node());
    node.attached(&[], &json!({}));
    node.claimed("/run/netns/gone");
    // No PF to speak to.
    fs::remove_dir_all(node.tree.sys().join("bus/pci/devices").join(kernel::PF).join("net")).unwrap();
    let add = node.request("c2", "n");
    recover::free(&add, &node.store, &mut node.host, VF).unwrap_err();
    assert!(node.store.claim(VF).unwrap().is_some());
}

/// It may be a pod's for all that is known, and a VF for DPDK has no link by which the kernel would tell.
#[test]
fn the_next_add_leaves_a_device_whose_pod_cannot_be_looked_for() {
    let mut node = Node::new(kernel::node());
    node.attached(&[], &json!({}));
    let endless = node.tree.root().join("endless");
    std::os::unix::fs::symlink(&endless, &endless).unwrap();
    node.claimed(endless.to_str().unwrap());
    let add = node.request("c2", "n");
    let error = recover::free(&add, &node.store, &mut node.host, VF).unwrap_err();
    assert_eq!(error.code(), cni::Code::TRY_AGAIN);
    let text = error.to_string();
    let told = "pci address 0000:3b:02.0 may be allocated: whether its pod lives cannot be told: failed to open netns";
    assert!(text.starts_with(told), "{text}");
    assert_eq!(node.told(), [0; 0]);
    assert!(node.store.claim(VF).unwrap().is_some());
    // A file that is no namespace is what is left of one.
    fs::remove_file(&endless).unwrap();
    fs::write(&endless, "").unwrap();
    recover::free(&add, &node.store, &mut node.host, VF).unwrap();
    assert_eq!(node.told(), [VLAN]);
}

/// An IPAM plugin that is broken is another pod's trouble; its lease waits for a GC.
#[test]
fn the_next_add_goes_on_where_only_the_last_pods_addresses_are_left() {
    let mut node = Node::new(kernel::node());
    node.attached(&[], &json!({"type": "missing"}));
    let mut record = node.store.load(&owner()).unwrap().unwrap();
    record.sandbox =
        crate::Sandbox { path: "/run/netns/gone".into(), ..crate::Sandbox::of(&node.host.netns) };
    node.store.save(&record, &serde_json::Map::new()).unwrap();
    node.store.set_claim(&record).unwrap();
    let add = node.request("c2", "n");
    recover::free(&add, &node.store, &mut node.host, VF).unwrap();
    assert_eq!(node.told(), [VLAN]);
    assert_eq!(node.store.claim(VF).unwrap(), None);
    assert_eq!(node.store.load(&owner()).unwrap().as_ref(), Some(&record));
}

#[test]
fn an_add_whose_record_could_not_be_written_leaves_none_behind() {
    let mut node = Node::new(kernel::node());
    node.attached(&[], &json!({}));
    let record = node.store.load(&owner()).unwrap().unwrap();
    let file = node.store.path(&owner());
    fs::remove_file(&file).unwrap();
    let draft = file.with_file_name(".c1-net1.new");
    fs::write(&draft, "{").unwrap();
    detach::undo_without_lease(&node.store, &mut node.host, &record).unwrap();
    assert!(!draft.exists());
}

#[test]
fn gc_forgets_what_was_never_finished() {
    let node = Node::new(kernel::node());
    let state = &node.paths.state;
    let draft = |owner: &str| state.join(format!(".{owner}.new"));
    let old = SystemTime::now() - Duration::from_hours(2);
    for owner in ["c9-net1", "c7-net1", "c6-net1"] {
        fs::write(draft(owner), "{").unwrap();
    }
    for owner in ["c9-net1", "c7-net1"] {
        File::options().write(true).open(draft(owner)).unwrap().set_modified(old).unwrap();
    }
    // An ADD that amends its record, whenever that was begun.
    fs::write(state.join("c7-net1"), "{}").unwrap();
    fs::write(state.join(".c8-net1.corrupt"), "{").unwrap();
    let mut request = node.request("", "n");
    request.conf.ipam = None;
    gc(&request, &node.store, &node.paths).unwrap();
    assert!(!draft("c9-net1").exists());
    // And one that writes its first.
    assert!(draft("c7-net1").exists() && draft("c6-net1").exists());
    // It is kept for whoever wants to know what it was.
    assert!(state.join(".c8-net1.corrupt").exists());
}

#[test]
fn two_owners_of_one_file_are_told_apart() {
    let node = Node::new(kernel::node());
    node.attached(&[], &json!({}));
    let record = node.store.load(&owner()).unwrap().unwrap();
    let of = |container: &str, ifname: &str| Owner {
        container_id: container.into(),
        ifname: ifname.parse().unwrap(),
    };
    let first = crate::Record { owner: of("c", "x-net1"), ..record };
    node.store.save(&first, &serde_json::Map::new()).unwrap();
    assert_eq!(node.store.namesake(&of("c-x", "net1")).unwrap(), Some(first.owner.clone()));
    assert_eq!(node.store.namesake(&first.owner).unwrap(), None);
    assert_eq!(node.store.namesake(&of("c", "net9")).unwrap(), None);
}

#[test]
fn gc_waits_for_all_locks_together() {
    let node = Node::new(kernel::node());
    node.attached(&[], &json!({}));
    let record = node.store.load(&owner()).unwrap().unwrap();
    let mut locks = Vec::new();
    for number in 0..64 {
        let owner = Owner { container_id: format!("d{number}"), ..owner() };
        let device = format!("0000:3c:{number:02x}.0");
        locks.push(node.store.lock(&device).unwrap());
        let record = crate::Record { owner, device, function: None, ..record.clone() };
        node.store.save(&record, &record.config).unwrap();
    }
    let mut request = node.request("", "n");
    request.conf.ipam = None;
    let begun = std::time::Instant::now();
    gc(&request, &node.store, &node.paths).unwrap_err();
    // One after the other they would take 64 times that at the least, whatever else the machine does.
    assert!(begun.elapsed() < Store::PATIENCE * 64, "{:?}", begun.elapsed());
}
