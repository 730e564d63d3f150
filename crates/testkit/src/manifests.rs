//! Kubernetes manifests as the values in them, so that tests run on the very files that users apply.
//! It must not know any kind; `pod` and `multus` read theirs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// The documents of a YAML text, without the empty ones.
pub fn parse(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// All documents of all YAML files below a directory, with the file that each is from; sorted by path.
pub fn below(dir: &Path) -> Result<Vec<(PathBuf, Value)>> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .with_context(|| dir.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(below(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let documents = parse(&text).with_context(|| path.display().to_string())?;
            found.extend(documents.into_iter().map(|document| (path.clone(), document)));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn several_documents_and_block_text() {
        let text = "---\nkind: ConfigMap\ndata:\n  config.json: |\n    {\"a\": [\"0000:00:06.0\"]}\n---\n---\nport: 80\n";
        let documents = parse(text).unwrap();
        assert_eq!(
            documents,
            [
                json!({"kind": "ConfigMap", "data": {"config.json": "{\"a\": [\"0000:00:06.0\"]}\n"}}),
                json!({"port": 80})
            ]
        );
        assert!(parse("a: [").is_err());
    }
}
