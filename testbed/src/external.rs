//! Kernel modules that Debian does not build: `igb_uio` from dpdk-kmods, and from the kernel's own sources what stands in
//! for hardware that QEMU has none of, a device with devlink and two kinds of vDPA; and `vfio` with its no-IOMMU mode, which
//! Debian leaves out and the images of cloud providers have.
//! Only files: packing and loading them is for others.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;

use crate::release::Release;
use crate::tool;

/// Modules of the kernel's sources: the name, the folder and its files without `.c`.
///
/// The sources may be of a later fix of the series than the headers; what these need has not changed between.
const SOURCES: &[(&str, &str, &[&str])] = &[
    // As its Makefile has it for Debian's configuration.
    ("vfio", "drivers/vfio", &["vfio_main", "group", "container", "virqfd"]),
    // vDPA over a virtio NIC: a device whose parent is a PCI function.
    ("vp_vdpa", "drivers/vdpa/virtio_pci", &["vp_vdpa"]),
    ("vringh", "drivers/vhost", &["vringh"]),
    ("vdpa_sim", "drivers/vdpa/vdpa_sim", &["vdpa_sim"]),
    ("vdpa_sim_net", "drivers/vdpa/vdpa_sim", &["vdpa_sim_net"]),
    (
        "netdevsim",
        "drivers/net/netdevsim",
        // As its Makefile has it for Debian's configuration.
        &[
            "netdev",
            "dev",
            "ethtool",
            "fib",
            "bus",
            "health",
            "hwstats",
            "udp_tunnels",
            "bpf",
            "ipsec",
            "psample",
            "macsec",
        ],
    ),
];

/// What is configured otherwise than in Debian's kernel.
const OPTIONS: &str = "ccflags-y += -DCONFIG_VFIO_NOIOMMU=1\n";

/// Compiles all of them for the kernel whose headers, builder, dpdk-kmods and sources are unpacked in `tree`.
pub(crate) fn build(tree: &Path, release: &Release) -> Result<Vec<PathBuf>> {
    let tree = fs::canonicalize(tree)?;
    let sources = tree.join("usr/src");
    let headers = sources.join(format!("linux-headers-{}", release.0));
    // The headers' only Makefile line includes the common ones by an absolute path; point it at where they are.
    let makefile = headers.join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| format!("no {}", makefile.display()))?;
    fs::write(&makefile, text.replace("include /usr/src", &format!("include {}", sources.display())))?;

    let kmods = entry(&sources, |name| name.starts_with("dpdk-kmods-"))?;
    let mut built = compile(&headers, &kmods)?;
    let modules = tree.join("modules");
    unpack(&entry(&sources, |name| name.starts_with("linux-source-"))?, &modules)?;
    fs::write(modules.join("Makefile"), OPTIONS.to_owned() + &makefile_of(SOURCES))?;
    built.extend(compile(&headers, &modules)?);
    Ok(built)
}

/// Takes the modules' folders out of the kernel's packed sources, as `drivers/…` below `into`.
fn unpack(archive: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let mut tar = Command::new("tar");
    tar.arg("-xJf").arg(archive).arg("-C").arg(into).args(["--strip-components=1", "--wildcards"]);
    let mut wanted: Vec<String> = SOURCES.iter().map(|(_, folder, _)| format!("*/{folder}/*.[ch]")).collect();
    wanted.dedup();
    // The selftests' folders end alike.
    tool::run(tar.args(["--exclude=*/tools/*"]).args(wanted))
}

fn makefile_of(modules: &[(&str, &str, &[&str])]) -> String {
    let entry = |(module, folder, files): &(&str, &str, &[&str])| {
        // One file of the module's own name is the module.
        if *files == [*module] {
            return format!("obj-m += {folder}/{module}.o\n");
        }
        let objects: Vec<String> = files.iter().map(|file| format!("{folder}/{file}.o")).collect();
        format!("obj-m += {module}.o\n{module}-y := {}\n", objects.join(" "))
    };
    modules.iter().map(entry).collect()
}

/// The modules that the Makefile in `folder` makes, without their debugging information.
fn compile(headers: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut make = Command::new("make");
    make.arg("-C").arg(headers).arg(format!("M={}", folder.display()));
    // Else pahole is wanted, for type information that nobody reads here.
    tool::run(make.args(["-j2", "CONFIG_DEBUG_INFO_BTF_MODULES=", "CC=gcc-12", "modules"]))?;
    // `modules.order` names what was made, a line each with `.o` for `.ko`.
    let order = folder.join("modules.order");
    let order = fs::read_to_string(&order).with_context(|| format!("make left no {}", order.display()))?;
    let built: Vec<PathBuf> = order.lines().map(|line| folder.join(line).with_extension("ko")).collect();
    tool::run(Command::new("strip").arg("--strip-debug").args(&built))?;
    Ok(built)
}

fn entry(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let listed = fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path());
    let found = listed.into_iter().find(|path| path.file_name().and_then(OsStr::to_str).is_some_and(&wanted));
    found.with_context(|| format!("{} lacks the sources of a module", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_makefile_for_modules_of_one_file_and_of_several() {
        let modules: &[(&str, &str, &[&str])] = &[("one", "a/b", &["one"]), ("two", "c", &["x", "y"])];
        assert_eq!(makefile_of(modules), "obj-m += a/b/one.o\nobj-m += two.o\ntwo-y := c/x.o c/y.o\n");
    }
}
