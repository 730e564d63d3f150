//! Runs the machine's own programs (apt, dpkg-deb, mksquashfs, …) to their end.
//! Prints nothing while they work; a failure carries what they said.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;

/// How much of a failed program's words an error quotes; apt and make put the reason last.
const TAIL_LINES: usize = 15;

/// Runs `command` to its end and returns what it wrote to stdout.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = line(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{name}`"))?;
    check(&name, &output)?;
    Ok(output.stdout)
}

/// [`output`] for programs that answer with text.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let bytes = output(command)?;
    String::from_utf8(bytes)
        .with_context(|| format!("`{}` answered with bytes that are not UTF-8", line(command)))
}

/// [`output`] for programs that are run for what they do.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// `program`, with sudo in front unless we are root already.
pub(crate) fn as_root(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Whether this process runs as root. /proc/self belongs to the effective user (proc(5)).
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|of| of.uid() == 0)
}

/// Fails with the last words of `name` unless it ended well.
pub(crate) fn check(name: &str, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n  ");
    bail!("`{name}` failed ({}):\n  {tail}", output.status)
}

/// The command as a person would type it, cut short: mmdebstrap's package list is a page long.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_quotes_the_program() {
        let error = run(Command::new("sh").args(["-c", "echo the reason >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("the reason") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn a_long_command_is_cut() {
        let line = line(Command::new("echo").arg("x".repeat(500)));
        assert!(line.ends_with('…') && line.len() < 200);
    }
}
