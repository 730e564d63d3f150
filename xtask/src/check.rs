//! `test` and `ci`: everything that has to hold before a change goes in.

use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;

use anyhow::Result;

use crate::cargo::cargo;
use crate::cargo::packages;
use crate::cargo::run;
use crate::cargo::target;
use crate::end_to_end;
use crate::shipped;
use crate::tally;
use crate::tally::Tally;

/// `test`: ends with the line `N passed, N failed`.
pub(crate) fn test() -> Result<ExitCode> {
    ensure_nextest()?;
    let mut total = Tally::default();
    tests(&mut total);
    Ok(conclude(total))
}

/// `ci`: what `test` runs, after formatting and lints. They do not end it: one run tells all there is to tell.
pub(crate) fn ci() -> Result<ExitCode> {
    ensure_nextest()?;
    let mut total = Tally::default();
    total.note("cargo fmt", run(cargo().args(["fmt", "--all", "--check"])));
    let clippy = run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]));
    total.note("cargo clippy", clippy);
    total.note("cargo check of the fuzz targets", fuzz_targets());
    total.note("cargo check of the plugins for musl", plugins_for_musl());
    tests(&mut total);
    Ok(conclude(total))
}

/// They are a workspace of their own, whose fuzzer is C++; nothing is linked here, so any path will do for it.
fn fuzz_targets() -> Result<()> {
    let mut check = cargo();
    check.args(["check", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"]).arg(target());
    run(check.env("CUSTOM_LIBFUZZER_PATH", "/dev/null"))
}

/// As they are shipped, where that can be built; a machine that cannot ships others (docs/decisions/0014).
fn plugins_for_musl() -> Result<()> {
    let Some(triple) = shipped::installed_musl()? else {
        println!("musl's standard library is not installed here: the plugins are not checked with it");
        return Ok(());
    };
    run(cargo().arg("check").args(packages(shipped::PLUGINS)).args(["--target", &triple]))
}

fn tests(total: &mut Tally) {
    total.note("cargo build", run(cargo().args(["build", "--workspace"])));
    let mut nextest = cargo();
    nextest.args(["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests=pass"]);
    total.run(&mut nextest, tally::nextest);
    total.run(cargo().args(["test", "--doc", "--workspace", "--no-fail-fast"]), tally::libtest);
    let on_node = end_to_end::run(total);
    total.note("the emulated node", on_node);
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
