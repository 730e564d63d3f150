//! What an ADD makes the kernel load: nothing, whatever the pod calls its interface.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use nix::net::if_::if_nametoindex;
use serde_json::json;

use super::conf;
use crate::cni::Sandbox;
use crate::cni::same;
use crate::cni::state;
use crate::host::ENI;
use crate::host::Function;

/// The program that the kernel runs to have a module loaded, and waits for.
const LOADER: &str = "/proc/sys/kernel/modprobe";
const RECORDER: &str = "/run/modprobe-recorder";
const RECORD: &str = "/run/modprobe-record";

pub(super) fn run(nic: &Function) -> Result<String> {
    let usual = fs::read_to_string(LOADER).context("no kernel.modprobe")?;
    fs::write(RECORDER, format!("#!/bin/sh\necho \"$@\" >>{RECORD}\nexit 1\n"))?;
    fs::set_permissions(RECORDER, fs::Permissions::from_mode(0o755))?;
    fs::write(RECORD, "")?;
    fs::write(LOADER, RECORDER)?;
    let asked = recorded(nic);
    fs::write(LOADER, usual.trim_end())?;
    asked
}

fn recorded(nic: &Function) -> Result<String> {
    // What is recorded at all: an ioctl about a name that no link has.
    ensure!(if_nametoindex("control0").is_err(), "there is a link called control0");
    let control = fs::read_to_string(RECORD)?;
    ensure!(control.contains("netdev-control0"), "the recorder saw nothing: {control}");
    let before = state(nic, None)?;
    let pod = Sandbox::create("modules")?;
    let conf = conf(&json!({"cniVersion": "1.1.0", "pciBusID": ENI}));
    pod.add(&conf)?;
    pod.del(&conf)?;
    same(&before, &state(nic, None)?)?;
    let asked = fs::read_to_string(RECORD)?;
    ensure!(asked == control, "an ADD and its DEL had the kernel load {}", &asked[control.len()..]);
    Ok(control.trim().to_owned())
}
