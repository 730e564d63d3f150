//! The one container image of the node: busybox, as an OCI archive that containerd imports.
//! Written from the OCI image specification 1.1 (image-layout.md, config.md, manifest.md).

use anyhow::Context;
use anyhow::Result;
use serde_json::Value;
use serde_json::json;

use crate::digest;
use crate::tar::Tar;

/// The names under which containerd knows the image; the second is what a CRI sandbox runs.
const REFERENCES: &[&str] = &["testbed.local/busybox:1", "testbed.local/pause:1"];

/// Commands that tests type; busybox looks at its own name to know which to be.
const APPLETS: &[&str] = &[
    "ash", "cat", "cp", "date", "dd", "df", "echo", "env", "false", "find", "grep", "head", "hostname", "id",
    "ip", "ifconfig", "kill", "ln", "ls", "mkdir", "mount", "mv", "nc", "ping", "ps", "pwd", "readlink",
    "rm", "route", "sed", "seq", "sh", "sleep", "sort", "stat", "tail", "tee", "test", "timeout", "touch",
    "tr", "trap", "true", "uname", "vi", "wc", "wget", "xargs", "yes",
];

/// The archive, from the static `busybox` program.
pub(crate) fn archive(busybox: &[u8]) -> Result<Vec<u8>> {
    let layer = layer(busybox)?;
    let layer_digest = format!("sha256:{}", digest::sha256(&layer)?);
    let config = serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Cmd": ["/bin/pause"] },
        // The layer is not compressed, so its digest is the same as that of its content.
        "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config)?,
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)?],
    }))?;
    let mut manifests = Vec::new();
    for reference in REFERENCES {
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest)?;
        let object = entry.as_object_mut().context("a descriptor is an object")?;
        object.insert("annotations".to_owned(), json!({ "io.containerd.image.name": reference }));
        manifests.push(entry);
    }

    let mut tar = Tar::default();
    tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tar.file(
        "index.json",
        0o644,
        &serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": manifests }))?,
    )?;
    tar.folder("blobs")?;
    tar.folder("blobs/sha256")?;
    for blob in [&layer, &config, &manifest] {
        tar.file(&format!("blobs/sha256/{}", digest::sha256(blob)?), 0o644, blob)?;
    }
    Ok(tar.finish())
}

fn layer(busybox: &[u8]) -> Result<Vec<u8>> {
    let mut tar = Tar::default();
    for folder in ["bin", "dev", "etc", "proc", "sys", "tmp", "run"] {
        tar.folder(folder)?;
    }
    tar.file("bin/busybox", 0o755, busybox)?;
    for applet in APPLETS {
        tar.symlink(&format!("bin/{applet}"), "busybox")?;
    }
    // `wait` lets the shell take the signal at once; a foreground sleep would hold it back.
    let pause = b"#!/bin/sh\ntrap 'exit 0' TERM INT\nwhile true; do sleep 3600 & wait $!; done\n";
    tar.file("bin/pause", 0o755, pause)?;
    Ok(tar.finish())
}

fn descriptor(media_type: &str, data: &[u8]) -> Result<Value> {
    let digest = format!("sha256:{}", digest::sha256(data)?);
    Ok(json!({ "mediaType": media_type, "digest": digest, "size": data.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_busybox_gives_the_same_archive() {
        let one = archive(b"a program").unwrap();
        assert_eq!(one, archive(b"a program").unwrap());
        assert_ne!(one, archive(b"another one").unwrap());
    }
}
