//! Compiles the kubelet's APIs with protox, so that no machine that builds this needs `protoc`.

fn main() -> anyhow::Result<()> {
    let files =
        ["deviceplugin/v1beta1/api.proto", "pluginregistration/v1/api.proto", "podresources/v1/api.proto"];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    // Ordered maps: the same answer is then the same bytes.
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
