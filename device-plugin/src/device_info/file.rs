//! Device-info files: what Multus hands on to a pod's annotations, by the Network Plumbing Working Group's
//! device information specification 1.1.0. It must not leave half a file where a reader could see it.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::config::Resource;
use crate::inventory::Device;
use crate::selector::Extras;

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
struct DeviceInfo {
    r#type: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pci: Option<Pci>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vdpa: Option<Vdpa>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Pci {
    pci_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rdma_device: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Vdpa {
    parent_device: String,
    driver: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    pci_address: String,
}

/// Writes the file of one PCI device, in the place of the one that may be there.
pub(super) fn write(dir: &Path, resource: &Resource, device: &Device, extras: Extras) -> Result<(), Error> {
    let id = device.id().to_string();
    let path = dir.join(resource.device_info_name(&id));
    replace(dir, &path, &describe(device, extras)).map_err(|source| Error { id, path, source })
}

fn describe(device: &Device, extras: Extras) -> DeviceInfo {
    let pci_address = device.function.address.to_string();
    let (version, vdpa) = ("1.1.0", device.vdpa.as_ref().filter(|_| extras.vdpa).zip(device.vdpa_type()));
    if let Some((vdpa, driver)) = vdpa {
        let path = vdpa.vhost.as_ref().map(|node| format!("/dev/{node}"));
        let vdpa = Some(Vdpa { parent_device: vdpa.name.clone(), driver, path, pci_address });
        return DeviceInfo { r#type: "vdpa", version, pci: None, vdpa };
    }
    let rdma_device = Some(device.rdma().join(",")).filter(|names| extras.rdma && !names.is_empty());
    DeviceInfo { r#type: "pci", version, pci: Some(Pci { pci_address, rdma_device }), vdpa: None }
}

fn replace(dir: &Path, path: &Path, info: &DeviceInfo) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(serde_json::to_string(info)?.as_bytes())?;
    fs::set_permissions(file.path(), Permissions::from_mode(0o444))?;
    file.persist(path)?;
    Ok(())
}
