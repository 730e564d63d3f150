//! The CNI protocol (spec 0.1.0 to 1.1.0): environment, configuration, results, errors, the main loop, IPAM delegation.
//! It must not touch the kernel's network state, or know what a plugin does with a request.

mod args;
mod config;
mod env;
mod error;
pub mod ipam;
pub mod log;
mod nesting;
mod plugin;
mod result;
mod version;

pub use args::{Args, ArgsError};
pub use config::{NetConf, fold_keys};
pub use env::{Command, Request};
pub use error::{Code, Error};
pub use plugin::{Plugin, main, run};
pub use result::{Dns, Interface, IpConfig, Outcome, ResultError, Route};
pub use version::Version;
