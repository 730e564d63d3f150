//! What an operator reads when `sriov` refuses, with the texts that people match on.
//! It must not lose the source of an error.

use attachment::{AttachError, CheckError, Stage};
use cni::{Args, Code, Request};

use crate::choose::error::ChooseError;
use crate::conf::{ARGS, ConfError};
use crate::observe::ObserveError;
use crate::unavailable::Unavailable;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("SRIOV-CNI failed to load netconf: LoadConf(): {0}")]
    Conf(#[from] ConfError),
    #[error("SRIOV-CNI failed to parse args: {0}")]
    Args(#[from] cni::ArgsError),
    #[error("{}", .0.with_prefix("SRIOV-CNI failed to load netconf: LoadConf(): "))]
    Observe(#[from] ObserveError),
    #[error("SRIOV-CNI failed to load netconf: LoadConf(): {0}")]
    Choose(#[from] ChooseError),
    #[error("SRIOV-CNI failed to load netconf: {0}")]
    Claim(attachment::Error),
    #[error("SRIOV-CNI failed to load netconf: {0}")]
    SamePod(attachment::Error),
    #[error("SRIOV-CNI is not available: {0}")]
    Unavailable(Unavailable),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("SRIOV-CNI failed to configure VF \"{0}\"")]
    Configure(AttachError),
    #[error("failed to set up pod interface {ifname:?} from the device {pf:?}: {source}")]
    Move { ifname: String, pf: String, source: AttachError },
    #[error("failed to set up IPAM plugin type {ipam:?} from the device {pf:?}: {source}")]
    Ipam { ipam: String, pf: String, source: AttachError },
    #[error(transparent)]
    Attachment(#[from] attachment::Error),
    #[error("{}", deleting(.0))]
    Delete(attachment::Error),
    #[error("error saving NetConf \"{0}\"")]
    Save(AttachError),
    #[error(transparent)]
    Prepare(AttachError),
    #[error(transparent)]
    Netns(#[from] netlink::NetnsError),
    #[error(transparent)]
    IfName(netlink::ParseIfNameError),
}

impl Error {
    /// The text that belongs to the stage at which an ADD failed.
    pub(crate) fn attach(error: AttachError, ifname: &str, pf: &str, ipam: Option<&str>) -> Self {
        let (ifname, pf) = (ifname.to_owned(), pf.to_owned());
        match error.stage {
            // The Go plugin says this one bare.
            _ if matches!(error.source, attachment::Error::NoAddresses) => Self::Prepare(error),
            Stage::Prepare if matches!(error.source, attachment::Error::State { .. }) => Self::Save(error),
            Stage::Prepare => Self::Prepare(error),
            Stage::Configure => Self::Configure(error),
            Stage::Move | Stage::Addresses => Self::Move { ifname, pf, source: error },
            Stage::Ipam => Self::Ipam { ipam: ipam.unwrap_or_default().to_owned(), pf, source: error },
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Conf(_) => Code::CONFIG,
            Self::Args(_) | Self::IfName(_) => Code::ENVIRONMENT,
            Self::Claim(error) | Self::SamePod(error) | Self::Attachment(error) | Self::Delete(error) => {
                error.code()
            }
            Self::Choose(ChooseError::NoneFree { .. }) => Code::TRY_AGAIN,
            Self::Unavailable(unavailable) => unavailable.code(),
            Self::Configure(error) | Self::Prepare(error) | Self::Save(error) => error.source.code(),
            Self::Move { source, .. } | Self::Ipam { source, .. } => source.source.code(),
            Self::Choose(_) | Self::Observe(_) | Self::Check(_) | Self::Netns(_) => Code::INTERNAL,
        }
    }

    /// The error as the runtime reads it: the text that people match on, and behind it what to do.
    pub(crate) fn explain(self, request: &Request) -> cni::Error {
        let advice = match &self {
            Self::Conf(ConfError::NoDevice) => format!(
                "{} was given no device: neither deviceID nor runtimeConfig.deviceID came with network {:?}. The pod's \
                 resource request and the network's annotation k8s.v1.cni.cncf.io/resourceName must name the same resource, \
                 and the pod must request as many of it as it has networks with it",
                pod(request),
                request.conf.name,
            ),
            Self::SamePod(_) => format!(
                "{} has this VF already, and a VF is one interface. Multus gives one device to two networks where a default \
                 network shares its resource with another: request as many devices as there are networks, and give each \
                 default network a resourceName of its own",
                pod(request),
            ),
            // A deviation of the pod's has a code of its own.
            Self::Check(_)
            | Self::Attachment(attachment::Error::Ipam(_))
            | Self::Delete(attachment::Error::Ipam(_)) => return self.plain(),
            _ => String::new(),
        };
        cni::Error::new(self.code(), self.to_string()).details(advice)
    }

    /// As the room below says it.
    fn plain(self) -> cni::Error {
        match self {
            Self::Check(error) => error.into(),
            Self::Attachment(attachment::Error::Ipam(error))
            | Self::Delete(attachment::Error::Ipam(error)) => error,
            error => cni::Error::new(error.code(), error.to_string()),
        }
    }
}

/// What stood in a DEL's way, each with what the Go plugin puts before it.
fn deleting(error: &attachment::Error) -> String {
    match error {
        attachment::Error::Several(errors) => errors.iter().map(deleting).collect::<Vec<_>>().join("; "),
        attachment::Error::Locked { path } => {
            let device = path.file_stem().unwrap_or_default().to_string_lossy();
            format!("cmdDel() error obtaining lock for device [{device}]: {error}")
        }
        attachment::Error::Vf { .. }
        | attachment::Error::MacNotTaken { .. }
        | attachment::Error::NoPfLink { .. } => format!("cmdDel() error reseting VF: \"{error}\""),
        error => error.to_string(),
    }
}

/// Whose request it is, as `CNI_ARGS` tells where Kubernetes is the one who asks.
fn pod(request: &Request) -> String {
    let args = Args::parse(&request.args, &ARGS).unwrap_or_default();
    match (args.get("K8S_POD_NAMESPACE"), args.get("K8S_POD_NAME")) {
        (Some(namespace), Some(name)) => format!("pod {namespace}/{name}"),
        _ => format!("container {}", request.container_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_cannot_be_written_is_told_as_the_go_plugins_cache() {
        let full = attachment::Error::State {
            action: "write",
            path: "/s/c1-net1".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        let error = AttachError { stage: Stage::Prepare, source: full, left: None };
        let error = Error::attach(error, "net1", "ens1f0", None);
        assert_eq!(error.to_string(), "error saving NetConf \"cannot write /s/c1-net1: no storage space\"");
        assert_eq!(error.code(), Code::IO);
    }

    #[test]
    fn a_del_says_what_the_go_plugin_says_before_its_errors() {
        let locked = || attachment::Error::Locked { path: "/s/pci/vf_lock/0000:3b:02.0.lock".into() };
        let timeout = "cmdDel() error obtaining lock for device [0000:3b:02.0]: time out while waiting to acquire exclusive \
                       lock on [/s/pci/vf_lock/0000:3b:02.0.lock]";
        assert_eq!(Error::Delete(locked()).to_string(), timeout);
        let no_pf = attachment::Error::NoPfLink { pf: "0000:3b:00.0".parse().unwrap() };
        let both = Error::Delete(attachment::Error::Several(vec![locked(), no_pf]));
        let reset = "; cmdDel() error reseting VF: \"PF 0000:3b:00.0 has no network device in this network namespace; bind it to \
                     its kernel driver\"";
        assert_eq!(both.to_string(), format!("{timeout}{reset}"));
        assert_eq!(both.code(), Code::TRY_AGAIN);
    }
}
