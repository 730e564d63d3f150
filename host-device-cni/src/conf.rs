//! The network configuration of `host-device`, parsed once into the one device that it names.
//! It must not look at the node.

use std::path::{Component, PathBuf};

use cni::{Dns, Request, fold_keys};
use netlink::{LinkName, MacAddr, ParseLinkNameError, ParseMacError};
use pci::{ParseAddressError, PciAddress};
use serde::Deserialize;
use serde_json::Value;

/// A configuration that makes sense.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Conf {
    pub(crate) device: DeviceKey,
    pub(crate) dns: Dns,
    /// Give the link's addresses and routes back with it.
    pub(crate) restore_addresses: bool,
    /// Have the pod use the addresses and routes that the link had on the host.
    pub(crate) use_interface_network: bool,
    /// Move the link even where the node's default route leads through it.
    pub(crate) allow_default_route: bool,
}

/// How the device is named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum DeviceKey {
    /// `device`: its name on the host, an alternative one included.
    Name(LinkName),
    /// `hwaddr`
    Mac(MacAddr),
    /// `kernelpath`: a directory below `/sys/devices/`.
    KernelPath(PathBuf),
    /// `pciBusID`
    Pci(PciAddress),
    /// `runtimeConfig.deviceID`, where that is a PCI address.
    Allocated(PciAddress),
    /// `runtimeConfig.deviceID`, where that is the name of an auxiliary device such as `mlx5_core.sf.4`.
    Auxiliary(AuxName),
}

/// The name of an auxiliary device: a plain directory name, for it becomes one, and a file's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AuxName(String);

