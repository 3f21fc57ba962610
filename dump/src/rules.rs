//! Dynamic search rules: a dump has them as the documents of an index that no client sees.

use serde_json::{json, Map, Value};

/// The index, and its folder in the archive.
pub const RULES_INDEX: &str = ".meili_dsr";

/// Its primary key.
pub const RULES_KEY: &str = "uid";

/// The settings that Meilisearch 1.50 gives the index.
///
/// # Errors
/// None in practice: a test reads them.
pub fn rules_settings() -> serde_json::Result<Value> {
    serde_json::from_str(include_str!("rules.json"))
}

/// The document of a rule, from how clients see it: conditions on filters are counted.
pub fn rule_line(view: &Value) -> Value {
    let mut line = view.clone();
    let filter = line.pointer_mut("/conditions/filter");
    if let Some(filter) = filter.and_then(Value::as_object_mut) {
        let count = filter
            .get("values")
            .and_then(Value::as_object)
            .map(Map::len);
        filter.insert("nbConstraints".to_owned(), json!(count.unwrap_or(0)));
    }
    line
}

/// A rule's name, and the change that makes it, from its document; `None` where it has no name.
pub fn rule_change(line: &Map<String, Value>) -> Option<(String, Value)> {
    let mut rule = line.clone();
    rule.shift_remove("lastUpdatedAt");
    let Some(Value::String(uid)) = rule.shift_remove(RULES_KEY) else {
        return None;
    };
    let mut rule = Value::Object(rule);
    let filter = rule.pointer_mut("/conditions/filter");
    if let Some(filter) = filter.and_then(Value::as_object_mut) {
        filter.shift_remove("nbConstraints");
    }
    Some((uid, rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of a dump of Meilisearch 1.50.0.
    #[test]
    fn rules_are_written_and_read_as_meilisearch_does() {
        let line = r#"{"uid":"two","lastUpdatedAt":"2026-11-21T21:02:11.348211277Z","active":false,"conditions":{"query":{"isEmpty":false,"words":"black friday"},"filter":{"values":{"n":3,"t":["a"]},"nbConstraints":2}},"actions":[],"description":"d","precedence":3}"#;
        let read: Map<String, Value> = serde_json::from_str(line).unwrap();
        let (uid, change) = rule_change(&read).unwrap();
        assert_eq!(uid, "two");
        assert_eq!(
            change["conditions"]["filter"],
            json!({ "values": { "n": 3, "t": ["a"] } })
        );
        assert!(change.get("uid").is_none() && change.get("lastUpdatedAt").is_none());
        let mut view = change;
        view["uid"] = json!(uid);
        view["lastUpdatedAt"] = read["lastUpdatedAt"].clone();
        assert_eq!(rule_line(&view), Value::Object(read));
        assert!(rules_settings().unwrap().is_object());
    }
}
