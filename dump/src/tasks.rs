//! Tasks: as a dump keeps them (`TaskDump` and `KindDump` in Meilisearch's `crates/dump/src/lib.rs`), and as clients see
//! them (`GET /tasks`).
//!
//! The two differ much: a dump has what a task does in `type` and its numbers in `details`, both as Rust enums are
//! serialised, where clients see a name and one flat object. Whoever imports a dump reads each line strictly, so that one
//! wrong line spoils the whole dump.

use serde::Deserialize;
use serde_json::{json, Map, Value};

/// What is read of a line of `tasks/queue.jsonl`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskLine {
    uid: u32,
    #[serde(default)]
    index_uid: Option<String>,
    status: String,
    #[serde(rename = "type")]
    kind: Value,
    #[serde(default)]
    custom_metadata: Option<String>,
}

/// A task that was accepted and not run when the dump was made. Whoever imports the dump runs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    pub uid: u32,
    pub index_uid: Option<String>,
    /// Which of `KindDump`: `documentImport`, `documentDeletion`, `settings`, ...
    pub kind: String,
    /// Its members, `null` where it has none.
    pub content: Value,
    pub custom_metadata: Option<String>,
}

impl TaskLine {
    pub(crate) fn has_ended(&self) -> bool {
        matches!(&*self.status, "succeeded" | "failed" | "canceled")
    }

    pub(crate) fn waiting(self) -> Result<Waiting, &'static str> {
        let (kind, content) = match self.kind {
            Value::String(kind) => (kind, Value::Null),
            Value::Object(members) if members.len() == 1 => {
                members.into_iter().next().ok_or("a task of no type")?
            }
            _ => return Err("the type of a task is a name, or an object with one member"),
        };
        Ok(Waiting {
            uid: self.uid,
            index_uid: self.index_uid,
            kind,
            content,
            custom_metadata: self.custom_metadata,
        })
    }
}

/// The line for a task that has ended, from how clients see it; `None` for one that runs, or that no dump can hold.
///
/// What only matters to a task that still has to run is not in a view and is left empty (the ids of a deletion); batches
/// are not told, as in dumps before 1.12.
pub fn finished_task(view: &Value) -> Option<Value> {
    let status = view["status"].as_str()?;
    if !matches!(status, "succeeded" | "failed" | "canceled") {
        return None;
    }
    let (kind, details) = kind_and_details(view["type"].as_str()?, &view["details"])?;
    let mut line = Map::new();
    line.insert("uid".into(), view["uid"].clone());
    line.insert("indexUid".into(), view["indexUid"].clone());
    line.insert("status".into(), json!(status));
    line.insert("type".into(), kind);
    let mut optional = |name: &str, value: &Value| {
        if !value.is_null() {
            line.insert(name.to_owned(), value.clone());
        }
    };
    optional("canceledBy", &view["canceledBy"]);
    optional("details", &details);
    optional("error", &view["error"]);
    for name in ["enqueuedAt", "startedAt", "finishedAt", "customMetadata"] {
        optional(name, &view[name]);
    }
    Some(Value::Object(line))
}

