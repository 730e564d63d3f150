//! The Go program that `host-device` is measured beside: containernetworking-plugins 1.9 from Debian forky.
//! Unpacked into the cache, never installed; apt works on a state of its own and the machine's is left alone.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;

use crate::apt;
use crate::cache::Cache;
use crate::phases::Phases;
use crate::tool;

/// bookworm's 1.1.1 is a generation older, without DPDK devices; forky's is today's.
const SUITE: &str = "forky";
const PACKAGE: &str = "containernetworking-plugins";
const RECIPE: &str = "peer recipe 1";

/// The path of the peer's `host-device`, downloaded if it is not in the cache.
pub fn host_device() -> Result<PathBuf> {
    Phases::watch(|phases| {
        let entry = Cache::open()?.entry(phases, "peer", &[RECIPE, SUITE, PACKAGE], |folder| {
            phases.run("peer: Debian forky's containernetworking-plugins", || fetch(folder))
        })?;
        Ok(entry.join("tree/usr/lib/cni/host-device"))
    })
}

fn fetch(folder: &Path) -> Result<()> {
    let state = folder.join("apt");
    for part in ["lists/partial", "archives/partial", "preferences.d"] {
        fs::create_dir_all(state.join(part))?;
    }
    let sources = apt::sources()?;
    fs::write(state.join("sources.list"), format!("deb {} {SUITE} main\n", apt::main_archive(&sources)?))?;
    fs::write(state.join("status"), "")?;

    let place = |option: &str, name: &str| format!("{option}={}", state.join(name).display());
    let options = [
        place("Dir::State", ""),
        place("Dir::State::Lists", "lists"),
        place("Dir::State::status", "status"),
        place("Dir::Cache", ""),
        place("Dir::Cache::archives", "archives"),
        place("Dir::Etc::sourcelist", "sources.list"),
        place("Dir::Etc::sourceparts", "none"),
        place("Dir::Etc::preferencesparts", "preferences.d"),
        "APT::Sandbox::User=root".to_owned(),
        // One package is looked up: no translations, no AppStream data.
        "Acquire::Languages=none".to_owned(),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
    ];
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command.arg("-qq").current_dir(folder);
        for option in &options {
            command.args(["-o", option]);
        }
        command
    };
    tool::run(apt_get().arg("update"))?;
    tool::run(apt_get().args(["download", PACKAGE]))?;

    let names = fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path());
    let deb = names.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let tree = folder.join("tree");
    apt::unpack(&deb.context("apt-get download ended well and left no package")?, &tree)?;
    ensure!(tree.join("usr/lib/cni/host-device").is_file(), "{PACKAGE} holds no /usr/lib/cni/host-device");
    fs::remove_dir_all(&state).context("cannot remove apt's private state")
}
