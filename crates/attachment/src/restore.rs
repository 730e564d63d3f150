//! The undo of an attachment, replayed from its record: what DEL, a failed ADD and the recovery after a crash all do.
//! It must not stop at the first error, and it never reaches for what the record does not name.

use std::time::Duration;

use netlink::{IfName, Link, LinkChange, Vf, VfAttribute};
use nix::errno::Errno;

use crate::driver;
use crate::error::Error;
use crate::host::Host;
use crate::mac;
use crate::record::{Pf, Record, Undo};
use crate::restored::Restored;
use crate::returning;
use crate::store::Store;
use crate::trunk;

/// Puts back all that the record names, from its end, past every error.
pub(crate) fn restore(host: &mut Host, store: Option<&Store>, record: &Record) -> Restored {
    restore_within(host, store, record, Store::PATIENCE)
}

/// As [`restore`], waiting for whoever speaks to the PF for as long as `patience`.
pub(crate) fn restore_within(
    host: &mut Host,
    store: Option<&Store>,
    record: &Record,
    patience: Duration,
) -> Restored {
    let mut restored = Restored::default();
    if record.function.is_some() && matches!(host.function(record), Ok(None)) {
        restored.gone = true;
        return restored;
    }
    // The move is the last step of every plan, so that the link is home before anything else is put back on it.
    let mut home = None;
    let (mut at_pf, mut pf_stuck) = (None, false);
    let mut port = None;
    for undo in record.undo.iter().rev() {
        match (undo, record.pf, store) {
            (Undo::Vf(_) | Undo::Trunk(_) | Undo::Mac(_), Some(pf), Some(store))
                if at_pf.is_none() && !pf_stuck =>
            {
                match store.lock_within(&pf.address.to_string(), patience) {
                    Ok(lock) => at_pf = Some(lock),
                    // Who holds it that long has stopped; what the pod had must not wait for that, nor again for the next.
                    Err(error) => {
                        pf_stuck = true;
                        restored.errors.push(error);
                    }
                }
            }
            (Undo::Vf(_) | Undo::Trunk(_) | Undo::Mac(_), ..) => {}
            _ => {
                at_pf = None;
                port = None;
            }
        }
        let done = match undo {
            Undo::Link(before) => match returning::bring_home(host, record, before, &mut restored) {
                Ok(link) => {
                    home = link;
                    Ok(())
                }
                Err(error) => {
                    // Somebody in that namespace may still send through it: it keeps its VLAN and MAC until it is home.
                    restored.errors.push(error);
                    return restored;
                }
            },
            Undo::Driver(before) => {
                let back = record.function.map(|function| driver::restore(host, function, before));
                if let Some(Err(error)) = back {
                    // The pod may still have it: the same.
                    restored.errors.push(error);
                    return restored;
                }
                Ok(())
            }
            Undo::Vf(before) => record.pf.map_or(Ok(()), |pf| restore_vf(host, pf, before, &mut port)),
            Undo::Trunk(before) => {
                record.pf.map_or(Ok(()), |pf| Ok(trunk::restore(&host.sysfs, pf, before)?))
            }
            Undo::Mac(before) => {
                port = None;
                let told = mac::restore(host, record.pf, home.as_ref(), before, || {
                    store.map_or(Ok(()), |store| store.amend(&record.with_hold()))
                });
                told.map(|notice| restored.notices.extend(notice))
            }
            Undo::Network(saved) => {
                let lost = home.as_ref().map(|link| host.netlink.restore_network(link.index, saved));
                for (what, source) in lost.into_iter().flatten() {
                    restored.not_back(Error::NotBack { device: record.device.clone(), what, source });
                }
                Ok(())
            }
            Undo::Master(name) => {
                home.as_ref().map_or(Ok(()), |link| enslave(host, link, name, &mut restored))
            }
            Undo::Unknown(unknown) => {
                // No later DEL of this release would know more.
                let (device, what) = (record.device.clone(), unknown.name().to_owned());
                restored.notices.push(Error::Unknown { device, what });
                Ok(())
            }
            Undo::Up => home.as_ref().map_or(Ok(()), |link| up(host, link)),
        };
        match done {
            // A PF that has a say in it may be set right, or its driver loaded.
            Err(error) if record.pf.is_none() => restored.not_back(error),
            done => restored.errors.extend(done.err()),
        }
    }
    // What is left for the next restore is left on a link that it must know.
    if let Some(link) = home.filter(|_| restored.errors.is_empty()) {
        returning::reset_alias(host, record, &link, &mut restored);
    }
    restored
}

