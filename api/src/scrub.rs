//! Error texts of nodes list an index's attributes; the hidden one must not be among them.

use crate::SHARD_FIELD;

/// Cuts the hidden field out of a node's error text (MEILISEARCH E.5).
///
/// `none_configured`: the user's own list of filterable attributes is empty, so the text must say so as it would
/// without our field, instead of presenting an empty list.
pub fn without_shard_field(message: &str, none_configured: bool) -> String {
    if !message.contains(SHARD_FIELD) {
        return message.to_owned();
    }
    let mut text = message.to_owned();
    if none_configured {
        for (listed, bare) in EMPTY_FORMS {
            let listed = listed.replace("{}", SHARD_FIELD);
            text = text.replace(&listed, bare);
        }
    }
    for quoted in [format!("`{SHARD_FIELD}`"), SHARD_FIELD.to_owned()] {
        for listed in [format!("{quoted}, "), format!(", {quoted}"), quoted] {
            text = text.replace(&listed, "");
        }
    }
    text
}

/// What Meilisearch (1.15 and 1.50) says with our field alone in the list, and with an empty list.
const EMPTY_FORMS: &[(&str, &str)] = &[
    (
        "Available filterable attribute patterns are: `{}`.",
        "This index does not have configured filterable attributes.",
    ),
    (
        "Available filterable attributes patterns are: `{}`.",
        "This index does not have configured filterable attributes.",
    ),
];

#[cfg(test)]
mod tests {
    use super::without_shard_field;

    #[test]
    fn lists_lose_only_our_field() {
        assert_eq!(
            without_shard_field(
                "Attribute `x` is not filterable. Available filterable attribute patterns are: `_miroir_shard, genre`.",
                false
            ),
            "Attribute `x` is not filterable. Available filterable attribute patterns are: `genre`."
        );
        assert_eq!(
            without_shard_field(
                "Attribute `x` is not filterable. Available filterable attribute patterns are: `_miroir_shard`.",
                true
            ),
            "Attribute `x` is not filterable. This index does not have configured filterable attributes."
        );
        assert_eq!(without_shard_field("plain", true), "plain");
    }
}
