//! A node whose sysfs holds any texts: the scan, the pools and every allocation end with an answer or an error.
//!
//! The input is a list of changes: a byte for the file, a byte for the length, the text.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use sriovdp::config::Config;
use sriovdp::device_info::Host;
use sriovdp::inventory::{Needs, Roots, scan};
use sriovdp::{list, pool};
use testkit::sysfs::Tree;

const PF: &str = "0000:3b:00.0";
const VF: &str = "0000:3b:02.0";

const POOLS: &[u8] = br#"{"resourceList":[
    {"resourceName":"rdma","selectors":[{"isRdma":true},{"vdpaType":"vhost"},{"linkTypes":["infiniband"],"pKeys":["0x7fff"]}]},
    {"resourceName":"sf","deviceType":"auxNetDevice","selectors":{"auxTypes":["sf"]}},
    {"resourceName":"fec","deviceType":"accelerator","selectors":{}},
    {"resourceName":"rest","vfioCdev":true,"selectors":{}}]}"#;

/// Files, below `sys` unless they say `proc`; those that end in `@` are links whose target is the text.
const FILES: [&str; 32] = [
    "bus/pci/devices/0000:3b:00.0/vendor", "bus/pci/devices/0000:3b:00.0/device", "bus/pci/devices/0000:3b:00.0/class",
    "bus/pci/devices/0000:3b:00.0/sriov_totalvfs", "bus/pci/devices/0000:3b:00.0/sriov_numvfs",
    "bus/pci/devices/0000:3b:00.0/numa_node", "bus/pci/devices/0000:3b:00.0/acpi_index",
    "bus/pci/devices/0000:3b:00.0/net/ens1f0/phys_switch_id", "bus/pci/devices/0000:3b:00.0/net/ens1f0/phys_port_name",
    "bus/pci/devices/0000:3b:00.0/net/ens1f0/type", "bus/pci/devices/0000:3b:00.0/virtfn0@",
    "bus/pci/devices/0000:3b:00.0/virtfn99999999999@", "bus/pci/devices/0000:3b:00.0/driver@",
    "bus/pci/devices/0000:3b:02.0/vendor", "bus/pci/devices/0000:3b:02.0/device", "bus/pci/devices/0000:3b:02.0/class",
    "bus/pci/devices/0000:3b:02.0/numa_node", "bus/pci/devices/0000:3b:02.0/physfn@",
    "bus/pci/devices/0000:3b:02.0/driver@", "bus/pci/devices/0000:3b:02.0/iommu_group@",
    "bus/pci/devices/0000:3b:02.0/infiniband/mlx5_2/ports/1/pkeys/0", "bus/pci/devices/0000:3b:02.0/net/ib1/type",
    "class/infiniband_verbs/uverbs2/ibdev", "class/infiniband_mad/umad2/ibdev",
    "bus/pci/devices/0000:3b:00.0/mlx5_core.sf.2/sfnum", "bus/auxiliary/devices/mlx5_core.sf.7@",
    "bus/vdpa/devices/vdpa9@", "kernel/iommu_groups/12/name", "bus/pci/devices/0000:5e:00.0/class",
    "bus/pci/devices/0000:5e:00.0/sriov_totalvfs", "proc/net/route", "proc/net/ipv6_route",
];

fn node() -> Tree {
    let tree = Tree::new();
    tree.pf(PF, "ens1f0").netdev("eth0").port("ens1f0", "p0");
    tree.vf(VF, PF).netdev("ib1").rdma("mlx5_2").infiniband("ib1", "mlx5_2", "0x7fff");
    tree.rdma_nodes("mlx5_2", 2);
    tree.vf("0000:3b:02.1", PF).on_vfio(12);
    tree.sf("mlx5_core.sf.2", PF, 88, Some("ens1f0s88"));
    tree.vdpa(0, VF, "vhost_vdpa");
    tree.function("0000:5e:00.0").class(0x12_00_00).driver("igb_uio").uio("uio0");
    tree.default_route("eth0");
    tree
}

fn change(root: &Path, file: &str, text: &[u8]) {
    let path = if file.starts_with("proc/") { root.join(file) } else { root.join("sys").join(file) };
    match path.to_str().and_then(|path| path.strip_suffix('@')) {
        Some(link) => {
            use std::os::unix::ffi::OsStrExt;
            let _ = fs::remove_file(link);
            let _ = std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(text), link);
        }
        None => {
            let _ = fs::write(path, text);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let tree = node();
    let mut rest = bytes;
    while let [file, length, text @ ..] = rest {
        let (text, left) = text.split_at(text.len().min(usize::from(*length)));
        change(tree.root(), FILES[usize::from(*file) % FILES.len()], text);
        rest = left;
    }
    let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
    let needs =
        Needs { link_types: true, p_keys: true, rdma: true, vdpa: true, subfunctions: true, ..Needs::default() };
    let Ok(scan) = scan(&roots, &needs) else { return };
    scan.odd.iter().for_each(|error| drop(error.to_string()));
    let Ok(config) = Config::parse(POOLS, "intel.com") else { return };
    let pools = pool::unheld(&config.pools, &scan.snapshot);
    let rows = list::rows(&scan.snapshot, &pools);
    let _ = (list::text(&rows), list::json(&rows));
    let dev: PathBuf = tree.dev();
    let host = Host { sysfs: roots.sysfs.clone(), dev, devinfo: tree.root().join("devinfo"), cdi: None, grants: sriovdp::pool::Grants::default() };
    for (pool, why) in &pools {
        let _ = why.as_ref().map(ToString::to_string);
        for device in &pool.devices {
            let _ = host.prepare(pool, &[device.id().to_string()]).map(|grant| host.publish(pool, &grant));
        }
    }
});
