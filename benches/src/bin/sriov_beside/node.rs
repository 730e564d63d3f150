//! The VFs that everyone attaches, and a pod for each.
//! It must not measure.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use benches::bare::{IN_POD, Side, Vf};
use netlink::Netns;
use testkit::netns::Namespace;

/// A host with VFs to give away, and pods.
pub(crate) struct Node {
    host: Side,
    attachments: Vec<Attachment>,
}

/// One VF and its pod.
struct Attachment {
    address: String,
    vf: Vf,
    namespace: Namespace,
    pod: Side,
}

impl Node {
    /// Takes the VFs of the PFs whose directories in sysfs these are, at most `limit`.
    pub(crate) fn new(pfs: &[PathBuf], limit: usize) -> Result<Self> {
        let mut host = Side::of(Netns::current()?)?;
        let mut attachments = Vec::new();
        for pf in pfs {
            let index = host.netlink.link_by_name(&first(&pf.join("net"))?.parse()?)?.index;
            let count: u32 = fs::read_to_string(pf.join("sriov_numvfs"))?.trim().parse()?;
            for number in 0..count {
                let vf = fs::canonicalize(pf.join(format!("virtfn{number}")))?;
                attachments.push(Attachment::of(&vf, number, index)?);
            }
        }
        attachments.truncate(limit);
        Ok(Self { host, attachments })
    }

    /// How many VFs there are.
    pub(crate) fn vfs(&self) -> usize {
        self.attachments.len()
    }

    /// A VF's address, the VF, and its pod's namespace.
    pub(crate) fn attachment(&self, vf: usize) -> (&str, &Vf, PathBuf) {
        let Attachment { address, vf, namespace, .. } = &self.attachments[vf];
        (address, vf, namespace.path())
    }

    /// Fails unless the first `vfs` are where `command` takes them from: no one is measured while doing nothing.
    pub(crate) fn ready(&mut self, command: &str, vfs: usize) -> Result<()> {
        for Attachment { address, vf, pod, .. } in &mut self.attachments[..vfs] {
            match (command, pod.netlink.link_by_name(&IN_POD.parse()?)) {
                ("ADD", Err(error)) if error.is_no_link() => {
                    self.host.netlink.link_by_name(&vf.name).context("before ADD")?;
                }
                ("DEL", Ok(_)) => {}
                (_, found) => bail!("before {command} of {address}: {found:?} in the pod"),
            }
        }
        Ok(())
    }

    /// All that the kernel need be told for one VF.
    pub(crate) fn bare(&mut self, command: &str, vf: usize) -> Result<()> {
        let Attachment { vf, pod, .. } = &mut self.attachments[vf];
        if command == "ADD" { vf.add(&mut self.host, pod) } else { vf.del(&mut self.host, pod) }
    }
}

impl Attachment {
    fn of(vf: &Path, number: u32, pf: u32) -> Result<Self> {
        let address = vf.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = first(&vf.join("net"))?.parse()?;
        let namespace = Namespace::new("bench-pod");
        let pod = Side::of(Netns::open(namespace.path())?)?;
        Ok(Self { address, vf: Vf { pf, number, name }, namespace, pod })
    }
}

/// The name of the first entry.
fn first(dir: &Path) -> Result<String> {
    let entry = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?.next();
    let entry = entry.with_context(|| format!("{} is empty: no network device here", dir.display()))??;
    Ok(entry.file_name().to_string_lossy().into_owned())
}
