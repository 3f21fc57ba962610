//! Texts of nodes as clients may see them.

use miroir_api::without_shard_field;
use serde_json::Value;

/// `text` without the shard field, in the words that a node without it would have used.
pub(crate) fn scrub(text: &str) -> String {
    // A list in which our field stands alone is an empty one to the user.
    without_shard_field(text, true)
}

/// An error object of a node with its message scrubbed.
pub(crate) fn scrub_error(mut error: Value) -> Value {
    if let Some(Value::String(message)) = error.get_mut("message") {
        *message = scrub(message);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_lose_the_field() {
        for (from, to) in [
            (
                "Attribute `a` is not filterable. Available filterable attributes patterns are: `_miroir_shard`.",
                "Attribute `a` is not filterable. This index does not have configured filterable attributes.",
            ),
            (
                "Attribute `a` is not filterable. Available filterable attributes patterns are: `_miroir_shard, genre`.",
                "Attribute `a` is not filterable. Available filterable attributes patterns are: `genre`.",
            ),
            (
                "Available filterable attribute patterns are: `_miroir_shard`, `genre`, `year`.",
                "Available filterable attribute patterns are: `genre`, `year`.",
            ),
            ("Available searchable attributes are: `_miroir_shard, id, x`.", "Available searchable attributes are: `id, x`."),
            ("are: `A, _miroir_shard, b`", "are: `A, b`"),
            ("nothing to do", "nothing to do"),
        ] {
            assert_eq!(scrub(from), to);
        }
    }

    #[test]
    fn printed_documents_lose_the_field() {
        let text = "Document doesn't have a `id` attribute: `{\"_miroir_shard\":\"⸎⸎\",\"a\":1}`.";
        assert_eq!(
            scrub(text),
            "Document doesn't have a `id` attribute: `{\"a\":1}`."
        );
        assert_eq!(scrub("{\"a\":1,\"_miroir_shard\":\"⸎\"}"), "{\"a\":1}");
        assert_eq!(scrub("{\"_miroir_shard\": \"⸎\"}"), "{}");
    }
}
