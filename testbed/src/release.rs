//! Which of Debian's kernels the node runs, and the packages that it is made of.
//! It must not fetch or build anything.

use std::process::Command;

use anyhow::Context;
use anyhow::Result;

use crate::apt;

/// A release of Debian's kernel, such as `6.12.95+deb12-amd64`.
pub(crate) struct Release(pub(crate) String);

impl Release {
    /// The one that backports' `linux-image-amd64` names now; none if apt does not know backports.
    pub(crate) fn current() -> Result<Option<Self>> {
        let package = format!("linux-image-amd64/{}", apt::BACKPORTS);
        let mut command = Command::new("apt-cache");
        let output = command.args(["depends", &package]).output().context("cannot run apt-cache")?;
        Ok(parse_release(&String::from_utf8_lossy(&output.stdout)).map(Self))
    }

    /// The packages that a kernel, its modules and the external ones take.
    pub(crate) fn packages(&self) -> Vec<String> {
        let release = &self.0;
        let version = release.strip_suffix("-amd64").unwrap_or(release);
        vec![
            format!("linux-image-{release}"),
            format!("linux-headers-{release}"),
            format!("linux-headers-{version}-common"),
            format!("linux-kbuild-{version}"),
            "dpdk-kmods-dkms".to_owned(),
            self.source_package(),
        ]
    }

    /// The sources of this kernel or of a later fix of it, `linux-source-6.12`: Debian keeps one a series.
    fn source_package(&self) -> String {
        let series: Vec<&str> = self.0.split('.').take(2).collect();
        format!("linux-source-{}", series.join("."))
    }
}

fn parse_release(depends: &str) -> Option<String> {
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    // A kernel's name begins with its version; `linux-image-amd64` itself would not.
    names.find(|name| name.starts_with(|first: char| first.is_ascii_digit())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_release_is_what_the_metapackage_depends_on() {
        let depends = "linux-image-amd64\n  Depends: linux-image-6.12.95+deb12-amd64\n";
        assert_eq!(parse_release(depends).as_deref(), Some("6.12.95+deb12-amd64"));
        assert_eq!(parse_release(""), None);
    }

    #[test]
    fn sources_are_named_by_the_series() {
        assert_eq!(Release("6.12.95+deb12-amd64".to_owned()).source_package(), "linux-source-6.12");
    }
}
