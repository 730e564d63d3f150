//! Every key of a network configuration, once: the warnings and the reference page go by these lists.
//! It must not say what a key does; `docs/sriov.md` does, and a test compares the two.

/// The keys of ours.
pub(crate) const OURS: [&str; 20] = [
    "deviceID",
    "pciBusID",
    "runtimeConfig",
    "args",
    "vlan",
    "vlanQoS",
    "vlanProto",
    "vlanTrunk",
    "mac",
    "spoofchk",
    "trust",
    "link_state",
    "min_tx_rate",
    "max_tx_rate",
    "mtu",
    "allmulti",
    "driver",
    "strict",
    "logLevel",
    "logFile",
];

/// Those of the plugins of 2016 to 2018.
pub(crate) const LEGACY: [&str; 6] = ["if0", "master", "vf", "if0name", "l2enable", "dpdk"];

/// Those that the protocol and its runtimes put beside a plugin's own.
const STANDARD: [&str; 10] = [
    "cniVersion",
    "name",
    "type",
    "capabilities",
    "ipam",
    "dns",
    "prevResult",
    "ipMasq",
    "disableCheck",
    "disableGC",
];

/// Those that the Go plugin reads from its own files, and earlier ones had: nothing comes of them.
const PASSED_OVER: [&str; 9] = [
    "OrigVfState",
    "VFID",
    "DPDKMode",
    "ContIFNames",
    "adminMAC",
    "cniDir",
    "deviceinfo",
    "sharedvf",
    "masterplugin",
];

/// All that are known.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    OURS.into_iter().chain(LEGACY).chain(STANDARD).chain(PASSED_OVER)
}

/// The known key that is most like one that is not: another spelling, a typing error.
pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
    // One that is far too long is no typing error, and must not cost its length squared.
    if unknown.len() > 64 {
        return None;
    }
    let plain = |key: &str| key.replace(['_', '-', '.', ' '], "").to_ascii_lowercase();
    let unknown = plain(unknown);
    let candidates = OURS.into_iter().chain(LEGACY).chain(STANDARD);
    let (distance, key) = candidates.map(|key| (strsim::osa_distance(&unknown, &plain(key)), key)).min()?;
    (distance <= 1 + unknown.len() / 4).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key() {
        for (unknown, wanted) in [
            ("max-tx-rate", Some("max_tx_rate")),
            ("vlanQos", Some("vlanQoS")),
            ("vlan_proto", Some("vlanProto")),
            ("spoofcheck", Some("spoofchk")),
            ("linkState", Some("link_state")),
            ("vlna", Some("vlan")),
            ("device", Some("deviceID")),
            ("rdmaIsolation", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown), wanted, "{unknown}");
        }
        assert_eq!(nearest(&"x".repeat(100_000)), None);
    }
}
