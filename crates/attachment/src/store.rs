//! The state directory: records, claims and locks, each file written whole or not at all.
//! It must not know what a record means.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pci::Sysfs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::go_cache;
use crate::paths::Paths;
use crate::record::{Owner, Pf, Record};

mod listing;
mod probe;

/// A plugin's state directory:
///
/// ```text
/// <root>/<containerID>-<ifname>    the record, beside the keys of the Go plugin's cache
/// <root>/<claims>/<device>         the path of the network namespace that has the device, as the Go plugin writes it
/// <root>/<owners>/<device>         whose claim that is
/// <root>/<locks>/<device>.lock     of a VF or, while it is spoken to, of its PF
/// <root>/<locks>/<containerID>-<ifname>.lease.lock    while IPAM is asked
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    layout: Layout,
    /// Where the VFs are looked up that the Go plugin's files name; `None` where the Go plugin keeps none.
    go: Option<Sysfs>,
}

/// The directories below the root.
#[derive(Clone, Copy, Debug)]
struct Layout {
    claims: &'static str,
    owners: &'static str,
    locks: &'static str,
}

/// As the Go plugin has it; a PCI address is no name of the other two.
const SRIOV: Layout = Layout { claims: "pci", owners: "pci/owner", locks: "pci/vf_lock" };
const HOST_DEVICE: Layout = Layout { claims: "device/claim", owners: "device/owner", locks: "device/lock" };

/// Who has a device, as far as the claim says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// The path of the network namespace; `None` for a claim that was only begun.
    pub netns: Option<PathBuf>,
    /// The owner; `None` for a claim that the Go plugin wrote.
    pub owner: Option<Owner>,
}

/// What the owner's file tells.
#[derive(Deserialize, Serialize)]
struct Told {
    owner: Owner,
    netns: PathBuf,
}

/// The lock of one device, held until dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds the file's lock, for as long as `limit`.
    pub(crate) fn wait(file: File, path: &Path, limit: Duration) -> Result<Self, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if take(&file, path)? {
                return Ok(Self { _file: file });
            }
            if Instant::now() >= deadline {
                return Err(Error::Locked { path: path.to_owned() });
            }
            pause();
        }
    }
}

/// Our part of the record file. The Go plugin's keys stand beside it, and each program passes over the other's.
const OURS: &str = "sluice";
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// Bytes (include/uapi/linux/limits.h).
const NAME_MAX: usize = 255;

impl Store {
    /// How long a lock is waited for; in this crate's own unit tests no longer than they can sit out.
    pub const PATIENCE: Duration =
        if cfg!(test) { Duration::from_millis(50) } else { Duration::from_mins(1) };

    /// The state directory of `sriov`, which the Go plugin of that name writes and reads as well.
    pub fn sriov(paths: &Paths) -> Self {
        Self { root: paths.state.clone(), layout: SRIOV, go: Some(Sysfs::new(&paths.sysfs)) }
    }

    /// The state directory of `host-device`.
    pub fn host_device(paths: &Paths) -> Self {
        Self { root: paths.state.clone(), layout: HOST_DEVICE, go: None }
    }

    /// Waits for the device's lock, which the Go plugin takes as well (`flock`).
    pub fn lock(&self, device: &str) -> Result<Lock, Error> {
        self.lock_within(device, Self::PATIENCE)
    }

    /// As [`Self::lock`], for as long as `limit`; with none left it is tried once.
    pub fn lock_within(&self, device: &str, limit: Duration) -> Result<Lock, Error> {
        let path = self.lock_path(device);
        Lock::wait(open_lock(&path)?, &path, limit)
    }

    /// Waits for the lock under which one PF's attributes are changed: what a driver keeps for the whole port, such as the
    /// filters of VLANs and the shares of the rate, is changed by one process at a time. It is taken after the device's, held
    /// only while the PF is spoken to, and known to us alone.
    pub(crate) fn lock_pf(&self, pf: Pf) -> Result<Lock, Error> {
        self.lock(&pf.address.to_string())
    }

