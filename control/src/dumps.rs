//! `POST /dumps`, `POST /snapshots`, and importing dumps.
//!
//! A dump is one file in Meilisearch's format, which a single Meilisearch imports as its own. It is a task as others
//! are: it begins once every task that was accepted before it has ended, and a restart begins it again. Its point in
//! time is one per shard: the keys of a shard are listed by one request, and the documents with these keys are then read
//! from the same copy, or from another that serves. So what was accepted before the dump is in it; a document that is
//! written while its shard is being read is in it as it was before or after, or missing where it was deleted or is new.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `gather` | a shard's documents from a copy that serves |
//! | `pack` | the thread that writes the file, a page of documents in memory |
//! | `import` | a dump into this cluster |

mod gather;
mod import;
mod pack;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use miroir_api::Error;
use miroir_dump::{finished_task, key_line, DumpFile, IndexInfo, Metadata};
use miroir_import::without_masked_secrets;
use reqwest::Method;
use serde_json::{json, Value};
use time::macros::format_description;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::{now, rfc3339};
use crate::indexes::bare_task;
use crate::nodes::{broadcast, NodeRequest};
use crate::plane::Plane;
use crate::settings::revealed;
use crate::tasks::{summary, view, Kind, Role, Task, TaskFilter, TaskUid};
use crate::types::TaskSummary;

use gather::Source;
pub(crate) use import::Imports;
use pack::Packer;

/// What the plane keeps for dumps.
pub(crate) struct Dumps {
    /// Where they are written.
    folder: PathBuf,
    /// A dump was asked for.
    wake: Notify,
    pub imports: Imports,
}

impl Dumps {
    pub(crate) fn new(folder: PathBuf, imports: Imports) -> Dumps {
        Dumps {
            folder,
            wake: Notify::new(),
            imports,
        }
    }
}

impl Plane {
    /// `POST /dumps`.
    pub(crate) async fn create_dump(&self) -> Result<TaskSummary, Error> {
        let task = bare_task(Kind::DumpCreation, json!({ "dumpUid": null }), now());
        let task = self.accept(task, Vec::new(), Vec::new()).await?;
        self.dumps.wake.notify_one();
        Ok(summary(&task))
    }

    /// `POST /snapshots`: each node makes one of itself, in its own folder. Together with the store's file they are the
    /// cluster, as long as nothing was written in between.
    pub(crate) async fn create_snapshots(&self) -> Result<TaskSummary, Error> {
        let task = bare_task(Kind::SnapshotCreation, Value::Null, now());
        let request = NodeRequest::new(Method::POST, "/snapshots", None);
        let accepted = broadcast(&self.nodes(), "Creating snapshots", &request).await?;
        let parts = self.parts(&accepted, Role::Counted);
        Ok(summary(&self.accept(task, parts, Vec::new()).await?))
    }

    /// The oldest dump that was asked for and not made.
    fn next_dump(&self) -> Option<Task> {
        let flights = self.flights.lock();
        let mut tasks = flights.values().map(|flight| &flight.task);
        tasks.find(|task| waits(task)).cloned()
    }

    /// Whether a task accepted before this one has not ended.
    fn is_behind(&self, uid: TaskUid) -> bool {
        self.flights.lock().keys().any(|earlier| *earlier < uid)
    }

    /// Changes a running task, and has its state looked at.
    fn change_flight(&self, uid: TaskUid, change: impl FnOnce(&mut Task)) {
        if let Some(flight) = self.flights.lock().get_mut(&uid) {
            change(&mut flight.task);
        }
        self.flights.moved.notify_one();
    }
}

fn waits(task: &Task) -> bool {
    task.kind == Kind::DumpCreation && task.doom.is_none() && task.details["dumpUid"].is_null()
}

