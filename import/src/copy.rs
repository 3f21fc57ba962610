//! From a running Meilisearch into another server, index by index, page by page.
//!
//! The source is only read. How far each index is stands in a [`State`], which the caller keeps: a copy that was
//! interrupted goes on where its last finished batch ended, and a batch that is sent twice changes nothing. What is
//! written to the source meanwhile may be missed, because its pages shift; the numbers at the end tell.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{json, Map, Value};

use crate::load::{put_features, put_index, put_keys, Load};
use crate::progress::{Imported, Progress, Stage};
use crate::server::{Body, Server, Trouble};
use crate::Options;

/// How far a copy is; kept between runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// Where from and where to: another pair of servers needs another state.
    pub from: String,
    pub to: String,
    pub indexes: BTreeMap<String, IndexState>,
}

/// How far an index is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IndexState {
    /// So many documents, in the source's order, are in the server.
    pub documents: u64,
    pub done: bool,
}

/// What a copy came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    pub indexes: Vec<Imported>,
    /// Keys that were made; those that were there already are not counted.
    pub keys: usize,
}

/// An index as the source has it.
struct Source {
    uid: String,
    primary_key: Option<String>,
    settings: Map<String, Value>,
    documents: u64,
}

/// Copies the named indexes (all where none is named), the keys and the features of `from` into `to`. `save` is called
/// with the state after every step that need not be done again.
///
/// # Errors
/// A server does not answer or says no; calling it again with the saved state goes on from there.
pub async fn copy(
    from: &Server,
    to: &Server,
    only: &[String],
    options: Options,
    progress: &Progress,
    state: &mut State,
    save: &mut dyn FnMut(&State) -> Result<(), Trouble>,
) -> Result<Copied, Trouble> {
    progress.stage(Stage::Checking, None);
    let sources = survey(from, only).await?;
    to.get("looking at the server", "/indexes?limit=1").await?;
    progress.total(sources.iter().map(|source| source.documents).sum());

    progress.stage(Stage::Keys, None);
    let keys = copy_keys(from, to, progress).await?;
    let features = from.get("reading features", "/experimental-features").await;
    if let Ok(Value::Object(features)) = features {
        put_features(to, &features, progress).await;
    }
    for source in &sources {
        let known = state.indexes.entry(source.uid.clone()).or_default().clone();
        if known.done {
            progress.done(source.documents);
            continue;
        }
        progress.stage(Stage::Settings, Some(&source.uid));
        let key = source.primary_key.as_deref();
        put_index(to, &source.uid, key, &source.settings, progress).await?;
        progress.stage(Stage::Documents, Some(&source.uid));
        progress.done(known.documents);
        copy_documents(
            from,
            to,
            source,
            options,
            progress,
            &mut |documents, done| {
                let index = IndexState { documents, done };
                state.indexes.insert(source.uid.clone(), index);
                save(state)
            },
            known.documents,
        )
        .await?;
    }

    progress.stage(Stage::Counting, None);
    let mut indexes = Vec::with_capacity(sources.len());
    for source in sources {
        // Once more: it may have been written to.
        let there = from.count(&source.uid).await?;
        let here = to.count(&source.uid).await?;
        indexes.push(Imported {
            uid: source.uid,
            there,
            here,
        });
    }
    progress.stage(Stage::Done, None);
    Ok(Copied { indexes, keys })
}

async fn survey(from: &Server, only: &[String]) -> Result<Vec<Source>, Trouble> {
    const DOING: &str = "listing the indexes to copy";
    let mut sources = Vec::new();
    for index in from.list(DOING, "/indexes").await? {
        let uid = index["uid"].as_str().unwrap_or_default();
        if !only.is_empty() && !only.iter().any(|wanted| wanted == uid) {
            continue;
        }
        let settings = from.get(DOING, &format!("/indexes/{uid}/settings")).await?;
        sources.push(Source {
            uid: uid.to_owned(),
            primary_key: index["primaryKey"].as_str().map(str::to_owned),
            settings: settings.as_object().cloned().unwrap_or_default(),
            documents: from.count(uid).await?,
        });
    }
    let missing = only
        .iter()
        .find(|wanted| !sources.iter().any(|source| source.uid == **wanted));
    match missing {
        Some(uid) => Err(Trouble::new(
            DOING,
            format!("{} has no index `{uid}`", from.base()),
        )),
        None => Ok(sources),
    }
}

/// Keys need the master key on both sides; without it everything else is copied all the same.
async fn copy_keys(from: &Server, to: &Server, progress: &Progress) -> Result<usize, Trouble> {
    match from.list("listing the API keys", "/keys").await {
        Ok(keys) => put_keys(to, &keys, progress).await,
        Err(trouble) if trouble.code.is_some() => {
            progress.note(format!("API keys were not copied: {}", trouble.why));
            Ok(0)
        }
        Err(trouble) => Err(trouble),
    }
}

/// One page of documents, each as it was written.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

async fn copy_documents(
    from: &Server,
    to: &Server,
    source: &Source,
    options: Options,
    progress: &Progress,
    note: &mut dyn FnMut(u64, bool) -> Result<(), Trouble>,
    mut offset: u64,
) -> Result<(), Trouble> {
    let doing = format!("reading documents of index `{}`", source.uid);
    let path = format!("/indexes/{}/documents/fetch", source.uid);
    let embedders = source.settings.get("embedders").and_then(Value::as_object);
    let vectors = embedders.is_some_and(|embedders| !embedders.is_empty());
    let mut load = Load::new(to, progress, options);
    let mut limit: u64 = 100;
    loop {
        let mut body = json!({ "offset": offset, "limit": limit });
        if vectors {
            body["retrieveVectors"] = json!(true);
        }
        let answer = from
            .bytes(&doing, Method::POST, &path, Body::Json(body))
            .await?;
        let page: Page = serde_json::from_slice(&answer).map_err(|error| {
            Trouble::new(&*doing, format!("the answer cannot be read: {error}"))
        })?;
        let count = page.results.len() as u64;
        if count == 0 {
            break;
        }
        // Raw values may be spread over lines; NDJSON has one document a line only by custom, but readers cut there.
        let mut lines = Vec::with_capacity(answer.len());
        for document in page.results {
            lines.extend(
                document
                    .get()
                    .bytes()
                    .map(|byte| if byte == b'\n' { b' ' } else { byte }),
            );
            lines.push(b'\n');
        }
        let bytes = lines.len() as u64;
        let key = source.primary_key.as_deref();
        load.send(&source.uid, key, Bytes::from(lines), count)
            .await?;
        offset += count;
        // The state may lag behind what was sent, never run ahead of it.
        let settled = offset - load.waiting();
        note(settled, false)?;
        // As many as fit into a batch, by the size of the last ones.
        let fits = options.batch_bytes as u64 * count / bytes.max(1);
        limit = fits.clamp(1, limit * 4).min(10_000);
    }
    load.settle().await?;
    note(offset, true)
}
