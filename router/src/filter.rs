//! Filters: what is rewritten in them, and what they say of the shards.
//!
//! The one operator of Meilisearch's filters that is wrong on a part of an index is `!=`: `a != b` on a node where no
//! document ever had the field `a` finds nothing, while one node with all documents finds every document that has no
//! `a`. `NOT a = b` means the same where the field is known and is right everywhere (MEILISEARCH B.1), so a filter is
//! rewritten before it goes to the nodes.
//!
//! What does not parse is left as it is, for the node to refuse in its own words.

mod grammar;
mod pinned;
mod told;

use std::borrow::Cow;

use serde_json::Value;

use crate::code::shard_filter;
use crate::Shard;
use grammar::{is_word, parse, Condition, Meaning, Operator};

pub use pinned::{Ids, Reach};
pub use told::told_of_filter;

/// Rewrites each `a != b` of a filter expression to `NOT a = b`. A filter without `!=`, and one that is malformed,
/// comes back unchanged.
pub fn rewrite_not_equal(filter: &str) -> Cow<'_, str> {
    let mut rewritten = String::new();
    let mut copied = 0;
    for (field, operator, put) in changes(filter) {
        rewritten.push_str(&filter[copied..field]);
        rewritten.push_str(&" NOT "[NOT_MAX - put..]);
        rewritten.push_str(&filter[field..operator]);
        copied = operator + 1;
    }
    if copied == 0 {
        return Cow::Borrowed(filter);
    }
    rewritten.push_str(&filter[copied..]);
    Cow::Owned(rewritten)
}

/// Joins a filter and shards with AND.
pub fn and_shards(filter: Option<Value>, shards: &[Shard]) -> Value {
    and_also(filter, shard_filter(shards))
}

/// Joins a filter and an expression with AND, as a node's array form does.
pub fn and_also(filter: Option<Value>, expression: String) -> Value {
    let also = Value::String(expression);
    match filter {
        None | Some(Value::Null) => also,
        Some(Value::Array(mut all)) => {
            all.push(also);
            Value::Array(all)
        }
        Some(one) => Value::Array(vec![one, also]),
    }
}

