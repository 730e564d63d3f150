//! The grammar of `pfNames` and `rootDevices`: `<base>` or `<base>#<item>(,<item>)*`, an item being `N` or `A-B`.
//! It must not reject anything: an entry counts up to where it cannot be read, as the Go plugin's do.

use std::fmt;
use std::ops::RangeInclusive;

use pci::PciAddress;

/// The entries of one key. For one base only the first entry counts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Ranged {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    /// As written.
    text: String,
    /// The PF, in lower case.
    base: String,
    /// `None` is every VF.
    indexes: Option<Vec<RangeInclusive<u64>>>,
}

/// An entry that does not count, or not to its end.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RangeError {
    /// More than one `#`.
    #[error("{text:?} has more than one #, and selects nothing")]
    Separator {
        /// The entry.
        text: String,
    },
    /// An item that is no number and no range.
    #[error("{text:?} counts only up to {item:?}, which is no number and no range such as 0-3")]
    Item {
        /// The entry.
        text: String,
        /// The item.
        item: String,
    },
    /// A range that ends before it starts.
    #[error("{text:?} has the range {item:?}, which is empty; write the smaller number first")]
    Reversed {
        /// The entry.
        text: String,
        /// The range.
        item: String,
    },
    /// A base that has an entry already.
    #[error(
        "{text:?} does not count: an entry before it names the same PF; write both as one, such as pf0#0-3,7"
    )]
    Repeated {
        /// The entry.
        text: String,
    },
}

impl Ranged {
    pub(super) fn parse(texts: Vec<String>) -> (Self, Vec<RangeError>) {
        let mut ranged = Self::default();
        let mut errors = Vec::new();
        for text in texts {
            let mut parts = text.split('#');
            let base = parts.next().unwrap_or_default().to_lowercase();
            let indexes = match (parts.next(), parts.next()) {
                (None, _) => None,
                (Some(items), None) => Some(ranges(&text, items, &mut errors)),
                (Some(_), Some(_)) => {
                    errors.push(RangeError::Separator { text: text.clone() });
                    Some(Vec::new())
                }
            };
            if ranged.entries.iter().any(|entry| entry.base == base) {
                errors.push(RangeError::Repeated { text });
            } else {
                ranged.entries.push(Entry { text, base, indexes });
            }
        }
        (ranged, errors)
    }

    pub(super) fn is_set(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Whether this accepts all that `other` does. Ranges of ours that meet each other are not joined.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let covered = |entry: &Entry| {
            let same = self.entries.iter().find(|ours| ours.base == entry.base);
            same.is_some_and(|ours| match (&ours.indexes, &entry.indexes) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(ours), Some(theirs)) => theirs.iter().all(|range| {
                    ours.iter().any(|our| our.contains(range.start()) && our.contains(range.end()))
                }),
            })
        };
        self.entries.is_empty() || other.is_set() && other.entries.iter().all(covered)
    }

    /// Whether no entry can ever accept a device: its base is none, or no number of it can be read.
    pub(super) fn selects_nothing(&self, base: impl Fn(&str) -> bool) -> bool {
        let selects = |entry: &Entry| {
            base(&entry.base) && entry.indexes.as_ref().is_none_or(|ranges| !ranges.is_empty())
        };
        self.is_set() && !self.entries.iter().any(selects)
    }

    /// As [`Ranged::accepts`], for entries whose base is the PF's address; printed only where there is an entry.
    pub(super) fn accepts_address(&self, pf: Option<PciAddress>, index: Option<u32>) -> bool {
        self.entries.is_empty() || self.accepts(pf.map(|pf| pf.to_string()).as_deref(), index)
    }

    /// True where there is no entry, or the PF's entry has the VF's number. What has no PF is accepted by no entry.
    pub(super) fn accepts(&self, pf: Option<&str>, index: Option<u32>) -> bool {
        if self.entries.is_empty() {
            return true;
        }
        let Some(pf) = pf else { return false };
        let Some(entry) = self.entries.iter().find(|entry| same(&entry.base, pf)) else { return false };
        let Some(indexes) = &entry.indexes else { return true };
        index.is_some_and(|index| indexes.iter().any(|range| range.contains(&index.into())))
    }
}