    /// The device's lock, where nobody has it at this moment.
    pub fn try_lock(&self, device: &str) -> Result<Option<Lock>, Error> {
        let path = self.lock_path(device);
        let file = open_lock(&path)?;
        Ok(take(&file, &path)?.then_some(Lock { _file: file }))
    }

    /// Who has the device; `None` where nobody does.
    pub fn claim(&self, device: &str) -> Result<Option<Claim>, Error> {
        let netns = read(&self.allocation(device))?
            .map(|bytes| PathBuf::from(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\0'])));
        let told: Option<Told> =
            read(&self.owner(device))?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // One that tells of another namespace than the claim is left from before the Go plugin claimed the device.
        let told = told.filter(|told| netns.as_ref().is_none_or(|netns| *netns == told.netns));
        // A kill between the two files leaves one: still a claim.
        let owner = told.map(|told| told.owner);
        Ok((netns.is_some() || owner.is_some()).then_some(Claim { netns, owner }))
    }

    /// Claims the device for the record's owner.
    pub fn set_claim(&self, record: &Record) -> Result<(), Error> {
        let told = Told { owner: record.owner.clone(), netns: record.sandbox.path.clone() };
        // A claim says that a namespace has the device: after a power loss none has, so it need not survive one.
        write(&self.owner(&record.device), &serde_json::to_vec(&told).unwrap_or_default(), Against::Kill)?;
        write(
            &self.allocation(&record.device),
            record.sandbox.path.as_os_str().as_encoded_bytes(),
            Against::Kill,
        )
    }

    /// The files of a claim, for whoever has to remove one by hand.
    pub fn claim_files(&self, device: &str) -> [PathBuf; 2] {
        [self.allocation(device), self.owner(device)]
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
        write(&path, Value::Object(object).to_string().as_bytes(), Against::PowerLoss)
    }

    /// Writes the record anew, beside the keys that its file has already.
    pub(crate) fn amend(&self, record: &Record) -> Result<(), Error> {
        let path = self.path(&record.owner);
        let Some(bytes) = read(&path)? else { return Ok(()) };
        let beside = serde_json::from_slice(&bytes).map_err(|source| Error::Corrupt { path, source })?;
        self.save(record, &beside)
    }

    /// The record of an owner, whichever program wrote it.
    pub fn load(&self, owner: &Owner) -> Result<Option<Record>, Error> {
        let path = self.path(owner);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let corrupt = |source| Error::Corrupt { path: path.clone(), source };
        let mut object: Map<String, Value> = serde_json::from_slice(&bytes).map_err(corrupt)?;
        match object.remove(OURS) {
            Some(ours) => {
                let record = Record::deserialize(ours).map_err(corrupt)?;
                // Container c with interface x-net1 and container c-x with net1 have one file name.
                Ok(Some(record).filter(|record| record.owner == *owner))
            }
            None => Ok(self.go.as_ref().and_then(|sysfs| go_cache::record(owner, &object, sysfs))),
        }
    }

    /// Whether an owner's record cannot be read, or was moved out of the way for that: what it says was done is not known.
    pub(crate) fn is_torn(&self, owner: &Owner) -> Result<bool, Error> {
        match self.load(owner) {
            Err(Error::Corrupt { .. }) => Ok(true),
            loaded => Ok(loaded?.is_none() && self.aside(owner).exists()),
        }
    }

    /// Moves a record that cannot be read out of the way, and says where to.
    pub fn set_aside(&self, owner: &Owner) -> Result<PathBuf, Error> {
        let (path, aside) = (self.path(owner), self.aside(owner));
        fs::rename(&path, &aside).map_err(state("move away", &path))?;
        Ok(aside)
    }

    /// Forgets what was half written when an ADD was killed.
    pub fn forget_draft(&self, owner: &Owner) -> Result<(), Error> {
        remove_file(&temporary(&self.path(owner)))
    }

    /// Every record, of whichever container and program. A file that is none is passed over.
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        Ok(self.listing()?.records)
    }

    /// Forgets the record.
    pub fn forget(&self, owner: &Owner) -> Result<(), Error> {
        remove(&self.path(owner))
    }

    /// Fails where a file of this owner's would have a longer name than a file can have.
    pub(crate) fn check_names(&self, owner: &Owner) -> Result<(), Error> {
        let path = self.path(owner);
        let files = [temporary(&path), self.aside(owner), self.lease_lock(owner), path];
        let length = files.iter().filter_map(|file| Some(file.file_name()?.len())).max().unwrap_or_default();
        if length <= NAME_MAX { Ok(()) } else { Err(Error::NameTooLong { owner: owner.clone(), length }) }
    }

    /// The record's file.
    pub fn path(&self, owner: &Owner) -> PathBuf {
        self.root.join(owner.key())
    }

    /// Where a record goes that cannot be read.
    fn aside(&self, owner: &Owner) -> PathBuf {
        self.root.join(format!(".{}.corrupt", owner.key()))
    }

    /// The file of a lock.
    pub(crate) fn lock_path(&self, device: &str) -> PathBuf {
        self.root.join(self.layout.locks).join(format!("{device}.lock"))
    }

    /// The file of the lock that IPAM's plugin has while it is asked.
    pub(crate) fn lease_lock(&self, owner: &Owner) -> PathBuf {
        self.lock_path(&format!("{}.lease", owner.key()))
    }

    fn allocation(&self, device: &str) -> PathBuf {
        self.root.join(self.layout.claims).join(device)
    }

    fn owner(&self, device: &str) -> PathBuf {
        self.root.join(self.layout.owners).join(device)
    }
}

pub(crate) fn open_lock(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    open_below(&options, path)?.map_err(state("open", path))
}

/// Opens a file to be written, in a directory that is made where it is not there yet: it is there but for the first time.
fn open_below(options: &OpenOptions, path: &Path) -> Result<io::Result<File>, Error> {
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_parent(path)?;
            Ok(options.open(path))
        }
        opened => Ok(opened),
    }
}

