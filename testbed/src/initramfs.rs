//! The first userland: the guest program as `/init`, and the modules that it loads to reach the real root.
//! Written at every boot, for the guest program is what changes most.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::cpio::Cpio;

/// Writes it to `file`.
pub(crate) fn write(file: &Path, guest: &Path, modules: &[PathBuf]) -> Result<()> {
    let mut cpio = Cpio::default();
    for folder in ["dev", "proc", "sys", "modules", "lower", "kernel", "rw", "newroot"] {
        cpio.folder(folder)?;
    }
    // The kernel opens it for init's stdio before anybody could mount devtmpfs.
    cpio.character_device("dev/console", 5, 1)?;
    cpio.program(
        "init",
        &fs::read(guest).with_context(|| format!("no guest program at {}", guest.display()))?,
    )?;
    for module in modules {
        let name = module.file_name().context("a module has a name")?.to_string_lossy().into_owned();
        cpio.program(&format!("modules/{name}"), &fs::read(module)?)?;
    }
    fs::write(file, cpio.finish()?).with_context(|| format!("cannot write {}", file.display()))
}
