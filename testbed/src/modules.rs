//! Kernel modules: which ones the node has, and in what order they load.
//! Only files: loading them is the guest's business. Those that Debian does not build come from `external`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;

use crate::release::Release;
use crate::root;
use crate::tool;

/// To mount the root and the shares; loaded from the initramfs.
pub(crate) const BOOT: &[&str] = &["virtio_blk", "squashfs", "overlay", "9p", "9pnet_virtio"];

/// For `modprobe` in the node.
pub(crate) const NODE: &[&str] = &[
    // NICs, real and virtual functions, and the drivers for user space.
    "igb",
    "igbvf",
    "e1000e",
    "virtio_net",
    "vmxnet3",
    "vfio_pci",
    "vfio_iommu_type1",
    "uio",
    "uio_pci_generic",
    // What pods' networks are made of.
    "veth",
    "bridge",
    "dummy",
    "macvlan",
    "ipvlan",
    "8021q",
    "tun",
    "vrf",
    "sch_ingress",
    "sch_tbf",
    "ifb",
    "act_mirred",
    "cls_u32",
    "br_netfilter",
    "bonding",
    "team",
    "team_mode_roundrobin",
    "openvswitch",
    "ip_tables",
    "iptable_nat",
    "iptable_filter",
    "nf_tables",
    "nft_compat",
    "nft_chain_nat",
    "xt_comment",
    "xt_mark",
    "xt_MASQUERADE",
    "xt_conntrack",
    "nf_nat",
    "nf_conntrack",
    // RDMA over a VF; rdma_rxe does not declare that it needs crc32_generic, and fails with ENOENT without it.
    "rdma_rxe",
    "crc32_generic",
    "ib_uverbs",
    "rdma_ucm",
    "ib_core",
    "vdpa",
    "vduse",
    "vhost_vdpa",
    "virtio_vdpa",
    "vhost_net",
    // What the external netdevsim and vdpa_sim need.
    "psample",
    "vhost_iotlb",
    "loop",
];

/// Writes `folder/boot/NN-NAME.ko` and `folder/modules.sqfs` from the kernel package unpacked in `tree`,
/// with the modules in `external` beside the kernel's own, or instead of those of the same name.
pub(crate) fn pack(tree: &Path, release: &Release, external: &[PathBuf], folder: &Path) -> Result<()> {
    let release = &release.0;
    let source = tree.join("lib/modules").join(release);
    tool::run(Command::new("depmod").arg("-b").arg(tree).arg(release))?;
    let dependencies = fs::read_to_string(source.join("modules.dep"))?;
    let index = Index::parse(&dependencies);

    let staging = tree.join("staging");
    let target = staging.join("usr/lib/modules").join(release);
    let mut packed = Vec::new();
    for file in index.closure(&[NODE, BOOT].concat())? {
        let copy = target.join(file);
        fs::create_dir_all(copy.parent().context("a module has a folder")?)?;
        fs::copy(source.join(file), &copy)?;
        packed.push(copy);
    }
    // Unpacked here once: xz is slow under emulation. All in one call, for xz takes longer to start than to unpack.
    tool::run(Command::new("xz").arg("-dq").args(packed.iter().filter(|file| is_packed(file))))?;
    let extra = target.join("extra");
    fs::create_dir_all(&extra)?;
    for module in external {
        let name = module.file_name().context("a module has a name")?;
        if let Some(own) = packed
            .iter()
            .map(|file| target.join(unpacked(&file.to_string_lossy())))
            .find(|own| own.ends_with(name))
        {
            fs::remove_file(&own).with_context(|| format!("cannot take {} out", own.display()))?;
        }
        fs::copy(module, extra.join(name))?;
    }
    for entry in fs::read_dir(&source)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Not the .bin files: depmod writes those from these.
        if ["modules.order", "modules.builtin", "modules.builtin.modinfo"].contains(&name.as_str()) {
            fs::copy(&path, target.join(name))?;
        }
    }
    // depmod looks in /lib/modules; in the node that is /usr/lib/modules.
    std::os::unix::fs::symlink("usr/lib", staging.join("lib"))?;
    tool::run(Command::new("depmod").arg("-b").arg(&staging).arg(release))?;
    fs::remove_file(staging.join("lib"))?;

    let boot = folder.join("boot");
    fs::create_dir(&boot)?;
    for (number, file) in index.closure(BOOT)?.iter().enumerate() {
        let from = target.join(unpacked(file));
        let name = from.file_name().context("a module has a name")?.to_string_lossy().into_owned();
        fs::copy(&from, boot.join(format!("{number:02}-{name}")))?;
    }
    root::squash_folder(&staging, &folder.join("modules.sqfs"))
}

fn is_packed(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "xz")
}

fn unpacked(file: &str) -> &str {
    file.strip_suffix(".xz").unwrap_or(file)
}

/// depmod's `modules.dep`: each module's file, and the files that it needs.
struct Index<'a> {
    by_name: BTreeMap<String, (&'a str, Vec<&'a str>)>,
}

impl<'a> Index<'a> {
    fn parse(text: &'a str) -> Self {
        let entry = |line: &'a str| {
            let (file, needs) = line.split_once(':')?;
            Some((module_name(file), (file, needs.split_whitespace().collect())))
        };
        Self { by_name: text.lines().filter_map(entry).collect() }
    }

    /// The files of `modules` and of all they need, each once and after what it needs.
    fn closure(&self, modules: &[&str]) -> Result<Vec<&'a str>> {
        let mut files = Vec::new();
        for module in modules {
            let found = self.by_name.get(&module.replace('-', "_"));
            let (file, needs) = found.with_context(|| format!("the kernel has no module {module}"))?;
            // modules.dep lists what is needed directly first, thus loads from the end (modules.dep(5)).
            for file in needs.iter().rev().chain([file]) {
                if !files.contains(file) {
                    files.push(*file);
                }
            }
        }
        ensure!(!files.is_empty(), "modules.dep is empty");
        Ok(files)
    }
}

/// `kernel/net/9p/9pnet_virtio.ko.xz` is the module `9pnet_virtio`; in names, - and _ are the same.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/fs/9p/9p.ko.xz: kernel/fs/netfs/netfs.ko.xz kernel/net/9p/9pnet.ko.xz
kernel/net/9p/9pnet.ko.xz: kernel/fs/netfs/netfs.ko.xz
kernel/fs/netfs/netfs.ko.xz:
kernel/drivers/vfio/pci/vfio-pci.ko.xz:
";

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let files = Index::parse(DEP).closure(&["9p", "9pnet", "vfio_pci"]).unwrap();
        let names: Vec<String> = files.iter().map(|file| module_name(file)).collect();
        assert_eq!(names, ["9pnet", "netfs", "9p", "vfio_pci"].map(String::from).to_vec());
    }

    #[test]
    fn an_unknown_module_is_named() {
        let error = Index::parse(DEP).closure(&["igb"]).unwrap_err();
        assert!(error.to_string().contains("igb"));
    }
}
