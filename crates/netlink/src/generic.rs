//! Generic netlink: finding a family by its name, and asking it.
//! It must not know any family.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use netlink_sys::protocols::NETLINK_GENERIC;

use crate::attribute::{nested, push_text};
use crate::error::Error;
use crate::socket::Netlink;

// include/uapi/linux/genetlink.h.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// `struct genlmsghdr`.
const HEADER_LEN: usize = 4;

/// One family of the network namespace in which it was opened.
pub(crate) struct Family {
    netlink: Netlink,
    id: u16,
}

impl Family {
    /// Finds a family; `None` where the kernel has none of that name, its module not being loaded.
    pub(crate) fn open(name: &str) -> Result<Option<Self>, Error> {
        Self::over(Netlink::of_protocol(NETLINK_GENERIC)?, name)
    }

    /// As [`Family::open`], over a connection that is there already.
    pub(crate) fn over(mut netlink: Netlink, name: &str) -> Result<Option<Self>, Error> {
        let mut attributes = Vec::new();
        push_text(&mut attributes, CTRL_ATTR_FAMILY_NAME, name);
        let request = message(CTRL_CMD_GETFAMILY, &attributes);
        match netlink.ask("find a generic netlink family", GENL_ID_CTRL, NLM_F_ACK, &request) {
            Ok(replies) => {
                let id = replies.first().and_then(|reply| {
                    let id = nested(reply.get(HEADER_LEN..)?, CTRL_ATTR_FAMILY_ID).next()?;
                    id.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
                });
                Ok(id.map(|id| Self { netlink, id }))
            }
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for one object: the attributes of each reply.
    pub(crate) fn get(
        &mut self,
        request: &'static str,
        command: u8,
        attributes: &[u8],
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.ask(request, command, NLM_F_ACK, attributes)
    }

    /// Asks for all objects: the attributes of each.
    pub(crate) fn dump(&mut self, request: &'static str, command: u8) -> Result<Vec<Vec<u8>>, Error> {
        self.ask(request, command, NLM_F_DUMP, &[])
    }

    fn ask(
        &mut self,
        request: &'static str,
        command: u8,
        flags: u16,
        attributes: &[u8],
    ) -> Result<Vec<Vec<u8>>, Error> {
        let replies = self.netlink.ask(request, self.id, flags, &message(command, attributes))?;
        Ok(replies.into_iter().map(|mut reply| reply.split_off(HEADER_LEN.min(reply.len()))).collect())
    }
}

/// Version 1 is what every family here has.
fn message(command: u8, attributes: &[u8]) -> Vec<u8> {
    let mut message = vec![command, 1, 0, 0];
    message.extend(attributes);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_knows_itself_and_no_nonsense() {
        let mut controller = Family::open("nlctrl").unwrap().unwrap();
        assert_eq!(controller.id, GENL_ID_CTRL);
        let families = controller.dump("list families", CTRL_CMD_GETFAMILY).unwrap();
        assert!(families.iter().any(|family| crate::attribute::text(family, 2).as_deref() == Some("nlctrl")));
        assert!(Family::open("sluice-none").unwrap().is_none());
    }
}
