//! How long a pool thinks about which devices a container had best get: 8 PFs with 128 VFs each, all available.
//! It must not fail on a slow machine: it prints what it saw.
#![allow(clippy::unwrap_used, reason = "a bench ends where its tools fail")]

use std::hint::black_box;
use std::time::Instant;

use sriovdp::config::Config;
use sriovdp::inventory::{Needs, Roots, scan};
use testkit::sysfs::Tree;

const CALLS: usize = 500;

fn main() {
    let tree = Tree::generated(8, 128);
    let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
    let snapshot = scan(&roots, &Needs::default()).unwrap().snapshot;
    println!("policy | devices wanted | us of 1,024 available: p50 p99 max");
    for policy in ["packed", "spread", "numa", "pcie"] {
        let config = format!(
            r#"{{"resourceList":[{{"resourceName":"net","selectors":{{"devices":["154c"]}},"allocationPolicy":"{policy}"}}]}}"#
        );
        let config = Config::parse(config.as_bytes(), "intel.com").unwrap();
        let pool = sriovdp::pool::unheld(&config.pools, &snapshot).remove(0).0;
        let available: Vec<String> = pool.devices.iter().map(|device| device.id().to_string()).collect();
        for wanted in [1, 8, 512] {
            let mut took: Vec<u128> = (0..CALLS)
                .map(|_| {
                    let began = Instant::now();
                    black_box(pool.prefer(black_box(&available), &available[3..4], wanted)).unwrap();
                    began.elapsed().as_micros()
                })
                .collect();
            took.sort_unstable();
            println!(
                "{policy} | {wanted} | {} {} {}",
                took[CALLS / 2],
                took[CALLS * 99 / 100],
                took[CALLS - 1]
            );
        }
    }
}
