//! DEL: the record's undo.
//! It must not need the configuration to make sense: what was attached is in the record.

use attachment::{Host, Paths, Store};
use cni::Request;
use pci::Sysfs;

use crate::cmd;
use crate::error::Error;

pub(super) fn del(paths: &Paths, store: &Store, request: &Request) -> Result<(), Error> {
    let owner = cmd::owner(request)?;
    let mut host = Host::open(Sysfs::new(&paths.sysfs))?;
    Ok(attachment::detach(request, store, &mut host, &owner)?)
}
