//! `sriov` beside any other `sriov` and the bare kernel, on the VFs of both PFs. No test: what it says are figures.

use std::fs;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;

use super::Cases;
use crate::host;
use crate::host::PF0;
use crate::host::PF1;
use crate::host::Pf;
use crate::report;

/// The harness of `benches/`, and the binaries that are compared, named as they are told of.
const HARNESS: &str = "/share/sriov_beside";
const BINARIES: &str = "/share/beside";

pub(super) fn run(cases: &mut Cases) -> Result<()> {
    let pfs = [PF0, PF1];
    for pf in pfs {
        Pf::at(pf)?.create_vfs(4)?;
    }
    cases.run("figures", || figures(&pfs));
    Ok(())
}

fn figures(pfs: &[&str]) -> Result<()> {
    let mut names: Vec<String> = fs::read_dir(BINARIES)
        .with_context(|| format!("no {BINARIES}: this job is run by `cargo xtask bench`"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    ensure!(!names.is_empty(), "nothing to compare in {BINARIES}");
    // Ours first: the others are compared with it.
    names.sort_by_key(|name| (name != "sluice", name.clone()));
    let mut harness = Command::new(HARNESS);
    harness.args(names.iter().map(|name| format!("--binary={name}={BINARIES}/{name}")));
    harness.args(pfs.iter().map(|pf| format!("--pf={pf}")));
    for line in host::output(&mut harness)?.lines() {
        report::story(line)?;
    }
    Ok(())
}
