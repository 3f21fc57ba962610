//! A task filter as SQL.

use std::fmt::Write;

use miroir_auth::IndexPattern;
use rusqlite::types::Value as Sql;

use crate::tasks::TaskFilter;

/// The filter as SQL, without paging. Values are bound, never spliced.
pub(super) fn conditions(filter: &TaskFilter) -> (String, Vec<Sql>) {
    let mut sql = String::from("1");
    let mut values: Vec<Sql> = Vec::new();
    let mut within = |column: &str, list: Option<Vec<Sql>>| {
        if let Some(list) = list {
            let marks = vec!["?"; list.len()].join(", ");
            // Writing to a string cannot fail. An empty list matches nothing, which is what `IN ()` says.
            let _ = write!(sql, " AND {column} IN ({marks})");
            values.extend(list);
        }
    };
    let integers = |list: &Option<Vec<u32>>| {
        list.as_ref()
            .map(|list| list.iter().map(|n| Sql::from(*n)).collect())
    };
    within("uid", integers(&filter.uids));
    // A batch bears its task's number, once there is one.
    within(
        "(CASE WHEN started_at IS NULL THEN NULL ELSE uid END)",
        integers(&filter.batch_uids),
    );
    within("canceled_by", integers(&filter.canceled_by));
    let words = |word: &str| Sql::from(word.to_owned());
    within(
        "kind",
        filter
            .kinds
            .as_ref()
            .map(|kinds| kinds.iter().map(|kind| words(kind.as_str())).collect()),
    );
    within(
        "status",
        filter
            .statuses
            .as_ref()
            .map(|all| all.iter().map(|status| words(status.as_str())).collect()),
    );
    within(
        "index_uid",
        filter
            .index_uids
            .as_ref()
            .map(|uids| uids.iter().map(|uid| words(uid)).collect()),
    );
    if let Some(seen) = filter
        .seen
        .as_ref()
        .filter(|all| !all.iter().any(IndexPattern::is_all))
    {
        // A pattern holds no other sign than its star that means something to GLOB.
        let any = vec!["index_uid GLOB ?"; seen.len()].join(" OR ");
        let any = if any.is_empty() { "0" } else { &any };
        let _ = write!(sql, " AND ({any})");
        values.extend(seen.iter().map(|pattern| words(pattern.as_str())));
    }
    for (column, (after, before)) in ["enqueued_at", "started_at", "finished_at"]
        .into_iter()
        .zip(filter.after.into_iter().zip(filter.before))
    {
        for (operator, bound) in [('>', after), ('<', before)] {
            if let Some(bound) = bound {
                let _ = write!(sql, " AND {column} {operator} ?");
                values.push(Sql::from(bound));
            }
        }
    }
    if filter.begun {
        sql.push_str(" AND started_at IS NOT NULL");
    }
    (sql, values)
}
