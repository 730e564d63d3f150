//! The settings of a link that is home or on its way: those that the pod changed, and those of IP, which the move takes.
//! It must not keep a pod: what the kernel refuses of it is told and no error.

use netlink::{IpSetting, Link, LinkChange, Netlink};

use super::Way;
use crate::error::Error;
use crate::host::Host;
use crate::restored::Restored;
use crate::sysctl;

impl Way<'_> {
    /// Takes off, in the pod, an XDP program that the link did not have: it must not see what the host's link receives. Whether
    /// it is off is told at home.
    pub(super) fn take_xdp_off(&self, pod: &mut Netlink, link: &Link) {
        if self.has_anothers_xdp(link) {
            let change = LinkChange { without_xdp: Some(link.xdp), ..LinkChange::default() };
            let _ = pod.change_link(link.index, "take an XDP program off", &change);
        }
    }

    /// Tells of one that the link has at home: held by a BPF link, or left by a namespace that died; or somebody's here, which is
    /// why it stays.
    pub(super) fn tell_xdp(&self, link: &Link, restored: &mut Restored) {
        if self.has_anothers_xdp(link) && !self.is_of_an_earlier_boot() {
            restored.notices.push(Error::Xdp { device: self.record.device.clone(), link: link.name.clone() });
        }
    }

    fn has_anothers_xdp(&self, link: &Link) -> bool {
        link.xdp != 0 && self.before.xdp == Some(false)
    }

    /// Whether the link does the same where it comes up with a namespace's own settings of IP, as those are on most nodes.
    pub(super) fn comes_up_alike(&self) -> bool {
        self.before.ip.is_usual()
    }

    /// Whether it has come up otherwise than with its own.
    pub(super) fn has_come_up_otherwise(&self, link: &Link) -> bool {
        self.ip_settings(link).iter().any(|setting| setting.family == "ipv6")
    }

    /// Puts back what the pod changed; whether there was any.
    pub(super) fn put_settings(&self, host: &mut Host, link: &Link, restored: &mut Restored) -> bool {
        let mut changed = self.before.settings.changed_in(&link.settings).peekable();
        if changed.peek().is_none() || self.is_of_an_earlier_boot() {
            return false;
        }
        for (name, value) in changed {
            let set = host.netlink.set_link_setting(link.index, name, value);
            self.told(&format!("{name} {value}"), set, restored);
        }
        true
    }

    /// Puts back those of IP.
    pub(super) fn put_ip_settings(&self, link: &Link, restored: &mut Restored) {
        let settings = self.ip_settings(link);
        if settings.is_empty() || self.is_of_an_earlier_boot() {
            return;
        }
        for setting in settings {
            restored.notices.extend(sysctl::put_back(&link.name, setting).err());
        }
    }

    /// Those that the link, on the host, has otherwise than it had. Where IPv6 is switched off for the node by now, it is not
    /// switched on for one link.
    fn ip_settings(&self, link: &Link) -> Vec<IpSetting> {
        let mut settings = self.before.ip.changed_in(&link.ip);
        settings.retain(|setting| !setting.switches_ipv6_on() || !sysctl::is_ipv6_off());
        settings
    }

    /// The link was set up anew since.
    fn is_of_an_earlier_boot(&self) -> bool {
        self.record.sandbox.is_of_an_earlier_boot()
    }

    fn told(&self, what: &str, put: Result<(), netlink::Error>, restored: &mut Restored) {
        let (device, what) = (self.record.device.clone(), what.to_owned());
        restored.notices.extend(put.err().map(|source| Error::NotBack { device, what, source }));
    }
}

#[cfg(test)]
mod tests {
    use netlink::Netns;
    use serde_json::{Map, json};

    use super::*;
    use crate::record::{LinkBefore, Owner, Record, Sandbox};

    #[test]
    fn a_program_that_a_link_comes_home_with_is_told_where_it_had_none() {
        for (had, has, told) in [(Some(false), 2, 1), (Some(false), 0, 0), (Some(true), 2, 0), (None, 2, 0)] {
            let before: LinkBefore =
                serde_json::from_value(json!({"name": "eth0", "index": 2, "xdp": had})).unwrap();
            let record = Record {
                version: Record::VERSION,
                owner: Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() },
                pod: None,
                sandbox: Sandbox::of(&Netns::current().unwrap()),
                device: "eth0".into(),
                function: None,
                pf: None,
                ipam: None,
                config: Map::new(),
                undo: Vec::new(),
            };
            let mut restored = Restored::default();
            let link = Link { name: "eth0".into(), xdp: has, ..Link::default() };
            Way { record: &record, before: &before }.tell_xdp(&link, &mut restored);
            assert_eq!(restored.notices.len(), told, "{had:?} {has}");
        }
    }
}
