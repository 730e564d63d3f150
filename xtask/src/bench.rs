//! `bench`: the release binaries and what they promise, then `host-device` beside the Go one, then the Criterion benches.
//! Measures nothing itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::process::ExitCode;

use anyhow::Result;

use crate::cargo::build_release;
use crate::cargo::cargo;
use crate::cargo::run;

pub(crate) mod promise;

pub(crate) fn all() -> Result<ExitCode> {
    let go = testbed::peer_host_device()?;
    let release = build_release()?;
    println!();
    let kept = promise::all_kept(&release)?;

    beside(&release, &go)?;
    run(cargo().args(["bench", "--package", "benches", "--bench", "scan_and_select"]))?;
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As root, for it makes network namespaces. A development build will do: of its own work only the making of one message is
/// measured, microseconds beside the milliseconds of a move.
fn beside(release: &Path, go: &Path) -> Result<()> {
    const HARNESS: &str = "host_device_beside";
    run(cargo().args(["build", "--package", "benches", "--bin", HARNESS]))?;
    let harness = release.with_file_name("debug").join(HARNESS);
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
    run(command.arg(format!("--state={}", release.display())))
}
