//! Removing the hidden shard field from texts that a node wrote.
//!
//! Nodes list attributes and print documents in their error messages. The field must not show there (DESIGN 6), and
//! where it was the only filterable attribute the text must be the one for an index without any.

use std::borrow::Cow;

use miroir_api::{without_shard_field, SHARD_FIELD};
use serde_json::Value;

/// `text` without the shard field, in the words that a node without it would have used.
pub(crate) fn scrub(text: &str) -> Cow<'_, str> {
    if !text.contains(SHARD_FIELD) {
        return Cow::Borrowed(text);
    }
    // Documents first: a bare name is cut out wherever it stands. A list in which our field stands alone is an empty one
    // to the user.
    Cow::Owned(without_shard_field(&without_member(text), true))
}

/// An error object of a node with its message scrubbed.
pub(crate) fn scrub_error(mut error: Value) -> Value {
    if let Some(Value::String(message)) = error.get_mut("message") {
        if let Cow::Owned(clean) = scrub(message) {
            *message = clean;
        }
    }
    error
}

/// Cuts `"_miroir_shard":"..."` out of documents printed in a message, with the comma beside it.
fn without_member(text: &str) -> String {
    let member = format!("\"{SHARD_FIELD}\"");
    let mut out = text.to_owned();
    while let Some(start) = out.find(&member) {
        let rest = &out[start + member.len()..];
        let Some(value) = rest.trim_start().strip_prefix(':').map(str::trim_start) else {
            break;
        };
        let Some(body) = value.strip_prefix('"') else {
            break;
        };
        // Codes hold neither quotes nor backslashes.
        let Some(close) = body.find('"') else { break };
        let mut end = out.len() - body.len() + close + 1;
        let mut start = start;
        if out[end..].starts_with(',') {
            end += 1;
        } else if out[..start].ends_with(',') {
            start -= 1;
        }
        out.replace_range(start..end, "");
    }
    out
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
