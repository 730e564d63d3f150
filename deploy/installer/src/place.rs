//! One file into one directory, so that a runtime which starts the plugin at any moment finds the old one or the new one whole.
//! It must not follow a symbolic link at the target.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Begins the names of half-written files. A runtime looks for plugins by name and never for this one.
const PREFIX: &str = ".install-cni-";

/// Copies `file` into `directory` and says what was done.
pub(crate) fn place(file: &Path, directory: &Path) -> Result<String> {
    let wanted = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let name = file.file_name().with_context(|| format!("{} has no file name", file.display()))?;
    let target = directory.join(name);
    if is_there(&target, &wanted) {
        return Ok(format!("{} is up to date", target.display()));
    }
    write(&wanted, &target, directory).with_context(|| format!("write {}", target.display()))?;
    Ok(format!("{} written, {} bytes", target.display(), wanted.len()))
}

/// Removes what an earlier run, killed half-way, left in `directory`.
pub(crate) fn sweep(directory: &Path) -> Result<()> {
    let sweep = || -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    sweep().with_context(|| format!("clean {}", directory.display()))
}

/// Whether `target` is this file already. A symbolic link is not: K3s fills its directory with absolute ones, which lead
/// nowhere for a Multus that sees the directory alone.
fn is_there(target: &Path, wanted: &[u8]) -> bool {
    let regular = fs::symlink_metadata(target)
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o7777 == 0o755);
    regular && fs::read(target).is_ok_and(|found| found == wanted)
}

fn write(bytes: &[u8], target: &Path, directory: &Path) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(0o700))
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    // Set apart from the creation, which the umask would narrow.
    file.as_file().set_permissions(Permissions::from_mode(0o755))?;
    file.as_file().sync_all()?;
    file.persist(target)?;
    File::open(directory)?.sync_all()
}
