//! A dump into an empty server.
//!
//! The dump is read to its end and checked before anything is written. Then come keys and features, every index with its
//! settings, the documents in the archive's order, and last the tasks that the dump's maker had accepted and not run:
//! they are sent again, in their order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use miroir_dump::{key_view, rule_change, Dump, Limits, ReadError, Waiting};
use reqwest::Method;
use serde_json::{json, Map, Value};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::load::{documents_path, put_features, put_index, put_keys, Load};
use crate::progress::{Imported, Progress, Stage};
use crate::server::{Body, Server, Trouble, NOT_EMPTY};
use crate::Options;

const READING: &str = "reading the dump";

/// Imports the dump at `path` into a server without indexes, and gives what became of each index.
///
/// # Errors
/// The dump is none, the server is not empty, or says no to something; what was imported until then stays.
pub async fn import_dump(
    path: &Path,
    server: &Server,
    options: Options,
    progress: &Progress,
) -> Result<Vec<Imported>, Trouble> {
    progress.stage(Stage::Checking, None);
    require_empty(server).await?;
    let source = path.to_owned();
    let dump = reading(move || Dump::survey(File::open(source)?, &Limits::default())).await?;
    progress.total(dump.documents_total());
    if dump.chats > 0 {
        progress.note("the dump has workspaces of chat completions, which are not taken over");
    }

    progress.stage(Stage::Keys, None);
    put_features(server, &dump.features, progress).await;
    replace_keys(server, &dump, progress).await?;
    put_webhooks(server, &dump, progress).await;
    put_network(server, &dump, progress).await;
    for index in &dump.indexes {
        progress.stage(Stage::Settings, Some(&index.uid));
        let key = index.primary_key.as_deref();
        put_index(server, &index.uid, key, &index.settings, progress).await?;
    }
    put_documents(path, &dump, server, options, progress).await?;

    progress.stage(Stage::Counting, None);
    let mut imported = Vec::with_capacity(dump.indexes.len());
    for index in &dump.indexes {
        let here = server.count(&index.uid).await?;
        if here != index.documents {
            let why = format!(
                "the dump has {} documents, the server has {here} of them",
                index.documents
            );
            return Err(Trouble::new(format!("counting index `{}`", index.uid), why));
        }
        imported.push(Imported {
            uid: index.uid.clone(),
            there: index.documents,
            here,
        });
    }
    put_rules(server, &dump, progress).await;
    run_waiting(path, &dump, server, progress).await?;
    progress.stage(Stage::Done, None);
    Ok(imported)
}

/// An import writes over nothing.
async fn require_empty(server: &Server) -> Result<(), Trouble> {
    const DOING: &str = "looking for indexes";
    let page = server.get(DOING, "/indexes?limit=1").await?;
    match page["total"].as_u64() {
        Some(0) => Ok(()),
        _ => Err(Trouble {
            code: Some(NOT_EMPTY.to_owned()),
            ..Trouble::new(
                DOING,
                "there are indexes already, and a dump is only imported where there are none; delete them first",
            )
        }),
    }
}

/// Runs what reads the file on a thread for such work.
async fn reading<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Trouble> {
    match spawn_blocking(read).await {
        Ok(read) => read.map_err(|error| Trouble::new(READING, error.to_string())),
        Err(crash) => Err(Trouble::new(READING, crash.to_string())),
    }
}

