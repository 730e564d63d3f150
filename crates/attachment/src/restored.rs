//! What a restore could not put back, and what an operator should know of it.
//! It must not put anything back.

use crate::error::Error;

/// What came of a restore.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// What could not be put back.
    pub(crate) errors: Vec<Error>,
    /// What an operator should know, though nobody need mend it.
    pub(crate) notices: Vec<Error>,
    /// True where the function or the link itself is gone from the node: there was nothing to put back.
    pub(crate) gone: bool,
}

impl Restored {
    /// Notes what a link that is home did not get back. What the kernel refuses for good is told and no error: a DEL that can
    /// never succeed would keep the pod for ever.
    pub(crate) fn not_back(&mut self, error: Error) {
        if error.is_final() { self.notices.push(error) } else { self.errors.push(error) }
    }
}
