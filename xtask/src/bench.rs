//! `bench`: the release binaries and what they promise, then `host-device` and `sriov` beside others, then the
//! Criterion benches.
//! Measures nothing itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;

use anyhow::Context;
use anyhow::Result;

use crate::cargo::cargo;
use crate::cargo::run;
use crate::cargo::target;
use crate::shipped;

pub(crate) mod promise;
mod sriov;

/// `bench sriov`: that comparison alone.
pub(crate) fn sriov(others: &[&str]) -> Result<ExitCode> {
    let others: Vec<(String, PathBuf)> = others.iter().map(|other| named(other)).collect::<Result<_>>()?;
    let release = shipped::build_plugins(&["sriov"])?;
    sriov::beside(&release, &others)?;
    Ok(ExitCode::SUCCESS)
}

/// `bench host-device`: that comparison alone, with more `host-device` binaries, as `NAME=PATH`, beside the Go program.
pub(crate) fn host_device(others: &[&str]) -> Result<ExitCode> {
    let others: Vec<(String, PathBuf)> = others.iter().map(|other| named(other)).collect::<Result<_>>()?;
    let go = testbed::peer_host_device()?;
    beside(&shipped::build_plugins(&["host-device"])?, &go, &others)?;
    Ok(ExitCode::SUCCESS)
}

/// `others`: more `sriov` binaries to compare ours with, as `NAME=PATH`. The Go one is packaged nowhere.
pub(crate) fn all(others: &[&str]) -> Result<ExitCode> {
    let others: Vec<(String, PathBuf)> = others.iter().map(|other| named(other)).collect::<Result<_>>()?;
    let go = testbed::peer_host_device()?;
    let release = shipped::build_all()?;
    println!();
    let kept = promise::all_kept(&release)?;

    beside(&release, &go, &[])?;
    sriov::beside(&release, &others)?;
    run(cargo().args(["bench", "--package", "benches", "--bench", "scan_and_select"]))?;
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn named(other: &str) -> Result<(String, PathBuf)> {
    let (name, path) = other.split_once('=').context("wanted a binary as NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
}

/// As root, for it makes network namespaces. A development build will do: of its own work only the making of one message is
/// measured, microseconds beside the milliseconds of a move.
fn beside(release: &Path, go: &Path, others: &[(String, PathBuf)]) -> Result<()> {
    const HARNESS: &str = "host_device_beside";
    run(cargo().args(["build", "--package", "benches", "--bin", HARNESS]))?;
    let harness = target().join("debug").join(HARNESS);
    // /proc/self belongs to the effective user (proc(5)).
    let mut command = if fs::metadata("/proc/self").is_ok_and(|of| of.uid() == 0) {
        Command::new(harness)
    } else {
        let mut command = Command::new("sudo");
        command.arg(harness);
        command
    };
    let binary = |name: &str, path: &Path| format!("--binary={name}={}", path.display());
    command.arg(binary("sluice", &release.join("host-device"))).arg(binary("go", go));
    command.args(others.iter().map(|(name, path)| binary(name, path)));
    run(command.arg(format!("--state={}", target().display())))
}
