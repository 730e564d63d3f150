//! The node's root: a Debian with containerd, DPDK and the tools that tests look with, as one squashfs file.
//! Holds nothing of Sluice: what is under test comes in over a shared folder.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;

use crate::apt;
use crate::oci;
use crate::phases::Phases;
use crate::scratch::Scratch;
use crate::tool;

/// Change it when the steps below change, so that cached roots are built anew.
pub(crate) const RECIPE: &str = "root recipe 2";

/// Installed into the root.
pub(crate) const PACKAGES: &[&str] = &[
    "bash",
    "coreutils",
    "util-linux",
    "mount",
    "procps",
    "kmod",
    "udev",
    "iproute2",
    "iputils-ping",
    "iputils-arping",
    "iptables",
    "ethtool",
    "pciutils",
    "dnsmasq-base",
    "tcpdump",
    "iperf3",
    "socat",
    "strace",
    "jq",
    "containerd",
    "runc",
    "containernetworking-plugins",
    "rdma-core",
    "ibverbs-providers",
    "ibverbs-utils",
    // The drivers for the node's emulated NICs …
    "dpdk",
    "librte-net-e1000-23",
    "librte-mempool-ring23",
    "librte-net-af-packet23",
    "librte-net-virtio23",
    "librte-net-vmxnet3-23",
    // … and what dpdk-testpmd happens to be linked with.
    "librte-crypto-scheduler23",
    "librte-bitratestats23",
    "librte-bpf23",
    "librte-gro23",
    "librte-gso23",
    "librte-latencystats23",
    "librte-pdump23",
    "librte-net-bnxt23",
    "librte-net-i40e23",
    "librte-net-ixgbe23",
    "librte-net-dpaa23",
    "librte-net-bond23",
    "librte-net-ice23",
    "librte-net-mlx5-23",
    "librte-cmdline23",
    "libfdt1",
    "libjansson4",
];

/// Left out: half of the files, none of them read by a program.
const EXCLUDED: &[&str] =
    &["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*"];

/// Where the guest finds the container image.
const BUSYBOX_ARCHIVE: &str = "/usr/share/testbed/busybox.tar";

/// Builds `folder/root.sqfs`.
pub(crate) fn build(phases: &Phases, folder: &Path) -> Result<()> {
    let scratch = Scratch::new("root")?;
    let work = scratch.path();
    let files = phases.run("root: busybox image, testpmd", || {
        let busybox = apt::fetch("busybox-static", &work.join("busybox"))?.join("bin/busybox");
        let archive = work.join("busybox.tar");
        fs::write(
            &archive,
            oci::archive(&fs::read(busybox).context("busybox-static holds no /bin/busybox")?)?,
        )?;
        // It is in dpdk-dev, which would pull in every -dev package of DPDK: take the one file.
        let testpmd = apt::fetch("dpdk-dev", &work.join("dpdk"))?.join("usr/bin/dpdk-testpmd");
        Ok([(archive, BUSYBOX_ARCHIVE), (testpmd, "/usr/bin/dpdk-testpmd")])
    })?;
    phases.run("root: Debian with containerd and DPDK", || {
        let sources = work.join("sources.list");
        fs::write(&sources, apt::system_sources(&apt::sources()?).join("\n") + "\n")?;
        let mut command = mmdebstrap(work);
        command.arg("--customize-hook=mkdir -p \"$1/usr/share/testbed\" \"$1/share\" \"$1/out\"");
        for (from, to) in &files {
            command.arg(format!("--customize-hook=upload {} {to}", from.display()));
            // The upload takes the content alone along.
            command.arg(format!("--customize-hook=chmod 755 \"$1{to}\""));
        }
        command.arg(apt::SUITE).arg("-").arg(&sources);
        squash_stream(&mut command, &work.join("mmdebstrap.log"), &folder.join("root.sqfs"))
    })
}

fn mmdebstrap(work: &Path) -> Command {
    // As root, so that the files get their owners; without root it would take more packages and more luck.
    let mut command = tool::as_root("env");
    // In our own folder: what a kill leaves there is swept by a later run.
    command.arg(format!("TMPDIR={}", work.display())).arg("mmdebstrap");
    command.args([
        "--mode=root",
        "--variant=essential",
        "--format=tar",
        "--aptopt=APT::Install-Recommends \"false\"",
    ]);
    // A kill throws the image away as a whole, so nothing has to be safe on disk in between.
    command.arg("--dpkgopt=force-unsafe-io");
    command.args(EXCLUDED.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
    command.arg(format!("--include={}", PACKAGES.join(",")));
    command
}

/// Packs the tar archive that `producer` writes to its stdout, while it writes it. Its stderr goes to `log`.
fn squash_stream(producer: &mut Command, log: &Path, image: &Path) -> Result<()> {
    let name = tool::line(producer);
    let mut producing = producer
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(log)?)
        .spawn()
        .context("cannot start mmdebstrap")?;
    let tar = producing.stdout.take().context("no stdout")?;
    let mut squash = Command::new("mksquashfs");
    squash.arg("-").arg(image).args(["-tar", "-comp", "lz4", "-quiet", "-no-progress"]);
    let squashed = squash.stdin(tar).output().context("cannot start mksquashfs")?;
    let status = producing.wait()?;
    let said = fs::read_to_string(log).unwrap_or_default();
    let tail: Vec<&str> = said.lines().rev().take(15).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    ensure!(status.success(), "`{name}` failed ({status}):\n  {}", tail.join("\n  "));
    tool::check("mksquashfs", &squashed)
}

/// Packs a folder as it is, all of it root's. lz4: a little larger than others, nearly free to read under emulation.
pub(crate) fn squash_folder(folder: &Path, image: &Path) -> Result<()> {
    let mut command = Command::new("mksquashfs");
    command.arg(folder).arg(image);
    tool::run(command.args(["-comp", "lz4", "-all-root", "-quiet", "-no-progress"]))
}