/// A port again, for a link that was: down, as a bond wants it.
fn enslave(host: &mut Host, link: &Link, master: &IfName, restored: &mut Restored) -> Result<(), Error> {
    let not_back =
        |source| Error::NotBack { device: link.name.clone(), what: format!("master {master}"), source };
    let found = match host.netlink.link_by_name(master) {
        Err(source @ netlink::Error::NoLink) => {
            restored.notices.push(not_back(source));
            return Ok(());
        }
        found => found?,
    };
    if link.master == Some(found.index) {
        return Ok(());
    }
    let change = LinkChange { master: Some(found.index), ..LinkChange::default() };
    // What the kernel refuses for good, such as a port of Open vSwitch, no PF makes right.
    if let Err(source) = host.netlink.change_link(link.index, "set master", &change) {
        restored.not_back(not_back(source));
    }
    Ok(())
}

/// The link of a PF, and one of its VFs as the PF showed it last; nothing where that is not known, or may not be so any more.
type Port = Option<(Link, Vf)>;

/// To ask the PF is to be told of all its VFs: it is asked anew only once something was set.
fn restore_vf(host: &mut Host, pf: Pf, before: &VfAttribute, port: &mut Port) -> Result<(), Error> {
    let (link, shown) = if let Some(known) = port.take() {
        known
    } else {
        let link = host.pf_link(pf.address)?;
        let shown = host.netlink.vf(link.index, pf.vf)?;
        (link, shown)
    };
    if has(&shown, before) {
        *port = Some((link, shown));
        return Ok(());
    }
    match host.netlink.set_vf(link.index, pf.vf, before) {
        // A driver that lacks the attribute never took the new value either.
        Err(error) if error.is_unsupported() => Ok(()),
        Err(error) => {
            // `igb_ndo_set_vf_bw` and `ixgbe_ndo_set_vf_bw` of Linux 6.12.
            let waits = matches!(before, VfAttribute::Rate { .. })
                && !link.running
                && error.errno() == Some(Errno::EINVAL as i32);
            let error = Error::vf(&link, pf.vf, before)(error);
            Err(if waits { Error::NoCarrier(error.into()) } else { error })
        }
        Ok(()) => Ok(()),
    }
}

/// Whether the PF holds an attribute of its VF.
pub fn holds(host: &mut Host, pf: Pf, attribute: &VfAttribute) -> Result<bool, Error> {
    let link = host.pf_link(pf.address)?;
    Ok(has(&host.netlink.vf(link.index, pf.vf)?, attribute))
}

/// Whether the PF holds that value already. A driver need not take back a value that it never let be changed.
fn has(vf: &Vf, attribute: &VfAttribute) -> bool {
    match attribute {
        VfAttribute::Mac(mac) => vf.mac == *mac,
        VfAttribute::Vlan { vlan, qos, proto } => (vf.vlan, vf.qos, vf.proto) == (*vlan, *qos, *proto),
        VfAttribute::Rate { min, max } => (vf.min_tx_rate, vf.max_tx_rate) == (*min, *max),
        VfAttribute::Spoofchk(on) => vf.spoofchk == Some(*on),
        VfAttribute::Trust(on) => vf.trust == Some(*on),
        VfAttribute::LinkState(state) => vf.link_state == Some(*state),
    }
}

