//! All that a node is booted from, built or found in the cache.
//! The guest program is not part of it: that comes with each boot.

use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use anyhow::anyhow;

use crate::apt;
use crate::cache::Cache;
use crate::kernel;
use crate::kernel::Kernel;
use crate::modules;
use crate::packages;
use crate::phases::Phases;
use crate::release::Release;
use crate::root;

/// The cache's name for kernels.
const KERNEL: &str = "kernel";

/// A kernel and a root that fit each other.
pub struct Image {
    pub(crate) kernel: Kernel,
    pub(crate) root: PathBuf,
}

impl Image {
    /// Installs what the machine lacks, builds what the cache lacks: minutes the first time, a second afterwards.
    pub fn prepare() -> Result<Self> {
        Phases::watch(|phases| {
            packages::ensure(phases)?;
            let cache = Cache::open()?;
            let release = release(phases, &cache)?;
            // Side by side: one mostly waits for downloads, the other for dpkg.
            std::thread::scope(|scope| {
                let root = scope.spawn(|| build_root(phases, &cache));
                let kernel = build_kernel(phases, &cache, release.as_ref());
                let root = root.join().map_err(|_| anyhow!("building the root panicked"))?;
                Ok(Self { kernel: kernel?, root: root? })
            })
        })
    }
}

/// The kernel to use; none says: the newest in the cache, for apt has no list of backports to look into.
fn release(phases: &Phases, cache: &Cache) -> Result<Option<Release>> {
    let known = Release::current()?;
    if known.is_some() || cache.newest(KERNEL).is_some() {
        return Ok(known);
    }
    packages::ensure_backports(phases)?;
    phases.run("apt-get update", apt::update)?;
    let known = Release::current()?;
    Ok(Some(known.with_context(|| format!("apt finds no linux-image-amd64 in {}", apt::BACKPORTS))?))
}

fn build_root(phases: &Phases, cache: &Cache) -> Result<PathBuf> {
    let inputs = [root::RECIPE, apt::SUITE, &root::PACKAGES.join(" ")];
    let entry = cache.entry(phases, "root", &inputs, |folder| root::build(phases, folder))?;
    Ok(entry.join("root.sqfs"))
}

fn build_kernel(phases: &Phases, cache: &Cache, release: Option<&Release>) -> Result<Kernel> {
    let Some(release) = release else {
        return Kernel::at(&cache.newest(KERNEL).context("the kernel left the cache meanwhile")?);
    };
    let inputs = [kernel::RECIPE, &release.0, &modules::BOOT.join(" "), &modules::NODE.join(" ")];
    let entry = cache.entry(phases, KERNEL, &inputs, |folder| Kernel::build(phases, release, folder))?;
    Kernel::at(&entry)
}
