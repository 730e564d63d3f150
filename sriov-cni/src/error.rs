//! What an operator reads when `sriov` refuses, with the texts that people match on.
//! It must not lose the source of an error.

use attachment::{AttachError, Stage};
use cni::Code;

use crate::conf::ConfError;
use crate::observe::ObserveError;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("SRIOV-CNI failed to load netconf: LoadConf(): {0}")]
    Conf(#[from] ConfError),
    #[error("SRIOV-CNI failed to parse args: {0}")]
    Args(#[from] cni::ArgsError),
    #[error("SRIOV-CNI failed to load netconf: LoadConf(): {0}")]
    Observe(#[from] ObserveError),
    #[error("SRIOV-CNI failed to load netconf: {0}")]
    Claim(attachment::Error),
    #[error("SRIOV-CNI failed to configure VF \"{0}\"")]
    Configure(AttachError),
    #[error("failed to set up pod interface {ifname:?} from the device {pf:?}: {source}")]
    Move { ifname: String, pf: String, source: AttachError },
    #[error("failed to set up IPAM plugin type {ipam:?} from the device {pf:?}: {source}")]
    Ipam { ipam: String, pf: String, source: AttachError },
    #[error(transparent)]
    Attachment(#[from] attachment::Error),
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
            Self::Claim(error) | Self::Attachment(error) => error.code(),
            Self::Configure(error) | Self::Prepare(error) => error.source.code(),
            Self::Move { source, .. } | Self::Ipam { source, .. } => source.source.code(),
            Self::Observe(_) | Self::Netns(_) => Code::INTERNAL,
        }
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let details = match &error {
            Error::Conf(ConfError::NoDevice) => {
                "no deviceID came with the network configuration: the pod must request the resource that the network's \
                 k8s.v1.cni.cncf.io/resourceName annotation names"
            }
            _ => "",
        };
        Self::new(error.code(), error.to_string()).details(details)
    }
}
