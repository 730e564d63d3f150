//! The extended resource of a pool, and the names made from it.
//! It must not touch the file system.

use std::fmt;

/// `<prefix>/<name>`, such as `intel.com/sriov_net`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Resource {
    prefix: String,
    name: String,
}

/// The text names no resource.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("resourceName is {found:?}, wanted letters, digits, - and _ only, and at least one")]
pub struct ParseResourceError {
    found: String,
}

impl Resource {
    /// As the Go plugin, leaves the prefix unchecked; the kubelet refuses an odd one.
    pub fn new(prefix: &str, name: &str) -> Result<Self, ParseResourceError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(fits) {
            return Err(ParseResourceError { found: name.to_owned() });
        }
        Ok(Self { prefix: prefix.to_owned(), name: name.to_owned() })
    }

    /// The part before the slash.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The part behind the slash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file name of the pool's socket.
    pub fn socket_name(&self) -> String {
        format!("{}_{}.sock", self.prefix, self.name)
    }

    /// The variable that names the allocated devices. `-` stays, although no POSIX shell can use it: people match on it.
    pub fn variable(&self) -> String {
        format!("PCIDEVICE_{}_{}", self.prefix, self.name).replace('.', "_").to_uppercase()
    }

    /// As [`Resource::variable`], in letters, digits and underscores alone.
    pub fn shell_variable(&self) -> String {
        self.variable().replace(|c: char| !c.is_ascii_alphanumeric(), "_")
    }

    /// The file name of a device's network plumbing information.
    pub fn device_info_name(&self, device: &str) -> String {
        format!("{}-{}-{device}-device.json", self.prefix, self.name).replace('/', "-")
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.prefix, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_made_from_it() {
        let resource = Resource::new("amazon.com", "ena-vfio_1").unwrap();
        assert_eq!(resource.to_string(), "amazon.com/ena-vfio_1");
        assert_eq!(resource.socket_name(), "amazon.com_ena-vfio_1.sock");
        assert_eq!(resource.variable(), "PCIDEVICE_AMAZON_COM_ENA-VFIO_1");
        assert_eq!(resource.shell_variable(), "PCIDEVICE_AMAZON_COM_ENA_VFIO_1");
        assert_eq!(
            resource.device_info_name("0000:00:06.0"),
            "amazon.com-ena-vfio_1-0000:00:06.0-device.json"
        );
    }

    #[test]
    fn refuses_what_is_no_name() {
        for name in ["", "a.b", "a b", "a/b", "ä"] {
            assert!(Resource::new("intel.com", name).is_err(), "{name}");
        }
    }
}
