//! The state directory: records, claims and locks, each file written whole or not at all.
//! It must not know what a record means.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::record::{Owner, Record};

/// A plugin's state directory:
///
/// ```text
/// <root>/<containerID>-<ifname>        the record, beside the keys of the Go plugin's cache
/// <root>/<devices>/<device>            the path of the network namespace that has the device, as the Go plugin writes it
/// <root>/<devices>/owner/<device>      whose claim that is
/// <root>/<devices>/vf_lock/<device>.lock
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    devices: &'static str,
    foreign: Foreign,
}

/// Makes a record of a file that the Go plugin wrote; `None` where that file is no attachment.
pub type Foreign = fn(&Owner, &Map<String, Value>) -> Option<Record>;

/// Who has a device, as far as the claim says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// The path of the network namespace; `None` for a claim that was only begun.
    pub netns: Option<PathBuf>,
    /// The owner; `None` for a claim that the Go plugin wrote.
    pub owner: Option<Owner>,
}

/// The lock of one device, held until dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Our part of the record file. The Go plugin's keys stand beside it, and each program passes over the other's.
const OURS: &str = "sluice";
const LOCK_TIMEOUT: Duration = Duration::from_mins(1);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

impl Store {
    /// The state directory at `root`, with its claims below `devices`.
    pub fn new(root: impl Into<PathBuf>, devices: &'static str) -> Self {
        Self { root: root.into(), devices, foreign: |_, _| None }
    }

    /// The same, reading the files of the Go plugin too.
    #[must_use]
    pub fn reading(self, foreign: Foreign) -> Self {
        Self { foreign, ..self }
    }

    /// Waits for the device's lock, which the Go plugin takes as well (`flock`).
    pub fn lock(&self, device: &str) -> Result<Lock, Error> {
        let path = self.root.join(self.devices).join("vf_lock").join(format!("{device}.lock"));
        make_parent(&path)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path).map_err(state("open", &path))?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => pause(),
                Err(TryLockError::WouldBlock) => return Err(Error::Locked { path }),
                Err(TryLockError::Error(source)) => {
                    return Err(Error::State { action: "lock", path, source });
                }
            }
        }
    }

    /// Who has the device; `None` where nobody does.
    pub fn claim(&self, device: &str) -> Result<Option<Claim>, Error> {
        let netns = read(&self.allocation(device))?
            .map(|bytes| PathBuf::from(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\0'])));
        let owner = read(&self.owner(device))?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // A kill between the two files leaves one: still a claim.
        Ok((netns.is_some() || owner.is_some()).then_some(Claim { netns, owner }))
    }

    /// Claims the device for the record's owner.
    pub fn set_claim(&self, record: &Record) -> Result<(), Error> {
        let owner = serde_json::to_vec(&record.owner).unwrap_or_default();
        write(&self.owner(&record.device), &owner)?;
        write(&self.allocation(&record.device), record.sandbox.path.as_os_str().as_encoded_bytes())
    }

    /// Gives the device up.
    pub fn drop_claim(&self, device: &str) -> Result<(), Error> {
        remove(&self.allocation(device))?;
        remove(&self.owner(device))
    }

    /// Writes the record and `beside` it the keys that the Go plugin reads.
    pub fn save(&self, record: &Record, beside: &Map<String, Value>) -> Result<(), Error> {
        let path = self.path(&record.owner);
        let mut object = beside.clone();
        let ours =
            serde_json::to_value(record).map_err(|source| Error::Corrupt { path: path.clone(), source })?;
        object.insert(OURS.to_owned(), ours);
        write(&path, Value::Object(object).to_string().as_bytes())
    }

    /// The record of an owner, whichever program wrote it.
    pub fn load(&self, owner: &Owner) -> Result<Option<Record>, Error> {
        let path = self.path(owner);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let corrupt = |source| Error::Corrupt { path: path.clone(), source };
        let mut object: Map<String, Value> = serde_json::from_slice(&bytes).map_err(corrupt)?;
        match object.remove(OURS) {
            Some(ours) => Record::deserialize(ours).map(Some).map_err(corrupt),
            None => Ok((self.foreign)(owner, &object)),
        }
    }

    /// Every record, of whichever container. A file that is none is passed over.
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::State { action: "list", path: self.root.clone(), source }),
        };
        let mut records = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
            let object =
                read(&path)?.and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok());
            let ours = object.and_then(|mut object| object.remove(OURS));
            records.extend(ours.and_then(|ours| Record::deserialize(ours).ok()));
        }
        Ok(records)
    }

    /// Forgets the record.
    pub fn forget(&self, owner: &Owner) -> Result<(), Error> {
        remove(&self.path(owner))
    }

    /// The record's file.
    pub fn path(&self, owner: &Owner) -> PathBuf {
        self.root.join(owner.key())
    }

    fn allocation(&self, device: &str) -> PathBuf {
        self.root.join(self.devices).join(device)
    }

    fn owner(&self, device: &str) -> PathBuf {
        self.root.join(self.devices).join("owner").join(device)
    }
}

#[expect(clippy::disallowed_methods, reason = "flock has no wait with a limit that leaves signals alone")]
fn pause() {
    std::thread::sleep(LOCK_PAUSE);
}

fn state<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::State { action, path: path.to_owned(), source }
}

fn make_parent(path: &Path) -> Result<(), Error> {
    let Some(parent) = path.parent() else { return Ok(()) };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(state("create the directory of", path))
}

/// The file's content; `None` where there is no file. An empty file is what a crash of the Go plugin leaves: also none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes).filter(|bytes| !bytes.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::State { action: "read", path: path.to_owned(), source }),
    }
}

/// Temporary file, fsync, rename, fsync of the directory: after a power loss there is the old content or the new. The
/// temporary name is fixed, so that a kill in between leaves one file at most, which the next write takes over.
fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    make_parent(path)?;
    let put = || -> io::Result<()> {
        let temporary = temporary(path);
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    put().map_err(state("write", path))
}

fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn remove(path: &Path) -> Result<(), Error> {
    for path in [&temporary(path), path] {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(state("remove", path))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
