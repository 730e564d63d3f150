//! Whether the state directory could take an attachment.
//! It must not leave anything behind.

use std::fs;

use super::{Store, make_parent, state, temporary};
use crate::error::Error;

impl Store {
    /// Whether a record could be written: by writing a file, since root is refused nothing but by the file system itself.
    pub fn check_writable(&self) -> Result<(), Error> {
        let path = temporary(&self.root.join(format!("status-{}", std::process::id())));
        make_parent(&path)?;
        fs::write(&path, "?").map_err(state("write", &path))?;
        fs::remove_file(&path).map_err(state("remove", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Paths;

    fn store(state: &std::path::Path) -> Store {
        Store::sriov(&Paths { state: state.to_owned(), sysfs: "/sys".into() })
    }

    #[test]
    fn a_directory_is_asked_by_writing() {
        let dir = tempfile::tempdir().unwrap();
        store(&dir.path().join("new")).check_writable().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 0);
        fs::write(dir.path().join("file"), "").unwrap();
        let error = store(&dir.path().join("file")).check_writable().unwrap_err().to_string();
        assert!(error.contains("file/.status-"), "{error}");
    }
}
