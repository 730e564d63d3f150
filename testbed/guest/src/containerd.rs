//! containerd and the containers in it: real runc containers in network namespaces that the caller made and filled.
//! Calls no CNI plugin; jobs do that as Multus would.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use crate::host;
use crate::host::Background;
use crate::host::Done;
use crate::initramfs::attach;

/// The image that the node comes with.
const BUSYBOX: &str = "testbed.local/busybox:1";
const BUSYBOX_ARCHIVE: &str = "/usr/share/testbed/busybox.tar";

/// The root of [`Container::debian`] containers.
const DEBIAN: &str = "/run/testbed/debian";

const SOCKET: &str = "/run/containerd/containerd.sock";
const NAMESPACE: &str = "k8s.io";

/// 4 to 6 s on a quiet host.
const START: Duration = Duration::from_secs(90);

const CONFIG: &str = r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "testbed.local/pause:1"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "/etc/cni/net.d"
"#;

/// A running containerd with the busybox image imported. Dropping it ends it, though not its containers.
pub(crate) struct Containerd {
    /// Held for its end; its log is under /out.
    _daemon: Background,
}

#[expect(clippy::unused_self, reason = "a container can only be run while a containerd is there")]
impl Containerd {
    /// Starts it and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        for folder in ["/opt/cni", "/etc/cni/net.d", "/etc/containerd"] {
            fs::create_dir_all(folder)?;
        }
        if !Path::new("/opt/cni/bin").exists() {
            // Where CNI plugins are by upstream's convention, and where `ctr run --cni` looks.
            std::os::unix::fs::symlink("/usr/lib/cni", "/opt/cni/bin")?;
        }
        fs::write("/etc/containerd/config.toml", CONFIG)?;
        let mut daemon = Background::spawn("containerd", &mut Command::new("containerd"))?;
        // Its last line before it serves. `ctr version` would do as well, at the price of a process for every look.
        daemon.wait_for("the line that says it serves", START, |log| {
            let serves = log.contains("containerd successfully booted");
            (serves && fs::metadata(SOCKET).is_ok_and(|of| of.file_type().is_socket())).then_some(())
        })?;
        host::run(ctr().args(["image", "import", BUSYBOX_ARCHIVE]))?;
        Ok(Self { _daemon: daemon })
    }

    /// Runs a container to its end.
    pub(crate) fn run(&self, container: &Container) -> Result<Done> {
        prepare(container)?;
        host::attempt(&mut container.command(&["--rm"]))
    }

    /// Starts a container that runs beside the caller; its output can be followed, a signal goes to its process.
    pub(crate) fn spawn(&self, container: &Container) -> Result<Background> {
        prepare(container)?;
        Background::spawn(&container.name, &mut container.command(&["--rm"]))
    }

    /// Starts a container that stays, for [`Containerd::exec`] in it. Removed by [`Containerd::remove`].
    pub(crate) fn detach(&self, container: &Container) -> Result<()> {
        prepare(container)?;
        // --null-io: else whoever reads our stdout would wait for the container's end.
        host::run(&mut container.command(&["--detach", "--null-io"]))
    }

    /// Runs a command in a container that runs.
    pub(crate) fn exec(&self, name: &str, command: &[&str]) -> Result<Done> {
        let mut ctr = ctr();
        ctr.args(["task", "exec", "--exec-id", "exec", name]).args(command);
        host::attempt(&mut ctr)
    }

    /// Kills a detached container and removes it.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        host::run(ctr().args(["task", "delete", "--force", name]))?;
        host::run(ctr().args(["container", "delete", name]))
    }
}

fn prepare(container: &Container) -> Result<()> {
    if container.root == Root::Debian && !Path::new(DEBIAN).join("usr").is_dir() {
        mount_debian().context("cannot prepare the Debian root for containers")?;
    }
    Ok(())
}

fn ctr() -> Command {
    let mut command = Command::new("ctr");
    command.args(["--namespace", NAMESPACE]);
    command
}

/// The node's own root once more, without what the node changed in it.
fn mount_debian() -> Result<()> {
    for folder in ["/run/testbed/lower", "/run/testbed/rw", DEBIAN] {
        fs::create_dir_all(folder)?;
    }
    attach("squashfs", "/dev/vda", "/run/testbed/lower", "ro")?;
    attach("tmpfs", "debian", "/run/testbed/rw", "")?;
    fs::create_dir("/run/testbed/rw/upper")?;
    fs::create_dir("/run/testbed/rw/work")?;
    let layers = "lowerdir=/run/testbed/lower,upperdir=/run/testbed/rw/upper,workdir=/run/testbed/rw/work";
    attach("overlay", "debian", DEBIAN, layers)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Busybox,
    Debian,
}

/// A container to be.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    name: String,
    root: Root,
    flags: Vec<String>,
    command: Vec<String>,
}

impl Container {
    /// With busybox and nothing else; runs `/bin/pause` unless told otherwise.
    pub(crate) fn busybox(name: &str) -> Self {
        Self { name: name.to_owned(), root: Root::Busybox, flags: Vec::new(), command: Vec::new() }
            .with("/bin/pause")
    }

    /// With the node's Debian, for what busybox lacks: tcpdump, iperf3, dpdk-testpmd.
    pub(crate) fn debian(name: &str) -> Self {
        // An image would bring its PATH, a root folder does not.
        Self { name: name.to_owned(), root: Root::Debian, flags: Vec::new(), command: Vec::new() }
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .with("/bin/bash")
    }

    /// [`Container::debian`] with what a DPDK program needs besides its device: hugepages and the right to lock memory.
    pub(crate) fn dpdk(name: &str) -> Self {
        Self::debian(name).mount("/dev/hugepages", "/dev/hugepages").flag(&["--cap-add", "CAP_IPC_LOCK"])
    }

    /// In this network namespace instead of a fresh one.
    pub(crate) fn netns(self, path: &Path) -> Self {
        self.flag(&["--with-ns", &format!("network:{}", path.display())])
    }

    pub(crate) fn env(self, name: &str, value: &str) -> Self {
        self.flag(&["--env", &format!("{name}={value}")])
    }

    /// Gives it a device node under the same path.
    pub(crate) fn device(self, path: &str) -> Self {
        self.flag(&["--device", path])
    }

    /// Bind-mounts a file or folder, writable.
    pub(crate) fn mount(self, from: &str, to: &str) -> Self {
        self.flag(&["--mount", &format!("type=bind,src={from},dst={to},options=rbind:rw")])
    }

    /// Any other flag of `ctr run`.
    pub(crate) fn flag(mut self, words: &[&str]) -> Self {
        self.flags.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// What it runs, in place of what it would.
    pub(crate) fn with(self, program: &str) -> Self {
        self.args(&[program])
    }

    /// What it runs, with arguments.
    pub(crate) fn args<S: AsRef<str>>(mut self, words: &[S]) -> Self {
        self.command = words.iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = ctr();
        command.arg("run").args(more).args(&self.flags);
        match self.root {
            Root::Busybox => command.arg(BUSYBOX),
            Root::Debian => command.args(["--rootfs", DEBIAN]),
        };
        command.arg(&self.name).args(&self.command);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_before_the_image_and_the_command_after_the_name() {
        let container =
            Container::busybox("pod").netns(Path::new("/run/netns/a")).env("A", "1").args(&["ip", "addr"]);
        let command = container.command(&["--rm"]);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        let line = words.join(" ");
        assert_eq!(
            line,
            "--namespace k8s.io run --rm --with-ns network:/run/netns/a --env A=1 testbed.local/busybox:1 pod ip addr"
        );
    }
}
