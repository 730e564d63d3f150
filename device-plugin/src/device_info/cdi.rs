//! Container Device Interface: a specification file for each pool, and the names by which a runtime finds devices in them.
//! It must not hold what a container gets in any other way than as files: the runtime reads them, not us.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

use crate::config::{PoolConfig, Resource};
use crate::inventory::Kind;

use super::Node;

mod spec;

/// What every file of ours begins with, as the Go plugin's do.
const PREFIX: &str = "sriov-dp-";

/// The longest name of an annotation, behind its prefix (`k8s.io/apimachinery`, `qualifiedNameMaxLength`).
const LONGEST_KEY: usize = 63;

/// Devices cannot be handed out by CDI.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The prefix is no vendor of CDI's.
    #[error(
        "pool {pool}: {vendor:?} is no CDI vendor, which is letters, digits, '_', '-' and '.', a letter first and a letter or digit last; change resourcePrefix"
    )]
    Vendor {
        /// The pool.
        pool: Resource,
        /// Its prefix.
        vendor: String,
    },
    /// The file cannot be written.
    #[error("pool {pool}: cannot write the CDI specification {path}: {source}; is --cdi-dir writable?")]
    Write {
        /// The pool.
        pool: Resource,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The files in one folder, and what is in them.
#[derive(Debug)]
pub struct Cdi {
    dir: PathBuf,
    written: Mutex<HashMap<Resource, Written>>,
}

/// A file that was written.
#[derive(Clone, Debug)]
struct Written {
    devices: BTreeMap<String, Vec<Node>>,
    stamp: Stamp,
}

/// What tells a file from another one under its name, and from itself after a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(file: &Metadata) -> Self {
        let modified = (file.mtime(), file.mtime_nsec());
        Self { device: file.dev(), inode: file.ino(), length: file.len(), modified }
    }
}

/// How a runtime is told of the devices of one container.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names {
    /// Fully qualified, for the field of the kubelet's API.
    pub devices: Vec<String>,
    /// The same as an annotation, for kubelets and runtimes without that field.
    pub annotation: Option<(String, String)>,
}

impl Cdi {
    /// Files in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, written: Mutex::default() }
    }

    /// Takes out of the files that an earlier run has left every device that does not stay, by the file's name and the
    /// device's, and removes those in which none does. The files of `pools` are written over, so that a runtime finds a
    /// running pod's devices at every moment. Whether a file is left.
    pub fn cut_others(&self, pools: &[&PoolConfig], stays: impl Fn(&str, &str) -> bool) -> bool {
        let ours: Vec<String> = pools.iter().map(|pool| file_name(pool)).collect();
        let mut left = false;
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PREFIX) && !ours.contains(&name) {
                left |= self.cut(&entry.path(), |device| stays(&name, device));
            }
        }
        left
    }

    /// Whether the file is left.
    fn cut(&self, path: &Path, stays: impl Fn(&str) -> bool) -> bool {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!("cannot read {}: {error}", path.display());
                return true;
            }
        };
        match spec::cut(&text, stays) {
            None => {
                remove(path);
                false
            }
            Some(cut) => {
                if cut != text
                    && let Err(error) = put(&self.dir, path, &cut)
                {
                    tracing::warn!("cannot write {}: {error}", path.display());
                }
                true
            }
        }
    }

    /// Removes the file of a pool that is no more.
    pub fn remove(&self, pool: &PoolConfig) {
        self.written().remove(&pool.resource);
        remove(&self.dir.join(file_name(pool)));
    }

    /// Whether the file of a pool is as it was written last, where one was: a Go plugin that ends removes it.
    pub fn is_intact(&self, pool: &PoolConfig) -> bool {
        let Some(stamp) = self.written().get(&pool.resource).map(|written| written.stamp) else {
            return true;
        };
        fs::symlink_metadata(self.dir.join(file_name(pool))).is_ok_and(|file| Stamp::from(&file) == stamp)
    }

    /// Writes the file of a pool anew, with these devices and no others, where it says something else.
    pub fn replace(&self, pool: &PoolConfig, devices: BTreeMap<String, Vec<Node>>) -> Result<(), Error> {
        let same = self.written().get(&pool.resource).is_some_and(|written| written.devices == devices);
        if same && self.is_intact(pool) {
            return Ok(());
        }
        let stamp = self.write(pool, &devices)?;
        self.written().insert(pool.resource.clone(), Written { devices, stamp });
        Ok(())
    }

    /// Writes the file again where one of these devices has other nodes than it says.
    pub fn update(&self, pool: &PoolConfig, devices: BTreeMap<String, Vec<Node>>) -> Result<(), Error> {
        let written = self.written().get(&pool.resource).cloned();
        let mut all = written.map(|written| written.devices).unwrap_or_default();
        all.extend(devices);
        self.replace(pool, all)
    }

    fn write(&self, pool: &PoolConfig, devices: &BTreeMap<String, Vec<Node>>) -> Result<Stamp, Error> {
        let vendor = pool.resource.prefix();
        if !is_vendor(vendor) {
            return Err(Error::Vendor { pool: pool.resource.clone(), vendor: vendor.to_owned() });
        }
        let path = self.dir.join(file_name(pool));
        put(&self.dir, &path, &spec::text(&kind(pool), devices)).map_err(|source| Error::Write {
            pool: pool.resource.clone(),
            path,
            source,
        })
    }

    fn written(&self) -> MutexGuard<'_, HashMap<Resource, Written>> {
        // A panic between two maps leaves none half made.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of devices of a pool. Every pool has an annotation of its own: a kubelet keeps one of two with one key, which
