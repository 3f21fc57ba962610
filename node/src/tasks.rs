//! What a task is: what it does, how far it is, and how clients see it.
//!
//! Shapes follow `crates/meilisearch-types/src/tasks.rs` and `task_view.rs` at 1.15.1. Details are kept as the JSON
//! object that clients see, because nothing else reads them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::settings::Settings;

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($variant),* }

        impl $name {
            /// Every value, in the order of Meilisearch's messages.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The name on the wire.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }

            /// The value of a name, exactly as on the wire.
            pub fn from_name(name: &str) -> Option<$name> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

named! {
    /// How far a task is.
    Status {
        Enqueued = "enqueued",
        Processing = "processing",
        Succeeded = "succeeded",
        Failed = "failed",
        Canceled = "canceled",
    }
}

named! {
    /// What kind of task it is. All kinds of 1.50 are there, because clients may filter by any of them.
    Kind {
        DocumentAdditionOrUpdate = "documentAdditionOrUpdate",
        DocumentEdition = "documentEdition",
        DocumentDeletion = "documentDeletion",
        SettingsUpdate = "settingsUpdate",
        IndexCreation = "indexCreation",
        IndexDeletion = "indexDeletion",
        IndexUpdate = "indexUpdate",
        IndexSwap = "indexSwap",
        TaskCancelation = "taskCancelation",
        TaskDeletion = "taskDeletion",
        DumpCreation = "dumpCreation",
        SnapshotCreation = "snapshotCreation",
        Export = "export",
        UpgradeDatabase = "upgradeDatabase",
        IndexCompaction = "indexCompaction",
        NetworkTopologyChange = "networkTopologyChange",
        DsrUpdate = "dsrUpdate",
        DsrClear = "dsrClear",
    }
}

/// Whether documents replace their namesakes or are merged into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Method {
    Replace,
    Update,
}

/// Documents as NDJSON: a few stand in the task itself, which saves a file and its way to the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Payload {
    Inline(String),
    File {
        #[serde(with = "id_text")]
        id: Uuid,
        bytes: u64,
    },
}

impl Payload {
    pub fn bytes(&self) -> u64 {
        match self {
            Payload::Inline(text) => text.len() as u64,
            Payload::File { bytes, .. } => *bytes,
        }
    }
}

/// An id as text. Turning on `uuid`'s own serde feature would build the whole engine a second time wherever this crate
/// is built alone.
mod id_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use uuid::Uuid;

    pub fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What a task does, as the queue keeps it until the task has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub enum Work {
    AddDocuments {
        method: Method,
        payload: Payload,
        documents: u64,
        primary_key: Option<String>,
        /// Whether a missing index is made.
        #[serde(default = "yes")]
        creates: bool,
        /// Whether documents that the index does not have are left out.
        #[serde(default)]
        skips_new: bool,
    },
    DeleteDocuments {
        ids: Vec<String>,
    },
    DeleteByFilter {
        filter: Value,
    },
    ClearDocuments,
    /// A function in Rhai is run over the documents that a filter lets through.
    EditDocuments {
        function: String,
        context: Option<milli_core::Object>,
        filter: Option<Value>,
    },
    UpdateSettings {
        settings: Box<Settings>,
        /// Whether a missing index is made: not by a DELETE.
        #[serde(default = "yes")]
        creates: bool,
    },
    CreateIndex {
        primary_key: Option<String>,
    },
    UpdateIndex {
        primary_key: Option<String>,
        /// The name that it gets.
        #[serde(default)]
        new_uid: Option<String>,
    },
    CompactIndex,
    DeleteIndex,
    SwapIndexes {
        swaps: Vec<Swap>,
    },
    CancelTasks {
        query: String,
        tasks: Vec<u32>,
    },
    DeleteTasks {
        query: String,
        tasks: Vec<u32>,
    },
    /// Keys and features are those of when it was asked for, as in Meilisearch.
    CreateDump {
        folder: PathBuf,
        keys: Vec<Value>,
        features: Value,
    },
}

