//! A set of VLANs and its text, as a record and an operator have it.
//! It must not know who keeps one.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// VLANs, 0 to 4095 as the drivers count them; written as `2,4-5`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct VlanSet(pub(crate) BTreeSet<u16>);

/// A text that is no list of VLANs.
#[derive(Debug, thiserror::Error)]
#[error("{found:?} is no list of VLANs such as \"2,4-5\"")]
pub struct ParseVlanSetError {
    found: String,
}

impl VlanSet {
    /// The VLANs of all these ranges.
    pub fn of(ranges: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        Self(ranges.into_iter().flatten().collect())
    }

    /// The fewest ranges that these are.
    pub(crate) fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for vlan in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *vlan => *last = *vlan,
                _ => ranges.push((*vlan, *vlan)),
            }
        }
        ranges
    }

    /// Those that are not among the others.
    pub(crate) fn without(&self, others: &Self) -> Self {
        Self(self.0.difference(&others.0).copied().collect())
    }
}

impl Display for VlanSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.ranges().into_iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            if first == last {
                write!(formatter, "{comma}{first}")?;
            } else {
                write!(formatter, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for VlanSet {
    type Err = ParseVlanSetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|vlan| *vlan < 4096);
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            number(first).zip(number(last)).filter(|(first, last)| first <= last)
        };
        let ranges = text.split(',').filter(|_| !text.trim().is_empty()).map(range);
        let ranges: Option<Vec<(u16, u16)>> = ranges.collect();
        let ranges = ranges.ok_or_else(|| ParseVlanSetError { found: text.to_owned() })?;
        Ok(Self::of(ranges.into_iter().map(|(first, last)| first..=last)))
    }
}

impl TryFrom<String> for VlanSet {
    type Error = ParseVlanSetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<VlanSet> for String {
    fn from(vlans: VlanSet) -> Self {
        vlans.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_the_fewest_ranges_and_nothing_else_is_one() {
        for (text, wanted) in [("300,100-101,102", "100-102,300"), ("", ""), ("0,4095", "0,4095")] {
            assert_eq!(text.parse::<VlanSet>().unwrap().to_string(), wanted);
        }
        for text in ["4096", "5-4", "a", "1,,2", "1;2"] {
            assert!(text.parse::<VlanSet>().is_err(), "{text}");
        }
        assert_eq!(serde_json::to_string(&"7,8".parse::<VlanSet>().unwrap()).unwrap(), "\"7-8\"");
        assert_eq!(serde_json::from_str::<VlanSet>("\"7-8\"").unwrap(), "7,8".parse::<VlanSet>().unwrap());
    }
}
