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
use anyhow::ensure;

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
    build_for(None, &packages(DAEMONS), DAEMONS)?;
    build_plugins(PLUGINS)
}

/// Builds some of the plugins, and returns the folder that has them.
pub(crate) fn build_plugins(plugins: &[&str]) -> Result<PathBuf> {
    build_for(musl()?.as_deref(), &packages(plugins), plugins)
}

/// Builds what a plugin is compared with as the plugin is built.
pub(crate) fn build_like_plugin(package: &str, program: &str) -> Result<PathBuf> {
    let select = ["--package", package, "--bin", program].map(str::to_owned);
    build_for(musl()?.as_deref(), &select, &[program])
}

/// The musl target of this machine, where its standard library is here or rustup brings it.
fn musl() -> Result<Option<String>> {
    let triple = musl_triple();
    if !has_std(&triple)? {
        println!("{triple}, for which the plugins are built, is not there: adding it with rustup");
        // Whoever has Rust from elsewhere has no rustup.
        let _ = Command::new("rustup").args(["target", "add", &triple]).current_dir(workspace()).status();
    }
    if has_std(&triple)? {
        return Ok(Some(triple));
    }
    println!("it cannot be had here: the plugins are linked with this machine's C library, and are larger");
    Ok(None)
}

/// Whether plugins of this machine's kind can be built for musl as it is.
pub(crate) fn installed_musl() -> Result<Option<String>> {
    let triple = musl_triple();
    Ok(has_std(&triple)?.then_some(triple))
}

fn musl_triple() -> String {
    format!("{ARCH}-unknown-linux-musl")
}

fn has_std(triple: &str) -> Result<bool> {
    let mut rustc = Command::new("rustc");
    let told = rustc.args(["--print", "target-libdir", "--target", triple]).current_dir(workspace()).output();
    let told = told.context("cannot start rustc")?;
    ensure!(told.status.success(), "rustc knows no {triple}: {}", String::from_utf8_lossy(&told.stderr));
    Ok(Path::new(String::from_utf8_lossy(&told.stdout).trim()).is_dir())
}

/// Builds `programs` for a target, or for this machine's own, and puts them into the folder of what is shipped.
fn build_for(triple: Option<&str>, select: &[String], programs: &[&str]) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release"]).args(select);
    build.args(triple.map(|triple| format!("--target={triple}")));
    run(&mut build)?;
    let from = triple.map_or_else(target, |triple| target().join(triple)).join("release");
    let shipped = target().join("shipped");
    fs::create_dir_all(&shipped).with_context(|| format!("cannot make {}", shipped.display()))?;
    for program in programs {
        replace(&from.join(program), &shipped.join(program))?;
    }
    Ok(shipped)
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
