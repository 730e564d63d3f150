//! What the guest says while a job runs, one JSON object a line.
//! The guest's `report.rs` writes them; the two are changed together.

use std::fmt;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use serde_json::Value;

/// One line from the guest.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The job begins, this long after the kernel did.
    Booted {
        /// Seconds by the guest's clock.
        seconds: f64,
    },
    /// A case ended.
    Case {
        /// `job/case`.
        name: String,
        /// How it ended.
        outcome: Outcome,
        /// What it found, or the error that ended it; may be empty.
        detail: String,
        /// How long it took.
        ms: u64,
    },
    /// A line of a story told to a person.
    Story(String),
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// Nothing was asserted: a fact worth reporting.
    Info,
}

/// What the guest wants: to be heard, or something done to the machine around it.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    Event(Event),
    /// A QMP command; the guest waits for the reply.
    Qmp(Value),
}

impl Line {
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line).with_context(|| format!("the guest said {line:?}"))?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        if let Some(command) = value.get("qmp") {
            return Ok(Self::Qmp(command.clone()));
        }
        let event = if let Some(seconds) = value.get("booted").and_then(Value::as_f64) {
            Event::Booted { seconds }
        } else if let Some(story) = text("story") {
            Event::Story(story)
        } else if let (Some(name), Some(outcome)) = (text("case"), text("outcome")) {
            let outcome = match outcome.as_str() {
                "pass" => Outcome::Pass,
                "fail" => Outcome::Fail,
                "info" => Outcome::Info,
                other => bail!("the guest gave case {name} the outcome {other:?}"),
            };
            let ms = value.get("ms").and_then(Value::as_u64).unwrap_or_default();
            Event::Case { name, outcome, detail: text("detail").unwrap_or_default(), ms }
        } else {
            bail!("the guest said {line:?}, which is no event");
        };
        Ok(Self::Event(event))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booted { seconds } => write!(out, "     node up {seconds:.1} s after its kernel started"),
            Self::Story(line) => out.write_str(line),
            Self::Case { name, outcome, detail, ms } => {
                let mark = match outcome {
                    Outcome::Pass => "pass",
                    Outcome::Fail => "FAIL",
                    Outcome::Info => "info",
                };
                #[expect(clippy::cast_precision_loss, reason = "milliseconds, shown with two digits")]
                let seconds = *ms as f64 / 1000.0;
                write!(out, "{mark} {seconds:6.2} s  {name}")?;
                // The first line beside the name, the rest below it.
                for (number, line) in detail.lines().enumerate() {
                    let lead = if number == 0 { ": " } else { "\n                 " };
                    write!(out, "{lead}{line}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_line_is_read_and_shown() {
        let line = r#"{"case":"smoke/vfs","outcome":"fail","detail":"want 4\nfound 3","ms":1500}"#;
        let Line::Event(event) = Line::parse(line).unwrap() else { panic!("an event") };
        assert_eq!(event.to_string(), "FAIL   1.50 s  smoke/vfs: want 4\n                 found 3");
    }

    #[test]
    fn the_other_lines() {
        let story = Line::parse(r#"{"story":"once"}"#).unwrap();
        assert_eq!(story, Line::Event(Event::Story("once".to_owned())));
        assert!(matches!(Line::parse(r#"{"qmp":{"execute":"stop"}}"#).unwrap(), Line::Qmp(_)));
        assert!(Line::parse("{}").is_err());
        assert!(Line::parse("not json").is_err());
        assert!(Line::parse(r#"{"case":"a","outcome":"maybe"}"#).is_err());
    }
}
