//! A node's words about a rewritten filter, as words about the client's own.
//!
//! Nodes end the refusal of a filter in a line `{from}:{to} {expression}`, with columns counted in characters from 1
//! (Meilisearch's filter-parser, `error.rs`). The expression is one that [`rewrite_not_equal`] made, so it is known what it was.

use serde_json::Value;

use super::{changes, rewrite_not_equal};

/// The message as it would be about `filter`, a filter as clients write it; as it is where it is not about that.
pub fn told_of_filter(message: &str, filter: &Value) -> String {
    fn find(message: &str, filter: &Value) -> Option<String> {
        match filter {
            Value::String(expression) => told_of_expression(message, expression),
            Value::Array(items) => items.iter().find_map(|item| find(message, item)),
            _ => None,
        }
    }
    find(message, filter).unwrap_or_else(|| message.to_owned())
}

fn told_of_expression(message: &str, expression: &str) -> Option<String> {
    let head = message.strip_suffix(&*rewrite_not_equal(expression))?;
    let (said, columns) = match head.rsplit_once('\n') {
        Some((said, columns)) => (Some(said), columns),
        None => (None, head),
    };
    let (from, to) = columns.strip_suffix(' ')?.split_once(':')?;
    let column = |text: &str| Some(column_before(expression, text.parse().ok()?));
    let (from, to) = (column(from)?, column(to)?);
    let said = said.map(|said| format!("{said}\n")).unwrap_or_default();
    Some(format!("{said}{from}:{to} {expression}"))
}

/// Where what stands at a column of the rewritten expression stood before.
fn column_before(expression: &str, column: usize) -> usize {
    let mut before = column;
    for (field, operator, put) in changes(expression) {
        let chars = |end: usize| expression.get(..end).unwrap_or_default().chars().count();
        // `put` was put before the field, and the `!` of the operator taken out.
        if before > chars(field) + put {
            before -= put;
            if before > chars(operator) {
                before += 1;
            }
        }
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_the_clients() {
        let said = |columns: &str, expression: &str| {
            format!("Attribute `title` is not filterable. Others are: `a`.\n{columns} {expression}")
        };
        let filter = json!([
            "b = 1",
            [
                "größe != 1 AND title != 2",
                "c != 3 AND (d = 2 OR title = 5) AND e != 6"
            ]
        ]);
        assert_eq!(
            told_of_filter(&said("23:28", "NOT größe = 1 AND NOT title = 2"), &filter),
            said("16:21", "größe != 1 AND title != 2"),
        );
        assert_eq!(
            told_of_filter(
                &said("26:31", "NOT c = 3 AND (d = 2 OR title = 5) AND NOT e = 6"),
                &filter
            ),
            said("23:28", "c != 3 AND (d = 2 OR title = 5) AND e != 6"),
        );
        let mut first = json!("title != 1");
        assert_eq!(
            told_of_filter("no.\n5:10 NOT title = 1", &first),
            "no.\n1:6 title != 1"
        );
        first = json!("AND");
        for other in ["", "no", "no.\n1:2 b = 2", "1 b = 1", ":\nb = 1"] {
            assert_eq!(told_of_filter(other, &filter), other);
            assert_eq!(told_of_filter(other, &first), other);
        }
    }
}
