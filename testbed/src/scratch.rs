//! A folder of one run's own, gone when the run is.
//! Kept short: it holds unix sockets, whose paths must fit in 107 bytes.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use anyhow::Context;
use anyhow::Result;

/// A new, empty folder in the temporary directory.
pub struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Creates it; `name` says in its path what it is for.
    pub fn new(name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sluice-{name}-{}.{number}", std::process::id()));
        // Not create_dir_all: a folder that is there already is somebody else's.
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it there for a person to look into.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.keep
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // A leftover in the temporary directory is not worth hiding an error that is on its way up.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
