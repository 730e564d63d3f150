//! The lease of an attachment: asked for, and waited for where the IPAM plugin outlived one of ours that was killed.
//! It must not read or change addresses by itself.
//!
//! A runtime that kills a plugin leaves the IPAM plugin running, which may lease an address after the DEL released none. So
//! the IPAM plugin inherits a lock, and a DEL waits until nobody has it. Killing the IPAM plugin with ours instead would
//! leave its own files half written.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::log::{self, Level};
use cni::{Outcome, Request};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::error::Error;
use crate::record::Owner;
use crate::store::{Lock, Store, is_absent, open_lock, remove_file, state, take};

/// How long a DEL waits. An IPAM plugin that left a process in the background would hold the lock for as long as that runs.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks for addresses; an answer without one is an error, and its lease is given back.
pub(crate) fn add(request: &Request, store: &Store, owner: &Owner, ipam: &str) -> Result<Outcome, Error> {
    let asking = Asking::begin(store.lease_lock(owner))?;
    let leased = cni::ipam::add(request, ipam);
    let outcome = match leased {
        Ok(outcome) if outcome.ips.is_empty() => {
            // The missing address is the error to report.
            let _ = cni::ipam::del(request, ipam);
            Err(Error::NoAddresses)
        }
        leased => leased.map_err(Error::from),
    };
    if let Err(error) = asking.end() {
        // IPAM has answered, and its answer counts: failing now would forget a lease, or hide why there is none. A DEL finds
        // and removes the file.
        log::line(Level::Warning, format_args!("{error}; going on with what {ipam} answered"));
    }
    outcome
}

/// Gives the addresses back, after an ADD's IPAM plugin that may still run has ended.
pub(crate) fn release(
    request: &Request,
    store: &Store,
    owner: &Owner,
    ipam: Option<&str>,
) -> Result<(), Error> {
    let Some(ipam) = ipam else { return Ok(()) };
    let waited = settle(store, owner);
    let released = cni::ipam::del(request, ipam).map_err(Error::from);
    Error::all([waited, released].into_iter().filter_map(Result::err).collect()).map_or(Ok(()), Err)
}

/// While this is there, the IPAM plugin is being asked.
struct Asking {
    file: File,
    path: PathBuf,
}

impl Asking {
    fn begin(path: PathBuf) -> Result<Self, Error> {
        let file = open_lock(&path)?;
        if !take(&file, &path)? {
            return Err(Error::Locked { path });
        }
        // Inherited: whoever we start from here on holds the lock, too.
        let inherited = fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()));
        inherited.map_err(|errno| state("pass on", &path)(errno.into()))?;
        Ok(Self { file, path })
    }

    /// For everybody who has it: what runs in the background after the answer is no lease any more.
    fn end(self) -> Result<(), Error> {
        self.file.unlock().map_err(state("unlock", &self.path))?;
        remove_file(&self.path)
    }
}

/// Waits for an ADD's IPAM plugin that may still run.
pub(crate) fn settle(store: &Store, owner: &Owner) -> Result<(), Error> {
    wait(&store.lease_lock(owner))
}

fn wait(path: &Path) -> Result<(), Error> {
    match File::open(path) {
        Ok(file) => {
            let waited = Lock::wait(file, path, LIMIT);
            remove_file(path).and(waited.map(drop))
        }
        // Where the lock can have no such name, no ADD came as far as IPAM.
        Err(error) if is_absent(&error) => Ok(()),
        Err(source) => Err(state("open", path)(source)),
    }
}
