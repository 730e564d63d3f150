//! The node's kernel: which one, its uncompressed image, its modules.
//! Unpacked from Debian's package, never installed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use anyhow::ensure;

use crate::apt;
use crate::external;
use crate::modules;
use crate::phases::Phases;
use crate::release::Release;
use crate::tool;

/// Change it when the steps below change, so that cached kernels are built anew.
pub(crate) const RECIPE: &str = "kernel recipe 3";

/// What a cache entry of this kind holds.
pub(crate) struct Kernel {
    /// The ELF image, started by its PVH entry: nothing to decompress under emulation.
    pub(crate) vmlinux: PathBuf,
    /// All of `/usr/lib/modules`, mounted over the root.
    pub(crate) modules: PathBuf,
    /// What it takes to mount the root, in loading order.
    pub(crate) boot_modules: Vec<PathBuf>,
}

impl Kernel {
    pub(crate) fn at(folder: &Path) -> Result<Self> {
        let boot = folder.join("boot");
        let listed = fs::read_dir(&boot).with_context(|| format!("cannot list {}", boot.display()))?;
        let mut boot_modules = listed.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        boot_modules.sort();
        Ok(Self { vmlinux: folder.join("vmlinux"), modules: folder.join("modules.sqfs"), boot_modules })
    }

    /// Downloads and unpacks `release` into `folder`, as [`Kernel::at`] reads it.
    pub(crate) fn build(phases: &Phases, release: &Release, folder: &Path) -> Result<()> {
        let work = folder.join("work");
        let debs = phases.run("kernel: download", || apt::download(&release.packages(), &work))?;
        let tree = work.join("tree");
        phases.run("kernel: unpack", || {
            debs.iter().try_for_each(|deb| apt::unpack(deb, &tree))?;
            let packed = tree.join("boot").join(format!("vmlinuz-{}", release.0));
            let image = fs::read(&packed).with_context(|| format!("no {}", packed.display()))?;
            Ok(fs::write(folder.join("vmlinux"), extract(&image)?)?)
        })?;
        let built = phases.run("kernel: compile modules", || external::build(&tree, release))?;
        phases.run("kernel: modules", || modules::pack(&tree, release, &built, folder))?;
        fs::remove_dir_all(&work).context("cannot remove the unpacked packages")
    }
}

/// Takes the ELF out of a bzImage (Documentation/arch/x86/boot.rst: `setup_sects`, `payload_offset`, `payload_length`).
fn extract(image: &[u8]) -> Result<Vec<u8>> {
    let word = |at: usize| -> Result<usize> {
        let bytes = image.get(at..at + 4).context("the kernel image ends in its header")?;
        Ok(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
    };
    let sectors = usize::from(*image.get(0x1f1).context("the kernel image ends in its header")?);
    let start = (sectors + 1) * 512 + word(0x248)?;
    // The last four bytes are the unpacked size, appended by the kernel's build: not part of the stream.
    let end = (start + word(0x24c)?).saturating_sub(4);
    let payload = image.get(start..end).context("the kernel image's payload is outside of it")?;
    let mut unpacker = match payload {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Command::new("zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Command::new("xz"),
        _ => bail!("the kernel image is packed with neither zstd nor xz"),
    };
    let elf = pipe(unpacker.arg("-dcq"), payload)?;
    ensure!(elf.starts_with(b"\x7fELF"), "what came out of the kernel image is no ELF file");
    Ok(elf)
}

/// Runs `command` with `input` on its stdin and returns its stdout.
fn pipe(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let name = tool::line(command);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let output = std::thread::scope(|scope| {
        // From a thread of its own: both pipes are much smaller than a kernel. Its error shows in the exit status.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    })?;
    tool::check(&name, &output)?;
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_unpacked_by_its_header() {
        let elf = [b"\x7fELF".as_slice(), &[7; 5000]].concat();
        let packed = pipe(Command::new("xz").arg("-zc"), &elf).unwrap();
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&u32::try_from(packed.len() + 4).unwrap().to_le_bytes());
        image.extend([0; 16]);
        image.extend(&packed);
        image.extend(5004_u32.to_le_bytes());
        assert_eq!(extract(&image).unwrap(), elf);
    }

    #[test]
    fn a_truncated_image_is_an_error() {
        assert!(extract(&[0; 600]).is_err());
        assert!(extract(&[]).is_err());
    }
}
