//! SHA-256, as the cache's keys and the OCI archive's blob names need it.
//! Asks coreutils instead of bringing a crate into the newcomer's first build.

use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context;
use anyhow::Result;

use crate::tool;

/// The SHA-256 of `data` in lower-case hexadecimal.
pub(crate) fn sha256(data: &[u8]) -> Result<String> {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start sha256sum")?;
    // It answers only after the end of its input, so writing all of it first cannot block for ever.
    child.stdin.take().context("sha256sum has no stdin")?.write_all(data).context("cannot feed sha256sum")?;
    let output = child.wait_with_output()?;
    tool::check("sha256sum", &output)?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().next().context("sha256sum said nothing")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(sha256(b"").unwrap(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(
            sha256(b"abc").unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
