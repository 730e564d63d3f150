//! Writes tar archives (POSIX ustar), as far as a container image needs them.
//! No long names, no owners but root, no clock: the same content gives the same bytes.

use anyhow::Result;
use anyhow::ensure;

const BLOCK: usize = 512;

/// An archive under construction.
#[derive(Default)]
pub(crate) struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    pub(crate) fn folder(&mut self, name: &str) -> Result<()> {
        self.entry(name, b'5', 0o755, "", &[])
    }

    pub(crate) fn file(&mut self, name: &str, mode: u32, data: &[u8]) -> Result<()> {
        self.entry(name, b'0', mode, "", data)
    }

    pub(crate) fn symlink(&mut self, name: &str, target: &str) -> Result<()> {
        self.entry(name, b'2', 0o777, target, &[])
    }

    /// The whole archive, with the two empty blocks that end it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }

    fn entry(&mut self, name: &str, kind: u8, mode: u32, target: &str, data: &[u8]) -> Result<()> {
        ensure!(name.len() <= 100 && target.len() <= 100, "{name}: too long for this tar writer");
        let mut header = [0_u8; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", data.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(156, char::from(kind).encode_utf8(&mut [0; 4]));
        put(157, target);
        put(257, "ustar\x0000");
        // The sum counts its own field as the blanks that are there now.
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend(header);
        self.bytes.extend(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn gnu_tar_reads_it() {
        let mut tar = Tar::default();
        tar.folder("bin").unwrap();
        tar.file("bin/tool", 0o755, b"content").unwrap();
        tar.symlink("bin/sh", "tool").unwrap();
        let scratch = Scratch::new("tar").unwrap();
        let file = scratch.path().join("a.tar");
        std::fs::write(&file, tar.finish()).unwrap();
        let listed = crate::tool::text(Command::new("tar").arg("-tvf").arg(&file)).unwrap();
        let names: Vec<&str> = listed.lines().collect();
        assert!(names[0].starts_with("drwxr-xr-x 0/0"), "{listed}");
        assert!(names[1].starts_with("-rwxr-xr-x 0/0") && names[1].contains(" 7 "), "{listed}");
        assert!(names[2].ends_with("bin/sh -> tool"), "{listed}");
    }
}
