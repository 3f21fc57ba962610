//! Tasks: what a client's task is made of, and how it stands for the tasks of the nodes.
//!
//! One task of ours is a row plus its *parts*, each one task on one node. Parts that carry the client's own request are
//! *counted*: their details add up to the client's. Parts that we sent for our own sake (creating the index on the way,
//! making the shard field filterable) are *auxiliary*: they are waited for, but their numbers are nobody's business, and
//! an `index_already_exists` among them is what we wanted anyway.

mod batch;
mod filter;
mod merge;
mod view;

use miroir_router::Shard;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalogue::Effect;
use crate::clock::Nanos;
use crate::writes::called;

pub(crate) use batch::batch_view;
pub(crate) use filter::TaskFilter;
pub(crate) use merge::{merge, progress, Merged};
pub(crate) use view::{summary, view};

pub(crate) type TaskUid = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Enqueued,
    Processing,
    Succeeded,
    Failed,
    Canceled,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Enqueued => "enqueued",
            Status::Processing => "processing",
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Canceled => "canceled",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "enqueued" => Status::Enqueued,
            "processing" => Status::Processing,
            "succeeded" => Status::Succeeded,
            "failed" => Status::Failed,
            "canceled" => Status::Canceled,
            _ => return None,
        })
    }

    pub(crate) fn is_finished(self) -> bool {
        matches!(self, Status::Succeeded | Status::Failed | Status::Canceled)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    DocumentAdditionOrUpdate,
    DocumentDeletion,
    SettingsUpdate,
    IndexCreation,
    IndexUpdate,
    IndexDeletion,
    IndexSwap,
    DocumentEdition,
    TaskCancelation,
    TaskDeletion,
    IndexCompaction,
    DumpCreation,
    SnapshotCreation,
    DsrUpdate,
    DsrClear,
    Export,
}

impl Kind {
    pub(crate) const ALL: [Kind; 16] = [
        Kind::DocumentAdditionOrUpdate,
        Kind::DocumentDeletion,
        Kind::SettingsUpdate,
        Kind::IndexCreation,
        Kind::IndexUpdate,
        Kind::IndexDeletion,
        Kind::IndexSwap,
        Kind::DocumentEdition,
        Kind::TaskCancelation,
        Kind::TaskDeletion,
        Kind::IndexCompaction,
        Kind::DumpCreation,
        Kind::SnapshotCreation,
        Kind::DsrUpdate,
        Kind::DsrClear,
        Kind::Export,
    ];

    /// Whether it is a write of documents.
    pub(crate) fn writes_documents(self) -> bool {
        matches!(
            self,
            Kind::DocumentAdditionOrUpdate | Kind::DocumentDeletion | Kind::DocumentEdition
        )
    }

    /// Whether it is carried out here and not by nodes.
    pub(crate) fn is_job(self) -> bool {
        matches!(self, Kind::DumpCreation | Kind::Export)
    }

    /// Whether it changes dynamic search rules.
    pub(crate) fn changes_rules(self) -> bool {
        matches!(self, Kind::DsrUpdate | Kind::DsrClear)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::DocumentAdditionOrUpdate => "documentAdditionOrUpdate",
            Kind::DocumentDeletion => "documentDeletion",
            Kind::SettingsUpdate => "settingsUpdate",
            Kind::IndexCreation => "indexCreation",
            Kind::IndexUpdate => "indexUpdate",
            Kind::IndexDeletion => "indexDeletion",
            Kind::IndexSwap => "indexSwap",
            Kind::DocumentEdition => "documentEdition",
            Kind::TaskCancelation => "taskCancelation",
            Kind::TaskDeletion => "taskDeletion",
            Kind::IndexCompaction => "indexCompaction",
            Kind::DumpCreation => "dumpCreation",
            Kind::SnapshotCreation => "snapshotCreation",
            Kind::DsrUpdate => "dsrUpdate",
            Kind::DsrClear => "dsrClear",
            Kind::Export => "export",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Carries the client's request.
    Counted,
    /// Creates the index on the way.
    AuxiliaryCreation,
    /// Anything else that we needed for our own sake.
    Auxiliary,
}

/// A client's task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Task {
    pub uid: TaskUid,
    /// What clients call its index; swaps and renames change it afterwards.
    pub index_uid: Option<String>,
    /// What nodes call its index.
    pub node_uid: Option<String>,
    pub kind: Kind,
    pub status: Status,
    /// While it runs: the client's own numbers. Once finished: what clients see.
    pub details: Value,
    /// Once failed: the error object.
    pub error: Option<Value>,
    /// Known from the start to fail with this, once the auxiliary parts are done.
    pub doom: Option<Value>,
    /// What it does to the catalogue when it ends.
    pub effect: Effect,
    /// On how many copies each document was to be written; counts are divided by it.
    pub copies: u32,
    pub enqueued_at: Nanos,
    pub started_at: Option<Nanos>,
    pub finished_at: Option<Nanos>,
    pub custom_metadata: Option<String>,
    /// The task that cancelled it.
    pub canceled_by: Option<TaskUid>,
}

impl Task {
    /// The indexes, as nodes call them, whose earlier tasks must end before this one.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = &str> {
        let renamed = self.effect.names.iter().map(|naming| &naming.node_uid);
        self.node_uid.iter().chain(renamed).map(String::as_str)
    }

    /// A text of a node with the index called as clients call it.
    pub(crate) fn in_clients_words(&self, text: &str) -> String {
        match (&self.node_uid, &self.index_uid) {
            (Some(node_uid), Some(uid)) if node_uid != uid => called(text, node_uid, uid),
            _ => text.to_owned(),
        }
    }
}

/// One node's share of a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub node: String,
    pub node_task: u32,
    pub role: Role,
    pub shards: Vec<Shard>,
    pub status: Status,
    pub started_at: Option<Nanos>,
    pub finished_at: Option<Nanos>,
    pub details: Option<Value>,
    pub error: Option<Value>,
}

impl Part {
    pub(crate) fn new(node: &str, node_task: u32, role: Role, shards: Vec<Shard>) -> Self {
        Part {
            node: node.to_owned(),
            node_task,
            role,
            shards,
            status: Status::Enqueued,
            started_at: None,
            finished_at: None,
            details: None,
            error: None,
        }
    }
}
