//! `CNI_ARGS`: `K=V;K=V`.
//! It must not know what any key means.

/// The pairs of `CNI_ARGS`, checked as the Go plugins check them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Args {
    pairs: Vec<(String, String)>,
}

/// `CNI_ARGS` that the Go plugins would refuse too.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ArgsError {
    /// Not exactly one `=` in a pair.
    #[error("ARGS: invalid pair {pair:?}")]
    Pair {
        /// What stands between two semicolons.
        pair: String,
    },
    /// Keys that the plugin does not know, without `IgnoreUnknown=1`.
    #[error("ARGS: unknown args {unknown:?}")]
    Unknown {
        /// The pairs.
        unknown: Vec<String>,
    },
    /// A boolean that is neither 0, 1, true nor false.
    #[error("ARGS: error parsing value of pair {pair:?}: wanted 0, 1, true or false")]
    Boolean {
        /// The pair.
        pair: String,
    },
}

impl Args {
    /// Reads `text`; keys that are not in `known` are an error unless the text says `IgnoreUnknown`.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, ArgsError> {
        let mut pairs = Vec::new();
        for pair in text.split(';').filter(|_| !text.is_empty()) {
            match pair.split('=').collect::<Vec<_>>()[..] {
                [key, value] => pairs.push((key.to_owned(), value.to_owned())),
                _ => return Err(ArgsError::Pair { pair: pair.to_owned() }),
            }
        }
        let args = Self { pairs };
        if !args.ignore_unknown()? {
            let foreign =
                args.pairs.iter().filter(|(key, _)| key != IGNORE_UNKNOWN && !known.contains(&key.as_str()));
            let unknown: Vec<String> = foreign.map(|(key, value)| format!("{key}={value}")).collect();
            if !unknown.is_empty() {
                return Err(ArgsError::Unknown { unknown });
            }
        }
        Ok(args)
    }

    /// The last value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    fn ignore_unknown(&self) -> Result<bool, ArgsError> {
        match self.get(IGNORE_UNKNOWN) {
            None => Ok(false),
            Some(value) => match value.to_ascii_lowercase().as_str() {
                "1" | "true" => Ok(true),
                "0" | "false" => Ok(false),
                _ => Err(ArgsError::Boolean { pair: format!("{IGNORE_UNKNOWN}={value}") }),
            },
        }
    }
}

const IGNORE_UNKNOWN: &str = "IgnoreUnknown";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multus_sends_pod_metadata_and_ignore_unknown() {
        let args = Args::parse("IgnoreUnknown=true;K8S_POD_NAME=x;MAC=02:00:00:00:00:01", &["MAC"]).unwrap();
        assert_eq!(args.get("MAC"), Some("02:00:00:00:00:01"));
    }

    #[test]
    fn errors_are_the_go_plugins() {
        let text = |text| Args::parse(text, &["MAC"]).unwrap_err().to_string();
        assert_eq!(text("K8S_POD_NAME=x"), r#"ARGS: unknown args ["K8S_POD_NAME=x"]"#);
        assert_eq!(text("MAC"), r#"ARGS: invalid pair "MAC""#);
        assert!(text("IgnoreUnknown=maybe").contains("wanted 0, 1, true or false"));
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(Args::parse("", &[]).unwrap(), Args::default());
    }
}
