//! One function in one pod: its claim and write-ahead record, the steps that attach it, addresses, announcements, the restore.
//! It must not know a plugin's configuration keys, and it touches nothing before the record of how to undo it is on disk.

mod addresses;
mod announce;
mod attach;
mod boot;
mod check;
mod detach;
mod driver;
mod error;
mod gc;
mod go_cache;
mod host;
mod journal;
#[cfg(test)]
mod kernel;
mod lease;
mod leftover;
mod lost;
mod mac;
mod paths;
mod record;
mod recover;
mod restore;
mod restored;
mod returning;
mod step;
mod store;
mod sysctl;
#[cfg(test)]
mod tests;
mod trunk;
mod vlan_set;

pub use attach::{AttachError, Plan, attach};
pub use check::{CheckError, check};
pub use detach::{bring_back, detach};
pub use error::Error;
pub use gc::gc;
pub use go_cache::OrigVfState;
pub use host::Host;
pub use leftover::{End, Leftover, Life, Place, Undone, release, survey, undo};
pub use paths::Paths;
pub use record::{DriverBefore, LinkBefore, MacBefore, Owner, Pf, Pod, Record, Sandbox, Undo, Unknown};
pub use recover::{free, is_held};
pub use restore::holds;
pub use returning::{CLEANUP, in_pod};
pub use step::{Stage, Step};
pub use store::{Claim, Lock, Store};
pub use trunk::{TrunkError, has_trunk, trunk_before};
pub use vlan_set::VlanSet;
