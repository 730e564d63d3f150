//! Device-info files: what Multus hands on to a pod's annotations, by the Network Plumbing Working Group's
//! device information specification 1.1.0. It must not leave half a file where a reader could see it.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::config::Resource;

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("device {id}: cannot write its device-info file {path}: {source}; is --devinfo-dir writable?")]
pub struct Error {
    id: String,
    path: PathBuf,
    source: io::Error,
}

/// In the Go plugin's order of keys.
#[derive(Serialize)]
struct DeviceInfo<'a> {
    r#type: &'static str,
    version: &'static str,
    pci: Pci<'a>,
}

#[derive(Serialize)]
struct Pci<'a> {
    #[serde(rename = "pci-address")]
    address: &'a str,
}

/// Writes the file of one PCI device, in the place of the one that may be there.
pub(super) fn write(dir: &Path, resource: &Resource, id: &str) -> Result<(), Error> {
    let path = dir.join(resource.device_info_name(id));
    let info = DeviceInfo { r#type: "pci", version: "1.1.0", pci: Pci { address: id } };
    replace(dir, &path, &info).map_err(|source| Error { id: id.to_owned(), path, source })
}

fn replace(dir: &Path, path: &Path, info: &DeviceInfo<'_>) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(serde_json::to_string(info)?.as_bytes())?;
    fs::set_permissions(file.path(), Permissions::from_mode(0o444))?;
    file.persist(path)?;
    Ok(())
}
