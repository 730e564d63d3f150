//! Our listening sockets: bound over what a dead process left, and removed when we are done.
//! It must not remove a socket that another process has put in the place of ours.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::net::UnixListener;

/// The longest path that fits `sun_path` with its final zero (`UNIX_PATH_MAX`, `include/uapi/linux/un.h`).
const LONGEST: usize = 107;

/// There is no socket to serve on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel takes no such path.
    #[error(
        "socket path {path} is {} bytes long, and the kernel takes {LONGEST}; shorten resourceName or resourcePrefix by {}",
        path.as_os_str().len(), path.as_os_str().len() - LONGEST
    )]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// A socket that was left there stays.
    #[error("cannot remove {path}, which was left there: {source}")]
    Stale {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refuses.
    #[error("cannot listen on {path}: {source}; is --kubelet-root right, and its folder mounted here?")]
    Bind {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Device, inode number, and when it was made: an inode number is used again at once. Where the file system does not keep
/// that, the time of its last change.
type Identity = (u64, u64, Option<SystemTime>, Option<(i64, i64)>);

/// The file of a socket that we listen on. Removed when dropped, if it still is ours.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    identity: Option<Identity>,
}

/// What has become of our socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It is there.
    Ours,
    /// It was removed.
    Gone,
    /// Another process has put its own in its place.
    Taken,
}

/// Listens at `path`.
pub(crate) fn bind(path: &Path) -> Result<(UnixListener, Socket), Error> {
    check_length(path)?;
    match fs::remove_file(path) {
        Ok(()) => tracing::debug!("removed {}, which was left there", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::Stale { path: path.to_owned(), source }),
    }
    let listener =
        UnixListener::bind(path).map_err(|source| Error::Bind { path: path.to_owned(), source })?;
    Ok((listener, Socket::bound(path)))
}

/// Whether the kernel takes a socket of that path.
pub(super) fn check_length(path: &Path) -> Result<(), Error> {
    if path.as_os_str().as_bytes().len() > LONGEST {
        return Err(Error::TooLong { path: path.to_owned() });
    }
    Ok(())
}

impl Socket {
    /// The file of a socket that was bound just now.
    pub(crate) fn bound(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fate(&self) -> Fate {
        match identity(&self.path) {
            None => Fate::Gone,
            found if found == self.identity => Fate::Ours,
            Some(_) => Fate::Taken,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.fate() == Fate::Ours {
            // Nothing is left to do if it cannot be removed: the next bind will.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let meta = fs::symlink_metadata(path).ok()?;
    // A label or a mode set by somebody else changes the file, and does not make it his.
    let (made, changed) = (meta.created().ok(), (meta.ctime(), meta.ctime_nsec()));
    Some((meta.dev(), meta.ino(), made, made.is_none().then_some(changed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_with_the_inode_of_ours_is_not_ours_and_a_new_mode_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let (_listener, socket) = bind(&path).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(socket.fate(), Fate::Ours);
        let ours = fs::metadata(&path).unwrap();
        let began = std::time::Instant::now();
        // File systems give the number out again at once; times are as fine as the kernel's tick.
        while began.elapsed().as_millis() < 100 {
            fs::remove_file(&path).unwrap();
            assert_eq!(socket.fate(), Fate::Gone);
            drop(UnixListener::bind(&path).unwrap());
        }
        assert_eq!(
            socket.fate(),
            Fate::Taken,
            "inode {} then {}",
            ours.ino(),
            fs::metadata(&path).unwrap().ino()
        );
        drop(socket);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn binds_over_a_stale_socket_and_removes_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = bind(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn leaves_a_socket_that_came_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let first = bind(&path).unwrap();
        assert_eq!(first.1.fate(), Fate::Ours);
        let second = bind(&path).unwrap();
        assert_eq!((first.1.fate(), second.1.fate()), (Fate::Taken, Fate::Ours));
        drop(first);
        assert!(path.exists());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(second.1.fate(), Fate::Gone);
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_says_by_how_much() {
        let dir = tempfile::tempdir().unwrap();
        let fits = 107 - dir.path().as_os_str().len() - 1;
        assert!(bind(&dir.path().join("x".repeat(fits))).is_ok());
        let error = bind(&dir.path().join("x".repeat(fits + 2))).unwrap_err().to_string();
        assert!(error.contains("is 109 bytes long") && error.ends_with("by 2"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = bind(&dir.path().join("none/a.sock")).unwrap_err();
        assert!(matches!(error, Error::Bind { .. }), "{error}");
    }
}
