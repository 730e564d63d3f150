//! Which link is the recorded one: in the pod, on the host, or nowhere.
//! It must not change anything.

use netlink::{Link, Netlink, Netns};

use super::{PASSING, Way};
use crate::error::Error;
use crate::host::Host;
use crate::record::Undo;

impl Way<'_> {
    /// The pod's namespace, where it is still the one that was recorded.
    pub(super) fn pod(&self, host: &Host) -> Result<Option<Netlink>, Error> {
        if self.record.undo.iter().any(|undo| matches!(undo, Undo::Driver(_))) {
            // It went to another driver, not into the pod.
            return Ok(None);
        }
        match Netns::open(&self.record.sandbox.path) {
            // The path of a dead process may be one of the host's by now.
            Ok(netns) if netns.id() == host.netns.id() => Ok(None),
            Ok(netns) if self.record.sandbox.is(&netns) => Ok(Some(netns.netlink()??)),
            Ok(_) => Ok(None),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The link in the pod: by the index that it has or was foretold to have there, which nothing in the pod can change; else
    /// by its device, or by the alias that it was given on its way in. A virtual one is known by its index only with that
    /// alias or its address: of an ADD that was killed, another may have come to the index that was foretold.
    pub(super) fn in_pod(&self, pod: &mut Netlink) -> Result<Option<Link>, Error> {
        let before = self.before;
        let links = pod.links()?;
        let same = |link: &&Link| {
            link.kind == before.kind && (before.parent.is_none() || link.parent == before.parent)
        };
        let known = |link: &&Link| match (before.pod_index, &before.parent, self.record.function) {
            (Some(index), None, None) if before.kind.is_some() => {
                let aliased = link.alias == before.name.as_str();
                link.index == index
                    && (aliased || before.mac.is_some() && link.own_mac() == before.mac.as_ref())
            }
            (Some(index), _, _) => link.index == index,
            (None, Some(_), _) => true,
            // Kernels before 5.14 tell no bus address. A function's link is either on the host or here.
            (None, None, Some(function)) => match link.parent.as_deref().map(str::parse) {
                Some(Ok(parent)) => function == parent,
                _ => link.name == before.pod_name.as_ref().unwrap_or(&self.record.owner.ifname).as_str(),
            },
            (None, None, None) => link.alias == before.name.as_str(),
        };
        self.only(links.iter().filter(same).filter(known).cloned().collect())
    }

    /// A virtual link in the pod whose alias and address the pod both changed, where the host has it no more: the index is all
    /// that is left, and the kernel gives no other link of the pod that number by itself.
    pub(super) fn changed_in_pod(&self, pod: &mut Netlink) -> Result<Option<Link>, Error> {
        let Some(index) = self.before.pod_index else { return Ok(None) };
        match pod.link_by_index(index) {
            Ok(link) => Ok(Some(link).filter(|link| link.kind == self.before.kind)),
            Err(error) if error.is_no_link() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The link on the host; `None` while it is not there.
    pub(super) fn on_host(&self, host: &mut Host) -> Result<Option<Link>, Error> {
        let before = self.before;
        if let Some(function) = self.record.function {
            return host.link_of(function, before.port.as_deref());
        }
        let links = host.netlink.links()?;
        let found =
            |it: &dyn Fn(&Link) -> bool| links.iter().filter(|link| it(link)).cloned().collect::<Vec<_>>();
        let same_mac = |link: &Link| before.mac.is_some() && link.own_mac() == before.mac.as_ref();
        if before.parent.is_some() {
            let of_device = found(&|link| link.parent == before.parent);
            return if of_device.len() < 2 { self.only(of_device) } else { self.port(host, of_device) };
        }
        // One that never left has its index, one that is back already its address, or until then our alias; another that took the
        // name has none of these.
        let aliased = |link: &Link| link.alias == before.name.as_str();
        let by_name = found(&|link| {
            let same = link.index == before.index || same_mac(link) || aliased(link);
            link.name == before.name.as_str() && link.kind == before.kind && same
        });
        if !by_name.is_empty() {
            return self.only(by_name);
        }
        // Back under another name: the pod's, with our alias, or one of the way home.
        self.only(found(&|link| {
            let ours = aliased(link) || link.name.starts_with(PASSING) || link.name.starts_with("dev");
            same_mac(link) && link.kind == before.kind && ours
        }))
    }

    /// One of several links of the same device that is on no PCI bus: by its port, which no pod can change, where the ports
    /// differ. Else by what only the recorded link can have: our alias, or the address, or both its name and its index. A name
    /// alone may be another port's by now.
    fn port(&self, host: &Host, of_device: Vec<Link>) -> Result<Option<Link>, Error> {
        let before = self.before;
        let at_port = |link: &&Link| before.port.is_some() && host.port_of(None, &link.name) == before.port;
        let mut at_port: Vec<Link> = of_device.iter().filter(at_port).cloned().collect();
        if at_port.len() == 1 {
            return Ok(at_port.pop());
        }
        let is_ours = |link: &Link| {
            let named = link.name == before.name.as_str() && link.index == before.index;
            let aliased = link.name != before.name.as_str() && link.alias == before.name.as_str();
            named || aliased || before.mac.is_some() && link.own_mac() == before.mac.as_ref()
        };
        self.only(of_device.into_iter().filter(is_ours).collect())
    }

    fn only(&self, mut links: Vec<Link>) -> Result<Option<Link>, Error> {
        if links.len() > 1 {
            let names = links.into_iter().map(|link| link.name).collect();
            return Err(Error::Ambiguous { device: self.record.device.clone(), names });
        }
        Ok(links.pop())
    }
}
