//! vDPA devices: which function each is on, and how userspace gets at it.
//! It must not make or bind any.

use std::fs;

use serde::Serialize;

use crate::address::PciAddress;
use crate::auxiliary::linked;
use crate::sysfs::{Sysfs, entries};

/// One vDPA device.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Vdpa {
    /// Its name, such as `vdpa0`.
    pub name: String,
    /// Its driver, as the kernel names it: `vhost_vdpa` or `virtio_vdpa`; `None` where none is bound.
    pub driver: Option<String>,
    /// Its character device below `/dev`, such as `vhost-vdpa-0`, with `vhost_vdpa`.
    pub vhost: Option<String>,
}

impl Sysfs {
    /// The names of all vDPA devices with the function that each is on, sorted. A device of the simulator has none.
    pub fn vdpa_devices(&self) -> Vec<(String, PciAddress)> {
        let mut found: Vec<_> = linked(&self.root().join("bus/vdpa/devices")).collect();
        found.sort_unstable();
        found
    }

    /// The device of that name; `None` where there is none.
    pub fn vdpa(&self, name: &str) -> Option<Vdpa> {
        let dir = self.root().join("bus/vdpa/devices").join(name);
        dir.exists().then(|| Vdpa {
            name: name.to_owned(),
            driver: fs::read_link(dir.join("driver"))
                .ok()
                .and_then(|target| target.file_name()?.to_str().map(str::to_owned)),
            vhost: entries(&dir).into_iter().find(|entry| entry.starts_with("vhost-vdpa-")),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn by_their_links() {
        let root = tempfile::tempdir().unwrap();
        let sysfs = Sysfs::new(root.path());
        assert!(sysfs.vdpa_devices().is_empty() && sysfs.vdpa("vdpa0").is_none());
        let device = root.path().join("devices/pci0000:3a/0000:3b:02.1/vdpa0");
        fs::create_dir_all(device.join("vhost-vdpa-3")).unwrap();
        symlink("../../../../bus/vdpa/drivers/vhost_vdpa", device.join("driver")).unwrap();
        let bus = root.path().join("bus/vdpa/devices");
        fs::create_dir_all(&bus).unwrap();
        symlink("../../../devices/pci0000:3a/0000:3b:02.1/vdpa0", bus.join("vdpa0")).unwrap();
        assert_eq!(sysfs.vdpa_devices(), [("vdpa0".to_owned(), "0000:3b:02.1".parse().unwrap())]);
        let vdpa = sysfs.vdpa("vdpa0").unwrap();
        assert_eq!(
            (vdpa.driver.as_deref(), vdpa.vhost.as_deref()),
            (Some("vhost_vdpa"), Some("vhost-vdpa-3"))
        );
    }
}
