//! The cargo commands that the others are made of, and the folder of programs that the node is given.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use testbed::Scratch;

/// The programs under test, by package; each is named as its package.
pub(crate) const PROGRAMS: &[&str] = &["sriovdp", "sriov", "host-device"];

/// The program that runs inside the node, and tests the others.
const GUEST: &str = "guest";

/// `cargo`, the one that runs us, at the root of the workspace. What it builds without a target's name is this machine's, and
/// where this machine's is looked for.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace()).env_remove("CARGO_BUILD_TARGET");
    command
}

/// Runs a command with its output on ours.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot start {name}"))?;
    ensure!(status.success(), "{name} failed ({status})");
    Ok(())
}

/// Builds the guest program and `programs` into a new folder, the node's `/share`.
pub(crate) fn share(programs: &[&str]) -> Result<Scratch> {
    // The development build, which the other tests need anyway: a second one would cost more than it wins in the node.
    run(cargo().args(["build", "--quiet"]).args(packages(programs)).args(packages(&[GUEST])))?;
    let share = Scratch::new("share")?;
    for program in programs.iter().chain([&GUEST]) {
        let from = target().join("debug").join(program);
        fs::copy(&from, share.path().join(program))
            .with_context(|| format!("cargo built no {}", from.display()))?;
    }
    Ok(share)
}

/// What cargo is told to build these packages.
pub(crate) fn packages(names: &[&str]) -> Vec<String> {
    names.iter().flat_map(|name| ["--package".to_owned(), (*name).to_owned()]).collect()
}

/// The root of the checkout.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => workspace().join(folder),
        None => workspace().join("target"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_where_it_is_looked_for() {
        assert!(cargo().get_envs().any(|variable| variable == ("CARGO_BUILD_TARGET".as_ref(), None)));
    }
}
