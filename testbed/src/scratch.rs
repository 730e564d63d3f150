//! A folder of one run's own, gone when the run is.
//! Kept short: it holds unix sockets, whose paths must fit in 107 bytes.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use anyhow::Context;
use anyhow::Result;

/// What their names begin with.
const PREFIX: &str = "sluice-";

/// In a folder that is kept on purpose.
const KEPT: &str = ".kept";

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
        let path = std::env::temp_dir().join(format!("{PREFIX}{name}-{}.{number}", std::process::id()));
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
        // Without the mark a later run would remove it; that is worth no error now.
        let _ = fs::write(self.path.join(KEPT), "");
        self.keep = true;
    }

    /// Removes what runs that were killed left behind.
    pub fn sweep() {
        let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let left =
                path.file_name().is_some_and(|name| owner(&name.to_string_lossy()).is_some_and(is_gone));
            if left && !path.join(KEPT).exists() {
                // Somebody else's, perhaps; then it is theirs to remove.
                let _ = fs::remove_dir_all(&path);
            }
        }
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

/// The process that made the folder of this name.
fn owner(name: &str) -> Option<u32> {
    let (_, owner) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
    owner.split_once('.')?.0.parse().ok()
}

fn is_gone(process: u32) -> bool {
    !Path::new("/proc").join(process.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_process() {
        assert_eq!(owner("sluice-node-4711.3"), Some(4711));
        assert_eq!(owner("sluice-backports-4711"), None);
        assert_eq!(owner("other-node-4711.3"), None);
    }

    #[test]
    fn only_what_is_kept_outlives_its_owner() {
        let mut kept = Scratch::new("kept").unwrap();
        kept.keep();
        let path = kept.path().to_owned();
        drop(kept);
        assert!(path.is_dir());
        fs::remove_dir_all(path).unwrap();
        let gone = Scratch::new("gone").unwrap().path().to_owned();
        assert!(!gone.exists());
    }
}
