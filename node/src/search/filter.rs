//! Filters as they come in requests: an expression, or an array of expressions and of arrays of alternatives.

use std::fmt;

use milli_core as milli;
use milli_core::Filter;
use miroir_api::Error;
use serde_json::Value;

use crate::error::coded;
use crate::features::{not_enabled, Flags};

/// Parses a filter; `None` where it has no condition (an empty array or text).
///
/// The result borrows from `value`. `code` is the code of a syntax error: `invalid_search_filter` for a search,
/// `invalid_document_filter` for the document routes. `CONTAINS` and `STARTS WITH` are an experimental feature:
/// `feature_not_enabled` where it is off.
pub fn parse_filter<'v>(
    value: &'v Value,
    code: &'static str,
    flags: Flags,
) -> Result<Option<Filter<'v>>, Error> {
    let filter = Filter::from_json(value).map_err(|error| coded(code, syntax_message(error)))?;
    if flags.contains_filter {
        return Ok(filter);
    }
    if let Some(token) = filter.as_ref().and_then(Filter::use_contains_operator) {
        let message = token.as_external_error(ContainsNotEnabled).to_string();
        return Err(coded("feature_not_enabled", message));
    }
    Ok(filter)
}

/// The engine's text, except for values of a wrong type, which Meilisearch words itself.
fn syntax_message(error: milli::Error) -> String {
    match error {
        milli::Error::UserError(milli::UserError::InvalidFilterExpression(expected, found)) => {
            let expected = expected.join(", ");
            format!(
                "Invalid syntax for the filter parameter: `expected {expected}, found: {found}`."
            )
        }
        other => other.to_string(),
    }
}

#[derive(Debug)]
struct ContainsNotEnabled;

impl fmt::Display for ContainsNotEnabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = "Using `CONTAINS` or `STARTS WITH` in a filter";
        f.write_str(&not_enabled(action, "contains filter", "763"))
    }
}

impl std::error::Error for ContainsNotEnabled {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_condition_is_no_filter() {
        for value in [json!(""), json!([]), json!([[]])] {
            assert!(
                parse_filter(&value, "invalid_search_filter", Flags::default())
                    .unwrap()
                    .is_none()
            );
        }
        assert!(parse_filter(
            &json!(["a = 1", ["b = 2", "c = 3"]]),
            "invalid_search_filter",
            Flags::default()
        )
        .unwrap()
        .is_some());
    }

    #[test]
    fn refusals_are_meilisearchs() {
        let refused = |value: Value| {
            let error =
                parse_filter(&value, "invalid_document_filter", Flags::default()).unwrap_err();
            (error.code.into_owned(), error.message)
        };
        assert_eq!(
            refused(json!(1)),
            (
                "invalid_document_filter".to_owned(),
                "Invalid syntax for the filter parameter: `expected String, Array, found: 1`."
                    .to_owned()
            )
        );
        assert_eq!(
            refused(json!([["a = 1", 2]])).1,
            "Invalid syntax for the filter parameter: `expected String, found: 2`."
        );
        let (code, message) = refused(json!("a = b c"));
        assert_eq!(code, "invalid_document_filter");
        assert!(message.contains("a = b c"), "{message}");
        let (code, message) = refused(json!("a CONTAINS b"));
        assert_eq!(code, "feature_not_enabled");
        assert_eq!(
            message,
            "Using `CONTAINS` or `STARTS WITH` in a filter requires enabling the `contains filter` experimental \
             feature. See https://github.com/orgs/meilisearch/discussions/763\n3:11 a CONTAINS b"
        );
    }
    #[test]
    fn contains_is_a_feature() {
        let flags = Flags {
            contains_filter: true,
            ..Flags::default()
        };
        assert!(parse_filter(&json!("a CONTAINS b"), "invalid_search_filter", flags).is_ok());
    }
}
