//! API keys of embedders. Nodes show them masked, and a node that is added or was emptied needs them whole: the store
//! keeps them as clients sent them. They stand in no log and in no task.

use miroir_api::hide_secret;
use serde_json::Value;

use super::Sub;
use crate::store::Store;

/// Where in `embedders` a key stands (RFC 6901), and the key.
pub(crate) type Secret = (String, String);

/// The keys in a change of `sub` (None: of all settings).
pub(super) fn sent(sub: Option<&Sub>, body: &Value) -> Vec<Secret> {
    let embedders = match sub {
        None => body.get("embedders"),
        Some(sub) => (sub.key == "embedders").then_some(body),
    };
    let mut found = Vec::new();
    for (name, embedder) in embedders.and_then(Value::as_object).into_iter().flatten() {
        let name = name.replace('~', "~0").replace('/', "~1");
        collect(format!("/{name}"), embedder, &mut found);
    }
    found
}

fn collect(path: String, embedder: &Value, found: &mut Vec<Secret>) {
    if let Some(key) = embedder["apiKey"].as_str() {
        found.push((format!("{path}/apiKey"), key.to_owned()));
    }
    for part in ["searchEmbedder", "indexingEmbedder"] {
        if let Some(part_of) = embedder.get(part) {
            collect(format!("{path}/{part}"), part_of, found);
        }
    }
}

/// A node's settings of this index with its keys whole, as far as they are known.
///
/// # Errors
/// The store failed.
pub(crate) async fn revealed(
    store: &Store,
    node_uid: &str,
    mut settings: Value,
) -> Result<Value, String> {
    if settings["embedders"]
        .as_object()
        .is_some_and(|all| !all.is_empty())
    {
        let known = store.secrets(node_uid.to_owned()).await;
        reveal(
            &mut settings["embedders"],
            known.map_err(|error| error.to_string())?,
        );
    }
    Ok(settings)
}

fn reveal(embedders: &mut Value, known: Vec<Secret>) {
    for (path, key) in known {
        // Another one is a key that was changed since, or is on its way to be.
        let shown = embedders.pointer_mut(&path);
        if let Some(shown) = shown.filter(|shown| **shown == hide_secret(&key)) {
            *shown = Value::String(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_found_and_put_back_where_they_are_the_same() {
        let body = json!({"embedders": {
            "a/b": {"apiKey": "0123456789abcdef"},
            "two": {"searchEmbedder": {"apiKey": "fedcba9876543210"}, "source": "composite"},
            "gone": null,
        }});
        let known = sent(None, &body);
        assert_eq!(known.len(), 2);
        let mut masked = json!({
            "a/b": {"apiKey": "01XXXX..."},
            "two": {"searchEmbedder": {"apiKey": "zzXXXX..."}},
        });
        reveal(&mut masked, known);
        assert_eq!(masked["a/b"]["apiKey"], "0123456789abcdef");
        assert_eq!(masked["two"]["searchEmbedder"]["apiKey"], "zzXXXX...");
        let sub = super::super::SUBS.iter().find(|sub| sub.key == "embedders");
        assert_eq!(sent(sub, &body["embedders"]).len(), 2);
        assert_eq!(sent(sub, &Value::Null), []);
    }
}
