//! What stands below a function beside its attributes: SFs, RDMA devices with their nodes, vDPA devices, switch ports.
//! It must not check that a driver would make them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Function, Tree};

impl Tree {
    /// An SF of a function that is there already, such as `mlx5_core.sf.2`, with a network device if it is named.
    pub fn sf(&self, name: &str, parent: &str, sfnum: u32, netdev: Option<&str>) -> PathBuf {
        let dir = self.existing(parent).dir().join(name);
        fs::create_dir_all(&dir).expect("an SF's directory");
        fs::write(dir.join("sfnum"), format!("{sfnum}\n")).expect("an SF's number");
        if let Some(netdev) = netdev {
            self.write_netdev(&dir.join("net").join(netdev), netdev);
        }
        let bus = self.sys().join("bus/auxiliary/devices");
        fs::create_dir_all(&bus).expect("the auxiliary bus");
        symlink(format!("../../pci/devices/{parent}/{name}"), bus.join(name)).expect("an SF's link");
        dir
    }

    /// The nodes of an RDMA device: `uverbsN`, `umadN` and `issmN`, and the one `rdma_cm` of the node.
    pub fn rdma_nodes(&self, device: &str, number: u32) {
        for (class, node) in
            [("infiniband_verbs", "uverbs"), ("infiniband_mad", "umad"), ("infiniband_mad", "issm")]
        {
            self.write(format!("sys/class/{class}/{node}{number}/ibdev"), &format!("{device}\n"));
            self.write(format!("dev/infiniband/{node}{number}"), "");
        }
        self.write("dev/infiniband/rdma_cm", "");
    }

    /// A vDPA device on a function, on `vhost_vdpa` with its node, or on `virtio_vdpa`.
    pub fn vdpa(&self, number: u32, function: &str, driver: &str) {
        let name = format!("vdpa{number}");
        let dir = self.existing(function).dir().join(&name);
        fs::create_dir_all(&dir).expect("a vDPA device");
        symlink(format!("../../../../vdpa/drivers/{driver}"), dir.join("driver")).expect("a driver's link");
        if driver == "vhost_vdpa" {
            let node = format!("vhost-vdpa-{number}");
            fs::create_dir_all(dir.join(&node)).expect("a vDPA device's node");
            self.write(format!("dev/{node}"), "");
        }
        let bus = self.sys().join("bus/vdpa/devices");
        fs::create_dir_all(&bus).expect("the vDPA bus");
        symlink(format!("../../pci/devices/{function}/{name}"), bus.join(&name)).expect("a vDPA link");
    }

    /// `/dev/vhost-net` and `/dev/net/tun`.
    pub fn vhost_net(&self) {
        self.write("dev/vhost-net", "");
        self.write("dev/net/tun", "");
    }

    /// One network device's directory, as an Ethernet one.
    fn write_netdev(&self, dir: &Path, name: &str) {
        write_netdev(&self.sys(), dir, name);
    }
}

pub(super) fn write_netdev(sys: &Path, dir: &Path, name: &str) {
    fs::create_dir_all(dir).expect("a network device");
    fs::write(dir.join("type"), "1\n").expect("a network device's type");
    // A name may stand in several network namespaces, but in this one only once.
    let _ = symlink(dir, sys.join("class/net").join(name));
}

impl Function {
    /// Makes a network device of this function an `InfiniBand` one, with the partition key.
    pub fn infiniband(self, netdev: &str, device: &str, pkey: &str) -> Self {
        fs::write(self.dir().join("net").join(netdev).join("type"), "32\n").expect("a network device's type");
        let pkeys = self.dir().join("infiniband").join(device).join("ports/1/pkeys");
        fs::create_dir_all(&pkeys).expect("partition keys");
        fs::write(pkeys.join("0"), format!("{pkey}\n")).expect("a partition key");
        self
    }

    /// Makes a network device of this function a port of its switch: the uplink is `p0`, VF 3 of PF 0 is `pf0vf3`.
    pub fn port(self, netdev: &str, name: &str) -> Self {
        let dir = self.dir().join("net").join(netdev);
        fs::write(dir.join("phys_switch_id"), "a8b3c5\n").expect("a switch's id");
        fs::write(dir.join("phys_port_name"), format!("{name}\n")).expect("a port's name");
        self
    }
}