impl AuxName {
    fn parse(text: String) -> Result<Self, ConfError> {
        let plain =
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if plain && text.len() < 128 && !text.starts_with('.') {
            Ok(Self(text))
        } else {
            Err(ConfError::DeviceId { id: text })
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A configuration that does not make sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfError {
    #[error("failed to load netconf: {0}")]
    Shape(#[from] serde_json::Error),
    #[error(r#"specify either "device", "hwaddr", "kernelpath" or "pciBusID""#)]
    NoDevice,
    #[error("failed to find host device: {0}")]
    Name(#[from] ParseLinkNameError),
    #[error("failed to find host device: failed to parse MAC address {found:?}: {source}")]
    Mac { found: String, source: ParseMacError },
    #[error(
        "failed to find host device: kernel device path {found:?} must be absolute and begin with /sys/devices/"
    )]
    KernelPath { found: PathBuf },
    #[error("error with host device: {0}")]
    Pci(#[from] ParseAddressError),
    #[error("runtime config DeviceID {id} not found or unsupported")]
    DeviceId { id: String },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    device: Option<String>,
    hwaddr: Option<String>,
    kernelpath: Option<PathBuf>,
    #[serde(rename = "pciBusID")]
    pci_bus_id: Option<String>,
    #[serde(rename = "runtimeConfig")]
    runtime: Option<Runtime>,
    dns: Option<Dns>,
    #[serde(rename = "restoreAddresses")]
    restore_addresses: Option<bool>,
    #[serde(rename = "useInterfaceNetwork")]
    use_interface_network: Option<bool>,
    #[serde(rename = "allowDefaultRoute")]
    allow_default_route: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Runtime {
    #[serde(rename = "deviceID")]
    device_id: Option<String>,
}

const KEYS: [&str; 9] = [
    "device",
    "hwaddr",
    "kernelpath",
    "pciBusID",
    "runtimeConfig",
    "dns",
    "restoreAddresses",
    "useInterfaceNetwork",
    "allowDefaultRoute",
];

impl Conf {
    /// Reads the request's configuration.
    pub(crate) fn parse(request: &Request) -> Result<Self, ConfError> {
        let mut raw = request.conf.raw.clone();
        fold_keys(&mut raw, &KEYS);
        serde_json::from_value::<Wire>(Value::Object(raw))?.validate()
    }
}

impl Wire {
    /// The Go plugin's order: what names a device outright, then what the device plugin allocated, then the address that
    /// the network was made with.
    fn validate(self) -> Result<Conf, ConfError> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let allocated = filled(self.runtime.and_then(|runtime| runtime.device_id));
        let device = if let Some(name) = filled(self.device) {
            DeviceKey::Name(name.parse()?)
        } else if let Some(found) = filled(self.hwaddr) {
            DeviceKey::Mac(found.parse().map_err(|source| ConfError::Mac { found, source })?)
        } else if let Some(path) = self.kernelpath.filter(|path| !path.as_os_str().is_empty()) {
            if !path.starts_with("/sys/devices") || path.components().any(|part| part == Component::ParentDir)
            {
                return Err(ConfError::KernelPath { found: path });
            }
            DeviceKey::KernelPath(path)
        } else if let Some(id) = allocated {
            match id.parse() {
                Ok(address) => DeviceKey::Allocated(address),
                Err(_) => DeviceKey::Auxiliary(AuxName::parse(id)?),
            }
        } else if let Some(address) = filled(self.pci_bus_id) {
            DeviceKey::Pci(address.parse()?)
        } else {
            return Err(ConfError::NoDevice);
        };
        Ok(Conf {
            device,
            dns: self.dns.unwrap_or_default(),
            restore_addresses: self.restore_addresses.unwrap_or(true),
            use_interface_network: self.use_interface_network.unwrap_or(false),
            allow_default_route: self.allow_default_route.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> Result<Conf, ConfError> {
        serde_json::from_str::<Wire>(text)?.validate()
    }

    fn device(text: &str) -> Result<DeviceKey, String> {
        conf(text).map(|conf| conf.device).map_err(|error| error.to_string())
    }

    #[test]
    fn the_eks_guides_configuration() {
        let eks = r#"{"cniVersion":"0.3.1","type":"host-device","pciBusID":"0000:00:06.0"}"#;
        assert_eq!(device(eks), Ok(DeviceKey::Pci("0000:00:06.0".parse().unwrap())));
    }

    #[test]
    fn precedence_is_the_go_plugins() {
        let all = r#"{"device":"eth1","hwaddr":"02:00:00:00:00:01","kernelpath":"/sys/devices/x","pciBusID":"0000:00:06.0"}"#;
        assert_eq!(device(all), Ok(DeviceKey::Name("eth1".parse().unwrap())));
        let allocated = r#"{"pciBusID":"0000:00:06.0","runtimeConfig":{"deviceID":"mlx5_core.sf.4"}}"#;
        assert_eq!(device(allocated), Ok(DeviceKey::Auxiliary(AuxName("mlx5_core.sf.4".into()))));
    }

    #[test]
    fn an_allocated_device_is_a_plain_name() {
        let pci = r#"{"runtimeConfig":{"deviceID":"0000:00:06.0"}}"#;
        assert_eq!(device(pci), Ok(DeviceKey::Allocated("0000:00:06.0".parse().unwrap())));
        for odd in ["../../etc/passwd", "..", ".hidden", "a/b", "a\\u0000b"] {
            let refused = device(&format!(r#"{{"runtimeConfig":{{"deviceID":"{odd}"}}}}"#)).unwrap_err();
            assert!(refused.ends_with("not found or unsupported"), "{refused}");
        }
    }

    #[test]
    fn the_reference_page_has_every_key_and_no_other() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/host-device.md");
        let page = std::fs::read_to_string(page).unwrap();
        let headed: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
        assert_eq!(headed, KEYS);
        let examples = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let devices: Vec<DeviceKey> = examples.map(|example| device(example).unwrap()).collect();
        let (eni, sf) = ("0000:00:06.0".parse().unwrap(), AuxName("mlx5_core.sf.4".into()));
        assert_eq!(devices, [DeviceKey::Pci(eni), DeviceKey::Auxiliary(sf)]);
        // What it says of the defaults.
        let conf = conf(r#"{"device": "eth1"}"#).unwrap();
        assert!(conf.restore_addresses && !conf.use_interface_network && !conf.allow_default_route);
        assert!(page.contains(&device("{}").unwrap_err()));
    }

    #[test]
    fn null_is_the_same_as_no_key() {
        let none: serde_json::Map<String, Value> =
            KEYS.map(|key| (key.to_owned(), Value::Null)).into_iter().collect();
        let named = |mut keys: serde_json::Map<String, Value>| {
            keys.insert("device".to_owned(), "eth1".into());
            conf(&Value::Object(keys).to_string()).unwrap()
        };
        assert_eq!(named(none), named(serde_json::Map::new()));
        let within = r#"{"device":"eth1","runtimeConfig":{"deviceID":null},
            "dns":{"nameservers":null,"domain":null,"search":null,"options":null}}"#;
        assert_eq!(conf(within).unwrap(), named(serde_json::Map::new()));
    }

    #[test]
    fn errors_are_the_go_plugins() {
        for (text, error) in [
            ("{}", r#"specify either "device", "hwaddr", "kernelpath" or "pciBusID""#),
            (
                r#"{"hwaddr":"zz"}"#,
                r#"failed to find host device: failed to parse MAC address "zz": address zz: invalid MAC address"#,
            ),
            (
                r#"{"kernelpath":"/etc"}"#,
                r#"failed to find host device: kernel device path "/etc" must be absolute and begin with /sys/devices/"#,
            ),
        ] {
            assert_eq!(device(text), Err(error.to_owned()));
        }
    }
}
