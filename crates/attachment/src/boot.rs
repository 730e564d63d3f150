//! Which boot of the node this is.
//! It must not be taken for proof where it cannot be read.

use std::fs;

/// The kernel's random number for this boot, the same in every container; `None` where `/proc` does not show it.
pub(crate) fn id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Whether something was noted in a boot that is over.
pub(crate) fn is_over(noted: Option<&str>) -> bool {
    match (noted, id()) {
        (Some(noted), Some(now)) => noted != now,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_boot_is_not_over_and_an_unknown_one_is_not_said_to_be() {
        let now = id().unwrap();
        assert!(!is_over(Some(&now)) && !is_over(None));
        assert!(is_over(Some("00000000-0000-4000-8000-000000000000")));
    }
}
