//! `bench`: the benches of the crate `benches`, with the Go program that `host-device` is measured beside.

use std::process::ExitCode;

use anyhow::Result;

use crate::cargo::cargo;
use crate::cargo::run;

/// The benches find the peer's program under this name; without it they leave the comparison out.
const PEER: &str = "SLUICE_PEER_HOST_DEVICE";

pub(crate) fn all() -> Result<ExitCode> {
    let peer = testbed::peer_host_device()?;
    run(cargo().args(["bench", "--package", "benches"]).env(PEER, peer))?;
    Ok(ExitCode::SUCCESS)
}
