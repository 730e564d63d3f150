//! What the release binaries promise: a size, and one static file that runs wherever the kernel does.
//! Must not build them.

use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;

const MIB: usize = 1024 * 1024;

/// Each program and the size that it stays below, in bytes.
const LIMITS: &[(&str, usize)] =
    &[("sriov", 3 * MIB), ("host-device", 3 * MIB), ("sriovdp", 10 * MIB), ("install-cni", 2 * MIB)];

/// Prints each binary in `folder` beside its promise; whether all are kept.
pub(crate) fn all_kept(folder: &Path) -> Result<bool> {
    let mut kept = true;
    for (program, limit) in LIMITS {
        let path = folder.join(program);
        let elf = fs::read(&path).with_context(|| format!("no {}", path.display()))?;
        let is_static = loader(&elf).is_none();
        let ok = elf.len() < *limit && is_static;
        println!(
            "{program:<12} {:>6} KiB, {}; promised: static and below {} KiB: {}",
            elf.len() / 1024,
            if is_static { "static" } else { "not static" },
            limit / 1024,
            if ok { "kept" } else { "BROKEN" },
        );
        kept &= ok;
    }
    Ok(kept)
}

/// The program that has to load this one (`PT_INTERP`); none for a static one. Anything but a 64-bit little-endian ELF
/// has none either.
fn loader(elf: &[u8]) -> Option<&[u8]> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, length: usize| {
        let bytes = elf.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)))
    };
    // Offsets of elf(5): e_phoff, e_phentsize, e_phnum; in each header p_type, p_offset, p_filesz.
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for header in 0..count {
        let at = usize::try_from(table + header * size).ok()?;
        if number(at, 4)? == PT_INTERP {
            let (from, length) = (number(at + 8, 8)?, number(at + 32, 8)?);
            return elf.get(usize::try_from(from).ok()?..usize::try_from(from + length).ok()?);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_names_its_loader_and_a_static_one_none() {
        let shell = fs::read("/bin/sh").unwrap();
        assert!(loader(&shell).is_some_and(|name| name.starts_with(b"/")));
        let mut bytes = shell;
        bytes[56..58].fill(0);
        assert_eq!(loader(&bytes), None);
        assert_eq!(loader(b"#!/bin/sh"), None);
    }
}
