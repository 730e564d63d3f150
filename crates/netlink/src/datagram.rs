//! What rtnetlink says unasked, message by message.
//! It must not know what any of them means.

// include/uapi/linux/rtnetlink.h.
pub(crate) const RTMGRP_LINK: u32 = 1;
pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
/// `struct nlmsghdr`.
const HEADER_LEN: usize = 16;

/// One of the messages of a datagram.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// `RTM_…`.
    pub(crate) kind: u16,
    /// What follows its header, as far as it was heard.
    pub(crate) payload: &'a [u8],
    /// False where it is longer than that.
    pub(crate) is_whole: bool,
}

/// The messages of a datagram of rtnetlink, as far as they can be told apart.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (header, rest) = datagram.split_at_checked(HEADER_LEN)?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(HEADER_LEN);
        datagram = rest.get(length.saturating_add(3) & !3..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            payload: rest.get(..length).unwrap_or(rest),
            is_whole: length <= rest.len(),
        })
    })
}