/// Up again, for a link that was.
fn up(host: &mut Host, link: &Link) -> Result<(), Error> {
    if link.up {
        return Ok(());
    }
    let change = LinkChange { up: Some(true), ..LinkChange::default() };
    let set = host.netlink.change_link(link.index, "set link up", &change);
    set.map_err(|source| Error::Device { device: link.name.clone(), source })
}

#[cfg(test)]
mod tests {
    use netlink::{Netlink, Netns};
    use serde_json::Map;
    use testkit::netlink::Recorded;
    use testkit::sysfs::Tree;

    use super::*;
    use crate::kernel;
    use crate::paths::Paths;
    use crate::record::{DriverBefore, Owner, Sandbox};

    fn record(undo: Vec<Undo>) -> Record {
        Record {
            version: Record::VERSION,
            owner: Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() },
            pod: None,
            sandbox: Sandbox::unknown(None),
            device: kernel::VF.into(),
            function: Some(kernel::VF.parse().unwrap()),
            pf: Some(Pf { address: kernel::PF.parse().unwrap(), vf: 0 }),
            ipam: None,
            config: Map::new(),
            undo,
        }
    }

    #[test]
    fn a_pf_that_somebody_holds_is_waited_for_once() {
        let tree = kernel::node();
        let held = kernel::Shared::default();
        let mut host = kernel::host(&tree, &held);
        let paths = Paths { state: tree.root().join("state"), sysfs: tree.sys() };
        let store = Store::sriov(&paths);
        let pf = Pf { address: kernel::PF.parse().unwrap(), vf: 0 };
        let undo =
            [VfAttribute::Trust(true), VfAttribute::Spoofchk(false), VfAttribute::Rate { min: 0, max: 9 }];
        let record = record(undo.map(Undo::Vf).to_vec());
        let _stopped = store.lock_pf(pf).unwrap();
        let restored = restore(&mut host, Some(&store), &record);
        assert!(matches!(restored.errors[..], [Error::Locked { .. }]), "{:?}", restored.errors);
        // And what the pod had is put back all the same.
        assert_eq!(held.lock().unwrap().told.len(), 3);
    }

    #[test]
    fn what_a_newer_release_changed_is_told_and_the_rest_put_back() {
        let tree = kernel::node();
        let held = kernel::Shared::default();
        let mut host = kernel::host(&tree, &held);
        let unknown = serde_json::from_str(r#"{"lamp":{"on":true}}"#).unwrap();
        let rates = [8, 9].map(|max| Undo::Vf(VfAttribute::Rate { min: 0, max }));
        let [first, last] = rates;
        let restored = restore(&mut host, None, &record(vec![first, unknown, last]));
        assert!(restored.errors.is_empty(), "{:?}", restored.errors);
        let notices: Vec<String> = restored.notices.iter().map(ToString::to_string).collect();
        assert_eq!(
            notices,
            ["0000:3b:02.0: its \"lamp\" is not put back: a newer release changed it; put it right by hand"]
        );
        assert_eq!(held.lock().unwrap().told.len(), 2);
    }

    #[test]
    fn a_vf_that_its_own_driver_cannot_have_keeps_its_vlan() {
        let tree = Tree::new();
        tree.pf("0000:3b:00.0", "ens1f0");
        tree.vf("0000:3b:02.0", "0000:3b:00.0").on_vfio(7);
        // Whatever is asked of the PF would be an error more.
        let netlink = Netlink::over(Box::new(Recorded::new(|_, _| None)));
        let mut host = Host { sysfs: pci::Sysfs::new(tree.sys()), netns: Netns::current().unwrap(), netlink };
        let record = record(vec![
            Undo::Vf(VfAttribute::Trust(false)),
            Undo::Driver(DriverBefore { driver: Some("ixgbevf".into()), only: None }),
        ]);
        let restored = restore(&mut host, None, &record);
        let errors: Vec<String> = restored.errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            ["0000:3b:02.0: driver ixgbevf is not loaded on this node; load it with modprobe ixgbevf"]
        );
    }
}
