//! What the data plane and the control plane say to each other.

use std::sync::Arc;

use miroir_api::Error;
use miroir_movement::Touched;
use miroir_router::{Index, NodeIdx, Shard};
use serde::Serialize;
use serde_json::Value;

use crate::writes::TurnInner;

/// What kind of document write a turn is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// Adds, replaces or updates documents; creates a missing index.
    DocumentAdditionOrUpdate,
    /// Deletes by id, by filter, or everything; fails on a missing index.
    DocumentDeletion,
    /// Edits by function; fails on a missing index.
    DocumentEdition,
}

/// What the first document of a payload says about the primary key (MEILISEARCH I.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InferredKey {
    /// The payload holds no document.
    Empty,
    Found(String),
    NoCandidate,
    Several(Vec<String>),
}

/// A request for a turn in an index's lane.
#[derive(Clone, Debug)]
pub struct BeginWrite {
    pub index: String,
    pub kind: WriteKind,
    /// The client's `?primaryKey=`.
    pub primary_key: Option<String>,
    /// Needed for additions where neither the published table nor the request names a primary key.
    pub inference: Option<InferredKey>,
    /// Whether the client may create the index; otherwise an addition to a missing one fails.
    pub may_create: bool,
}

/// A place in an index's lane: as long as it is held, no write that must come later overtakes it. Dropping it gives
/// the place back; an index that was created for it is then removed again, because nothing was accepted.
#[must_use]
pub struct Turn {
    /// The index with its layout. For a doomed write on a missing index it is a stand-in with the layout of new indexes.
    pub index: Arc<Index>,
    /// The key to split by. Send it as `?primaryKey=` with every part of an addition: nodes that got no document
    /// yet do not know it.
    pub primary_key: Option<String>,
    /// The task must fail with this: send nothing, and commit with `Outcome { error: Some(..) }`.
    pub doomed: Option<Error>,
    pub(crate) inner: TurnInner,
}

/// One accepted node task.
#[derive(Clone, Debug)]
pub struct NodePart {
    pub node: NodeIdx,
    pub task_uid: u32,
    pub shards: Vec<Shard>,
}

/// What became of a write.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The client's own numbers, e.g. `{"receivedDocuments":3}` or `{"providedIds":1,"originalFilter":null}`.
    pub details: Value,
    pub parts: Vec<NodePart>,
    /// Copies that did not take the write; they are out of sync, durably, before the commit resolves.
    pub missed: Vec<(Shard, NodeIdx)>,
    /// Needed where a copy of the index is being filled ([`Index::is_filling`]).
    pub touched: Touched,
    /// The task fails with this.
    pub error: Option<Error>,
    pub custom_metadata: Option<String>,
}

/// Meilisearch's answer to an accepted write, status 202.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSummary {
    pub task_uid: u32,
    pub index_uid: Option<String>,
    pub status: &'static str,
    #[serde(rename = "type")]
    pub kind: String,
    pub enqueued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_metadata: Option<String>,
}
