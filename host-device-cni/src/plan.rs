//! The steps that move the device, each with its undo.
//! It must do no I/O.

use attachment::{LinkBefore, MacBefore, Step, Undo};
use netlink::{IfName, ParseIfNameError};

use crate::conf::Conf;
use crate::observe::Observed;

/// The steps of an ADD: one message moves the link, gives it the pod's name, and its host name as the alias, by which the
/// Go plugin too finds the way back. A device under a userspace driver needs none.
pub(crate) fn plan(conf: &Conf, observed: &Observed, ifname: &IfName) -> Result<Vec<Step>, ParseIfNameError> {
    let Some(link) = &observed.link else { return Ok(Vec::new()) };
    let mut steps = Vec::new();
    if conf.restore_addresses && !observed.network.is_empty() {
        steps.push(Step::Remember(Undo::Network(observed.network.clone())));
    }
    if link.up {
        steps.push(Step::Remember(Undo::Up));
    }
    steps.extend(observed.master.clone().map(|master| Step::Remember(Undo::Master(master))));
    // A bond's port shows the bond's address: put back as its own, it would be a second NIC with that.
    if let Some(own) = link.own_mac() {
        let before = MacBefore { admin: None, effective: Some(own.clone()), locked: None };
        steps.push(Step::Remember(Undo::Mac(before)));
    }
    let before = LinkBefore::of(link, observed.port.clone())?;
    steps.push(Step::Move { name: ifname.clone(), alias: Some(link.name.clone()), before });
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use netlink::{Link, MacAddr, SavedNetwork};

    use super::*;
    use crate::conf::DeviceKey;

    fn conf() -> Conf {
        Conf {
            device: DeviceKey::Name("eth1".parse().unwrap()),
            dns: cni::Dns::default(),
            restore_addresses: true,
            use_interface_network: false,
            allow_default_route: false,
        }
    }

    fn observed(link: Link, master: Option<&str>) -> Observed {
        Observed {
            device: link.name.clone(),
            function: None,
            link: Some(link),
            network: SavedNetwork::default(),
            port: None,
            master: master.map(|name| name.parse().unwrap()),
        }
    }

    #[test]
    fn a_link_moves_under_its_host_name_as_alias() {
        let link =
            Link { index: 3, name: "eth1".into(), up: true, alias: "uplink".into(), ..Link::default() };
        let observed = observed(link, None);
        let steps = plan(&conf(), &observed, &"net1".parse().unwrap()).unwrap();
        let [Step::Remember(Undo::Up), Step::Move { alias, before, .. }] = &steps[..] else {
            panic!("{steps:?}")
        };
        assert_eq!((alias.as_deref(), before.alias.as_deref()), (Some("eth1"), Some("uplink")));
    }

    #[test]
    fn a_port_of_a_bond_gets_its_own_address_back() {
        let [bonds, own]: [MacAddr; 2] =
            ["02:00:00:00:00:09", "02:00:00:00:00:01"].map(|mac| mac.parse().unwrap());
        let remembered = |kind: &str, before: Option<MacAddr>| {
            let link = Link {
                index: 3,
                name: "eth1".into(),
                mac: Some(bonds.clone()),
                master: Some(9),
                master_kind: Some(kind.into()),
                mac_before_bond: before,
                ..Link::default()
            };
            let observed = observed(link, Some("master0"));
            let steps = plan(&conf(), &observed, &"net1".parse().unwrap()).unwrap();
            let mac = steps.iter().find_map(|step| match step.undo() {
                Undo::Mac(before) => before.effective,
                _ => None,
            });
            let [.., Step::Move { before, .. }] = &steps[..] else { panic!("{steps:?}") };
            assert_eq!(before.mac, mac);
            mac
        };
        assert_eq!(remembered("bond", Some(own.clone())), Some(own));
        assert_eq!(remembered("bridge", None), Some(bonds.clone()));
        // Nobody tells what it had.
        assert_eq!(remembered("team", None), None);
    }

    #[test]
    fn a_device_without_a_link_stays() {
        let observed = Observed {
            device: "0000:00:06.0".into(),
            function: None,
            link: None,
            network: SavedNetwork::default(),
            port: None,
            master: None,
        };
        assert_eq!(plan(&conf(), &observed, &"net1".parse().unwrap()).unwrap(), []);
    }
}