/// Gives the server the dump's keys, and takes its own default ones away: Meilisearch imports them so, and clients find
/// the default keys by their names.
async fn replace_keys(server: &Server, dump: &Dump, progress: &Progress) -> Result<(), Trouble> {
    const DOING: &str = "replacing the default API keys";
    if dump.keys.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<Value> = dump.keys.iter().map(key_view).collect();
    keys.sort_by(|a, b| b["createdAt"].as_str().cmp(&a["createdAt"].as_str()));
    if put_keys(server, &keys, progress).await? == 0 {
        return Ok(());
    }
    for own in server.list(DOING, "/keys").await? {
        let is_default = own["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("Default ") && name.ends_with(" API Key"));
        let uid = own["uid"].as_str().unwrap_or_default();
        if is_default && !keys.iter().any(|key| key["uid"] == uid) {
            let path = format!("/keys/{uid}");
            server
                .call(DOING, Method::DELETE, &path, Body::None)
                .await?;
        }
    }
    Ok(())
}

async fn put_webhooks(server: &Server, dump: &Dump, progress: &Progress) {
    for webhook in dump.webhooks.values() {
        let body = Body::Json(json!({ "url": webhook["url"], "headers": webhook["headers"] }));
        let made = server
            .call("creating a webhook", Method::POST, "/webhooks", body)
            .await;
        if let Err(trouble) = made {
            let url = &webhook["url"];
            progress.note(format!(
                "the webhook {url} was not taken over: {}",
                trouble.why
            ));
        }
    }
}

/// The server becomes the instance of the network that the dump's maker was.
async fn put_network(server: &Server, dump: &Dump, progress: &Progress) {
    let mut network = dump.network.clone();
    network.retain(|name, value| {
        let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        matches!(name.as_str(), "self" | "remotes") && !empty
    });
    let remotes = network.get_mut("remotes").and_then(Value::as_object_mut);
    for remote in remotes.into_iter().flat_map(Map::values_mut) {
        if let Some(members) = remote.as_object_mut() {
            // What the maker had seen of it.
            members.shift_remove("status");
        }
    }
    if network.is_empty() {
        return;
    }
    let body = Body::Json(Value::Object(network));
    let told = server.call("setting the network", Method::PATCH, "/network", body);
    if let Err(trouble) = told.await {
        let why = trouble.why;
        progress.note(format!("the dump's network was not taken over: {why}"));
    }
}

async fn put_rules(server: &Server, dump: &Dump, progress: &Progress) {
    const DOING: &str = "making a dynamic search rule";
    for (uid, rule) in dump.rules.iter().filter_map(rule_change) {
        let path = format!("/dynamic-search-rules/{uid}");
        let made = match server
            .task(DOING, Method::PATCH, &path, Body::Json(rule))
            .await
        {
            Ok(task) => server.wait(DOING, task).await.map(drop),
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = made {
            let why = trouble.why;
            progress.note(format!("the search rule `{uid}` was not taken over: {why}"));
        }
    }
}

/// Documents of one index on their way from the reading thread.
struct Batch {
    index: usize,
    lines: Vec<u8>,
    documents: u64,
}

async fn put_documents(
    path: &Path,
    dump: &Dump,
    server: &Server,
    options: Options,
    progress: &Progress,
) -> Result<(), Trouble> {
    // One batch is read while another is sent.
    let (batches, mut ready) = mpsc::channel(1);
    let reader = {
        let (path, dump) = (path.to_owned(), dump.clone());
        spawn_blocking(move || read_batches(&path, &dump, options.batch_bytes, &batches))
    };
    let mut load = Load::new(server, progress, options);
    while let Some(Batch {
        index,
        lines,
        documents,
    }) = ready.recv().await
    {
        let index = &dump.indexes[index];
        progress.stage(Stage::Documents, Some(&index.uid));
        let key = index.primary_key.as_deref();
        load.send(&index.uid, key, Bytes::from(lines), documents)
            .await?;
    }
    match reader.await {
        Ok(read) => read.map_err(|error| Trouble::new(READING, error.to_string()))?,
        Err(crash) => return Err(Trouble::new(READING, crash.to_string())),
    }
    load.settle().await
}

fn read_batches(
    path: &PathBuf,
    dump: &Dump,
    batch_bytes: usize,
    batches: &mpsc::Sender<Batch>,
) -> Result<(), ReadError> {
    let gone = |_| std::io::Error::other("the import has stopped");
    let new = |index| Batch {
        index,
        lines: Vec::new(),
        documents: 0,
    };
    let mut batch = new(0);
    dump.documents(File::open(path)?, &Limits::default(), |index, line| {
        let full = batch.lines.len() + line.len() > batch_bytes || index != batch.index;
        if full && batch.documents > 0 {
            let full = std::mem::replace(&mut batch, new(index));
            batches.blocking_send(full).map_err(gone)?;
        }
        batch.index = index;
        batch.lines.extend_from_slice(line);
        batch.lines.push(b'\n');
        batch.documents += 1;
        Ok::<(), ReadError>(())
    })?;
    if batch.documents > 0 {
        batches.blocking_send(batch).map_err(gone)?;
    }
    Ok(())
}

/// Payloads of waiting tasks, one after the other in a file of their own: the archive has them in any order.
struct Payloads {
    file: File,
    /// Where each task's documents lie, and how many bytes they have.
    places: BTreeMap<u32, (u64, usize)>,
}

impl Payloads {
    fn read(path: &Path, dump: &Dump) -> Result<Payloads, ReadError> {
        let mut payloads = Payloads {
            file: tempfile::tempfile()?,
            places: BTreeMap::new(),
        };
        let mut end = 0;
        let mut file = std::io::BufWriter::new(payloads.file.try_clone()?);
        dump.payloads(File::open(path)?, &Limits::default(), |task, line| {
            file.write_all(line)?;
            file.write_all(b"\n")?;
            let bytes = line.len() + 1;
            payloads.places.entry(task).or_insert((end, 0)).1 += bytes;
            end += bytes as u64;
            Ok::<(), ReadError>(())
        })?;
        file.flush()?;
        drop(file);
        Ok(payloads)
    }

    /// The documents of a task as NDJSON; nothing where it has none.
    fn of(&mut self, task: u32) -> std::io::Result<Bytes> {
        let Some((start, bytes)) = self.places.get(&task) else {
            return Ok(Bytes::new());
        };
        let mut lines = vec![0; *bytes];
        self.file.seek(SeekFrom::Start(*start))?;
        self.file.read_exact(&mut lines)?;
        Ok(Bytes::from(lines))
    }
}

/// Sends the tasks again that had not run. One that fails would have failed there, too: it is noted.
async fn run_waiting(
    path: &Path,
    dump: &Dump,
    server: &Server,
    progress: &Progress,
) -> Result<(), Trouble> {
    if dump.waiting.is_empty() {
        return Ok(());
    }
    progress.stage(Stage::WaitingTasks, None);
    let (source, copy) = (path.to_owned(), dump.clone());
    let mut payloads = reading(move || Payloads::read(&source, &copy)).await?;
    for task in &dump.waiting {
        let doing = format!("running task {} of the dump, which had not run", task.uid);
        let documents = payloads
            .of(task.uid)
            .map_err(|error| Trouble::new(&*doing, error.to_string()))?;
        let Some((method, path, body)) = request(task, documents) else {
            let kind = &task.kind;
            progress.note(format!("task {} ({kind}) was not run again", task.uid));
            continue;
        };
        let sent = match server.task(&doing, method, &path, body).await {
            Ok(uid) => server.wait(&doing, uid).await.map(drop),
            Err(trouble) => Err(trouble),
        };
        match sent {
            Ok(()) => (),
            // What the server says of the task is the task's end; anything else is the import's.
            Err(trouble) if trouble.code.is_some() => progress.note(trouble.to_string()),
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(())
}

/// The request that a client had sent for a task (`KindDump` in Meilisearch's `crates/dump/src/lib.rs`).
fn request(task: &Waiting, documents: Bytes) -> Option<(Method, String, Body)> {
    let uid = task.index_uid.as_deref().unwrap_or_default();
    let content = &task.content;
    let json = |value: Value| Body::Json(value);
    Some(match &*task.kind {
        "documentImport" => {
            let method = match content["method"].as_str() {
                Some("UpdateDocuments") => Method::PUT,
                _ => Method::POST,
            };
            let body = match documents.is_empty() {
                true => json(json!([])),
                false => Body::Ndjson(documents),
            };
            (
                method,
                documents_path(uid, content["primary_key"].as_str()),
                body,
            )
        }
        "documentDeletion" => (
            Method::POST,
            format!("/indexes/{uid}/documents/delete-batch"),
            json(content["documents_ids"].clone()),
        ),
        "documentDeletionByFilter" => (
            Method::POST,
            format!("/indexes/{uid}/documents/delete"),
            json(json!({ "filter": content["filter"] })),
        ),
        "documentEdition" => (
            Method::POST,
            format!("/indexes/{uid}/documents/edit"),
            json(without_nulls(content)),
        ),
        "documentClear" => (
            Method::DELETE,
            format!("/indexes/{uid}/documents"),
            Body::None,
        ),
        "settings" => (
            Method::PATCH,
            format!("/indexes/{uid}/settings"),
            json(content["settings"].clone()),
        ),
        "indexCreation" => (
            Method::POST,
            "/indexes".to_owned(),
            json(json!({ "uid": uid, "primaryKey": content["primary_key"] })),
        ),
        "indexUpdate" => (
            Method::PATCH,
            format!("/indexes/{uid}"),
            json(without_nulls(
                &json!({ "primaryKey": content["primary_key"], "uid": content["uid"] }),
            )),
        ),
        "indexDeletion" => (Method::DELETE, format!("/indexes/{uid}"), Body::None),
        "indexSwap" => {
            let swaps = content["swaps"].as_array()?.iter().map(|swap| {
                let mut swap = swap.clone();
                if swap["rename"] != true {
                    swap.as_object_mut().map(|members| members.remove("rename"));
                }
                swap
            });
            (
                Method::POST,
                "/swap-indexes".to_owned(),
                json(swaps.collect()),
            )
        }
        _ => return None,
    })
}

fn without_nulls(value: &Value) -> Value {
    let members = value.as_object().into_iter().flatten();
    members
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_tasks_become_the_requests_that_made_them() {
        let of = |kind: &str, content: Value| {
            let task = Waiting {
                uid: 1,
                index_uid: Some("films".into()),
                kind: kind.into(),
                content,
                custom_metadata: None,
            };
            let (method, path, body) = request(&task, Bytes::from_static(b"{\"id\":1}\n"))?;
            let body = match body {
                Body::None => Value::Null,
                Body::Json(value) => value,
                Body::Ndjson(lines) => json!(lines.len()),
            };
            Some((method.to_string(), path, body))
        };
        let expect = |method: &str, path: &str, body: Value| {
            Some((method.to_owned(), path.to_owned(), body))
        };
        assert_eq!(
            of(
                "documentImport",
                json!({ "method": "UpdateDocuments", "primary_key": "a b" })
            ),
            expect("PUT", "/indexes/films/documents?primaryKey=a+b", json!(9))
        );
        assert_eq!(
            of("documentDeletion", json!({ "documents_ids": ["1"] })),
            expect(
                "POST",
                "/indexes/films/documents/delete-batch",
                json!(["1"])
            )
        );
        assert_eq!(
            of(
                "documentEdition",
                json!({ "function": "f", "filter": null, "context": null })
            ),
            expect(
                "POST",
                "/indexes/films/documents/edit",
                json!({ "function": "f" })
            )
        );
        assert_eq!(
            of(
                "indexSwap",
                json!({ "swaps": [{ "indexes": ["a", "b"], "rename": false }] })
            ),
            expect("POST", "/swap-indexes", json!([{ "indexes": ["a", "b"] }]))
        );
        assert_eq!(
            of("documentClear", Value::Null),
            expect("DELETE", "/indexes/films/documents", Value::Null)
        );
        assert_eq!(of("dumpCreation", json!({})), None);
    }
}