fn yes() -> bool {
    true
}

/// Two indexes that exchange their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    pub indexes: (String, String),
    /// The second is a free name that the first one gets.
    pub rename: bool,
}

impl Work {
    pub fn kind(&self) -> Kind {
        match self {
            Work::AddDocuments { .. } => Kind::DocumentAdditionOrUpdate,
            Work::DeleteDocuments { .. } | Work::DeleteByFilter { .. } | Work::ClearDocuments => {
                Kind::DocumentDeletion
            }
            Work::EditDocuments { .. } => Kind::DocumentEdition,
            Work::UpdateSettings { .. } => Kind::SettingsUpdate,
            Work::CreateIndex { .. } => Kind::IndexCreation,
            Work::UpdateIndex { .. } => Kind::IndexUpdate,
            Work::CompactIndex => Kind::IndexCompaction,
            Work::DeleteIndex => Kind::IndexDeletion,
            Work::SwapIndexes { .. } => Kind::IndexSwap,
            Work::CancelTasks { .. } => Kind::TaskCancelation,
            Work::DeleteTasks { .. } => Kind::TaskDeletion,
            Work::CreateDump { .. } => Kind::DumpCreation,
        }
    }

    /// The details of a task of this index that has not ended.
    pub fn details(&self, index_uid: Option<&str>) -> Value {
        match self {
            Work::AddDocuments { documents, .. } => {
                json!({"receivedDocuments": documents, "indexedDocuments": null})
            }
            Work::DeleteDocuments { ids } => {
                json!({"providedIds": ids.len(), "deletedDocuments": null, "originalFilter": null})
            }
            // The filter is shown as JSON text: a filter that is a string comes with its quotes.
            Work::DeleteByFilter { filter } => {
                json!({"providedIds": 0, "deletedDocuments": null, "originalFilter": filter.to_string()})
            }
            Work::EditDocuments {
                function,
                context,
                filter,
            } => json!({
                "editedDocuments": null,
                "deletedDocuments": null,
                "originalFilter": filter.as_ref().map(Value::to_string),
                "context": context,
                "function": function,
            }),
            Work::ClearDocuments | Work::DeleteIndex => json!({"deletedDocuments": null}),
            Work::UpdateSettings { settings, .. } => settings.to_details(),
            Work::CreateIndex { primary_key }
            | Work::UpdateIndex {
                primary_key,
                new_uid: None,
            } => json!({ "primaryKey": primary_key }),
            Work::UpdateIndex {
                primary_key,
                new_uid,
            } => {
                json!({"primaryKey": primary_key, "oldIndexUid": index_uid, "newIndexUid": new_uid})
            }
            Work::CompactIndex => json!({}),
            Work::SwapIndexes { swaps } => json!({ "swaps": swaps }),
            Work::CancelTasks { query, tasks } => {
                json!({"matchedTasks": tasks.len(), "canceledTasks": null, "originalFilter": query})
            }
            Work::DeleteTasks { query, tasks } => {
                json!({"matchedTasks": tasks.len(), "deletedTasks": null, "originalFilter": query})
            }
            Work::CreateDump { .. } => json!({ "dumpUid": null }),
        }
    }

    /// The payload file that this task owns.
    pub fn payload_file(&self) -> Option<Uuid> {
        match self {
            Work::AddDocuments {
                payload: Payload::File { id, .. },
                ..
            } => Some(*id),
            _ => None,
        }
    }
}

/// The details of a task that came to nothing: what was counted becomes 0. What an edition would have deleted stays unknown.
pub fn failed_details(mut details: Value) -> Value {
    let edition = details.get("editedDocuments").is_some();
    for name in [
        "indexedDocuments",
        "editedDocuments",
        "deletedDocuments",
        "canceledTasks",
        "deletedTasks",
    ] {
        let unknown = edition && name == "deletedDocuments";
        if let Some(count) = details.get_mut(name).filter(|_| !unknown) {
            *count = 0.into();
        }
    }
    details
}

