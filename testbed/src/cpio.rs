//! Writes a cpio archive in the `newc` format, the kernel's initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).
//! Never packed: there is nothing to gain from unpacking under emulation.

use anyhow::Context;
use anyhow::Result;

/// An archive under construction.
#[derive(Default)]
pub(crate) struct Cpio {
    bytes: Vec<u8>,
    inode: u32,
}

impl Cpio {
    pub(crate) fn folder(&mut self, name: &str) -> Result<()> {
        self.entry(name, 0o040_755, (0, 0), &[])
    }

    pub(crate) fn program(&mut self, name: &str, data: &[u8]) -> Result<()> {
        self.entry(name, 0o100_755, (0, 0), data)
    }

    pub(crate) fn character_device(&mut self, name: &str, major: u32, minor: u32) -> Result<()> {
        self.entry(name, 0o020_600, (major, minor), &[])
    }

    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, name: &str, mode: u32, (major, minor): (u32, u32), data: &[u8]) -> Result<()> {
        self.inode += 1;
        let size =
            u32::try_from(data.len()).with_context(|| format!("{name}: too large for an initramfs"))?;
        let name_size = u32::try_from(name.len() + 1)?;
        let (links, owner, time, device, check) = (1, 0, 0, 0, 0);
        let fields = [
            self.inode, mode, owner, owner, links, time, size, device, device, major, minor, name_size, check,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(data);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_the_trailer_ends_it() {
        let mut cpio = Cpio::default();
        cpio.folder("dev").unwrap();
        cpio.character_device("dev/console", 5, 1).unwrap();
        cpio.program("init", b"12345").unwrap();
        let bytes = cpio.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let at = bytes.windows(6).enumerate().filter(|(_, six)| six == b"070701").map(|(at, _)| at);
        let at: Vec<usize> = at.collect();
        assert_eq!(at.len(), 4);
        assert!(at.iter().all(|at| at % 4 == 0));
        assert!(bytes.windows(10).any(|ten| ten == b"TRAILER!!!"));
    }
}
