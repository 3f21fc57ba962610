//! `POST /dumps`, `POST /snapshots`, and importing dumps.
//!
//! A dump is one file in Meilisearch's format, which a single Meilisearch imports as its own. It is a task as others
//! are, carried out as the module `jobs` says. Its point in time is one per shard: the keys of a shard are listed by one request, and the documents with these keys are then read
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

use miroir_api::Error;
use miroir_dump::{
    dump_uid, finished_task, key_line, rule_line, rules_settings, DumpFile, IndexInfo, Metadata,
    RULES_INDEX, RULES_KEY,
};
use miroir_import::without_masked_secrets;
use reqwest::Method;
use serde_json::{json, Value};
use time::OffsetDateTime;

use crate::clock::{now, rfc3339};
use crate::indexes::bare_task;
use crate::nodes::{broadcast, NodeRequest};
use crate::plane::Plane;
use crate::settings::revealed;
use crate::tasks::{summary, view, Kind, Role, TaskFilter};
use crate::types::TaskSummary;

pub(crate) use gather::{Pages, Source};
pub(crate) use import::Imports;
pub(crate) use pack::documents_of;
use pack::Packer;

/// What the plane keeps for dumps.
pub(crate) struct Dumps {
    /// Where they are written.
    folder: PathBuf,
    pub imports: Imports,
}

impl Dumps {
    pub(crate) fn new(folder: PathBuf, imports: Imports) -> Dumps {
        Dumps { folder, imports }
    }
}

impl Plane {
    /// `POST /dumps`.
    pub(crate) async fn create_dump(&self) -> Result<TaskSummary, Error> {
        let task = bare_task(Kind::DumpCreation, json!({ "dumpUid": null }), now());
        self.accept_job(task).await
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
}

/// Removes what dumps that were broken off have left.
pub(crate) fn tidy(plane: &Plane) {
    DumpFile::tidy(&plane.dumps.folder);
}

/// Makes a dump; its uid, which is its file's name, is what its task tells.
pub(crate) async fn make(plane: &Plane) -> Result<Value, Error> {
    let started = OffsetDateTime::now_utc();
    let uid = dump_uid(started);
    let (major, minor, patch) = plane.publisher.current().lowest_version();
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
    packer.webhooks(plane.webhooks.registered()).await?;
    // Nodes before 1.50 have no network and no rules that could be asked for.
    if let Ok(network) = plane.network().await {
        packer.network(network).await?;
    }
    pack_rules(plane, &mut packer).await?;
    for source in Source::all(plane) {
        pack_index(plane, &mut packer, &source).await?;
    }
    packer.finish().await?;
    tracing::info!(dump = uid, folder = %plane.dumps.folder.display(), "dump made");
    Ok(json!({ "dumpUid": uid }))
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
            .lines(lines.filter_map(|view| finished_task(&view)).collect())
            .await?;
    }
}

/// Dynamic search rules, as the index that a node has of them.
async fn pack_rules(plane: &Plane, packer: &mut Packer) -> Result<(), Error> {
    let all = Some(json!({ "limit": u32::MAX }));
    let Ok(Value::Object(mut page)) = plane.read_rules(None, all).await else {
        return Ok(());
    };
    let rules = page.shift_remove("results").unwrap_or_default();
    let rules = rules.as_array().map_or(&[][..], Vec::as_slice);
    if rules.is_empty() {
        return Ok(());
    }
    packer.lines(rules.iter().map(rule_line).collect()).await?;
    let at = rfc3339(now());
    let info = IndexInfo {
        uid: RULES_INDEX.to_owned(),
        primary_key: Some(RULES_KEY.to_owned()),
        created_at: at.clone(),
        updated_at: at,
    };
    let settings = rules_settings().map_err(|error| Error::internal(error.to_string()))?;
    packer.end_index(info, settings).await
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
            source.gather(plane, key, None, packer).await?;
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
