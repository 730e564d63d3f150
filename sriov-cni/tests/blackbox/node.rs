//! A node whose sysfs and state are directories of the test's, and an IPAM plugin that tells what it was asked.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::runtime::{Invocation, Output};
use testkit::sysfs::Tree;

pub(crate) const PF: &str = "0000:3b:00.0";
/// On its kernel driver, with a network device.
pub(crate) const VF: &str = "0000:3b:02.0";
/// On its kernel driver, without one: it is in some pod.
pub(crate) const AWAY: &str = "0000:3b:02.1";
/// For DPDK.
pub(crate) const USERSPACE: &str = "0000:3b:02.2";

/// The network namespace of this test, which is alive.
pub(crate) fn living() -> String {
    format!("/proc/{}/ns/net", std::process::id())
}

pub(crate) struct Node {
    pub(crate) tree: Tree,
    pub(crate) dir: tempfile::TempDir,
}

impl Node {
    /// A PF with three VFs. The kernel's `lo` plays the PF's network device: it is there, and has no VFs.
    pub(crate) fn new() -> Self {
        let tree = Tree::new();
        tree.pf(PF, "lo");
        tree.vf(VF, PF).netdev("sluice-none");
        tree.vf(AWAY, PF);
        tree.vf(USERSPACE, PF).on_vfio(7);
        let node = Self { tree, dir: tempfile::tempdir().unwrap() };
        let script = node.path("ipam/told");
        fs::create_dir_all(script.parent().unwrap()).unwrap();
        fs::write(&script, IPAM).unwrap();
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A call about `net1` of container `c1`, in the namespace of this test, which no mistake of the plugin's can harm: there
    /// is no VF to move.
    pub(crate) fn call(&self, command: &str, conf: &Value) -> Invocation {
        Invocation::attachment(command, "c1", &living(), "net1")
            .path(self.path("ipam"))
            .env("SLUICE_STATE_DIR", self.state().to_string_lossy())
            .env("SLUICE_SYSFS_ROOT", self.tree.sys().to_string_lossy())
            .env("IPAM_LOG", self.path("ipam.log").to_string_lossy())
            .env("CNI_NETNS_OVERRIDE", "1")
            .conf(conf)
    }

    pub(crate) fn run(&self, command: &str, conf: &Value) -> Output {
        run(&self.call(command, conf))
    }

    /// All files of the state directory with their content, locks apart.
    pub(crate) fn files(&self) -> Vec<(PathBuf, String)> {
        let mut files = Vec::new();
        let mut dirs = vec![self.state()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    dirs.push(path);
                } else if path.extension().is_none_or(|extension| extension != "lock") {
                    let text = fs::read_to_string(&path).unwrap();
                    files.push((path, text));
                }
            }
        }
        files.sort();
        files
    }

    /// Writes a file of the state directory.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.state().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What the IPAM plugin was asked, a word a call.
    pub(crate) fn asked(&self) -> String {
        fs::read_to_string(self.path("ipam.log")).unwrap_or_default()
    }
}

/// Notes the command, and fails where the configuration says how.
const IPAM: &str = r#"#!/bin/sh
conf=$(cat)
echo "$CNI_COMMAND" >> "$IPAM_LOG"
case "$conf" in
*'"mode":"down"'*) echo '{"code":50,"msg":"the pool is empty","details":"192.0.2.0/24"}'; exit 1 ;;
*'"mode":"old"'*) echo '{"code":4,"msg":"unknown CNI_COMMAND: STATUS"}'; exit 1 ;;
esac
"#;

pub(crate) fn run(call: &Invocation) -> Output {
    call.run(Path::new(env!("CARGO_BIN_EXE_sriov")))
}

/// A network of that VF with more keys; `null` takes one away.
pub(crate) fn conf(device: &str, keys: &Value) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "sriov", "deviceID": device});
    for (key, value) in keys.as_object().unwrap() {
        if value.is_null() {
            conf.as_object_mut().unwrap().remove(key);
        } else {
            conf[key] = value.clone();
        }
    }
    conf
}
