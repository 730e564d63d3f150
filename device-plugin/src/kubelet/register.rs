//! Telling a kubelet that does not watch for plugins: `Register` on its own socket.
//! It must not be called before the plugin serves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kubelet_api::device_plugin::registration_client::RegistrationClient;
use kubelet_api::device_plugin::{DevicePluginOptions, RegisterRequest, VERSION};
use tonic::transport::Endpoint;

use crate::config::Resource;

/// The name of the kubelet's socket.
pub(super) const KUBELET_SOCKET: &str = "kubelet.sock";

/// The kubelet answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kubelet does not know of the pool.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error(
        "cannot reach the kubelet on {socket}: {}; is it running, and --kubelet-root right?",
        deepest(source)
    )]
    Unreachable {
        /// The kubelet's socket.
        socket: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
    /// It said no.
    #[error("the kubelet refuses {resource}: {source}")]
    Refused {
        /// The pool's resource.
        resource: Resource,
        /// In its words.
        source: Box<tonic::Status>,
    },
}

/// Announces the socket of a resource, which is in the same folder as the kubelet's.
pub(super) async fn register(
    dir: &Path,
    resource: &Resource,
    endpoint: String,
    options: Option<DevicePluginOptions>,
) -> Result<(), Error> {
    let socket = dir.join(KUBELET_SOCKET);
    let unreachable = |source| Error::Unreachable { socket: socket.clone(), source };
    let to = Endpoint::try_from(format!("unix://{}", socket.display())).map_err(unreachable)?;
    let channel = to.connect_timeout(PATIENCE).timeout(PATIENCE).connect().await.map_err(unreachable)?;
    let request = RegisterRequest {
        version: VERSION.to_owned(),
        endpoint,
        resource_name: resource.to_string(),
        options,
    };
    RegistrationClient::new(channel)
        .register(request)
        .await
        .map_err(|source| Error::Refused { resource: resource.clone(), source: Box::new(source) })?;
    tracing::info!(pool = %resource, "registered");
    Ok(())
}

/// tonic's own text is "transport error"; what happened is at the end of the chain.
pub(crate) fn deepest(error: &tonic::transport::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
