//! `~/.cache/sluice`: what is expensive to build, kept under the hash of what it was built from.
//! Knows nothing of what it keeps. Deleting the whole folder is always safe while nothing runs.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use anyhow::Context;
use anyhow::Result;

use crate::digest;
use crate::phases::Phases;

/// Entries that no run asked for in this long are removed when a new one of their kind is built.
const KEEP: Duration = Duration::from_hours(14 * 24);

/// The folder of finished entries, each named `KIND-HASH`.
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    pub(crate) fn open() -> Result<Self> {
        let base = match std::env::var_os("XDG_CACHE_HOME") {
            Some(base) if !base.is_empty() => PathBuf::from(base),
            _ => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
                .join(".cache"),
        };
        Self::at(base.join("sluice"))
    }

    fn at(root: PathBuf) -> Result<Self> {
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        Ok(Self { root })
    }

    /// The folder of the entry made from `inputs`, built by `build` if it is not there.
    ///
    /// `build` fills a folder under another name, which is renamed when it is complete: a kill leaves no half entry.
    /// Two runs do not build the same kind at once; the second waits and finds the first one's.
    pub(crate) fn entry(
        &self,
        phases: &Phases,
        kind: &str,
        inputs: &[&str],
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        // A separator that no input holds: ["ab"] and ["a", "b"] must differ.
        let key = digest::sha256(inputs.join("\0").as_bytes())?;
        let name = format!("{kind}-{}", &key[..16]);
        let path = self.root.join(&name);
        if path.is_dir() {
            mark_used(&path);
            return Ok(path);
        }
        let _lock = self.lock(phases, kind)?;
        if path.is_dir() {
            return Ok(path);
        }
        self.sweep(kind)?;
        let half = self.root.join(format!("{name}.tmp"));
        fs::create_dir(&half).with_context(|| format!("cannot create {}", half.display()))?;
        build(&half)
            .with_context(|| format!("cannot build {kind} (its pieces are in {})", half.display()))?;
        fs::rename(&half, &path).with_context(|| format!("cannot rename to {}", path.display()))?;
        Ok(path)
    }

    /// The newest finished entry of a kind, whatever it was made from.
    pub(crate) fn newest(&self, kind: &str) -> Option<PathBuf> {
        let entries = self.finished(kind).ok()?;
        entries.into_iter().max_by_key(|entry| last_used(entry))
    }

    fn lock(&self, phases: &Phases, kind: &str) -> Result<File> {
        let path = self.root.join(format!("{kind}.lock"));
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if file.try_lock().is_err() {
            phases.say(&format!("  … waiting: another run is building {kind}"));
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }

    /// Under the kind's lock: whatever is half built now was left by a kill.
    fn sweep(&self, kind: &str) -> Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let half = path.extension().is_some_and(|extension| extension == "tmp");
            if half && name.starts_with(&format!("{kind}-")) {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        for path in self.finished(kind)? {
            if last_used(&path).elapsed().is_ok_and(|unused| unused > KEEP) {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn finished(&self, kind: &str) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let key = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
            // A kind may be the beginning of another's name, a key is all hexadecimal.
            if key.is_some_and(|key| key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                found.push(path);
            }
        }
        Ok(found)
    }
}

fn mark_used(path: &Path) {
    // Only the sweep reads it; a read-only cache works as well.
    let _ = File::open(path).and_then(|folder| folder.set_modified(SystemTime::now()));
}

fn last_used(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|of| of.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;
    use crate::scratch::Scratch;

    fn built(cache: &Cache, inputs: &[&str]) -> (PathBuf, bool) {
        let mut ran = false;
        let path = Phases::watch(|phases| {
            cache.entry(phases, "thing", inputs, |folder| {
                ran = true;
                Ok(fs::write(folder.join("file"), "whole")?)
            })
        });
        (path.unwrap(), ran)
    }

    #[test]
    fn the_same_inputs_build_once_and_other_inputs_again() {
        let scratch = Scratch::new("cache").unwrap();
        let cache = Cache::at(scratch.path().join("c")).unwrap();
        let (first, ran) = built(&cache, &["a", "b"]);
        assert!(ran);
        assert_eq!(built(&cache, &["a", "b"]), (first.clone(), false));
        assert!(built(&cache, &["ab"]).1);
        assert!(cache.newest("thing").is_some());
        assert!(cache.newest("thin").is_none());
    }

    #[test]
    fn a_failed_build_leaves_no_entry_and_the_next_one_works() {
        let scratch = Scratch::new("cache").unwrap();
        let cache = Cache::at(scratch.path().join("c")).unwrap();
        let failed = Phases::watch(|phases| {
            cache.entry(phases, "thing", &["a"], |folder| {
                fs::write(folder.join("file"), "half")?;
                bail!("no space")
            })
        });
        assert!(failed.is_err());
        let (path, ran) = built(&cache, &["a"]);
        assert!(ran);
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "whole");
    }
}
