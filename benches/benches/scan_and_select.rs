//! The device plugin's way from a sysfs tree to pools, on nodes of three sizes; the Go plugin's grows with the square of
//! the VFs. It must not measure the tree's making, which is slower than its reading.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sriovdp::config::Config;
use sriovdp::inventory::{self, Needs, Roots};
use sriovdp::pool;
use testkit::sysfs::Tree;

/// A node and its pools: PFs, VFs of each, pools.
const NODES: [(u32, u32, u32); 3] = [(1, 8, 1), (8, 128, 16), (8, 512, 32)];

/// Pools that share the PFs out: each a range of VFs of one PF, by driver, as an operator writes them.
fn config(pfs: u32, vfs: u32, pools: u32) -> String {
    let shares = pools.div_ceil(pfs);
    let share = vfs / shares;
    let mut json = String::new();
    for pool in 0..pools {
        let (pf, part) = (pool % pfs, pool / pfs);
        let (first, last) = (part * share, (part + 1) * share - 1);
        let comma = if pool == 0 { "" } else { "," };
        let _ = write!(
            json,
            r#"{comma}{{"resourceName":"pool{pool}","selectors":{{"vendors":["8086"],"devices":["154c"],"drivers":["iavf","vfio-pci"],"pfNames":["pf{pf}#{first}-{last}"]}}}}"#
        );
    }
    format!(r#"{{"resourceList":[{json}]}}"#)
}

fn scan_and_select(criterion: &mut Criterion) {
    for (pfs, vfs, pools) in NODES {
        let tree = Tree::generated(pfs, vfs);
        let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
        let text = config(pfs, vfs, pools);
        let start = || {
            let config = Config::parse(text.as_bytes(), "intel.com").ok()?;
            let snapshot = inventory::scan(&roots, &Needs::default()).ok()?.snapshot;
            Some(pool::unheld(&config.pools, &snapshot))
        };
        let offered: usize = start().iter().flatten().map(|(pool, _)| pool.devices.len()).sum();
        assert_eq!(offered, (pfs * vfs) as usize, "every VF is in a pool");

        let mut group = criterion.benchmark_group(format!("{}_vfs_{pools}_pools", pfs * vfs));
        group.throughput(Throughput::Elements(u64::from(pfs * vfs)));
        group.sample_size(20).measurement_time(Duration::from_secs(5));
        group.bench_function("start", |bencher| bencher.iter(|| black_box(start())));
        if let (Ok(config), Ok(scan)) =
            (Config::parse(text.as_bytes(), "intel.com"), inventory::scan(&roots, &Needs::default()))
        {
            group.bench_function("select", |bencher| {
                bencher.iter(|| black_box(pool::unheld(&config.pools, &scan.snapshot)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, scan_and_select);
criterion_main!(benches);
