//! Which tasks a list shows.

use std::sync::Arc;

use miroir_auth::IndexPattern;
use rusqlite::types::Value;
use serde_json::json;
use time::OffsetDateTime;

use crate::tasks::{Kind, Status, Task};

/// The filters of GET /tasks and of the routes that cancel and delete. `None` lets everything through.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// At most so many tasks.
    pub limit: Option<u32>,
    /// The first uid of the page.
    pub from: Option<u32>,
    /// Oldest first instead of newest first.
    pub reverse: bool,
    pub uids: Option<Vec<u32>>,
    pub batch_uids: Option<Vec<u32>>,
    pub canceled_by: Option<Vec<u32>>,
    pub statuses: Option<Vec<Status>>,
    pub kinds: Option<Vec<Kind>>,
    pub index_uids: Option<Vec<String>>,
    /// Only tasks of these indexes, and none that belongs to no index.
    pub seen: Option<Arc<[IndexPattern]>>,
    pub enqueued: Span,
    pub started: Span,
    pub finished: Span,
}

/// Dates strictly between two, either of which may be open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    pub after: Option<OffsetDateTime>,
    pub before: Option<OffsetDateTime>,
}

/// One page of tasks, and how many the filter lets through without paging.
#[derive(Debug)]
pub struct Page {
    pub tasks: Vec<Task>,
    pub total: u64,
}

/// A query in parts, all with the same values.
pub struct Sql {
    pub count: String,
    pub page: String,
    pub values: Vec<Value>,
}

impl Filter {
    /// The query. `processing` is the batch under way (number, start, tasks), whose rows still say that they wait.
    pub fn sql(&self, processing: Option<(u32, i64, &[u32])>) -> Sql {
        let (status, batch, started) = match processing {
            None => (
                "status".to_owned(),
                "batch_uid".to_owned(),
                "started_at".to_owned(),
            ),
            Some((batch, started, tasks)) => {
                let now = format!("status = 'enqueued' AND uid IN ({})", numbers(tasks));
                (
                    format!("CASE WHEN {now} THEN 'processing' ELSE status END"),
                    format!("CASE WHEN {now} THEN {batch} ELSE batch_uid END"),
                    format!("CASE WHEN {now} THEN {started} ELSE started_at END"),
                )
            }
        };
        let mut clauses = vec!["1".to_owned()];
        let mut values = Vec::new();
        // A list is one value, a JSON array, however long it is.
        let mut among = |column: &str, list: Option<serde_json::Value>| {
            if let Some(list) = list {
                clauses.push(format!("{column} IN (SELECT value FROM json_each(?))"));
                values.push(Value::Text(list.to_string()));
            }
        };
        among("uid", self.uids.as_ref().map(|list| json!(list)));
        among(&batch, self.batch_uids.as_ref().map(|list| json!(list)));
        among(
            "canceled_by",
            self.canceled_by.as_ref().map(|list| json!(list)),
        );
        among(&status, self.statuses.as_ref().map(|list| json!(list)));
        among("kind", self.kinds.as_ref().map(|list| json!(list)));
        among(
            "index_uid",
            self.index_uids.as_ref().map(|list| json!(list)),
        );
        if let Some(seen) = &self.seen {
            // A pattern holds no other sign than its star that means something to GLOB.
            let patterns = json!(seen);
            clauses
                .push("EXISTS (SELECT 1 FROM json_each(?) WHERE index_uid GLOB value)".to_owned());
            values.push(Value::Text(patterns.to_string()));
        }
        for (column, span) in [
            ("enqueued_at", self.enqueued),
            (started.as_str(), self.started),
            ("finished_at", self.finished),
        ] {
            for (sign, bound) in [(">", span.after), ("<", span.before)] {
                if let Some(bound) = bound {
                    clauses.push(format!("{column} {sign} {}", super::nanos(bound)));
                }
            }
        }
        let count = format!("SELECT count(*) FROM tasks WHERE {}", clauses.join(" AND "));
        let (order, sign) = if self.reverse {
            ("ASC", ">=")
        } else {
            ("DESC", "<=")
        };
        if let Some(from) = self.from {
            clauses.push(format!("uid {sign} {from}"));
        }
        let limit = self.limit.map_or(-1, i64::from);
        let page = format!(
            "FROM tasks WHERE {} ORDER BY uid {order} LIMIT {limit}",
            clauses.join(" AND ")
        );
        Sql {
            count,
            page,
            values,
        }
    }
}

fn numbers(uids: &[u32]) -> String {
    uids.iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
