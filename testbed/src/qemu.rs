//! The node's hardware, as QEMU's command line. No process is started here.
//!
//! Two igb NICs with SR-IOV, each on the root port of another NUMA node's host bridge; an e1000e that stands in for a
//! cloud NIC (an AWS ENI); a virtio-net; two root ports that stay free for hot-plug; a VT-d IOMMU, where the job wants one.
//! Every device says its bus: left alone, QEMU would put it on the last expander bridge, which takes root ports only.

use std::fmt::Display;
use std::path::Path;

/// Guest kernel parameters that do not depend on the job.
///
/// `no_timer_check` keeps a loaded host from panicking the kernel in its first second; `iommu=pt` gives every function
/// a group of its own, as on real servers; the rest is boot time.
const KERNEL: &str = "console=ttyS0 loglevel=4 panic=-1 intel_iommu=on iommu=pt nokaslr no_timer_check mitigations=off \
                      nohz=off audit=0 random.trust_cpu=on cryptomgr.notests";

/// The MAC addresses and places of the NICs; `testbed/guest/src/host` knows the PCI addresses that come of it.
const NICS: &[(&str, &str, &str, &str)] = &[
    ("igb", "igb0", "rp0", "52:54:00:aa:00:01"),
    ("igb", "igb1", "rp1", "52:54:00:aa:00:02"),
    ("e1000e", "eni0", "rp2", "52:54:00:aa:00:11"),
    ("virtio-net-pci", "virtio0", "rp3", "52:54:00:aa:00:21"),
];

/// Root ports, and the host bridge that each sits on. rp4 and rp5 are free; hot-plug into them over QMP.
const ROOT_PORTS: &[(&str, &str)] =
    &[("rp0", "px0"), ("rp1", "px1"), ("rp2", "px1"), ("rp3", "px1"), ("rp4", "px0"), ("rp5", "px1")];

/// The files and folders of one boot.
pub(crate) struct Machine<'a> {
    pub(crate) vmlinux: &'a Path,
    pub(crate) initramfs: &'a Path,
    pub(crate) root: &'a Path,
    pub(crate) modules: &'a Path,
    /// Read-only in the guest, at /share.
    pub(crate) share: &'a Path,
    /// Written by the guest, at /out.
    pub(crate) out: &'a Path,
    pub(crate) console: &'a Path,
    /// The job's own kernel parameters.
    pub(crate) parameters: &'a str,
    /// Whether there is a VT-d IOMMU.
    pub(crate) iommu: bool,
}

impl Machine<'_> {
    /// The arguments. The guest's events are on file descriptor 0 and QMP on 1, both sockets that the caller made.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = Arguments(Vec::new());
        self.board(&mut arguments);
        self.files(&mut arguments);
        arguments.pair("-chardev", "socket,id=qmp,fd=1");
        arguments.pair("-mon", "chardev=qmp,mode=control");
        arguments.pair("-chardev", "socket,id=wire,fd=0");
        arguments.pair("-device", "virtio-serial-pci,bus=pcie.0,addr=8.0");
        arguments.pair("-device", "virtserialport,chardev=wire,name=testbed.wire");
        nics(&mut arguments);
        arguments.0
    }

    fn board(&self, arguments: &mut Arguments) {
        arguments.words("-name sluice-node -nodefaults -no-user-config -display none -no-reboot");
        // Always emulated: a /dev/kvm that is there may still be of no use to a stock kernel. One thread for both
        // processors: with thread=multi a whole smoke run takes a quarter longer and a third more processor time.
        arguments.words("-machine q35,kernel-irqchip=split -accel tcg,thread=single");
        // The smallest model with SSE4.2, which DPDK needs; larger ones boot slower.
        arguments.words("-cpu Nehalem -smp 2 -m 3072");
        arguments
            .words("-object memory-backend-ram,id=m0,size=1536M -object memory-backend-ram,id=m1,size=1536M");
        arguments.words("-numa node,nodeid=0,memdev=m0,cpus=0 -numa node,nodeid=1,memdev=m1,cpus=1");
        arguments.pair("-kernel", self.vmlinux.display());
        arguments.pair("-initrd", self.initramfs.display());
        arguments.pair("-append", format!("{KERNEL} {}", self.parameters));
        arguments.pair("-serial", format!("file:{}", escaped(self.console)));
        if self.iommu {
            arguments.words("-device intel-iommu,intremap=on,caching-mode=on");
        }
        // Lets the guest end QEMU at once.
        arguments.words("-device isa-debug-exit,iobase=0x501,iosize=1");
    }

    fn files(&self, arguments: &mut Arguments) {
        // In this order: /dev/vda and /dev/vdb.
        for (id, file, slot) in [("root", self.root, 4), ("modules", self.modules, 5)] {
            arguments
                .pair("-drive", format!("file={},format=raw,if=none,id={id},readonly=on", escaped(file)));
            arguments.pair("-device", format!("virtio-blk-pci,drive={id},bus=pcie.0,addr={slot}.0"));
        }
        for (id, folder, extra, slot) in [("share", self.share, ",readonly=on", 6), ("out", self.out, "", 7)]
        {
            let folder = escaped(folder);
            arguments.pair(
                "-fsdev",
                format!("local,id={id},path={folder},security_model=none,multidevs=remap{extra}"),
            );
            arguments
                .pair("-device", format!("virtio-9p-pci,fsdev={id},mount_tag={id},bus=pcie.0,addr={slot}.0"));
        }
    }
}

fn nics(arguments: &mut Arguments) {
    arguments.words("-device pxb-pcie,id=px0,bus=pcie.0,addr=10.0,bus_nr=0x20,numa_node=0");
    arguments.words("-device pxb-pcie,id=px1,bus=pcie.0,addr=11.0,bus_nr=0x40,numa_node=1");
    for (number, (port, bridge)) in ROOT_PORTS.iter().enumerate() {
        let slot = 10 + number;
        arguments
            .pair("-device", format!("pcie-root-port,id={port},bus={bridge},chassis={slot},slot={slot}"));
    }
    for (number, (driver, id, port, mac)) in NICS.iter().enumerate() {
        // One hub: all are on the same wire.
        arguments.pair("-netdev", format!("hubport,id=n{number},hubid=0"));
        arguments.pair("-device", format!("{driver},id={id},bus={port},netdev=n{number},mac={mac}"));
    }
    // A spare wire for a NIC that is plugged in later.
    arguments.words("-netdev hubport,id=n9,hubid=0");
}

struct Arguments(Vec<String>);

impl Arguments {
    fn words(&mut self, words: &str) {
        self.0.extend(words.split_whitespace().map(str::to_owned));
    }

    fn pair(&mut self, option: &str, value: impl Display) {
        self.0.extend([option.to_owned(), value.to_string()]);
    }
}

/// In an option's value a comma is doubled.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_says_its_bus() {
        let path = Path::new("/a,b");
        let machine = Machine {
            vmlinux: path,
            initramfs: path,
            root: path,
            modules: path,
            share: path,
            out: path,
            console: path,
            parameters: "tb.run=smoke",
            iommu: true,
        };
        let arguments = machine.arguments();
        for pair in arguments.windows(2).filter(|pair| pair[0] == "-device") {
            let placed = pair[1].contains("bus=") || pair[1].starts_with("virtserialport");
            // These two have no place on a PCI bus.
            let elsewhere = pair[1].starts_with("intel-iommu") || pair[1].starts_with("isa-debug-exit");
            assert!(placed || elsewhere, "{}", pair[1]);
        }
        assert!(arguments.iter().any(|argument| argument.contains("path=/a,,b,")), "{arguments:?}");
    }
}