/// `a != b` means nothing on a node that never saw `a`; `NOT a = b` is right on every node (MEILISEARCH B.1).
pub fn rewrite_filter(filter: &mut Value) {
    match filter {
        Value::String(text) => {
            if let Cow::Owned(rewritten) = rewrite_not_equal(text) {
                *text = rewritten;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(rewrite_filter),
        _ => {}
    }
}

/// Letters of the longest text that is put before a comparison.
const NOT_MAX: usize = " NOT ".len();

/// What rewriting does: before this place so many letters of ` NOT ` are put, and the one at the second place is left out.
fn changes(filter: &str) -> Vec<(usize, usize, usize)> {
    let mut found = NotEquals::default();
    // Most filters have none, and are not looked at further.
    if !filter.contains("!=") || parse(filter, &mut found).is_none() {
        return Vec::new();
    }
    let changes = found.0.into_iter().map(|NotEqual { field, operator }| {
        // `AND"a" != 1` is well-formed, `ANDNOT` would not be.
        let joins = filter[..field].chars().next_back().is_some_and(is_word);
        (field, operator, NOT_MAX - usize::from(!joins))
    });
    changes.collect()
}

/// Where a comparison begins, and where its `!=` is.
struct NotEqual {
    field: usize,
    operator: usize,
}

#[derive(Default)]
struct NotEquals(Vec<NotEqual>);

impl Meaning for NotEquals {
    type Of = ();

    fn condition(&mut self, condition: &Condition) {
        if let Operator::NotEqual { at } = condition.operator {
            self.0.push(NotEqual {
                field: condition.field.start,
                operator: at,
            });
        }
    }

    fn function(&mut self) {}
    fn and(&mut self, _: (), _: ()) {}
    fn or(&mut self, _: (), _: ()) {}
    fn not(&mut self, _: ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn rewrites(filter: &str, expected: &str) {
        assert_eq!(rewrite_not_equal(filter), expected, "{filter}");
        // What is written is again well-formed, and done.
        assert!(!is_rewritten(expected), "{expected}");
        assert!(parses(expected), "{expected}");
    }

    #[track_caller]
    fn unchanged(filter: &str) {
        assert!(
            !is_rewritten(filter),
            "{filter} -> {}",
            rewrite_not_equal(filter)
        );
    }

    fn is_rewritten(filter: &str) -> bool {
        matches!(rewrite_not_equal(filter), Cow::Owned(_))
    }

    fn parses(filter: &str) -> bool {
        parse(filter, &mut NotEquals::default()).is_some()
    }

    #[test]
    fn a_comparison_alone() {
        rewrites("genre != Comedy", "NOT genre = Comedy");
        rewrites("genre!=Comedy", "NOT genre=Comedy");
        rewrites("  genre  !=  Comedy ", "  NOT genre  =  Comedy ");
        rewrites("a.b-c_d != -1.5", "NOT a.b-c_d = -1.5");
        rewrites("größe != 日本", "NOT größe = 日本");
    }

    #[test]
    fn quotes_and_escapes() {
        rewrites(r#""release year" != 'x'"#, r#"NOT "release year" = 'x'"#);
        rewrites(
            r#"'it\'s' != "say \"!=\"""#,
            r#"NOT 'it\'s' = "say \"!=\"""#,
        );
        rewrites(r#"a != "b != c""#, r#"NOT a = "b != c""#);
        rewrites(
            r#"a = "b != c" AND d != 'e'"#,
            r#"a = "b != c" AND NOT d = 'e'"#,
        );
        rewrites(r#"a != 'AND b != c'"#, r#"NOT a = 'AND b != c'"#);
        rewrites(r#"a != "\\""#, r#"NOT a = "\\""#);
        unchanged(r#"a = "b != c""#);
        unchanged(r#"'a != b' = c"#);
    }

    #[test]
    fn connectives_and_parentheses() {
        rewrites(
            "a != 1 AND b != 2 OR c != 3",
            "NOT a = 1 AND NOT b = 2 OR NOT c = 3",
        );
        rewrites("NOT a != 1", "NOT NOT a = 1");
        rewrites("(a != 1)", "(NOT a = 1)");
        rewrites(
            "NOT(a != 1 OR (b = 2 AND c != 3))",
            "NOT(NOT a = 1 OR (b = 2 AND NOT c = 3))",
        );
        rewrites("( ( a!=1 ) )", "( ( NOT a=1 ) )");
        rewrites("a != 1 AND\n\tb = 2", "NOT a = 1 AND\n\tb = 2");
        rewrites(r#"x = 1 AND"a" != 1"#, r#"x = 1 AND NOT "a" = 1"#);
        rewrites(r#"NOT'a' != 1"#, r#"NOT NOT 'a' = 1"#);
    }

    #[test]
    fn beside_every_other_condition() {
        for other in [
            "a = 1",
            "a > 1",
            "a>=1",
            "a < 1",
            "a<=1",
            "a 1 TO 5",
            "a EXISTS",
            "a NOT EXISTS",
            "a IS NULL",
            "a IS NOT NULL",
            "a IS EMPTY",
            "a IS NOT EMPTY",
            "a IN [1, 'x', \"y\",]",
            "a NOT IN[]",
            "a CONTAINS x",
            "a NOT CONTAINS 'x'",
            "a STARTS WITH x",
            "a NOT STARTS WITH 'x'",
            "_geoRadius(45.4, 9.1, 2000)",
            "_geoBoundingBox([45.4, 9.1], [45, 8])",
            "_geoPolygon([1, 2], [3, 4], [5, 6])",
            "_foreign(author, name != 'x (y')",
        ] {
            assert!(parses(other), "{other}");
            rewrites(
                &format!("{other} AND b != 2"),
                &format!("{other} AND NOT b = 2"),
            );
            rewrites(
                &format!("b != 2 OR ({other})"),
                &format!("NOT b = 2 OR ({other})"),
            );
        }
        // No space is needed after a keyword that ends a condition.
        rewrites("(a EXISTS)AND(b != 1)", "(a EXISTS)AND(NOT b = 1)");
    }

    #[test]
    fn keywords_are_upper_case_only() {
        rewrites("and != or", "NOT and = or");
        unchanged("a != 1 and b != 2");
        unchanged("not a != 1");
    }

    #[test]
    fn malformed_filters_are_left_for_the_node_to_refuse() {
        for filter in [
            "a !=",
            "!= b",
            "a != b c",
            "a ! = b",
            "a != (b)",
            "a != b AND",
            "(a != b",
            "a != b)",
            "a != 'b",
            "a != b != c",
            "AND != b",
            "a != NULL",
            "a != b OR OR c = 1",
            "a IN [1 != 2]",
            "_geoRadius(1 != 2",
            "a != 'b\\",
            "NOT",
            "a == b != c",
            "a = _geoRadius(1,2,3) AND b != 1",
            "",
        ] {
            unchanged(filter);
        }
        unchanged(&format!("{}a != 1{}", "(".repeat(5000), ")".repeat(5000)));
    }
}
