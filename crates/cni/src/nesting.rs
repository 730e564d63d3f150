//! How deep a configuration nests, and what of it is left where that is too deep.
//! It must not judge whether the text is JSON.

/// Levels of objects and lists, the configuration's own the first. A record has it two levels further down, and is read by
/// `serde_json`, which goes down 127.
pub(crate) const LIMIT: usize = 100;

/// The text with a `null` for whatever lies deeper; `None` where nothing does.
pub(crate) fn cut(text: &[u8]) -> Option<Vec<u8>> {
    let mut cut: Option<Vec<u8>> = None;
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (at, &byte) in text.iter().enumerate() {
        let mut is_kept = depth <= LIMIT;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                is_kept = depth <= LIMIT;
                if depth == LIMIT + 1 {
                    cut.get_or_insert_with(|| text[..at].to_vec()).extend(b"null");
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some(cut) = cut.as_mut().filter(|_| is_kept) {
            cut.push(byte);
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize, inside: &str) -> String {
        format!("{}{inside}{}", r#"{"a":["#.repeat(levels / 2), "]}".repeat(levels / 2))
    }

    #[test]
    fn what_is_deep_enough_is_left_alone() {
        for text in [nested(LIMIT, r#""[{\"[{[\\""#), nested(LIMIT, "1"), "{".to_owned(), "}]}".to_owned()] {
            assert_eq!(cut(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_deeper_is_cut_off_and_nothing_else() {
        let deep = nested(LIMIT, r#"1, {"b": [{"]": "}\""}], "c": 2}, "\"[", [], 3"#);
        let cut = String::from_utf8(cut(deep.as_bytes()).unwrap()).unwrap();
        assert_eq!(cut, nested(LIMIT, r#"1, null, "\"[", null, 3"#));
        assert!(serde_json::from_str::<serde_json::Value>(&cut).is_ok());
    }
}
