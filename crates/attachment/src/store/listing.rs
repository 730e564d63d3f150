//! All that a state directory holds: the records of both programs, claims, and files that are neither.
//! It must not hide the rest where one file cannot be read.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{OURS, Store, read, remove_file, state};
use crate::error::Error;
use crate::go_cache;
use crate::record::{Owner, Record, Sandbox};

/// How long no ADD takes from opening a draft to renaming it.
const ABANDONED: Duration = Duration::from_hours(1);

/// What is in a state directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The youngest first: where two are of one device, that is the order in which they are to be undone.
    pub(crate) records: Vec<Record>,
    /// The devices that are claimed.
    pub(crate) claimed: BTreeSet<String>,
    /// Files that cannot be read, or hold something else.
    pub(crate) odd: Vec<Error>,
}

impl Store {
    /// Everything that is there; nothing where there is no such directory yet.
    pub(crate) fn listing(&self) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        let mut records: Vec<(Option<SystemTime>, Record)> = Vec::new();
        for path in files(&self.root)? {
            match self.record_at(&path) {
                Ok(record) => records.extend(record.map(|record| (written(&path), record))),
                Err(error) => listing.odd.push(error),
            }
        }
        records.sort_by_key(|(written, _)| std::cmp::Reverse(*written));
        listing.records = records.into_iter().map(|(_, record)| record).collect();
        for dir in [self.layout.claims, self.layout.owners] {
            let names =
                files(&self.root.join(dir))?.into_iter().filter_map(|path| Some(name(&path)?.to_owned()));
            listing.claimed.extend(names);
        }
        Ok(listing)
    }

    /// The devices that are claimed for this owner: what its record named, where nobody can read that. What cannot be read itself
    /// is another's as far as anybody knows.
    pub fn claims_of(&self, owner: &Owner) -> Result<Vec<String>, Error> {
        let mut devices = Vec::new();
        for dir in [self.layout.claims, self.layout.owners] {
            let names = files(&self.root.join(dir))?;
            devices.extend(names.iter().filter_map(|path| Some(name(path)?.to_owned())));
        }
        devices.sort();
        devices.dedup();
        devices.retain(|device| self.is_claimed_for(device, owner));
        Ok(devices)
    }

    /// Gives up every device that is claimed for this owner, past every error. No other's device is waited for.
    pub fn drop_claims_of(&self, owner: &Owner) -> Result<(), Error> {
        let drop_one = |device: String| {
            let lock = self.lock(&device);
            // Another ADD may have come to it meanwhile, of this owner even: with a record then.
            let is_left = || self.is_claimed_for(&device, owner) && !matches!(self.load(owner), Ok(Some(_)));
            lock.and_then(|_lock| if is_left() { self.drop_claim(&device) } else { Ok(()) })
        };
        let kept = self.claims_of(owner)?.into_iter().filter_map(|device| drop_one(device).err());
        Error::all(kept.collect()).map_or(Ok(()), Err)
    }

    fn is_claimed_for(&self, device: &str, owner: &Owner) -> bool {
        self.claim(device).is_ok_and(|claim| claim.is_some_and(|claim| claim.owner.as_ref() == Some(owner)))
    }

    /// Forgets the drafts of whoever was killed before its first record. An ADD of another network may be writing at this moment,
    /// so a draft that is young stays; and so does one beside a record, which goes with that: its ADD amends the record after
    /// changes, when it must not fail any more.
    pub(crate) fn forget_drafts(&self) -> Result<(), Error> {
        let is_draft = |path: &PathBuf| {
            let of = name(path).and_then(|name| name.strip_prefix('.')?.strip_suffix(".new"));
            of.is_some_and(|of| !path.with_file_name(of).exists()) && is_old(path)
        };
        let drafts = all_files(&self.root)?.into_iter().filter(is_draft);
        let kept: Vec<Error> = drafts.filter_map(|draft| remove_file(&draft).err()).collect();
        Error::all(kept).map_or(Ok(()), Err)
    }

    /// The owner whose record has the file of `owner`'s, where that is another: container `c` with interface `x-net1` and
    /// container `c-x` with `net1` have one.
    pub(crate) fn namesake(&self, owner: &Owner) -> Result<Option<Owner>, Error> {
        let there = self.record_at(&self.path(owner))?.map(|record| record.owner);
        Ok(there.filter(|there| there != owner))
    }

    /// The record in a file; `None` where the file is no attachment, or gone meanwhile.
    fn record_at(&self, path: &Path) -> Result<Option<Record>, Error> {
        let Some(bytes) = read(path)? else { return Ok(None) };
        let corrupt = |source| Error::Corrupt { path: path.to_owned(), source };
        let mut object: Map<String, Value> = serde_json::from_slice(&bytes).map_err(corrupt)?;
        if let Some(ours) = object.remove(OURS) {
            return Record::deserialize(ours).map(Some).map_err(corrupt);
        }
        let Some((sysfs, owner)) = self.go.as_ref().zip(name(path).and_then(owner)) else { return Ok(None) };
        let Some(mut record) = go_cache::record(&owner, &object, sysfs) else { return Ok(None) };
        // The claim names the namespace, which the Go plugin keeps nowhere else.
        let claim = self.claim(&record.device)?.filter(|claim| claim.owner.is_none());
        record.sandbox = Sandbox::unknown(claim.and_then(|claim| claim.netns).as_deref());
        Ok(Some(record))
    }
}

/// The owner that a file's name tells. Runtimes' container ids have no `-`, interface names may.
fn owner(name: &str) -> Option<Owner> {
    let (container_id, ifname) = name.split_once('-')?;
    Some(Owner { container_id: container_id.to_owned(), ifname: ifname.parse().ok()? })
}

/// The files of a directory, those apart that are being written or were moved out of the way.
fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = all_files(dir)?;
    files.retain(|path| name(path).is_some_and(|name| !name.starts_with('.')));
    Ok(files)
}

fn all_files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(state("list", dir)(source)),
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// Old enough to be nobody's work; of one whose age cannot be told that is not known.
fn is_old(path: &Path) -> bool {
    let age = written(path).and_then(|written| written.elapsed().ok());
    age.is_some_and(|age| age >= ABANDONED)
}

fn written(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
