//! Attributes as bytes: for reading what is odd without losing the rest, and for messages that no crate knows.
//! It must not know what any of them means.

use netlink_packet_core::{NlaBuffer, NlasIterator};

/// Marks an attribute whose value is attributes (include/uapi/linux/netlink.h).
pub(crate) const NLA_F_NESTED: u16 = 1 << 15;
/// `AF_INET6`, as the kind of an attribute in `IFLA_AF_SPEC`.
pub(crate) const OF_INET6: u16 = 10;

/// The kinds and values of the attributes in `bytes`, as far as they can be told apart.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).flatten().map(|attribute: NlaBuffer<&[u8]>| {
        let (kind, length) = (attribute.kind(), attribute.value_length());
        (kind, attribute.into_inner().get(4..4 + length).unwrap_or_default())
    })
}

/// The values of the attributes of one kind.
pub(crate) fn nested(bytes: &[u8], kind: u16) -> impl Iterator<Item = &[u8]> {
    attributes(bytes).filter(move |(found, _)| *found == kind).map(|(_, value)| value)
}

/// All that follows the head of the first attribute of a kind, whatever length that head tells; nothing without one.
pub(crate) fn onwards(bytes: &[u8], kind: u16) -> &[u8] {
    let before = attributes(bytes).take_while(|(found, _)| *found != kind);
    let before: usize = before.map(|(_, value)| (4 + value.len()).next_multiple_of(4)).sum();
    bytes.get(before + 4..).unwrap_or_default()
}

/// The text of the first attribute of a kind, without its final zero.
pub(crate) fn text(bytes: &[u8], kind: u16) -> Option<String> {
    nested(bytes, kind).next().map(text_of)
}

/// A value that is a text, without its final zero.
pub(crate) fn text_of(value: &[u8]) -> String {
    String::from_utf8_lossy(bytes_of(value)).into_owned()
}

/// A value up to its final zero.
pub(crate) fn bytes_of(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    &value[..end]
}

/// The word at a position in a value.
pub(crate) fn word(value: &[u8], position: usize) -> Option<u32> {
    value.get(position * 4..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// Appends an attribute.
pub(crate) fn push(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // What we write is short; what does not fit is nothing that the kernel would take.
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Appends an attribute that is a text.
pub(crate) fn push_text(bytes: &mut Vec<u8>, kind: u16, text: &str) {
    push(bytes, kind, &[text.as_bytes(), &[0]].concat());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        push_text(&mut bytes, 1, "pci");
        push_text(&mut bytes, 2, "0000:3b:00.0");
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(text(&bytes, 1).as_deref(), Some("pci"));
        assert_eq!(text(&bytes, 2).as_deref(), Some("0000:3b:00.0"));
        assert_eq!(text(&bytes, 3), None);
        for end in 0..bytes.len() {
            assert!(attributes(&bytes[..end]).count() <= 2);
        }
    }
}
