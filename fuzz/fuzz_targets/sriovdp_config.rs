//! A configuration file of any bytes: read or refused, never a panic.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sriovdp::config::{Config, Error};
use sriovdp::inventory::{Needs, Roots, Snapshot, scan};
use sriovdp::names::Names;
use sriovdp::{explain, lint, pool};
use testkit::sysfs::Tree;

/// A node with a function of every kind.
fn node() -> &'static Snapshot {
    static NODE: OnceLock<Snapshot> = OnceLock::new();
    NODE.get_or_init(|| {
        let tree = Tree::generated(1, 4);
        tree.function("0000:5e:00.0").class(0x12_00_00).driver("vfio-pci").iommu_group(9);
        tree.sf("mlx5_core.sf.2", "0000:00:00.0", 88, Some("pf0s88"));
        tree.vdpa(0, "0000:01:00.0", "vhost_vdpa");
        let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
        let needs =
            Needs { link_types: true, p_keys: true, rdma: true, vdpa: true, subfunctions: true, ..Needs::default() };
        scan(&roots, &needs).map(|scan| scan.snapshot).unwrap_or_default()
    })
}

fuzz_target!(|bytes: &[u8]| {
    let config = Config::parse(bytes, "intel.com")
        .map_err(|source| Error::Invalid { path: "config.json".into(), source });
    let report = lint::check(&config, Path::new("/var/lib/kubelet"));
    let _ = (report.text(), report.json());
    if let Ok(config) = config {
        let pools = pool::unheld(&config.pools, node());
        for (_, why) in &pools {
            let _ = why.as_ref().map(ToString::to_string);
        }
        let explained = explain::explain(node(), &[], &pools, None, |_| Names::default());
        let _ = explained.map(|all| (explain::text(&all), explain::json(&all)));
    }
});