/// A task as the queue has it, without its work.
#[derive(Clone, Debug)]
pub struct Task {
    pub uid: u32,
    pub batch_uid: Option<u32>,
    pub index_uid: Option<String>,
    pub status: Status,
    pub kind: Kind,
    pub canceled_by: Option<u32>,
    pub details: Option<Value>,
    /// Meilisearch's error object.
    pub error: Option<Value>,
    pub enqueued_at: OffsetDateTime,
    pub started_at: Option<OffsetDateTime>,
    pub finished_at: Option<OffsetDateTime>,
    /// What the client said of it.
    pub custom_metadata: Option<String>,
}

/// The answer of GET /tasks/{uid}.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    uid: u32,
    batch_uid: Option<u32>,
    index_uid: Option<String>,
    status: Status,
    #[serde(rename = "type")]
    kind: Kind,
    canceled_by: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    error: Option<Value>,
    duration: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    enqueued_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_metadata: Option<String>,
}

impl From<Task> for TaskView {
    fn from(task: Task) -> TaskView {
        TaskView {
            uid: task.uid,
            batch_uid: task.batch_uid,
            index_uid: task.index_uid,
            status: task.status,
            kind: task.kind,
            canceled_by: task.canceled_by,
            details: task.details,
            error: task.error,
            duration: task
                .started_at
                .zip(task.finished_at)
                .and_then(|(start, end)| iso_duration(end - start)),
            enqueued_at: task.enqueued_at,
            started_at: task.started_at,
            finished_at: task.finished_at,
            custom_metadata: task.custom_metadata,
        }
    }
}

/// The answer to a request that made a task.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSummary {
    task_uid: u32,
    index_uid: Option<String>,
    status: Status,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(with = "time::serde::rfc3339")]
    enqueued_at: OffsetDateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_metadata: Option<String>,
}

impl From<Task> for TaskSummary {
    fn from(task: Task) -> TaskSummary {
        TaskSummary {
            task_uid: task.uid,
            index_uid: task.index_uid,
            status: task.status,
            kind: task.kind,
            enqueued_at: task.enqueued_at,
            custom_metadata: task.custom_metadata,
        }
    }
}

/// A duration as ISO 8601 with the digits Meilisearch gives: 3, 6 or 9 decimals. `None` for a negative one.
pub fn iso_duration(duration: time::Duration) -> Option<String> {
    const SECONDS_A_DAY: i64 = 24 * 60 * 60;
    if duration.is_negative() {
        return None;
    }
    let (days, seconds) = (
        duration.whole_seconds() / SECONDS_A_DAY,
        duration.whole_seconds() % SECONDS_A_DAY,
    );
    let nanos = duration.subsec_nanoseconds();
    let date = if days > 0 {
        format!("{days}D")
    } else {
        String::new()
    };
    let time = match nanos {
        0 if seconds == 0 && days > 0 => String::new(),
        0 => format!("T{seconds}S"),
        n if n % 1_000_000 == 0 => format!("T{seconds}.{:03}S", n / 1_000_000),
        n if n % 1_000 == 0 => format!("T{seconds}.{:06}S", n / 1_000),
        n => format!("T{seconds}.{n:09}S"),
    };
    Some(format!("P{date}{time}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_meilisearchs_digits() {
        let shown = |nanos| iso_duration(time::Duration::nanoseconds(nanos)).unwrap();
        assert_eq!(shown(0), "PT0S");
        assert_eq!(shown(12_000_000), "PT0.012S");
        assert_eq!(shown(1_990_341), "PT0.001990341S");
        assert_eq!(shown(61_000_005_000), "PT61.000005S");
        assert_eq!(shown(86_400_000_000_000), "P1D");
        assert_eq!(iso_duration(time::Duration::nanoseconds(-1)), None);
    }
}
