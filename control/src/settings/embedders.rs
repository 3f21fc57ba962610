//! Embedders on their way to the nodes, and back: their templates do not show the shard field.

use miroir_api::{template_as_written, template_for_nodes, DEFAULT_TEMPLATE};
use serde_json::{json, Value};

/// The sources whose embedders render documents.
const RENDER: [&str; 4] = ["openAi", "huggingFace", "ollama", "rest"];

/// Changes the templates of a change of `embedders`; `known` is what nodes have now, null where that is nothing.
pub(super) fn for_nodes(embedders: &mut Value, known: &Value) {
    for (name, embedder) in embedders.as_object_mut().into_iter().flatten() {
        one_for_nodes(embedder, &known[name]);
    }
}

fn one_for_nodes(embedder: &mut Value, known: &Value) {
    if !embedder.is_object() {
        return;
    }
    if embedder["indexingEmbedder"].is_object() {
        let known = &known["indexingEmbedder"];
        one_for_nodes(&mut embedder["indexingEmbedder"], known);
    }
    let said = |name: &str| match embedder.get(name) {
        Some(value) => !value.is_null(),
        None => !known[name].is_null(),
    };
    let source = embedder.get("source").unwrap_or(&known["source"]);
    let renders = source
        .as_str()
        .is_some_and(|source| RENDER.contains(&source));
    // Fragments stand in a template's place.
    let by_default = renders && !said("documentTemplate") && !said("indexingFragments");
    match embedder.get("documentTemplate").and_then(Value::as_str) {
        Some(template) => embedder["documentTemplate"] = json!(template_for_nodes(template)),
        None if by_default => {
            embedder["documentTemplate"] = json!(template_for_nodes(DEFAULT_TEMPLATE));
        }
        None => (),
    }
}

/// Shows embedders with the templates that their clients wrote.
pub(super) fn for_client(embedders: &mut Value) {
    for embedder in embedders.as_object_mut().into_iter().flatten() {
        let parts = [
            embedder
                .1
                .pointer("/indexingEmbedder")
                .is_some()
                .then_some("/indexingEmbedder/documentTemplate"),
            Some("/documentTemplate"),
        ];
        for place in parts.into_iter().flatten() {
            if let Some(Value::String(template)) = embedder.1.pointer_mut(place) {
                *template = template_as_written(template);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(mut change: Value, known: Value) -> Value {
        for_nodes(&mut change, &known);
        change
    }

    #[test]
    fn what_renders_documents_does_not_show_the_shard_field() {
        let hidden = template_for_nodes(DEFAULT_TEMPLATE);
        let new = sent(
            json!({ "a": { "source": "rest" }, "b": { "source": "userProvided" }, "c": null }),
            Value::Null,
        );
        assert_eq!(new["a"]["documentTemplate"], hidden);
        assert_eq!(new["b"], json!({ "source": "userProvided" }));
        let known = json!({ "a": { "source": "rest", "documentTemplate": "own" } });
        let kept = sent(json!({ "a": { "apiKey": "k" } }), known.clone());
        assert_eq!(kept, json!({ "a": { "apiKey": "k" } }));
        let reset = sent(json!({ "a": { "documentTemplate": null } }), known);
        assert_eq!(reset["a"]["documentTemplate"], hidden);
        let parts = json!({ "a": { "source": "rest", "indexingFragments": { "x": {} } } });
        assert_eq!(sent(parts.clone(), Value::Null), parts);
        let mut two = sent(
            json!({ "a": { "source": "composite", "indexingEmbedder": { "source": "rest" } } }),
            Value::Null,
        );
        assert_eq!(two["a"]["indexingEmbedder"]["documentTemplate"], hidden);
        for_client(&mut two);
        assert_eq!(
            two["a"]["indexingEmbedder"]["documentTemplate"],
            DEFAULT_TEMPLATE
        );
        assert_eq!(two["a"].get("documentTemplate"), None);
    }
}
