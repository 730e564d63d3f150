//! What the machine's apt knows: its mirrors, versions and package files.
//! Never installs (`packages` does) and holds no mirror's name: each is read from apt.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;

use crate::tool;

/// The release that the node is made of; the machine has to run the same one, for its apt is used.
pub(crate) const SUITE: &str = "bookworm";

/// Where the kernel and QEMU come from.
pub(crate) const BACKPORTS: &str = "bookworm-backports";

/// One line of `sources.list`, as apt understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    uri: String,
    release: String,
    codename: String,
    component: String,
}

impl Source {
    /// As a one-line entry that mmdebstrap and apt read.
    pub(crate) fn entry(&self) -> String {
        format!("deb {} {} {}", self.uri, self.release, self.component)
    }
}

/// The binary package sources that are configured here. A machine whose apt has never fetched its lists, such as one made
/// of a small image, tells of none; so they are fetched then.
pub(crate) fn sources() -> Result<Vec<Source>> {
    let known = known_sources()?;
    if !known.is_empty() {
        return Ok(known);
    }
    update()?;
    known_sources()
}

/// Fetches the lists of packages.
pub(crate) fn update() -> Result<()> {
    tool::run(tool::as_root("apt-get").args(["-qq", "update"]))
}

fn known_sources() -> Result<Vec<Source>> {
    let format = "$(CREATED_BY) $(REPO_URI) $(RELEASE) $(CODENAME) $(COMPONENT)";
    let text = tool::text(Command::new("apt-get").args(["indextargets", "--format", format]))?;
    Ok(parse_sources(&text))
}

fn parse_sources(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        // Without a downloaded index apt leaves `$(CODENAME)` as it is; the release is right there nearly always.
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["Packages", uri, release, codename, component] = words[..] else { continue };
        let source = Source {
            uri: uri.to_owned(),
            release: release.to_owned(),
            codename: codename.to_owned(),
            component: component.to_owned(),
        };
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    sources
}

/// The mirror of Debian's main archive that this machine uses.
pub(crate) fn main_archive(sources: &[Source]) -> Result<&str> {
    let ours = |source: &&Source| source.release == SUITE || source.codename == SUITE;
    match sources.iter().find(|source| ours(source) && source.component == "main") {
        Some(source) => Ok(&source.uri),
        None => bail!(
            "apt has no `{SUITE} main` source, and the emulated node is built from Debian 12's packages; \
             run this on Debian 12, or add one to /etc/apt/sources.list.d"
        ),
    }
}

/// Whether backports is among the sources.
pub(crate) fn has_backports(sources: &[Source]) -> bool {
    sources.iter().any(|source| source.release == BACKPORTS || source.codename == BACKPORTS)
}

/// The sources that make up a Debian 12 system here: main, with its updates and security fixes.
pub(crate) fn system_sources(sources: &[Source]) -> Vec<String> {
    let security = format!("{SUITE}-security");
    let updates = format!("{SUITE}-updates");
    let ours = |name: &str| name == SUITE || name == updates || name == security;
    let wanted =
        |source: &&Source| source.component == "main" && (ours(&source.release) || ours(&source.codename));
    sources.iter().filter(wanted).map(Source::entry).collect()
}

/// Downloads `packages` (`name` or `name/suite`) into `folder` and returns the files in no special order.
pub(crate) fn download(packages: &[String], folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    // The sandbox user _apt could not write into a folder of ours.
    let mut command = Command::new("apt-get");
    command.args(["-qq", "-o", "APT::Sandbox::User=root", "download"]).args(packages).current_dir(folder);
    tool::run(&mut command)?;
    let files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(files.into_iter().filter(|file| file.extension().is_some_and(|ext| ext == "deb")).collect())
}

/// Unpacks one package file; nothing is installed.
pub(crate) fn unpack(deb: &Path, into: &Path) -> Result<()> {
    std::fs::create_dir_all(into)?;
    tool::run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(into))
}

/// Downloads `package` and unpacks it into `folder/tree`, which is returned.
pub(crate) fn fetch(package: &str, folder: &Path) -> Result<PathBuf> {
    let tree = folder.join("tree");
    for deb in download(&[package.to_owned()], folder)? {
        unpack(&deb, &tree).with_context(|| format!("cannot unpack {package}"))?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "\
DEP-11 http://m.example/debian/ bookworm bookworm main
Packages http://m.example/debian/ bookworm bookworm main
Packages http://m.example/debian/ bookworm-updates bookworm-updates main
Packages http://s.example/debian-security/ bookworm-security bookworm-security main
Packages http://x.example/vendor/ nodistro nodistro main
Packages http://m.example/debian/ bookworm bookworm main
";

    #[test]
    fn the_main_archive_is_the_one_of_the_suite() {
        let sources = parse_sources(TARGETS);
        assert_eq!(main_archive(&sources).unwrap(), "http://m.example/debian/");
        assert_eq!(sources.len(), 4, "{sources:?}");
        assert!(!has_backports(&sources));
    }

    #[test]
    fn a_source_named_by_its_state_counts_by_its_codename() {
        let sources = parse_sources("Packages http://m.example/debian/ oldstable bookworm main\n");
        assert_eq!(main_archive(&sources).unwrap(), "http://m.example/debian/");
        assert_eq!(system_sources(&sources), ["deb http://m.example/debian/ oldstable main"]);
    }

    #[test]
    fn strangers_are_not_part_of_the_system() {
        let system = system_sources(&parse_sources(TARGETS));
        assert_eq!(system.len(), 3);
        assert!(system.iter().all(|entry| !entry.contains("vendor")));
    }

    #[test]
    fn another_distribution_is_told_what_is_wanted() {
        let error =
            main_archive(&parse_sources("Packages http://m.example/u/ noble noble main\n")).unwrap_err();
        assert!(error.to_string().contains("Debian 12"));
    }
}
