//! The address of a PCI function as the kernel prints it: `0000:3b:02.1`.
//! It must not touch the file system.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Domain, bus, device and function number of one PCI function.
///
/// Parsed from the kernel's own form (`pci_setup_device`, drivers/pci/probe.c: `%04x:%02x:%02x.%d`) and printed in it, so
/// that the text is also the name of its sysfs directory. Ordered as the kernel numbers the buses.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

impl PciAddress {
    /// The domain, which has its own 256 buses.
    pub(crate) fn domain(self) -> u32 {
        self.domain
    }

    /// The number by which a function is known on the wire: bus, device and function in 16 bits.
    pub(crate) fn routing_id(self) -> u32 {
        u32::from(self.bus) << 8 | u32::from(self.device) << 3 | u32::from(self.function)
    }
}

/// The text is not a PCI address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{found:?} is not a PCI address; wanted DDDD:BB:DD.F in lower-case hexadecimal, such as 0000:3b:02.1"
)]
pub struct ParseAddressError {
    found: String,
}

impl FromStr for PciAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseAddressError { found: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let (domain, rest) = text.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    // VMD and Hyper-V use domains of five to eight digits; the kernel pads to four and never more.
    let domain_fits = domain.len() == 4 || (5..=8).contains(&domain.len()) && !domain.starts_with('0');
    if !domain_fits || bus.len() != 2 || device.len() != 2 || function.len() != 1 {
        return None;
    }
    let address = PciAddress {
        domain: hex(domain)?,
        bus: u8::try_from(hex(bus)?).ok()?,
        device: u8::try_from(hex(device)?).ok()?,
        function: u8::try_from(hex(function)?).ok()?,
    };
    (address.device < 32 && address.function < 8).then_some(address)
}

/// Lower-case hexadecimal only: an upper-case address names no sysfs directory.
fn hex(digits: &str) -> Option<u32> {
    let lower = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if lower { u32::from_str_radix(digits, 16).ok() } else { None }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

impl TryFrom<String> for PciAddress {
    type Error = ParseAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PciAddress> for String {
    fn from(address: PciAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parses() {
        for text in ["0000:3b:02.1", "0001:00:1f.7", "10000:e1:00.0"] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_names_no_function() {
        for text in [
            "",
            "3b:02.1",
            "0000:3B:02.1",
            "0000:3b:20.0",
            "0000:3b:02.8",
            "0000:3b:02.1 ",
            "0000:3b:02",
            "00000:3b:02.1",
        ] {
            let error = text.parse::<PciAddress>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("{text:?} is not a PCI address")), "{error}");
        }
    }

    #[test]
    fn orders_by_domain_bus_device_function() {
        let mut sorted: Vec<PciAddress> = ["10000:00:00.0", "0000:0a:00.0", "0000:02:00.1", "0000:02:00.0"]
            .map(|a| a.parse().unwrap())
            .into();
        sorted.sort();
        let text: Vec<String> = sorted.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["0000:02:00.0", "0000:02:00.1", "0000:0a:00.0", "10000:00:00.0"]);
    }
}
