//! The settings of a link that is home or on its way: those that the pod changed, and those of IP, which the move takes.
//! It must not keep a pod: what the kernel refuses of it is told and no error.

use netlink::{IpSetting, Link, LinkChange, Netlink};

use super::Way;
use crate::error::Error;
use crate::host::Host;
use crate::restored::Restored;
use crate::sysctl;

impl Way<'_> {
    /// Takes off, in the pod, an XDP program that the link did not have: it must not see what the host's link receives. One that
    /// the link has on the host already may be somebody's there.
    pub(super) fn take_xdp_off(&self, pod: &mut Netlink, link: &Link, restored: &mut Restored) {
        if link.xdp == 0 || self.before.xdp != Some(false) {
            return;
        }
        let change = LinkChange { without_xdp: Some(link.xdp), ..LinkChange::default() };
        let taken = pod.change_link(link.index, "take an XDP program off", &change);
        self.told("being without an XDP program", taken, restored);
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
