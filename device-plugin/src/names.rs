//! What people call vendors and devices, from the `pci.ids` of the host, where there is one.
//! It must not be used to choose a device, and must not be held by the daemon: the file is as large as all else it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Where distributions put it, in the order in which the Go plugin looks.
const PLACES: [&str; 2] = ["/usr/share/hwdata/pci.ids", "/usr/share/misc/pci.ids"];

/// The names of the ids that were asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names(BTreeMap<(String, String), String>);

impl Names {
    /// The names of pairs of vendor and device, from the file at `path` or else the host's. Without one there are none.
    pub fn of(path: Option<&Path>, ids: &BTreeSet<(String, String)>) -> Self {
        let mut places = path.into_iter().chain(PLACES.iter().map(Path::new).filter(|_| path.is_none()));
        places
            .find_map(|path| File::open(path).ok())
            .map_or_else(Self::default, |file| Self::read(BufReader::new(file), ids))
    }

    /// The vendor's and the device's name, as far as they are known.
    pub fn get(&self, vendor: &str, device: &str) -> Option<&str> {
        self.0.get(&(vendor.to_owned(), device.to_owned())).map(String::as_str)
    }

    /// `8086  Intel Corporation`, below it `\t154c  Ethernet Virtual Function 700 Series`, and further in what a card's
    /// maker says. After the vendors come other lists, whose lines begin with a letter and a space.
    fn read(file: impl BufRead, ids: &BTreeSet<(String, String)>) -> Self {
        let mut names = BTreeMap::new();
        let mut vendor: Option<(String, String)> = None;
        // A line that is no text costs itself.
        for line in file.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if line.starts_with('#') || line.trim().is_empty() || line.starts_with("\t\t") {
                continue;
            }
            let entry = line.trim().split_once("  ");
            match (line.strip_prefix('\t'), entry, &vendor) {
                (Some(_), Some((device, name)), Some((id, maker))) => {
                    let key = (id.clone(), device.to_owned());
                    if ids.contains(&key) {
                        names.insert(key, format!("{maker} {name}"));
                    }
                }
                (None, Some((id, name)), _) if id.len() == 4 => {
                    vendor = Some((id.to_owned(), name.to_owned()));
                    // Until the device is found too.
                    for key in ids.iter().filter(|(wanted, _)| wanted == id) {
                        names.insert(key.clone(), name.to_owned());
                    }
                }
                (None, ..) => vendor = None,
                _ => {}
            }
        }
        Self(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"#\n# List\n\n1d0f  Amazon.com, Inc.\n\tec20  Elastic Network Adapter (ENA)\n8086  Intel Corporation\n\
        \t154c  Ethernet Virtual Function 700 Series\n\t\t8086 0001  A card\n\xff\xfe\nC 02  Network controller\n\t00  Ethernet\n";

    fn name(vendor: &str, device: &str) -> Option<String> {
        let ids = BTreeSet::from([(vendor.to_owned(), device.to_owned())]);
        Names::read(FILE, &ids).get(vendor, device).map(str::to_owned)
    }

    #[test]
    fn names() {
        assert_eq!(
            name("8086", "154c").as_deref(),
            Some("Intel Corporation Ethernet Virtual Function 700 Series")
        );
        assert_eq!(name("1d0f", "0001").as_deref(), Some("Amazon.com, Inc."));
        assert_eq!(name("15b3", "1017"), None);
        assert_eq!(Names::of(Some(Path::new("/nonexistent")), &BTreeSet::new()), Names::default());
    }
}
