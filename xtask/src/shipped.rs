//! The programs as they are shipped, in a folder of their own: what the image is made of and the benches measure.
//! It must not build them otherwise than a release says (docs/decisions/0003 and 0014).

use std::env::consts::ARCH;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;

use anyhow::Context;
use anyhow::Result;

use crate::bench::promise;
use crate::cargo::cargo;
use crate::cargo::packages;
use crate::cargo::run;
use crate::cargo::target;
use crate::cargo::workspace;

/// The daemon, and what puts the plugins in their place on a node (deploy/Dockerfile).
const DAEMONS: &[&str] = &["sriovdp", "install-cni"];

/// The programs that a runtime starts for each pod.
pub(crate) const PLUGINS: &[&str] = &["sriov", "host-device"];

/// `build`: all of them; fails if one is not what it promises.
pub(crate) fn release() -> Result<ExitCode> {
    let kept = promise::all_kept(&build_all()?)?;
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds all that is shipped, and returns the folder that has it.
pub(crate) fn build_all() -> Result<PathBuf> {
    ship(&build(None, &packages(DAEMONS))?, DAEMONS)?;
    build_plugins(PLUGINS)
}

/// Builds some of the plugins, and returns the folder that has them.
pub(crate) fn build_plugins(plugins: &[&str]) -> Result<PathBuf> {
    ship(&build(musl()?.as_deref(), &packages(plugins))?, plugins)
}

/// Builds what a plugin is compared with as the plugin is built, and returns the program. It is not shipped.
pub(crate) fn build_like_plugin(package: &str, program: &str) -> Result<PathBuf> {
    let select = ["--package", package, "--bin", program].map(str::to_owned);
    Ok(build(musl()?.as_deref(), &select)?.join(program))
}

/// The musl target of this machine, where its standard library is here or rustup brings it.
fn musl() -> Result<Option<String>> {
    if let Some(triple) = installed_musl()? {
        return Ok(Some(triple));
    }
    let triple = musl_triple();
    println!("{triple}, for which the plugins are built, is not there: adding it with rustup");
    // Whoever has Rust from elsewhere has no rustup.
    let _ = Command::new("rustup").args(["target", "add", &triple]).current_dir(workspace()).status();
    let installed = installed_musl()?;
    if installed.is_none() {
        println!(
            "it cannot be had here: the plugins are linked with this machine's C library, and are larger"
        );
    }
    Ok(installed)
}

/// The musl target of this machine, where its standard library is here already.
pub(crate) fn installed_musl() -> Result<Option<String>> {
    let triple = musl_triple();
    Ok(has_std(&triple)?.then_some(triple))
}

fn musl_triple() -> String {
    format!("{ARCH}-unknown-linux-musl")
}

/// Whether a target's standard library is here. Some machines' musl has another name than theirs, or none at all: rustc then
/// knows no such target.
fn has_std(triple: &str) -> Result<bool> {
    let mut rustc = Command::new("rustc");
    let told = rustc.args(["--print", "target-libdir", "--target", triple]).current_dir(workspace()).output();
    let told = told.context("cannot start rustc")?;
    Ok(told.status.success() && Path::new(String::from_utf8_lossy(&told.stdout).trim()).is_dir())
}

/// Builds for a target, or for this machine's own, and returns the folder that has the programs then.
fn build(triple: Option<&str>, select: &[String]) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release"]).args(select);
    build.args(triple.map(|triple| format!("--target={triple}")));
    run(&mut build)?;
    Ok(triple.map_or_else(target, |triple| target().join(triple)).join("release"))
}

/// Puts the programs that were built in `from` into the folder of what is shipped, and returns that one.
fn ship(from: &Path, programs: &[&str]) -> Result<PathBuf> {
    let shipped = target().join("shipped");
    fs::create_dir_all(&shipped).with_context(|| format!("cannot make {}", shipped.display()))?;
    remove_others(&shipped)?;
    for program in programs {
        replace(&from.join(program), &shipped.join(program))?;
    }
    Ok(shipped)
}

/// Takes away what is no shipped program: all that is in the folder is sent to whoever builds the image.
fn remove_others(shipped: &Path) -> Result<()> {
    let list = || format!("cannot list {}", shipped.display());
    for entry in fs::read_dir(shipped).with_context(list)? {
        let entry = entry.with_context(list)?;
        if DAEMONS.iter().chain(PLUGINS).any(|program| entry.file_name() == *program) {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}, which is not shipped", path.display()))?;
    }
    Ok(())
}

/// Copies a program over one that may be running.
fn replace(from: &Path, to: &Path) -> Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", to.display()));
        }
        _ => {}
    }
    fs::copy(from, to).with_context(|| format!("cargo built no {}", from.display())).map(drop)
}

#[cfg(test)]
mod tests {
    use testbed::Scratch;

    use super::*;

    #[test]
    fn a_target_that_rustc_does_not_know_has_no_standard_library() {
        assert!(!has_std("sluice-unknown-linux-musl").unwrap());
    }

    #[test]
    fn what_is_not_shipped_does_not_stay_among_what_is() {
        let folder = Scratch::new("shipped").unwrap();
        let folder = folder.path();
        fs::create_dir_all(folder.join(".tmp1/records")).unwrap();
        for file in ["sriov", "install-cni", "bare_vf", ".tmp1/records/c1-net1"] {
            fs::write(folder.join(file), "").unwrap();
        }
        remove_others(folder).unwrap();
        let left =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<String> = left.collect();
        left.sort();
        assert_eq!(left, ["install-cni", "sriov"]);
    }
}
