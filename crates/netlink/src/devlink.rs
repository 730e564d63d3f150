//! devlink: what a device says of its switch, its firmware and its parameters.
//! It must not change anything, and must not know what the answers are for.

use crate::attribute::{nested, push_text, text};
use crate::error::Error;
use crate::generic::Family;
use crate::socket::Netlink;

// include/uapi/linux/devlink.h.
const CMD_ESWITCH_GET: u8 = 29;
const CMD_PARAM_GET: u8 = 38;
const CMD_INFO_GET: u8 = 51;
const ATTR_BUS_NAME: u16 = 1;
const ATTR_DEV_NAME: u16 = 2;
const ATTR_ESWITCH_MODE: u16 = 25;
const ATTR_PARAM: u16 = 80;
const ATTR_PARAM_NAME: u16 = 81;
const ATTR_PARAM_VALUES_LIST: u16 = 84;
const ATTR_PARAM_VALUE: u16 = 85;
const ATTR_PARAM_VALUE_DATA: u16 = 86;
const ATTR_INFO_VERSION_RUNNING: u16 = 101;
const ATTR_INFO_VERSION_NAME: u16 = 103;
const ATTR_INFO_VERSION_VALUE: u16 = 104;

/// What a PF's embedded switch does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EswitchMode {
    /// VFs are wired to the port; `ip link set PF vf N` rules.
    Legacy,
    /// Each VF has a representor on the host.
    Switchdev,
}

/// A connection to devlink. A device is named by its bus and its name there: `pci` and `0000:3b:00.0`, or `auxiliary` and
/// `mlx5_core.sf.2`.
pub struct Devlink {
    family: Family,
}

impl Devlink {
    /// Opens it; `None` where the kernel has none.
    pub fn open() -> Result<Option<Self>, Error> {
        Ok(Family::open("devlink")?.map(|family| Self { family }))
    }

    /// As [`Devlink::open`], over another connection.
    pub fn over(netlink: Netlink) -> Result<Option<Self>, Error> {
        Ok(Family::over(netlink, "devlink")?.map(|family| Self { family }))
    }

    /// The mode of the device's switch; `None` for a mode that the kernel has added since.
    pub fn eswitch_mode(&mut self, bus: &str, device: &str) -> Result<Option<EswitchMode>, Error> {
        let replies = self.family.get("get eswitch mode", CMD_ESWITCH_GET, &handle(bus, device))?;
        Ok(replies.first().and_then(|reply| mode(reply)))
    }

    /// The versions of what runs on the device, by name, such as `fw.app.name`; empty values included.
    pub fn running_versions(&mut self, bus: &str, device: &str) -> Result<Vec<(String, String)>, Error> {
        let replies = self.family.get("get device info", CMD_INFO_GET, &handle(bus, device))?;
        Ok(replies.iter().flat_map(|reply| versions(reply)).collect())
    }

    /// A parameter that is on or off; `None` where the device does not say.
    pub fn flag(&mut self, bus: &str, device: &str, name: &str) -> Result<Option<bool>, Error> {
        let mut attributes = handle(bus, device);
        push_text(&mut attributes, ATTR_PARAM_NAME, name);
        let replies = self.family.get("get device parameter", CMD_PARAM_GET, &attributes)?;
        Ok(replies.iter().find_map(|reply| flag(reply, name)))
    }
}

fn handle(bus: &str, device: &str) -> Vec<u8> {
    let mut attributes = Vec::new();
    push_text(&mut attributes, ATTR_BUS_NAME, bus);
    push_text(&mut attributes, ATTR_DEV_NAME, device);
    attributes
}

fn mode(reply: &[u8]) -> Option<EswitchMode> {
    match nested(reply, ATTR_ESWITCH_MODE).next()?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))? {
        0 => Some(EswitchMode::Legacy),
        1 => Some(EswitchMode::Switchdev),
        _ => None,
    }
}

fn versions(reply: &[u8]) -> Vec<(String, String)> {
    let versions = nested(reply, ATTR_INFO_VERSION_RUNNING).filter_map(|version| {
        Some((text(version, ATTR_INFO_VERSION_NAME)?, text(version, ATTR_INFO_VERSION_VALUE)?))
    });
    versions.collect()
}

/// A flag that is on is an attribute without a value, one that is off has none (`devlink_nl_param_value_fill_one`,
/// net/devlink/param.c); its data type says nothing more.
fn flag(reply: &[u8], name: &str) -> Option<bool> {
    let param = nested(reply, ATTR_PARAM).next()?;
    if text(param, ATTR_PARAM_NAME)? != name {
        return None;
    }
    let values = nested(param, ATTR_PARAM_VALUES_LIST).next()?;
    let value = nested(values, ATTR_PARAM_VALUE).next()?;
    Some(nested(value, ATTR_PARAM_VALUE_DATA).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// As the kernel nests them, with the flag that it sets on such attributes.
    fn nest(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
        attribute(kind | 0x8000, &parts.concat())
    }

    #[test]
    fn modes() {
        let reply = |mode: u16| {
            [handle("pci", "0000:3b:00.0"), attribute(ATTR_ESWITCH_MODE, &mode.to_ne_bytes())].concat()
        };
        assert_eq!(mode(&reply(0)), Some(EswitchMode::Legacy));
        assert_eq!(mode(&reply(1)), Some(EswitchMode::Switchdev));
        assert_eq!(mode(&reply(2)), None);
        assert_eq!(mode(&handle("pci", "0000:3b:00.0")), None);
    }

    #[test]
    fn running_versions_alone_count() {
        let version = |kind, name: &str, value: &str| {
            let mut parts = Vec::new();
            push_text(&mut parts, ATTR_INFO_VERSION_NAME, name);
            push_text(&mut parts, ATTR_INFO_VERSION_VALUE, value);
            nest(kind, &[parts])
        };
        let reply = [
            handle("pci", "0000:3b:00.0"),
            version(100, "board.id", "K91258-000"),
            version(ATTR_INFO_VERSION_RUNNING, "fw.app.name", "ICE OS Default Package"),
            version(ATTR_INFO_VERSION_RUNNING, "fw.app", "1.3.30.0"),
        ]
        .concat();
        let names: Vec<_> = versions(&reply).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["fw.app.name", "fw.app"]);
        assert_eq!(versions(&reply)[0].1, "ICE OS Default Package");
    }

    #[test]
    fn a_flag_that_is_there_is_on() {
        let reply = |data: &[Vec<u8>]| {
            let mut name = Vec::new();
            push_text(&mut name, ATTR_PARAM_NAME, "enable_rdma");
            let value = nest(ATTR_PARAM_VALUE, data);
            nest(ATTR_PARAM, &[name, nest(ATTR_PARAM_VALUES_LIST, &[value])])
        };
        assert_eq!(flag(&reply(&[attribute(ATTR_PARAM_VALUE_DATA, &[])]), "enable_rdma"), Some(true));
        assert_eq!(flag(&reply(&[]), "enable_rdma"), Some(false));
        assert_eq!(flag(&reply(&[]), "enable_roce"), None);
        assert_eq!(flag(&[], "enable_rdma"), None);
    }

    #[test]
    fn a_device_that_is_not_there_is_refused() {
        if let Some(mut devlink) = Devlink::open().unwrap() {
            assert!(devlink.eswitch_mode("pci", "ffff:ff:1f.7").is_err());
        }
    }
}
