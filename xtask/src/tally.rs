//! Counts tests: runs a cargo command with its output on ours and reads the summary lines as they pass.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context;
use anyhow::Result;

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Tally {
    /// Runs `command` as [`Tally::of`] does and adds what it counted.
    pub(crate) fn run(&mut self, command: &mut Command, read: fn(&str) -> Option<Self>) {
        match Self::of(command, read) {
            Ok(tally) => self.add(tally),
            Err(error) => self.note("a test run", Err(error)),
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Counts a step that is no test of its own: only its failure does.
    pub(crate) fn note(&mut self, step: &str, result: Result<()>) {
        if let Err(error) = result {
            println!("FAIL {step}: {error:#}");
            self.failed += 1;
        }
    }

    /// Runs `command`, echoes it and counts with `read`, a reader of one line. A command that fails without a failed
    /// test (it did not compile, say) counts as one failure: nothing that did not run may look like success.
    fn of(command: &mut Command, read: fn(&str) -> Option<Self>) -> Result<Self> {
        let name = format!("{command:?}");
        let (reader, writer) = std::io::pipe()?;
        // Colours would hide the summary from the reader.
        command.env("CARGO_TERM_COLOR", "never");
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        // It holds the writing ends, without which the reader would never see the end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut tally = Self::default();
        for line in BufReader::new(reader).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            let _ = writeln!(std::io::stdout(), "{line}");
            tally.add(read(&line).unwrap_or_default());
        }
        let status = child.wait()?;
        if !status.success() && tally.failed == 0 {
            println!("{name} failed ({status})");
            tally.failed = 1;
        }
        Ok(tally)
    }
}

/// nextest: `Summary [   1.2s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 2 skipped`.
pub(crate) fn nextest(line: &str) -> Option<Tally> {
    let counts = line.trim_start().strip_prefix("Summary [")?.split_once("run:")?.1;
    let failed = ["failed", "timed out", "exec failed"].iter().map(|word| count(counts, word)).sum();
    Some(Tally { passed: count(counts, "passed"), failed })
}

/// libtest, as doc tests end: `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
pub(crate) fn libtest(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    Some(Tally { passed: count(counts, "passed"), failed: count(counts, "failed") })
}

/// The number before `word`, among parts such as `10 passed (1 slow)`.
fn count(counts: &str, word: &str) -> usize {
    let parts = counts.split([',', ';']).map(str::trim);
    let numbers = parts.filter_map(|part| {
        let (number, rest) = part.split_once(' ')?;
        let rest = rest.split('(').next().unwrap_or(rest).trim();
        (rest == word).then(|| number.parse::<usize>().ok()).flatten()
    });
    numbers.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_counted() {
        let line = "     Summary [   1.234s] 14 tests run: 10 passed (1 slow), 1 failed, 2 timed out, 1 exec failed, 3 skipped";
        assert_eq!(nextest(line), Some(Tally { passed: 10, failed: 4 }));
        assert_eq!(
            nextest("     Summary [   0.005s] 0 tests run: 0 passed, 0 skipped"),
            Some(Tally::default())
        );
        assert_eq!(nextest("        PASS [   0.005s] pci address::parse"), None);
        let line = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(libtest(line), Some(Tally { passed: 3, failed: 1 }));
    }

    #[test]
    fn a_command_that_fails_without_a_summary_counts() {
        let tally =
            Tally::of(Command::new("sh").args(["-c", "echo does not compile; exit 101"]), nextest).unwrap();
        assert_eq!(tally, Tally { passed: 0, failed: 1 });
    }
}