/// Makes the dumps that were asked for, one after the other, for ever.
pub(crate) async fn run(plane: Arc<Plane>) {
    DumpFile::tidy(&plane.dumps.folder);
    loop {
        let Some(task) = plane.next_dump() else {
            plane.dumps.wake.notified().await;
            continue;
        };
        while plane.is_behind(task.uid) {
            sleep(Duration::from_millis(20)).await;
        }
        let started_at = now();
        plane.change_flight(task.uid, |task| task.started_at = Some(started_at));
        let made = make(&plane).await;
        plane.change_flight(task.uid, |task| match made {
            Ok(uid) => task.details["dumpUid"] = json!(uid),
            Err(error) => {
                tracing::error!(task = task.uid, %error, "a dump was not made");
                task.doom = Some(error.to_value());
            }
        });
    }
}

/// Makes a dump and gives its uid, which is its file's name.
async fn make(plane: &Plane) -> Result<String, Error> {
    let started = OffsetDateTime::now_utc();
    let uid = started
        .format(format_description!(
            "[year repr:full][month repr:numerical][day padding:zero]-[hour padding:zero][minute padding:zero][second \
             padding:zero][subsecond digits:3]"
        ))
        .map_err(|error| Error::internal(error.to_string()))?;
    let (major, minor, patch) = plane.lowest_version();
    let metadata = Metadata {
        db_version: format!("{major}.{minor}.{patch}"),
        dump_date: rfc3339(crate::clock::nanos_of(started)),
    };
    let mut packer = Packer::start(&plane.dumps.folder, &uid, metadata, &plane.cluster_id)?;
    let keys = plane.list_keys(0, usize::MAX).await?;
    let keys = keys["results"].as_array().into_iter().flatten();
    packer.keys(keys.map(key_line).collect()).await?;
    pack_tasks(plane, &mut packer).await?;
    packer.features(plane.features().await?).await?;
    for source in Source::all(plane) {
        pack_index(plane, &mut packer, &source).await?;
    }
    packer.finish().await?;
    tracing::info!(dump = uid, folder = %plane.dumps.folder.display(), "dump made");
    Ok(uid)
}

/// The tasks that have ended, oldest first.
async fn pack_tasks(plane: &Plane, packer: &mut Packer) -> Result<(), Error> {
    const PAGE: u32 = 1000;
    let mut from = 0;
    loop {
        let page = TaskFilter {
            limit: PAGE,
            from: Some(from),
            reverse: true,
            ..TaskFilter::default()
        };
        let (tasks, _) = plane.store.tasks(page).await?;
        let Some(last) = tasks.last() else {
            return packer.end_tasks().await;
        };
        from = last.uid.saturating_add(1);
        let lines = tasks.iter().map(view);
        packer
            .tasks(lines.filter_map(|view| finished_task(&view)).collect())
            .await?;
    }
}

/// An index with its settings and its documents, shard after shard. One that is deleted meanwhile is left out.
async fn pack_index(plane: &Plane, packer: &mut Packer, source: &Source) -> Result<(), Error> {
    let packed = async {
        let shown = plane.settings(&source.name, None).await?;
        let whole = revealed(&plane.store, &source.node_uid, shown).await;
        let mut settings = whole.map_err(Error::internal)?;
        // Those that were set before they were kept.
        without_masked_secrets(&mut settings);
        if let Some(key) = &source.primary_key {
            source.gather(plane, key, packer).await?;
        }
        Ok::<Value, Error>(settings)
    };
    let settings = match packed.await {
        Ok(settings) => settings,
        Err(error) if error.code == "index_not_found" && !source.is_visible(plane) => {
            tracing::warn!(index = source.name, "deleted while it was dumped: left out");
            return packer.discard().await;
        }
        Err(error) => return Err(error),
    };
    let info = IndexInfo {
        uid: source.name.clone(),
        primary_key: source.primary_key.clone(),
        created_at: rfc3339(source.created_at),
        updated_at: rfc3339(source.updated_at),
    };
    packer.end_index(info, settings).await
}
