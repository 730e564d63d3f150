//! Calling the plugins of one network as libcni does: in order with `prevResult`, backwards for DEL, the result on disk between.
//! It must not change a configuration beyond what `Delegate::conf` does.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::delegate::Delegate;
use super::{Multus, Sandbox};
use crate::pod::Pod;
use crate::runtime::{Invocation, Output};

/// One call: which network of which pod, where.
pub(super) struct Chain<'a> {
    pub(super) multus: &'a Multus,
    pub(super) pod: &'a Pod,
    pub(super) sandbox: &'a Sandbox,
    pub(super) delegate: &'a Delegate,
}

impl Chain<'_> {
    /// ADD of every plugin in turn; the last one's result is kept and returned.
    pub(super) fn add(&self) -> Result<Value> {
        let mut result: Option<Value> = None;
        for plugin in &self.delegate.plugins {
            let conf = self.delegate.conf(plugin, result.as_ref());
            result = Some(self.call("ADD", &conf)?.json.context("ADD succeeded without a result")?);
        }
        let result = result.context("the list has no plugin")?;
        let kept = self.kept();
        if let Some(dir) = kept.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let cached = json!({
            "kind": "cniCacheV1",
            "containerId": self.sandbox.container_id,
            "ifName": self.delegate.ifname,
            "networkName": self.delegate.name,
            "netns": self.sandbox.netns,
            "result": result,
        });
        std::fs::write(&kept, cached.to_string()).with_context(|| kept.display().to_string())?;
        Ok(result)
    }

    /// DEL of every plugin, the last one first. As in libcni the first failure stops it and the result stays.
    pub(super) fn del(&self) -> Result<()> {
        let kept = self.kept();
        let result = std::fs::read(&kept).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let result =
            result.map(|cached| cached["result"].clone()).filter(|_| self.delegate.remembers_results());
        for plugin in self.delegate.plugins.iter().rev() {
            self.call("DEL", &self.delegate.conf(plugin, result.as_ref()))?;
        }
        match std::fs::remove_file(&kept) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| kept.display().to_string())
            }
            _ => Ok(()),
        }
    }

    /// libcni's file of this attachment's result.
    fn kept(&self) -> PathBuf {
        let file = format!("{}-{}-{}", self.delegate.name, self.sandbox.container_id, self.delegate.ifname);
        self.multus.paths.cni_dir.join("results").join(file)
    }

    fn call(&self, command: &str, conf: &Value) -> Result<Output> {
        let kind = conf["type"].as_str().filter(|kind| !kind.is_empty() && !kind.contains('/'));
        let kind = kind.with_context(|| format!("a plugin's type is {}", conf["type"]))?;
        let dirs = &self.multus.paths.bin_dirs;
        let binary = dirs.iter().map(|dir| dir.join(kind)).find(|path| path.is_file());
        let binary = binary.with_context(|| format!("failed to find plugin {kind:?} in path {dirs:?}"))?;
        let path: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        let call = Invocation {
            command: Some(command.to_owned()),
            container_id: Some(self.sandbox.container_id.clone()),
            netns: self.sandbox.netns.clone(),
            ifname: Some(self.delegate.ifname.clone()),
            args: Some(self.delegate.cni_args(self.pod, &self.sandbox.container_id)),
            path: Some(path.join(":")),
            ..Invocation::default()
        };
        let said = call.conf(conf).run(&binary);
        if said.ok() {
            return Ok(said);
        }
        explain(command, kind, &binary, &said)
    }
}

/// The error of a failed call: the plugin's own words when it has any.
fn explain<T>(command: &str, kind: &str, binary: &Path, said: &Output) -> Result<T> {
    match said
        .json
        .as_ref()
        .and_then(|json| Some((json["code"].as_u64()?, json["msg"].as_str()?, &json["details"])))
    {
        Some((code, message, Value::String(details))) => {
            bail!("{command} {kind}: code {code}: {message}; {details}")
        }
        Some((code, message, _)) => bail!("{command} {kind}: code {code}: {message}"),
        None => bail!("{command} {}: no CNI error on stdout: {said:#?}", binary.display()),
    }
}