/// is how the Go plugin loses a pool.
pub fn names(pool: &PoolConfig, ids: &[String]) -> Names {
    let kind = kind(pool);
    let devices: Vec<String> = ids.iter().map(|id| format!("{kind}={id}")).collect();
    let annotation = (!devices.is_empty()).then(|| (annotation_key(pool), devices.join(",")));
    Names { devices, annotation }
}

/// `cdi.k8s.io/<prefix>_<class>_<name>`; what is too long ends in a number made of the whole.
pub fn annotation_key(pool: &PoolConfig) -> String {
    let mut key = format!("{}_{}_{}", pool.resource.prefix(), class(pool.kind), pool.resource.name());
    if key.len() > LONGEST_KEY {
        // FNV-1a: the same on every node and in every version.
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let kept = key.floor_char_boundary(LONGEST_KEY - 17);
        key = format!("{}-{hash:016x}", &key[..kept]);
    }
    // A name may end in '-' or '_', a key may not.
    if key.ends_with(['-', '_', '.']) {
        key.pop();
        key.push('0');
    }
    format!("cdi.k8s.io/{key}")
}

fn kind(pool: &PoolConfig) -> String {
    format!("{}/{}", pool.resource.prefix(), class(pool.kind))
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Network => "net-pci",
        Kind::Accelerator => "net-accel",
        Kind::Subfunction => "net-sf",
    }
}

fn file_name(pool: &PoolConfig) -> String {
    let resource = &pool.resource;
    format!("{PREFIX}{}-{}-{}.yaml", resource.prefix(), class(pool.kind), resource.name()).replace('/', "-")
}

/// Whether a file with that name is a pool's of `resource`, whatever its kind.
pub fn is_file_of(file: &str, resource: &str) -> bool {
    [Kind::Network, Kind::Accelerator, Kind::Subfunction].iter().any(|kind| {
        let between = format!("-{}-", class(*kind));
        file == format!("{PREFIX}{}.yaml", resource.replace('/', &between))
    })
}

/// `validateVendorOrClassName` of CDI's `pkg/parser`.
pub fn is_vendor(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(inside)
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => tracing::debug!("removed {}, which no pool has", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("cannot remove {}: {error}", path.display()),
    }
}

/// Readable by root alone, as the Go plugin's; whole or not at all. What tells it from another.
fn put(dir: &Path, path: &Path, text: &str) -> io::Result<Stamp> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(Stamp::from(&file.persist(path)?.metadata()?))
}

#[cfg(test)]
mod tests;
