//! `sriovdp check`: all that can be said against a configuration without looking at the node.
//! It must not print, and must not refuse what the daemon serves: it warns.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::config::{Config, Error, PoolConfig};
use crate::device_info::cdi;
use crate::inventory::DeviceId;
use crate::kubelet::{Kubelet, check_socket_path};
use crate::selector::Selector;

/// What is said of a file.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The resources that it makes.
    pub pools: Vec<String>,
    /// What is wrong or odd, in the file's order as far as there is one.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong or odd.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is and what to do.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file, or one of its pools, cannot be served.
    Error,
    /// It is served, and hardly as it is meant.
    Warning,
}

/// Looks at what was read of a file, for the kubelet below `kubelet_root`.
pub fn check(config: &Result<Config, Error>, kubelet_root: &Path) -> Report {
    let mut report = Report::default();
    match config {
        Err(error) => report.error(error),
        Ok(config) => {
            report.pools = config.pools.iter().map(|pool| pool.resource.to_string()).collect();
            config.refused.iter().for_each(|refused| report.error(refused));
            config.warnings.iter().for_each(|warning| report.warn(warning));
            for (index, pool) in config.pools.iter().enumerate() {
                names(&mut report, pool, kubelet_root);
                keys_of_information(&mut report, pool);
                selectors(&mut report, pool, &config.pools[..index]);
            }
        }
    }
    report
}

/// The names made from the resource, which others than us must take.
fn names(report: &mut Report, pool: &PoolConfig, kubelet_root: &Path) {
    let resource = &pool.resource;
    for kubelet in [
        Kubelet::Watches { dir: kubelet_root.join("plugins_registry") },
        Kubelet::MustBeTold { dir: kubelet_root.join("device-plugins") },
    ] {
        if let Err(error) = check_socket_path(&kubelet, resource) {
            report.error(format_args!("pool {resource}: {error}"));
            break;
        }
    }
    let name = resource.name();
    // `IsQualifiedName` of k8s.io/apimachinery, by which a node's resources are checked.
    if name.len() > 63 || name.starts_with(['-', '_']) || name.ends_with(['-', '_']) {
        report.warn(format_args!(
            "pool {resource}: Kubernetes takes names of at most 63 characters with a letter or digit at both ends"
        ));
    }
    if !cdi::is_vendor(resource.prefix()) {
        report.warn(format_args!(
            "pool {resource}: {:?} is no CDI vendor, so that --use-cdi will end with an error; change resourcePrefix",
            resource.prefix()
        ));
    }
    if pool.shell_variable.is_none() && resource.variable() != resource.shell_variable() {
        report.warn(format_args!(
            "pool {resource}: no shell can use its variable {}, and {} is another pool's; rename one of them",
            resource.variable(),
            resource.shell_variable()
        ));
    }
}

fn keys_of_information(report: &mut Report, pool: &PoolConfig) {
    for key in pool.additional_info.iter().flat_map(|info| info.keys()).filter(|key| *key != "*") {
        match key.parse() {
            Ok(DeviceId::Function(_)) => {}
            Ok(DeviceId::Subfunction(_)) => report.warn(format_args!(
                "pool {}: additionalInfo.{key}: an SF is found by the address of the function that it is below",
                pool.resource
            )),
            Err(error) => report.warn(format_args!("pool {}: additionalInfo: {error}", pool.resource)),
        }
    }
}

/// Selectors that take nothing: nothing can meet them, or another takes all of it before.
fn selectors(report: &mut Report, pool: &PoolConfig, before: &[PoolConfig]) {
    let resource = &pool.resource;
    for (index, selector) in pool.selectors.iter().enumerate() {
        if let Some(key) = selector.impossible() {
            report
                .warn(format_args!("pool {resource}: selectors[{index}] can never match, because of {key}"));
            continue;
        }
        let earlier = pool.selectors[..index].iter().position(|other| covers(other, selector));
        let takes_all = |other: &PoolConfig| other.selectors.iter().any(|other| covers(other, selector));
        let other = before.iter().find(|other| other.kind == pool.kind && takes_all(other));
        if let Some(earlier) = earlier {
            let same = pool.selectors[earlier].extras() == selector.extras();
            report.warn(format_args!(
                "pool {resource}: selectors[{index}] takes nothing{}: selectors[{earlier}] takes all of it before",
                if same { "" } else { " and adds nothing" },
            ));
        } else if let Some(other) = other {
            report.warn(format_args!(
                "pool {resource}: selectors[{index}] takes nothing: pool {} takes all of it before; put the narrower pool first",
                other.resource
            ));
        }
    }
}

fn covers(other: &Selector, selector: &Selector) -> bool {
    other.impossible().is_none() && other.covers(selector)
}

impl Report {
    /// Whether anything is an error.
    pub fn failed(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn error(&mut self, message: impl fmt::Display) {
        self.findings.push(Finding { severity: Severity::Error, message: message.to_string() });
    }

    fn warn(&mut self, message: impl fmt::Display) {
        self.findings.push(Finding { severity: Severity::Warning, message: message.to_string() });
    }

    /// For people: a line for each finding, and one that counts.
    pub fn text(&self) -> String {
        let count = |wanted| self.findings.iter().filter(|finding| finding.severity == wanted).count();
        let mut lines: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        let (pools, errors, warnings) = (self.pools.len(), count(Severity::Error), count(Severity::Warning));
        lines.push(counted([(pools, "pool"), (errors, "error"), (warnings, "warning")]));
        lines.join("\n") + "\n"
    }

    /// For programs.
    pub fn json(&self) -> String {
        // Strings and lists of them cannot fail to be JSON.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

fn counted(counts: [(usize, &str); 3]) -> String {
    let one = |(count, what): (usize, &str)| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    counts.map(one).join(", ")
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.message)
    }
}

#[cfg(test)]
mod tests;