/// The base is in lower case already; nearly every name is ASCII.
fn same(base: &str, pf: &str) -> bool {
    if pf.is_ascii() { base.eq_ignore_ascii_case(pf) } else { *base == pf.to_lowercase() }
}

/// Reads items up to the first that cannot be read.
fn ranges(text: &str, items: &str, errors: &mut Vec<RangeError>) -> Vec<RangeInclusive<u64>> {
    let mut ranges = Vec::new();
    for item in items.split(',') {
        let range = match item.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)),
            None => number(item).map(|index| (index, index)),
        };
        let Some((first, last)) = range else {
            errors.push(RangeError::Item { text: text.to_owned(), item: item.to_owned() });
            break;
        };
        if first > last {
            errors.push(RangeError::Reversed { text: text.to_owned(), item: item.to_owned() });
        } else {
            ranges.push(first..=last);
        }
    }
    ranges
}

/// As large as Go's `int`, although no VF has such a number: a range may end there.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| i64::try_from(*number).is_ok())
}

impl fmt::Display for Ranged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { " or " }, entry.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The VFs of `pf0`, out of the first ten, that the entries accept.
    fn of_pf0(texts: &[&str]) -> Vec<u32> {
        let (ranged, _) = Ranged::parse(texts.iter().map(ToString::to_string).collect());
        (0..10).filter(|index| ranged.accepts(Some("pf0"), Some(*index))).collect()
    }

    fn errors(text: &str) -> Vec<RangeError> {
        Ranged::parse(vec![text.to_owned()]).1
    }

    #[test]
    fn numbers_and_ranges() {
        assert_eq!(of_pf0(&["pf0"]), (0..10).collect::<Vec<_>>());
        assert_eq!(of_pf0(&["pf0#1"]), [1]);
        assert_eq!(of_pf0(&["pf0#0,3-5,7"]), [0, 3, 4, 5, 7]);
        assert_eq!(of_pf0(&["pf1#0", "pf0#9"]), [9]);
        assert_eq!(of_pf0(&["PF0#1-2"]), [1, 2]);
        assert_eq!(of_pf0(&["pf1"]), [0; 0]);
        assert_eq!(of_pf0(&[]), (0..10).collect::<Vec<_>>());
        assert_eq!(of_pf0(&["pf0#8-4294967296"]), [8, 9], "Go's numbers have 63 bits");
        assert_eq!(of_pf0(&["pf0#99999999999,1"]), [1]);
    }

    #[test]
    fn only_the_first_entry_of_a_base_counts() {
        assert_eq!(of_pf0(&["pf0#0", "pf0#3"]), [0]);
        assert_eq!(of_pf0(&["pf0#0", "PF0"]), [0]);
    }

    #[test]
    fn what_cannot_be_read_ends_an_entry() {
        assert_eq!(of_pf0(&["pf0#0,x,2"]), [0]);
        assert_eq!(of_pf0(&["pf0#0, 2"]), [0]);
        assert_eq!(of_pf0(&["pf0#"]), [0; 0]);
        assert_eq!(of_pf0(&["pf0#0#1"]), [0; 0]);
        assert_eq!(of_pf0(&["pf0#1-2-3"]), [0; 0]);
        assert_eq!(of_pf0(&["pf0#-1"]), [0; 0]);
        assert_eq!(of_pf0(&["pf0#3-1,7"]), [7]);
        assert_eq!(of_pf0(&["pf0#99999999999999999999,1"]), [0; 0]);
    }

    #[test]
    fn each_oddity_is_named() {
        assert!(matches!(errors("pf0#0,x,2")[..], [RangeError::Item { .. }]));
        assert!(matches!(errors("pf0#0#1")[..], [RangeError::Separator { .. }]));
        assert!(matches!(errors("pf0#3-1")[..], [RangeError::Reversed { .. }]));
        assert!(errors("pf0#0-3,7").is_empty());
        let (_, errors) = Ranged::parse(vec!["pf0#0".into(), "pf0#3".into()]);
        assert!(matches!(errors[..], [RangeError::Repeated { .. }]));
    }

    #[test]
    fn without_a_pf_nothing_is_accepted() {
        let (ranged, _) = Ranged::parse(vec!["pf0".into()]);
        assert!(!ranged.accepts(None, None));
        assert!(ranged.accepts(Some("pf0"), None));
    }
}
