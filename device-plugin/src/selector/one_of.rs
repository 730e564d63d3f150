//! A list of which one must match; without a list everything does.
//! It must not know what it lists.

use std::borrow::Borrow;
use std::fmt;

/// `None` is no constraint; an empty list is one that nothing meets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct OneOf<T>(Option<Vec<T>>);

impl<T> Default for OneOf<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Ord> OneOf<T> {
    /// `constrained` lists accept what is in them, be they empty; others accept everything.
    pub(super) fn new(mut list: Vec<T>, constrained: bool) -> Self {
        list.sort_unstable();
        Self(constrained.then_some(list))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn accepts<Q: Ord + ?Sized>(&self, found: Option<&Q>) -> bool
    where
        T: Borrow<Q>,
    {
        let Self(Some(list)) = self else { return true };
        found.is_some_and(|found| list.binary_search_by(|item| item.borrow().cmp(found)).is_ok())
    }

    /// Whether this accepts all that `other` does.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(list), Some(others)) => others.iter().all(|item| list.binary_search(item).is_ok()),
        }
    }

    /// Whether none of the entries is one that a device can have; true of an empty list.
    pub(super) fn none_can(&self, can: impl Fn(&T) -> bool) -> bool {
        self.0.as_ref().is_some_and(|list| !list.iter().any(can))
    }
}

impl<T: Ord> From<Vec<T>> for OneOf<T> {
    fn from(list: Vec<T>) -> Self {
        let constrained = !list.is_empty();
        Self::new(list, constrained)
    }
}

impl<T: fmt::Display> fmt::Display for OneOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        let Self(Some(list)) = self else { return f.write_str("anything") };
        if list.is_empty() {
            return f.write_str("nothing that there is");
        }
        for (index, item) in list.iter().take(SHOWN).enumerate() {
            write!(f, "{}{item}", if index == 0 { "" } else { " or " })?;
        }
        if list.len() > SHOWN { write!(f, " or {} more", list.len() - SHOWN) } else { Ok(()) }
    }
}
