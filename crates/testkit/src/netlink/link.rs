//! Link messages as `rtnl_fill_ifinfo` and `rtnl_fill_vfinfo` (net/core/rtnetlink.c of Linux 6.12) lay them out.
//! It must not be read with Sluice's own reader to judge it.

use super::{Message, Recorded};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTEXT_FILTER_VF: u8 = 1;
const HEADER_LEN: usize = 16;
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 0x40;

/// A kernel that has these links and nothing else; a request for another link, or for no link, is answered with `ENODEV`.
pub fn node(links: Vec<Link>) -> Recorded {
    Recorded::new(move |kind, request| {
        let asked = Asked::of(request.get(..HEADER_LEN)?, request.get(HEADER_LEN..)?);
        let found = links.iter().find(|link| link.is(&asked)).filter(|_| kind == RTM_GETLINK)?;
        Some(vec![found.message(asked.vfs)])
    })
}

/// What of a request tells the link and how much of it is wanted.
struct Asked<'a> {
    index: &'a [u8],
    name: Option<&'a [u8]>,
    vfs: bool,
}

impl<'a> Asked<'a> {
    fn of(header: &'a [u8], mut rest: &'a [u8]) -> Self {
        let mut asked = Self { index: &header[4..8], name: None, vfs: false };
        while let [low, high, kind, _, ..] = rest {
            let length = usize::from(u16::from_ne_bytes([*low, *high])).max(4).min(rest.len());
            match (kind, &rest[4..length]) {
                (3, name) => asked.name = Some(name.strip_suffix(&[0]).unwrap_or(name)),
                (29, mask) => asked.vfs = mask.first().is_some_and(|mask| mask & RTEXT_FILTER_VF != 0),
                _ => {}
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        asked
    }
}

/// A link to be told of.
#[derive(Clone, Debug)]
pub struct Link {
    index: u32,
    name: String,
    flags: u32,
    /// Before the VFs: name, MTU, address.
    first: Vec<u8>,
    /// The VFs, where they were asked for.
    vfs: Vec<u8>,
    /// After them: the parent device.
    last: Vec<u8>,
}

/// What a PF says of one VF; with `None` the kernel's "the driver does not say".
#[derive(Clone, Copy, Debug)]
pub struct Vf {
    /// Its MAC at the PF.
    pub mac: [u8; 6],
    /// VLAN and priority.
    pub vlan: (u32, u32),
    /// Lowest and highest rate.
    pub rate: (u32, u32),
    /// Spoof check.
    pub spoofchk: Option<bool>,
    /// Trust.
    pub trust: Option<bool>,
    /// Whether the driver tells InfiniBand GUIDs, which makes each VF 40 bytes longer (mlx5).
    pub guids: bool,
}

impl Link {
    /// An Ethernet device that is down.
    pub fn new(index: u32, name: &str, mac: [u8; 6], parent: &str) -> Self {
        let mut first = attribute(3, &text(name));
        first.extend(attribute(4, &1500_u32.to_ne_bytes()));
        first.extend(attribute(1, &mac));
        let mut last = attribute(56, &text(parent));
        last.extend(attribute(57, &text("pci")));
        Self { index, name: name.to_owned(), flags: 0, first, vfs: Vec::new(), last }
    }

    /// The same, up and with a carrier.
    #[must_use]
    pub fn running(mut self) -> Self {
        self.flags = IFF_UP | IFF_RUNNING;
        self
    }

    /// The same, being a PF with these VFs.
    #[must_use]
    pub fn with_vfs(mut self, vfs: &[Vf]) -> Self {
        let count = u32::try_from(vfs.len()).unwrap_or(u32::MAX);
        let list: Vec<u8> =
            (0..count).zip(vfs).flat_map(|(number, vf)| attribute(1, &vf.info(number))).collect();
        self.vfs = attribute(21, &count.to_ne_bytes());
        self.vfs.extend(attribute(22, &list));
        self
    }

    fn is(&self, asked: &Asked) -> bool {
        match asked.name {
            Some(name) => name == self.name.as_bytes(),
            None => asked.index == self.index.to_ne_bytes(),
        }
    }

    /// The message; the VFs are in it where the request asked for them, as by `RTEXT_FILTER_VF`.
    pub fn message(&self, with_vfs: bool) -> Message {
        let mut payload = vec![0, 0];
        // ARPHRD_ETHER, the index, the flags, nothing changed.
        payload.extend(1_u16.to_ne_bytes());
        payload.extend(self.index.to_ne_bytes());
        payload.extend(self.flags.to_ne_bytes());
        payload.extend([0; 4]);
        payload.extend(&self.first);
        if with_vfs {
            payload.extend(&self.vfs);
        }
        payload.extend(&self.last);
        Message { kind: RTM_NEWLINK, payload }
    }
}

impl Vf {
    fn info(&self, number: u32) -> Vec<u8> {
        let words = |kind, words: &[u32]| {
            let value: Vec<u8> = [number].iter().chain(words).flat_map(|word| word.to_ne_bytes()).collect();
            attribute(kind, &value)
        };
        let said = |setting: Option<bool>| setting.map_or(u32::MAX, u32::from);
        // MAC and broadcast address have room for 32 bytes each.
        let mut mac = [0; 36];
        mac[..4].copy_from_slice(&number.to_ne_bytes());
        mac[4..10].copy_from_slice(&self.mac);
        let mut broadcast = [0; 32];
        broadcast[..6].fill(0xff);
        let mut info = attribute(1, &mac);
        info.extend(attribute(13, &broadcast));
        info.extend(words(2, &[self.vlan.0, self.vlan.1]));
        info.extend(words(6, &[self.rate.0, self.rate.1]));
        info.extend(words(3, &[self.rate.1]));
        info.extend(words(4, &[said(self.spoofchk)]));
        info.extend(words(5, &[0]));
        info.extend(words(7, &[u32::MAX]));
        info.extend(words(9, &[said(self.trust)]));
        if self.guids {
            info.extend(words(10, &[0, 0, 0]));
            info.extend(words(11, &[0, 0, 0]));
        }
        let proto = u32::from_ne_bytes([0x81, 0x00, 0, 0]);
        info.extend(attribute(12, &words(1, &[self.vlan.0, self.vlan.1, proto])));
        info
    }
}

/// As `nla_put` and `nla_nest_end` do it: what does not fit into the 16 bits of the length is cut off there, and silently.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()).to_le_bytes();
    let mut bytes = u16::from_le_bytes([length[0], length[1]]).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}
