//! A task as clients see it.

use serde_json::{json, Map, Value};

use super::Task;
use crate::clock::{iso8601, rfc3339};
use crate::types::TaskSummary;

/// The body of a 202.
pub(crate) fn summary(task: &Task) -> TaskSummary {
    TaskSummary {
        task_uid: task.uid,
        index_uid: task.index_uid.clone(),
        // Meilisearch always says so here, however fast the task was.
        status: "enqueued",
        kind: task.kind.as_str().to_owned(),
        enqueued_at: rfc3339(task.enqueued_at),
        custom_metadata: task.custom_metadata.clone(),
    }
}

/// One entry of `GET /tasks`: 11 to 13 keys, no others (clients count them).
pub(crate) fn view(task: &Task) -> Value {
    let mut body = Map::new();
    body.insert("uid".into(), json!(task.uid));
    // A batch of ours holds one task, so it bears the task's number.
    let batched = task.started_at.is_some() || task.status.is_finished();
    body.insert("batchUid".into(), json!(batched.then_some(task.uid)));
    body.insert("indexUid".into(), json!(task.index_uid));
    body.insert("status".into(), json!(task.status.as_str()));
    body.insert("type".into(), json!(task.kind.as_str()));
    body.insert("canceledBy".into(), json!(task.canceled_by));
    if !task.details.is_null() {
        body.insert("details".into(), task.details.clone());
    }
    body.insert("error".into(), json!(task.error));
    let duration = task
        .started_at
        .zip(task.finished_at)
        .and_then(|(start, end)| iso8601(end - start));
    body.insert("duration".into(), json!(duration));
    body.insert("enqueuedAt".into(), json!(rfc3339(task.enqueued_at)));
    body.insert("startedAt".into(), json!(task.started_at.map(rfc3339)));
    body.insert("finishedAt".into(), json!(task.finished_at.map(rfc3339)));
    if let Some(metadata) = &task.custom_metadata {
        body.insert("customMetadata".into(), json!(metadata));
    }
    Value::Object(body)
}
