//! Hugepages.

use std::fs;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;

const PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

/// Reserves `count` pages of 2 MiB in all, which the kernel spreads over both NUMA nodes. DPDK wants some on each.
pub(crate) fn reserve_hugepages(count: usize) -> Result<()> {
    fs::write(PAGES, count.to_string()).context("cannot reserve hugepages")?;
    // The kernel reserves as many as it can and does not call fewer an error.
    let reserved: usize = fs::read_to_string(PAGES)?.trim().parse()?;
    ensure!(reserved >= count, "asked for {count} hugepages, the kernel found memory for {reserved}");
    Ok(())
}
