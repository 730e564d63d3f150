//! Every key of the configuration, once: the reader, the linter and the reference page go by this list.
//! It must not say what a key does; `docs/configuration.md` does, and a test compares the two.

use crate::inventory::Kind;

/// The keys of the document.
pub const FILE: [&str; 1] = ["resourceList"];

/// The keys of a pool.
pub const POOL: [&str; 9] = [
    "resourceName",
    "resourcePrefix",
    "deviceType",
    "selectors",
    "excludeTopology",
    "additionalInfo",
    "vfioCdev",
    "pfCarrier",
    "allocationPolicy",
];

/// The keys of a selector, with the kinds of device that have them.
pub const SELECTOR: [(&str, &[Kind]); 14] = {
    use Kind::{Accelerator, Network, Subfunction};
    [
        ("vendors", &[Network, Accelerator, Subfunction]),
        ("devices", &[Network, Accelerator, Subfunction]),
        ("drivers", &[Network, Accelerator, Subfunction]),
        ("pciAddresses", &[Network, Accelerator]),
        ("acpiIndexes", &[Network]),
        ("auxTypes", &[Subfunction]),
        ("pfNames", &[Network, Subfunction]),
        ("rootDevices", &[Network, Subfunction]),
        ("linkTypes", &[Network, Subfunction]),
        ("ddpProfiles", &[Network]),
        ("pKeys", &[Network]),
        ("isRdma", &[Network, Subfunction]),
        ("needVhostNet", &[Network, Subfunction]),
        ("vdpaType", &[Network]),
    ]
};

/// The known key that is most like one that is not known, if any is: for a typing error or a forgotten plural.
pub(super) fn nearest(unknown: &str, known: &[&'static str]) -> Option<&'static str> {
    // One that is far too long is no typing error, and must not cost its length squared.
    if unknown.len() > 64 {
        return None;
    }
    let folded = unknown.to_ascii_lowercase();
    let distance = |key: &str| strsim::osa_distance(&folded, &key.to_ascii_lowercase());
    let (distance, key) = known.iter().map(|key| (distance(key), *key)).min()?;
    (distance <= 1 + unknown.len() / 4).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key() {
        let known = SELECTOR.map(|(key, _)| key);
        for (unknown, wanted) in [
            ("vendor", Some("vendors")),
            ("PfName", Some("pfNames")),
            ("pciAdresses", Some("pciAddresses")),
            ("rdma", Some("isRdma")),
            ("vnedosr", Some("vendors")),
            ("is_rdma", Some("isRdma")),
            ("bar", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, &known), wanted, "{unknown}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), &known), None);
    }
}
