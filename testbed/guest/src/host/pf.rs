//! A physical function and its virtual functions.

use std::fs;
use std::ops::Deref;

use anyhow::Context;
use anyhow::Result;
use serde_json::Value;

use super::function::Function;
use super::netns::ip;
use super::netns::ip_json;

/// A PF. It is a [`Function`] itself, too.
#[derive(Clone, Debug)]
pub(crate) struct Pf {
    function: Function,
}

impl Pf {
    /// The PF at an address such as [`super::PF0`], once its driver has made its netdev.
    pub(crate) fn at(address: &str) -> Result<Self> {
        let function = Function::at(address)?;
        function.wait_netdev()?;
        Ok(Self { function })
    }

    /// Its netdev's name.
    pub(crate) fn name(&self) -> Result<String> {
        self.netdev()?.with_context(|| format!("the PF {} has no netdev here", self.address()))
    }

    /// Brings it up and makes `count` VFs, each bound to igbvf and with its netdev there.
    ///
    /// Up comes first: a PF that is down does not answer its VFs, whose probes then take seconds each and leave VFs
    /// that ignore what they are told.
    pub(crate) fn create_vfs(&self, count: usize) -> Result<Vec<Function>> {
        ip(&["link", "set", &self.name()?, "up"])?;
        // From N to M is EBUSY, only by way of 0.
        self.remove_vfs()?;
        self.set_attribute("sriov_numvfs", &count.to_string())?;
        let vfs = self.vfs()?;
        for vf in &vfs {
            vf.wait_netdev()?;
        }
        Ok(vfs)
    }

    /// Removes all its VFs.
    pub(crate) fn remove_vfs(&self) -> Result<()> {
        if self.attribute("sriov_numvfs")? == "0" { Ok(()) } else { self.set_attribute("sriov_numvfs", "0") }
    }

    /// How many VFs it has now. Unlike `sriov_numvfs`, which waits for whoever makes or removes some.
    pub(crate) fn count_vfs(&self) -> Result<usize> {
        let entries = fs::read_dir(self.path()).with_context(|| format!("cannot list {}", self.address()))?;
        let is_vf = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("virtfn");
        Ok(entries.flatten().filter(is_vf).count())
    }

    /// Its VFs, in the order of their indices.
    pub(crate) fn vfs(&self) -> Result<Vec<Function>> {
        let count: usize = self.attribute("sriov_numvfs")?.parse()?;
        (0..count).map(|index| self.vf(index)).collect()
    }

    /// One of its VFs.
    pub(crate) fn vf(&self, index: usize) -> Result<Function> {
        let link = self.path().join(format!("virtfn{index}"));
        let target = fs::read_link(&link).with_context(|| format!("no {}", link.display()))?;
        Function::at(&target.file_name().context("virtfn points to a function")?.to_string_lossy())
    }

    /// Sets a VF's attributes through the PF, as in `pf.set_vf(0, &["vlan", "100", "spoofchk", "off"])`.
    pub(crate) fn set_vf(&self, index: usize, attributes: &[&str]) -> Result<()> {
        let name = self.name()?;
        let index = index.to_string();
        ip(&[&["link", "set", &name, "vf", &index], attributes].concat())
    }

    /// What the PF's driver says of a VF: `address`, `vlan_list`, `rate`, `spoofchk`, `link_state`, `trust`.
    pub(crate) fn vf_state(&self, index: usize) -> Result<Value> {
        let link = ip_json(&["link", "show", "dev", &self.name()?])?;
        let state = &link[0]["vfinfo_list"][index];
        Ok(state.as_object().with_context(|| format!("the PF shows no VF {index}"))?.clone().into())
    }
}

impl Deref for Pf {
    type Target = Function;

    fn deref(&self) -> &Function {
        &self.function
    }
}
