//! The first userland: loads the modules that it takes to reach the real root, mounts that, and becomes its init.
//! Decides nothing about the node.

use std::convert::Infallible;
use std::ffi::CStr;
use std::ffi::CString;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use anyhow::Result;
use nix::kmod::ModuleInitFlags;
use nix::kmod::finit_module;
use nix::mount::MsFlags;
use nix::mount::mount;
use nix::sys::reboot::RebootMode;
use nix::sys::reboot::reboot;
use nix::unistd::chroot;
use nix::unistd::execv;

/// Where the root is put together.
const NEW_ROOT: &str = "/newroot";

/// Does not return, but for a failure: there is nobody to return to, so the machine ends.
pub(crate) fn run() -> ExitCode {
    let Err(error) = to_the_real_root();
    eprintln!("initramfs: {error:#}");
    let _ = reboot(RebootMode::RB_POWER_OFF);
    ExitCode::FAILURE
}

fn to_the_real_root() -> Result<Infallible> {
    attach("proc", "proc", "/proc", "")?;
    attach("sysfs", "sys", "/sys", "")?;
    attach("devtmpfs", "dev", "/dev", "")?;
    load_modules(Path::new("/modules"))?;

    attach("squashfs", "/dev/vda", "/lower", "ro")?;
    attach("squashfs", "/dev/vdb", "/kernel", "ro")?;
    attach("tmpfs", "rw", "/rw", "size=60%")?;
    fs::create_dir("/rw/upper")?;
    fs::create_dir("/rw/work")?;
    attach("overlay", "root", NEW_ROOT, "lowerdir=/kernel:/lower,upperdir=/rw/upper,workdir=/rw/work")?;
    let shared = "trans=virtio,version=9p2000.L,msize=1048576";
    // What the host puts into /share stays as it is during a boot; /out is watched by the host.
    attach("9p", "share", "/newroot/share", &format!("ro,cache=loose,{shared}"))?;
    attach("9p", "out", "/newroot/out", shared)?;

    for folder in ["/proc", "/sys", "/dev"] {
        let target = format!("{NEW_ROOT}{folder}");
        move_mount(folder, &target)?;
    }
    std::env::set_current_dir(NEW_ROOT)?;
    move_mount(".", "/")?;
    chroot(".").context("cannot chroot to the new root")?;
    std::env::set_current_dir("/")?;
    let words: [&CStr; 2] = [c"/share/guest", c"init"];
    execv(words[0], &words).context("cannot start /share/guest in the new root")
}

/// Mounts with the options as mount(8) writes them; `ro` is a flag to the kernel, not one of the file system's options.
pub(crate) fn attach(kind: &str, source: &str, target: &str, options: &str) -> Result<()> {
    let (flags, data) = match options.strip_prefix("ro") {
        Some(rest) if rest.is_empty() || rest.starts_with(',') => {
            (MsFlags::MS_RDONLY, rest.trim_start_matches(','))
        }
        _ => (MsFlags::empty(), options),
    };
    mount(Some(source), target, Some(kind), flags, Some(data))
        .with_context(|| format!("cannot mount {source} ({kind}, {options:?}) at {target}"))
}

fn move_mount(from: &str, to: &str) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .with_context(|| format!("cannot move the mount {from} to {to}"))
}

/// Loads all of a folder's modules in the order of their names.
fn load_modules(folder: &Path) -> Result<()> {
    let listed = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let mut files = listed.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    for file in files {
        let parameters = CString::default();
        finit_module(File::open(&file)?, &parameters, ModuleInitFlags::empty())
            .with_context(|| format!("cannot load {}", file.display()))?;
    }
    Ok(())
}
