//! API keys: as a dump keeps them, and as clients see them (`GET /keys`).

use serde_json::{json, Map, Value};

/// The names that differ: in a dump, as clients see them.
const DATES: [(&str, &str); 3] = [
    ("expires_at", "expiresAt"),
    ("created_at", "createdAt"),
    ("updated_at", "updatedAt"),
];

/// The line for a key, from how clients see it. Its text is not in it: the master key gives it.
pub fn key_line(view: &Value) -> Value {
    let mut line = Map::new();
    for name in ["description", "name"] {
        // Absent, not null, where a key has none.
        if !view[name].is_null() {
            line.insert(name.to_owned(), view[name].clone());
        }
    }
    for name in ["uid", "actions", "indexes"] {
        line.insert(name.to_owned(), view[name].clone());
    }
    for (name, seen) in DATES {
        line.insert(name.to_owned(), view[seen].clone());
    }
    Value::Object(line)
}

/// A line's key as clients see it, without its text.
pub fn key_view(line: &Map<String, Value>) -> Value {
    let of = |name: &str| line.get(name).cloned().unwrap_or(Value::Null);
    let mut view = json!({});
    for name in ["uid", "name", "description", "actions", "indexes"] {
        view[name] = of(name);
    }
    for (name, seen) in DATES {
        view[seen] = of(name);
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of Meilisearch 1.8's `v6-with-vectors.dump`.
    #[test]
    fn keys_are_written_as_meilisearch_writes_them() {
        let line = r#"{"description":"Use it","name":"Default","uid":"d04fd40f-9746-4d8a-b5e4-593ebd1034eb","actions":["search"],"indexes":["*"],"expires_at":null,"created_at":"2024-05-16T15:32:51.786251Z","updated_at":"2024-05-16T15:32:51.786251Z"}"#;
        let read: Map<String, Value> = serde_json::from_str(line).unwrap();
        assert_eq!(key_line(&key_view(&read)).to_string(), line);
        let bare = key_line(&json!({ "uid": "x", "name": null }));
        assert!(bare.get("name").is_none());
    }
}
