//! What an operator reads when `host-device` refuses, with the texts that people match on.
//! It must not lose the source of an error.

use attachment::{AttachError, Stage};
use cni::Code;

use crate::conf::ConfError;
use crate::observe::ObserveError;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Conf(#[from] ConfError),
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error("failed to move link failed to move {ifname:?} (host: {host:?}) to container NS: {source}")]
    Move { ifname: String, host: String, source: AttachError },
    #[error(transparent)]
    Attach(AttachError),
    #[error(transparent)]
    Attachment(#[from] attachment::Error),
    #[error(transparent)]
    Netns(#[from] netlink::NetnsError),
    #[error(transparent)]
    IfName(#[from] netlink::ParseIfNameError),
    #[error("{device}: it changes while it is looked for, because other pods come or go; try again")]
    Changing { device: String },
    #[error("{}", texts(.0))]
    Several(Vec<Self>),
}

impl Error {
    /// The text that belongs to the stage at which an ADD failed.
    pub(crate) fn attach(error: AttachError, ifname: &str, host: &str) -> Self {
        match error.stage {
            Stage::Move => Self::Move { ifname: ifname.to_owned(), host: host.to_owned(), source: error },
            Stage::Prepare | Stage::Configure | Stage::Ipam | Stage::Addresses => Self::Attach(error),
        }
    }

    /// All of `errors` as one; `None` where there is none.
    pub(crate) fn all(mut errors: Vec<Self>) -> Option<Self> {
        if errors.len() > 1 { Some(Self::Several(errors)) } else { errors.pop() }
    }

    fn code(&self) -> Code {
        match self {
            Self::Conf(_) => Code::CONFIG,
            Self::Changing { .. } => Code::TRY_AGAIN,
            Self::Attachment(error) => error.code(),
            Self::Move { source, .. } | Self::Attach(source) => source.source.code(),
            Self::Observe(_) | Self::Netns(_) => Code::INTERNAL,
            Self::IfName(_) => Code::ENVIRONMENT,
            Self::Several(errors) => errors.first().map_or(Code::INTERNAL, Self::code),
        }
    }
}

fn texts(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        match error {
            // An IPAM plugin's own words and code go up as they are.
            Error::Attach(AttachError { source: attachment::Error::Ipam(error), left: None, .. }) => error,
            error => Self::new(error.code(), error.to_string()),
        }
    }
}