/// Whether the lock is ours now.
pub(crate) fn take(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(state("lock", path)(source)),
    }
}

#[expect(clippy::disallowed_methods, reason = "flock has no wait with a limit that leaves signals alone")]
fn pause() {
    std::thread::sleep(LOCK_PAUSE);
}

pub(crate) fn state<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::State { action, path: path.to_owned(), source }
}

pub(crate) fn make_parent(path: &Path) -> Result<(), Error> {
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
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(Error::State { action: "read", path: path.to_owned(), source }),
    }
}

/// Whether there is no such file: none is called that, or none can be (`ENAMETOOLONG`).
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename)
}

/// What a file must survive.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Against {
    /// The process's end at any instruction: the rename is enough.
    Kill,
    /// The machine's: what the file says must be on the disk before its name is. The name itself need not be: a power loss ends
    /// what the record is to undo, and there is then the record of before or none.
    PowerLoss,
}

/// Temporary file, fsync, rename: there is the old content or the new. The temporary name is fixed, so that a kill in between
/// leaves one file at most, which the next write takes over.
fn write(path: &Path, content: &[u8], against: Against) -> Result<(), Error> {
    let temporary = temporary(path);
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let opened = open_below(&options, &temporary)?;
    let put = || -> io::Result<()> {
        let mut file = opened?;
        file.write_all(content)?;
        if against == Against::PowerLoss {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    };
    put().map_err(state("write", path))
}

fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// Removes a file and what was half written for it.
fn remove(path: &Path) -> Result<(), Error> {
    remove_file(&temporary(path))?;
    remove_file(path)
}

pub(crate) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if is_absent(&error) => Ok(()),
        outcome => outcome.map_err(state("remove", path)),
    }
}

#[cfg(test)]
mod tests;
