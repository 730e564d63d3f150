//! The record while an ADD runs: written before the first step, amended when a step learns what it must put back.
//! It must not run steps.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::record::{LinkBefore, MacBefore, Record, Undo};
use crate::store::{Lock, Store};

/// A record on disk and in memory.
pub(crate) struct Journal<'a> {
    store: &'a Store,
    record: Record,
    beside: Map<String, Value>,
}

impl<'a> Journal<'a> {
    /// Writes the record, then the claim: a claim without a record would be one that nobody can undo.
    pub(crate) fn open(store: &'a Store, record: Record, beside: Map<String, Value>) -> Result<Self, Error> {
        store.save(&record, &beside)?;
        store.set_claim(&record)?;
        Ok(Self { store, record, beside })
    }

    /// The record.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// The record, at the end.
    pub(crate) fn into_record(self) -> Record {
        self.record
    }

    /// The lock of the function's PF; `None` for a function without one.
    pub(crate) fn lock_pf(&self) -> Result<Option<Lock>, Error> {
        self.record.pf.map(|pf| self.store.lock_pf(pf)).transpose()
    }

    /// Notes which index the link has in the pod, where that is another than was foretold.
    pub(crate) fn set_pod_index(&mut self, index: u32) -> Result<(), Error> {
        let mut amended = false;
        for undo in &mut self.record.undo {
            if let Undo::Link(LinkBefore { pod_index, .. }) = undo {
                amended |= pod_index.replace(index) != Some(index);
            }
        }
        if amended { self.store.save(&self.record, &self.beside) } else { Ok(()) }
    }

    /// Notes whether the VF's MAC was an administrator's.
    pub(crate) fn set_locked(&mut self, locked: bool) -> Result<(), Error> {
        for undo in &mut self.record.undo {
            if let Undo::Mac(MacBefore { locked: noted, .. }) = undo {
                *noted = Some(locked);
            }
        }
        self.store.save(&self.record, &self.beside)
    }
}
