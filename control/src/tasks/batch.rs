//! Batches as clients see them: one a task, bearing its number, once the task has begun.

use serde_json::{json, Map, Value};

use super::Task;
use crate::clock::{iso8601, rfc3339};

/// One entry of `GET /batches`; `None` for a task that has not begun.
pub(crate) fn batch_view(task: &Task) -> Option<Value> {
    let started_at = task.started_at?;
    let duration = task
        .finished_at
        .and_then(|finished_at| iso8601(finished_at - started_at));
    let one = |name: &str| Value::Object(Map::from_iter([(name.to_owned(), json!(1))]));
    let details = match &task.details {
        Value::Null => json!({}),
        details => details.clone(),
    };
    Some(json!({
        "uid": task.uid,
        "progress": null,
        "details": details,
        "stats": {
            "totalNbTasks": 1,
            "status": one(task.status.as_str()),
            "types": one(task.kind.as_str()),
            "indexUids": task.index_uid.as_deref().map_or_else(|| json!({}), one),
            "progressTrace": {},
        },
        "duration": duration,
        "startedAt": rfc3339(started_at),
        "finishedAt": task.finished_at.map(rfc3339),
        "batchStrategy": "each task of this cluster is a batch of its own",
    }))
}