fn kind_and_details(kind: &str, seen: &Value) -> Option<(Value, Value)> {
    let count = |name: &str| seen[name].as_u64();
    let filter = || seen["originalFilter"].as_str();
    Some(match kind {
        "documentAdditionOrUpdate" => (
            json!({ "documentImport": {
                "primary_key": null,
                "method": "ReplaceDocuments",
                "documents_count": count("receivedDocuments").unwrap_or(0),
                "allow_index_creation": true,
            }}),
            json!({ "DocumentAdditionOrUpdate": {
                "received_documents": count("receivedDocuments").unwrap_or(0),
                "indexed_documents": count("indexedDocuments"),
            }}),
        ),
        "documentDeletion" => deletion(seen),
        "documentEdition" => {
            let function = seen["function"].as_str().unwrap_or_default();
            // In a view the filter is JSON as text.
            let parsed = filter().and_then(|text| serde_json::from_str::<Value>(text).ok());
            (
                json!({ "documentEdition": {
                    "filter": parsed,
                    "context": seen["context"],
                    "function": function,
                }}),
                json!({ "DocumentEdition": {
                    "deleted_documents": count("deletedDocuments"),
                    "edited_documents": count("editedDocuments"),
                    "original_filter": filter(),
                    "context": seen["context"],
                    "function": function,
                }}),
            )
        }
        "settingsUpdate" => {
            let settings = match seen {
                Value::Object(_) => seen.clone(),
                _ => json!({}),
            };
            (
                json!({ "settings": { "settings": settings, "is_deletion": false, "allow_index_creation": true }}),
                json!({ "SettingsUpdate": { "settings": settings }}),
            )
        }
        "indexCreation" => (
            json!({ "indexCreation": { "primary_key": seen["primaryKey"] }}),
            index_info(seen),
        ),
        "indexUpdate" => (
            json!({ "indexUpdate": { "primary_key": seen["primaryKey"], "uid": seen["newIndexUid"] }}),
            index_info(seen),
        ),
        "indexDeletion" => (
            json!("indexDeletion"),
            json!({ "ClearAll": { "deleted_documents": count("deletedDocuments") }}),
        ),
        "indexSwap" => {
            let swaps = match &seen["swaps"] {
                Value::Array(swaps) => swaps.clone(),
                _ => Vec::new(),
            };
            (
                json!({ "indexSwap": { "swaps": swaps }}),
                json!({ "IndexSwap": { "swaps": swaps }}),
            )
        }
        "taskCancelation" => {
            about_tasks("taskCancelation", "TaskCancelation", "canceled_tasks", seen)
        }
        "taskDeletion" => about_tasks("tasksDeletion", "TaskDeletion", "deleted_tasks", seen),
        "dumpCreation" => (
            json!({ "dumpCreation": { "keys": [], "instance_uid": null }}),
            json!({ "Dump": { "dump_uid": seen["dumpUid"] }}),
        ),
        "snapshotCreation" => (json!("snapshotCreation"), Value::Null),
        // Exports and compactions are unknown to older readers, which would refuse the dump for them.
        _ => return None,
    })
}

/// A deletion by ids, by filter, or of everything: which, its details tell.
fn deletion(seen: &Value) -> (Value, Value) {
    let deleted = seen["deletedDocuments"].as_u64();
    match (&seen["originalFilter"], seen["providedIds"].as_u64()) {
        (Value::String(filter), _) => {
            let parsed = serde_json::from_str(filter).unwrap_or_else(|_| json!(filter));
            (
                json!({ "documentDeletionByFilter": { "filter": parsed }}),
                json!({ "DocumentDeletionByFilter": {
                    "original_filter": filter,
                    "deleted_documents": deleted,
                }}),
            )
        }
        (_, Some(provided)) => (
            json!({ "documentDeletion": { "documents_ids": [] }}),
            json!({ "DocumentDeletion": {
                "provided_ids": provided,
                "deleted_documents": deleted,
            }}),
        ),
        _ => (
            json!("documentClear"),
            json!({ "ClearAll": { "deleted_documents": deleted }}),
        ),
    }
}

fn index_info(seen: &Value) -> Value {
    json!({ "IndexInfo": {
        "primary_key": seen["primaryKey"],
        "new_index_uid": seen["newIndexUid"],
        "old_index_uid": seen["oldIndexUid"],
    }})
}

/// A cancelation or a deletion of tasks. Which tasks it was about is a bitmap, here the empty one.
fn about_tasks(kind: &str, details: &str, count: &str, seen: &Value) -> (Value, Value) {
    /// RoaringBitmap's own format: the cookie of a bitmap without runs, and no containers.
    const NO_TASKS: [u8; 8] = [0x3a, 0x30, 0, 0, 0, 0, 0, 0];
    let query = seen["originalFilter"].as_str().unwrap_or_default();
    let done = match count {
        "canceled_tasks" => &seen["canceledTasks"],
        _ => &seen["deletedTasks"],
    };
    (
        json!({ kind: { "query": query, "tasks": NO_TASKS }}),
        json!({ details: {
            "matched_tasks": seen["matchedTasks"].as_u64().unwrap_or(0),
            count: done,
            "original_filter": query,
        }}),
    )
}
