//! The Debian packages that the machine needs to build and run the node, and how they get there.
//! Says what it installs and why before it does; never removes or replaces anything else.

use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;

use crate::apt;
use crate::phases::Phases;
use crate::tool;

/// One package of the machine.
struct Package {
    name: &'static str,
    why: &'static str,
    /// The first version that will do; it is then taken from backports.
    at_least: Option<&'static str>,
}

const fn package(name: &'static str, why: &'static str) -> Package {
    Package { name, why, at_least: None }
}

const PACKAGES: &[Package] = &[
    // bookworm's own 7.2 has no igb device, the only emulated NIC with SR-IOV.
    Package {
        name: "qemu-system-x86",
        why: "emulates the node with its SR-IOV NICs; from backports",
        at_least: Some("1:8.0"),
    },
    package("iproute2", "makes the network namespaces of the tests"),
    package("mmdebstrap", "builds the node's Debian root"),
    package("squashfs-tools", "packs that root into one read-only file"),
    package("kmod", "reads which kernel module needs which"),
    package("xz-utils", "unpacks kernel modules"),
    package("zstd", "unpacks the kernel"),
    package("gcc-12", "compiles kernel modules for the node's kernel"),
    package("make", "compiles kernel modules for the node's kernel"),
    package("libelf1", "the kernel's module builder links with it"),
];

/// Where the source that we add is written, for the person to see and remove.
const BACKPORTS_LIST: &str = "/etc/apt/sources.list.d/bookworm-backports.list";

/// Makes sure that every package is there; asks apt for nothing if so.
pub(crate) fn ensure(phases: &Phases) -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    phases.say("The emulated node needs these Debian packages; installing them with apt-get, as root:");
    for package in &missing {
        phases.say(&format!("  {:<16} {}", package.name, package.why));
    }
    ensure_backports(phases)?;
    phases.run("apt-get update", apt::update)?;
    phases.run("apt-get install", || install(&missing))
}

/// Adds backports to apt's sources if it is not among them: the kernel and QEMU come from there.
pub(crate) fn ensure_backports(phases: &Phases) -> Result<bool> {
    let sources = apt::sources()?;
    if apt::has_backports(&sources) {
        return Ok(false);
    }
    let archive = apt::main_archive(&sources)?;
    let line = format!("deb {archive} {} main\n", apt::BACKPORTS);
    phases.say(&format!("Adding Debian's {} as an apt source: {BACKPORTS_LIST}", apt::BACKPORTS));
    phases.say("  (apt prefers nothing from it by itself: its priority is 100)");
    let file = std::env::temp_dir().join(format!("sluice-backports-{}", std::process::id()));
    std::fs::write(&file, line)?;
    let mut command = tool::as_root("install");
    let done = tool::run(command.args(["-m", "644"]).arg(&file).arg(BACKPORTS_LIST));
    std::fs::remove_file(&file).context("cannot remove a temporary file")?;
    done?;
    Ok(true)
}

fn install(missing: &[&Package]) -> Result<()> {
    let (backports, main): (Vec<&Package>, Vec<&Package>) =
        missing.iter().copied().partition(|package| package.at_least.is_some());
    for (packages, suite) in [(main, None), (backports, Some(apt::BACKPORTS))] {
        if packages.is_empty() {
            continue;
        }
        let mut command = tool::as_root("env");
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y", "--no-install-recommends"]);
        command.args(["-o", "DPkg::Lock::Timeout=300", "install"]);
        command.args(suite.into_iter().flat_map(|suite| ["-t", suite]));
        tool::run(command.args(packages.iter().map(|package| package.name)))?;
    }
    let still: Vec<&str> = self::missing()?.iter().map(|package| package.name).collect();
    if !still.is_empty() {
        bail!("apt-get ended well, yet these are not there in a version that will do: {}", still.join(", "));
    }
    Ok(())
}

fn missing() -> Result<Vec<&'static Package>> {
    // dpkg-query fails if one of them is unknown to it, but lists the others; on a machine without dpkg nothing works.
    let mut command = Command::new("dpkg-query");
    command.args(["-W", "-f", "${db:Status-Status} ${Package} ${Version}\\n"]);
    command.args(PACKAGES.iter().map(|package| package.name));
    let output =
        command.output().context("cannot run dpkg-query; the emulated node wants a Debian 12 machine")?;
    let installed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(PACKAGES.iter().filter(|package| !satisfied(package, &installed)).collect())
}

fn satisfied(package: &Package, installed: &str) -> bool {
    installed.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["installed", name, version] = words[..] else { return false };
        name == package.name && package.at_least.is_none_or(|least| at_least(version, least))
    })
}

fn at_least(version: &str, least: &str) -> bool {
    let compare = Command::new("dpkg").args(["--compare-versions", version, "ge", least]).status();
    compare.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_or_removed_package_does_not_satisfy() {
        let qemu = &PACKAGES[0];
        assert!(satisfied(qemu, "installed qemu-system-x86 1:10.0.2+ds-2~bpo12+1\n"));
        assert!(!satisfied(qemu, "installed qemu-system-x86 1:7.2+dfsg-7\n"));
        assert!(!satisfied(qemu, "config-files qemu-system-x86 1:10.0.2\n"));
        assert!(!satisfied(qemu, ""));
    }
}
