//! `test` and `ci`: everything that has to hold before a change goes in.

use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;

use anyhow::Result;
use testbed::Job;

use crate::cargo::PROGRAMS;
use crate::cargo::cargo;
use crate::cargo::run;
use crate::node;
use crate::tally;
use crate::tally::Tally;

/// The guest's jobs that make up the end-to-end tests, each on a node of its own.
const JOBS: &[&str] = &[node::SMOKE];

/// `test`: ends with the line `N passed, N failed`.
pub(crate) fn test() -> Result<ExitCode> {
    Ok(conclude(tests()?))
}

/// `ci`: what `test` runs, after formatting and lints.
pub(crate) fn ci() -> Result<ExitCode> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    Ok(conclude(tests()?))
}

fn tests() -> Result<Tally> {
    let mut total = Tally::default();
    ensure_nextest()?;
    run(cargo().args(["build", "--workspace"]))?;
    let mut nextest = cargo();
    nextest.args(["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests=pass"]);
    total.add(Tally::of(&mut nextest, tally::nextest)?);
    total.add(Tally::of(cargo().args(["test", "--doc", "--workspace", "--no-fail-fast"]), tally::libtest)?);

    let rig = node::Rig::set_up(PROGRAMS)?;
    for job in JOBS {
        println!("On the emulated node: {job}");
        match rig.run(&Job { name: job, ..Job::default() }, node::print) {
            Ok(finished) => {
                total.add(Tally { passed: finished.cases_passed, failed: finished.cases_failed });
                // A job that dies between two cases has failed, too.
                total.failed += usize::from(!finished.passed() && finished.cases_failed == 0);
                if let Some(folder) = finished.folder {
                    println!("kept for a look: {}", folder.display());
                }
            }
            Err(error) => {
                println!("FAIL {job}: {error:#}");
                total.failed += 1;
            }
        }
    }
    Ok(total)
}

fn conclude(total: Tally) -> ExitCode {
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ensure_nextest() -> Result<()> {
    let mut version: Command = cargo();
    version.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if version.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    println!("cargo-nextest, which runs the tests, is not there: installing it with cargo (a few minutes)");
    run(cargo().args(["install", "--locked", "cargo-nextest"]))
}
