//! The kubelet's gRPC APIs, messages, clients and servers alike: device plugin v1beta1, plugin registration v1, pod resources v1.
//! It must not hold anything that is not in those `.proto` files, save the names and paths that the kubelet fixes.

/// `deviceplugin/v1beta1`: what devices there are, and what a container needs to use them.
#[allow(
    missing_docs,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/deviceplugin/v1beta1/api.proto"
)]
pub mod device_plugin {
    tonic::include_proto!("v1beta1");

    /// The API's version, as registration states it.
    pub const VERSION: &str = "v1beta1";
    /// `Device::health` of a device that may be allocated.
    pub const HEALTHY: &str = "Healthy";
    /// `Device::health` of a device that may not.
    pub const UNHEALTHY: &str = "Unhealthy";
}

/// `pluginregistration/v1`: what a socket in `plugins_registry` is.
#[allow(
    missing_docs,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/pluginregistration/v1/api.proto"
)]
pub mod plugin_registration {
    tonic::include_proto!("pluginregistration");

    /// `PluginInfo::type` of a device plugin.
    pub const DEVICE_PLUGIN: &str = "DevicePlugin";
}

/// `podresources/v1`: what the kubelet gave to which container.
#[allow(
    missing_docs,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/podresources/v1/api.proto"
)]
pub mod pod_resources {
    tonic::include_proto!("v1");
}

#[cfg(test)]
mod tests;
