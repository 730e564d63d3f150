//! A node's `/sys`, `/proc/net` and `/dev` in a temporary directory, with the NICs that a test asks for.
//! It must not know what any reader expects of them: it writes what the kernel would.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test whose tree cannot be written has nothing else to say"
)]
#![expect(
    clippy::return_self_not_must_use,
    reason = "each method writes at once; its result is for the next one"
)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

mod below;
mod function;
mod generated;

pub use function::Function;

/// A node's file systems. Gone when dropped.
#[derive(Debug)]
pub struct Tree {
    dir: tempfile::TempDir,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A node without any PCI function and without a route.
    pub fn new() -> Self {
        let tree = Self { dir: directory().expect("a temporary directory") };
        for dir in ["sys/bus/pci/devices", "sys/bus/pci/drivers", "sys/class/net", "proc/net", "dev"] {
            fs::create_dir_all(tree.root().join(dir)).expect("a directory in the tree");
        }
        tree.write("proc/net/route", ROUTE_HEADER);
        tree.write("proc/net/ipv6_route", "");
        tree
    }

    /// The directory that holds `sys`, `proc` and `dev`; a test may put more beside them.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// What stands for `/sys`.
    pub fn sys(&self) -> PathBuf {
        self.root().join("sys")
    }

    /// What stands for `/proc`.
    pub fn proc(&self) -> PathBuf {
        self.root().join("proc")
    }

    /// What stands for `/dev`.
    pub fn dev(&self) -> PathBuf {
        self.root().join("dev")
    }

    /// Writes a file, by its path below the root, with the directories that it needs.
    pub fn write(&self, path: impl AsRef<Path>, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a path below the root")).expect("a directory in the tree");
        fs::write(path, text).expect("a file in the tree");
    }

    /// A plain function, such as an ENI: Intel's 8086:10d3, class Ethernet, no driver, no NUMA node, no network device.
    pub fn function(&self, address: &str) -> Function {
        Function::create(&self.sys(), address)
    }

    /// A function that is there already, to change it.
    pub fn existing(&self, address: &str) -> Function {
        Function::open(&self.sys(), address)
    }

    /// A PF (8086:1572 on `i40e`) that can have 64 VFs and has none.
    pub fn pf(&self, address: &str, netdev: &str) -> Function {
        let pf = self.function(address).ids("8086", "1572").driver("i40e").netdev(netdev);
        pf.attribute("sriov_totalvfs", "64").attribute("sriov_numvfs", "0")
    }

    /// A VF (8086:154c on `iavf`) of a PF that is there already, under the PF's next free number.
    pub fn vf(&self, address: &str, pf: &str) -> Function {
        let vf = self.function(address).ids("8086", "154c").driver("iavf");
        let index = self.existing(pf).count_vfs();
        self.existing(pf)
            .link(&format!("virtfn{index}"), &format!("../{address}"))
            .attribute("sriov_numvfs", &(index + 1).to_string());
        vf.link("physfn", &format!("../{pf}"))
    }

    /// Removes a function, as hot-unplug or a smaller `sriov_numvfs` does; a VF's PF forgets it.
    pub fn remove(&self, address: &str) {
        self.existing(address).remove();
    }

    /// Gives the network device an IPv4 default route.
    pub fn default_route(&self, netdev: &str) {
        let line = format!("{netdev}\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n");
        self.append("proc/net/route", &line);
    }

    /// Gives the network device an IPv6 default route.
    pub fn default_route6(&self, netdev: &str) {
        let none = "0".repeat(32);
        let gateway = "fe800000000000000000000000000001";
        let line = format!("{none} 00 {none} 00 {gateway} 00000400 00000001 00000000 00450003 {netdev:>8}\n");
        self.append("proc/net/ipv6_route", &line);
    }

    /// Makes `lower` a lower device of `upper`: a bond, bridge, team or VLAN interface.
    pub fn stack(&self, upper: &str, lower: &str) {
        self.write(format!("sys/class/net/{upper}/lower_{lower}/ifindex"), "7\n");
    }

    fn append(&self, path: &str, line: &str) {
        let text = fs::read_to_string(self.root().join(path)).expect("a file in the tree");
        self.write(path, &(text + line));
    }
}

/// In memory where there is room for that: sysfs is no disk, and large trees are many small files.
fn directory() -> io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// `fib_route_seq_show`, `net/ipv4/fib_trie.c`.
const ROUTE_HEADER: &str =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
