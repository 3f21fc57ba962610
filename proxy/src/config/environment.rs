//! `MIROIR_*` variables: the same keys as in the file, in capitals, joined by underscores; they win over the file.
//!
//! A misspelt variable is an error, like a misspelt key. One that is *not like* any of ours is left alone: Kubernetes
//! sets `MIROIR_SERVICE_HOST` and its kind in every pod beside a service that is called `miroir`.

use serde_json::{Map, Value};

use super::{keys, ConfigError};

/// Writes every known variable over the tree.
pub fn overlay(
    tree: &mut Value,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(), ConfigError> {
    for (name, value) in environment {
        if !name.starts_with(PREFIX) || OTHERS.contains(&name.as_str()) {
            continue;
        }
        let Some(path) = path_of(&name) else {
            if let Some(meant) = settable()
                .map(variable)
                .find(|known| strsim::normalized_damerau_levenshtein(&name, known) > 0.85)
            {
                return Err(ConfigError::Invalid(format!(
                    "unknown environment variable {name}; did you mean `{meant}`?"
                )));
            }
            continue;
        };
        set(tree, path, scalar(path, &name, &value)?);
    }
    Ok(())
}

const PREFIX: &str = "MIROIR_";

/// Variables of the family that are not configuration of `serve`: the tools' and the tests' own.
const OTHERS: &[&str] = &[
    "MIROIR_URL",
    "MIROIR_ADMIN_KEY",
    "MIROIR_BIN",
    "MIROIR_LOG",
    "MIROIR_RANDOM_SEED",
    "MIROIR_RANDOM_CASES",
];

const SECTIONS: &[&str] = &[
    "task_store",
    "dumps",
    "admin",
    "server",
    "limits",
    "reads",
    "health",
    "anti_entropy",
    "log",
];

/// Keys that hold a value (not a section, not a member of a list entry).
fn settable() -> impl Iterator<Item = &'static str> {
    keys::KNOWN
        .iter()
        .copied()
        .filter(|key| !key.contains("[]") && !SECTIONS.contains(key))
}

fn variable(path: &'static str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_ascii_uppercase())
}

fn path_of(name: &str) -> Option<&'static str> {
    if name == "MIROIR_DRIVER" {
        return Some("server.driver");
    }
    settable().find(|path| variable(path) == name)
}

/// Keys are text whatever they look like (a key may be all digits); everything else is read as YAML.
fn scalar(path: &str, name: &str, value: &str) -> Result<Value, ConfigError> {
    const TEXTS: [&str; 5] = ["key", "path", "driver", "url", "header"];
    if TEXTS.iter().any(|end| path.ends_with(end)) {
        return Ok(Value::String(value.to_owned()));
    }
    let parsed: Value = serde_saphyr::from_str(value).map_err(|_| {
        ConfigError::Invalid(format!("the environment variable {name} is not valid YAML"))
    })?;
    if path == "nodes" {
        keys::check(
            &Value::Object(Map::from_iter([("nodes".to_owned(), parsed.clone())])),
            name,
        )?;
    }
    Ok(parsed)
}

fn set(tree: &mut Value, path: &str, value: Value) {
    let mut place = tree;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(members) = place else {
            return;
        };
        if parts.peek().is_none() {
            members.insert(part.to_owned(), value);
            return;
        }
        place = members
            .entry(part.to_owned())
            .or_insert_with(|| Value::Object(Map::new()));
    }
}
