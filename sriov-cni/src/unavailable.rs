//! What STATUS answers where an ADD would lack something.
//! It must not look for it.

use cni::Code;

/// What an ADD would lack; all of it.
#[derive(Debug, thiserror::Error)]
#[error("{}", reasons.join("; "))]
pub(crate) struct Unavailable {
    /// Each in a sentence.
    pub(crate) reasons: Vec<String>,
    /// Attachments of this network whose PF is not as it should be.
    pub(crate) limited: usize,
}

impl Unavailable {
    /// The specification's: 51 where what is attached already suffers, too.
    pub(crate) fn code(&self) -> Code {
        if self.limited > 0 { Code::LIMITED } else { Code::UNAVAILABLE }
    }
}
