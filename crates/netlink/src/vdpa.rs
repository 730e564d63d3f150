//! vDPA devices and the functions that they are on, by generic netlink.
//! It must not make or remove any.

use crate::attribute::text;
use crate::error::Error;
use crate::generic::Family;
use crate::socket::Netlink;

// include/uapi/linux/vdpa.h.
const CMD_DEV_GET: u8 = 5;
const ATTR_MGMTDEV_BUS_NAME: u16 = 1;
const ATTR_MGMTDEV_DEV_NAME: u16 = 2;
const ATTR_DEV_NAME: u16 = 4;

/// One vDPA device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VdpaDevice {
    /// Its name, such as `vdpa0`.
    pub name: String,
    /// The bus of what it is on, such as `pci`; the simulator has none.
    pub bus: Option<String>,
    /// The name there, such as a PCI address.
    pub parent: String,
}

/// A connection to the vDPA family.
pub struct Vdpa {
    family: Family,
}

impl Vdpa {
    /// Opens it; `None` where the kernel has no vDPA.
    pub fn open() -> Result<Option<Self>, Error> {
        Ok(Family::open("vdpa")?.map(|family| Self { family }))
    }

    /// As [`Vdpa::open`], over another connection.
    pub fn over(netlink: Netlink) -> Result<Option<Self>, Error> {
        Ok(Family::over(netlink, "vdpa")?.map(|family| Self { family }))
    }

    /// Every device, in the kernel's order.
    pub fn devices(&mut self) -> Result<Vec<VdpaDevice>, Error> {
        let replies = self.family.dump("list vDPA devices", CMD_DEV_GET)?;
        Ok(replies.iter().filter_map(|reply| device(reply)).collect())
    }
}

fn device(reply: &[u8]) -> Option<VdpaDevice> {
    Some(VdpaDevice {
        name: text(reply, ATTR_DEV_NAME)?,
        bus: text(reply, ATTR_MGMTDEV_BUS_NAME),
        parent: text(reply, ATTR_MGMTDEV_DEV_NAME)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::push_text;

    #[test]
    fn a_device_and_what_it_is_on() {
        let mut reply = Vec::new();
        push_text(&mut reply, ATTR_MGMTDEV_BUS_NAME, "pci");
        push_text(&mut reply, ATTR_MGMTDEV_DEV_NAME, "0000:3b:02.1");
        assert_eq!(device(&reply), None);
        push_text(&mut reply, ATTR_DEV_NAME, "vdpa0");
        let found = device(&reply).unwrap();
        assert_eq!((found.name.as_str(), found.bus.as_deref()), ("vdpa0", Some("pci")));
        assert_eq!(found.parent, "0000:3b:02.1");
    }

    #[test]
    fn a_kernel_with_or_without_vdpa_answers() {
        if let Some(mut vdpa) = Vdpa::open().unwrap() {
            vdpa.devices().unwrap();
        }
    }
}
