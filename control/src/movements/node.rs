//! What moving data asks of a node: listings, whole documents, deletions, and to be done with what it accepted.

use std::collections::HashMap;
use std::time::Duration;

use miroir_movement::{Digest, Document, Key};
use miroir_router::{shard_filter, shard_of, Shard};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{json, Value};
use tokio::time::{sleep, Instant};

use super::{Pace, Ticket};
use crate::nodes::{NodeClient, NodeRequest, Reply};

/// Reading many keys or writing large documents takes its time; what is given up may still arrive, so it is long.
const PATIENCE: Duration = Duration::from_secs(600);
pub(super) const POLL_MIN: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(200);
/// Documents asked for at once: fewer where they are large.
const CHUNK_MIN: usize = 8;
const CHUNK_FIRST: usize = 64;
const CHUNK_MAX: usize = 1_000;
const CHUNK_BYTES: usize = 4 << 20;
/// A node serves no list longer than it is told; nothing has more documents.
const ALL: u32 = u32::MAX;

/// One index on one node. Errors are for people.
pub(super) struct Side<'a> {
    pub client: &'a NodeClient,
    /// The nodes' name.
    pub index: &'a str,
    /// The index's primary key; None: it has none, and so no documents.
    pub primary_key: Option<&'a str>,
    /// The number of shards of the index.
    pub shards: u16,
}

/// A whole document as the node wrote it.
pub(super) struct Body {
    pub key: Key,
    pub text: Box<RawValue>,
}

#[derive(Deserialize)]
struct Page {
    results: Vec<Box<RawValue>>,
}

impl Side<'_> {
    fn path(&self, rest: &str) -> String {
        format!("/indexes/{}{rest}", self.index)
    }

    fn fault(&self, what: &str, why: impl std::fmt::Display) -> String {
        format!("node `{}`: {what}: {why}", self.client.id())
    }

    async fn ask(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Reply, String> {
        let request = NodeRequest::new(method, self.path(path), body);
        let reply = self.client.send_within(&request, PATIENCE).await;
        reply.map_err(|error| self.fault(what, error))
    }

    /// An accepted task's uid.
    fn accepted(&self, what: &str, reply: Reply) -> Result<u32, String> {
        reply.task_uid().ok_or_else(|| self.refused(what, &reply))
    }

    fn refused(&self, what: &str, reply: &Reply) -> String {
        self.fault(
            what,
            format_args!("{} {}", reply.status, reply.error().message),
        )
    }

    async fn fetch(&self, body: Value) -> Result<Vec<Box<RawValue>>, String> {
        const WHAT: &str = "reading documents";
        let reply = self
            .ask(WHAT, Method::POST, "/documents/fetch", Some(body))
            .await?;
        if reply.status != 200 {
            return Err(self.refused(WHAT, &reply));
        }
        // Large answers would hold up everything else on the control thread.
        let page = tokio::task::spawn_blocking(move || serde_json::from_slice::<Page>(&reply.body));
        let page = page.await.map_err(|error| self.fault(WHAT, error))?;
        Ok(page.map_err(|error| self.fault(WHAT, error))?.results)
    }

    /// The keys of the documents of these shards, in the order in which the node stores them; by one request, so that no
    /// write can shift a page.
    pub(super) async fn keys(&self, shards: &[Shard]) -> Result<Vec<Key>, String> {
        let Some(primary_key) = self.primary_key else {
            return Ok(Vec::new());
        };
        let filter = shard_filter(shards);
        let body = json!({ "filter": filter, "fields": [primary_key], "limit": ALL });
        let documents = self.fetch(body).await?;
        let keys = documents.iter().map(|document| {
            let document: Value = serde_json::from_str(document.get()).unwrap_or_default();
            key_of(&document, primary_key)
                .ok_or_else(|| self.fault("listing", "a document without a primary key"))
        });
        keys.collect()
    }

    /// The documents of these keys that are there, in the order of the keys.
    async fn bodies(&self, keys: &[Key]) -> Result<Vec<Body>, String> {
        let Some(primary_key) = self.primary_key else {
            return Ok(Vec::new());
        };
        let body = json!({ "ids": keys, "limit": keys.len(), "retrieveVectors": true });
        let mut by_key = HashMap::with_capacity(keys.len());
        for text in self.fetch(body).await? {
            let document: Value =
                serde_json::from_str(text.get()).map_err(|error| self.fault("reading", error))?;
            let key = key_of(&document, primary_key);
            let key =
                key.ok_or_else(|| self.fault("reading", "a document without a primary key"))?;
            by_key.insert(key, text);
        }
        let found = keys.iter().filter_map(|key| {
            let text = by_key.remove(key)?;
            let key = key.clone();
            Some(Body { key, text })
        });
        Ok(found.collect())
    }

    /// Each of the documents with its digest, of all in these shards or of those with these keys.
    pub(super) async fn list(
        &self,
        shards: &[Shard],
        keys: Option<&[Key]>,
        chunks: &mut Chunks<'_>,
    ) -> Result<Vec<Document>, String> {
        let own;
        let keys = match keys {
            Some(keys) => keys,
            None => {
                own = self.keys(shards).await?;
                &own
            }
        };
        let mut documents = Vec::with_capacity(keys.len());
        chunks.total = keys.len();
        let mut left = keys;
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(chunks.size(left.len()));
            let bodies = self.bodies(chunk).await?;
            chunks.done(chunk.len(), &bodies).await;
            let digested = tokio::task::spawn_blocking(move || {
                let digest = |body: Body| (digest(&body.text), body.key);
                bodies.into_iter().map(digest).collect::<Vec<_>>()
            });
            for (digest, key) in digested
                .await
                .map_err(|error| self.fault("listing", error))?
            {
                let shard = shard_of(key.as_bytes(), self.shards);
                documents.push(Document { key, shard, digest });
            }
            left = rest;
        }
        Ok(documents)
    }

    /// Writes documents of another node whole, in the order of the keys; returns the tasks that do it.
    pub(super) async fn copy_from(
        &self,
        source: &Side<'_>,
        keys: &[Key],
        chunks: &mut Chunks<'_>,
    ) -> Result<Vec<u32>, String> {
        const WHAT: &str = "writing documents";
        let primary_key = self.primary_key.unwrap_or_default();
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("primaryKey", primary_key)
            .finish();
        let path = self.path(&format!("/documents?{query}"));
        let mut tasks = Vec::new();
        chunks.total = keys.len();
        let mut left = keys;
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(chunks.size(left.len()));
            let bodies = source.bodies(chunk).await?;
            chunks.done(chunk.len(), &bodies).await;
            left = rest;
            if bodies.is_empty() {
                continue;
            }
            let texts: Vec<&str> = bodies.iter().map(|body| body.text.get()).collect();
            let payload = format!("[{}]", texts.join(","));
            let reply = self
                .client
                .send_json(Method::POST, &path, payload, PATIENCE)
                .await;
            tasks.push(self.accepted(WHAT, reply.map_err(|error| self.fault(WHAT, error))?)?);
        }
        Ok(tasks)
    }

    /// Deletes documents; returns the task that does it.
    pub(super) async fn delete(&self, keys: &[Key]) -> Result<u32, String> {
        const WHAT: &str = "deleting documents";
        let reply = self.ask(
            WHAT,
            Method::POST,
            "/documents/delete-batch",
            Some(json!(keys)),
        );
        self.accepted(WHAT, reply.await?)
    }

    /// Deletes all documents of these shards; returns the task that does it. None: the index is not there.
    pub(super) async fn delete_shards(&self, shards: &[Shard]) -> Result<Option<u32>, String> {
        const WHAT: &str = "deleting what is left over";
        if self.about().await?.is_none() {
            return Ok(None);
        }
        let body = json!({ "filter": shard_filter(shards) });
        let reply = self.ask(WHAT, Method::POST, "/documents/delete", Some(body));
        self.accepted(WHAT, reply.await?).map(Some)
    }

    /// Deletes all documents but those of these shards; returns the task that does it.
    pub(super) async fn delete_all_but(&self, shards: &[Shard]) -> Result<u32, String> {
        const WHAT: &str = "deleting what belongs elsewhere";
        let body = json!({ "filter": format!("NOT {}", shard_filter(shards)) });
        let reply = self.ask(WHAT, Method::POST, "/documents/delete", Some(body));
        self.accepted(WHAT, reply.await?)
    }

    /// Waits until the node has run every task of the index that it has accepted up to now, at most until `deadline`.
    pub(super) async fn applied(&self, deadline: Option<Instant>) -> Result<(), String> {
        const WHAT: &str = "waiting for its tasks";
        let newest = self.tasks(WHAT, "").await?;
        let Some(newest) = newest.first().map(|task| task["uid"].clone()) else {
            return Ok(());
        };
        // Not "until there are none": where writes go on there always are.
        let open = format!("&statuses=enqueued,processing&from={newest}");
        let mut pause = POLL_MIN;
        loop {
            if self.tasks(WHAT, &open).await?.is_empty() {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(self.fault(WHAT, "they take too long to hold up writes for"));
            }
            sleep(pause).await;
            pause = (pause * 2).min(POLL_MAX);
        }
    }

    /// The newest of the index's tasks that are chosen so, or nothing.
    async fn tasks(&self, what: &str, chosen: &str) -> Result<Vec<Value>, String> {
        let path = format!("/tasks?indexUids={}&limit=1{chosen}", self.index);
        let reply = self
            .client
            .get(&path)
            .await
            .map_err(|error| self.fault(what, error))?;
        match reply.json()["results"].as_array_mut() {
            Some(tasks) if reply.status == 200 => Ok(std::mem::take(tasks)),
            _ => Err(self.refused(what, &reply)),
        }
    }

    /// Whether these tasks, which have ended, did what they were to do.
    pub(super) async fn succeeded(&self, tasks: &[u32]) -> Result<(), String> {
        const WHAT: &str = "a task";
        /// Bounds the length of the query string.
        const ASKED_MAX: usize = 200;
        for uids in tasks.chunks(ASKED_MAX) {
            let list: Vec<String> = uids.iter().map(u32::to_string).collect();
            let path = format!(
                "/tasks?uids={}&statuses=succeeded&limit={}",
                list.join(","),
                uids.len()
            );
            let reply = self
                .client
                .get(&path)
                .await
                .map_err(|error| self.fault(WHAT, error))?;
            let good = reply.json()["results"].as_array().map_or(0, Vec::len);
            if good != uids.len() {
                let bad = uids.len() - good;
                return Err(self.fault(
                    WHAT,
                    format_args!("{bad} of {} failed; see `GET /tasks` there", uids.len()),
                ));
            }
        }
        Ok(())
    }

    /// The node's index object; None: it is not there.
    pub(super) async fn about(&self) -> Result<Option<Value>, String> {
        self.object("").await
    }

    /// The node's settings; None: the index is not there.
    pub(super) async fn settings(&self) -> Result<Option<Value>, String> {
        self.object("/settings").await
    }

    async fn object(&self, path: &str) -> Result<Option<Value>, String> {
        const WHAT: &str = "looking at the index";
        let reply = self.ask(WHAT, Method::GET, path, None).await?;
        match reply.status {
            200 => Ok(Some(reply.json())),
            404 => Ok(None),
            _ => Err(self.refused(WHAT, &reply)),
        }
    }

    /// Sends one change of the index itself; returns its task.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<u32, String> {
        const WHAT: &str = "making the index";
        let reply = self.ask(WHAT, method, path, body).await?;
        self.accepted(WHAT, reply)
    }

    /// Makes an empty index; returns its task.
    pub(super) async fn create(&self) -> Result<u32, String> {
        const WHAT: &str = "creating the index";
        let body = json!({ "uid": self.index, "primaryKey": self.primary_key });
        let request = NodeRequest::new(Method::POST, "/indexes", Some(body));
        let reply = self
            .client
            .send(&request)
            .await
            .map_err(|error| self.fault(WHAT, error))?;
        self.accepted(WHAT, reply)
    }
}

/// How many documents are asked for at once, who is told how far it is, and how fast it may go.
pub(super) struct Chunks<'a> {
    size: usize,
    done: usize,
    total: usize,
    /// None: at full speed, because writes wait.
    pace: Option<&'a Pace>,
    ticket: Option<&'a Ticket>,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(pace: Option<&'a Pace>, ticket: Option<&'a Ticket>) -> Self {
        Chunks {
            size: CHUNK_FIRST,
            done: 0,
            total: 0,
            pace,
            ticket,
        }
    }

    fn size(&self, left: usize) -> usize {
        self.size.min(left)
    }

    /// So many keys were looked at, and these documents found: the next chunk is larger or smaller by their bytes.
    async fn done(&mut self, keys: usize, bodies: &[Body]) {
        let bytes: usize = bodies.iter().map(|body| body.text.get().len()).sum();
        self.size = match bytes {
            0..CHUNK_BYTES => self.size * 2,
            _ => self.size / 4,
        }
        .clamp(CHUNK_MIN, CHUNK_MAX);
        self.done += keys;
        if let Some(ticket) = self.ticket {
            ticket.progress(self.done as u64, self.total as u64);
        }
        if let Some(pace) = self.pace {
            pace.take(keys).await;
        }
    }
}

/// The text of a document's primary key, which may be nested (`a.b`).
fn key_of(document: &Value, primary_key: &str) -> Option<Key> {
    let whole = document.get(primary_key);
    let nested = || {
        primary_key
            .split('.')
            .try_fold(document, |value, name| value.get(name))
    };
    match whole.or_else(nested)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A digest that does not depend on the order of keys. An empty `_vectors` is none.
fn digest(document: &RawValue) -> Digest {
    let mut document: Value = serde_json::from_str(document.get()).unwrap_or_default();
    if let Some(fields) = document.as_object_mut() {
        if fields
            .get("_vectors")
            .is_some_and(|vectors| vectors == &json!({}))
        {
            fields.remove("_vectors");
        }
    }
    document.sort_all_objects();
    Digest(xxhash_rust::xxh3::xxh3_64(document.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Digest {
        digest(&RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn digests_tell_documents_apart_and_not_their_writing() {
        let one = of(r#"{"id": 1, "a": {"x": [1, 2], "y": null}}"#);
        assert_eq!(
            one,
            of(r#"{"a":{"y":null,"x":[1,2]},"id":1,"_vectors":{}}"#)
        );
        for other in [
            r#"{"id": 1, "a": {"x": [2, 1], "y": null}}"#,
            r#"{"id": 1, "a": {"x": [1, 2]}}"#,
            r#"{"id": "1", "a": {"x": [1, 2], "y": null}}"#,
            r#"{"id": 1, "a": {"x": [1, 2], "y": null}, "_vectors": {"e": null}}"#,
        ] {
            assert_ne!(one, of(other), "{other}");
        }
    }

    #[test]
    fn keys_are_texts_and_may_be_nested() {
        let key = |document: Value, name: &str| key_of(&document, name);
        assert_eq!(key(json!({"id": 4}), "id").as_deref(), Some("4"));
        assert_eq!(key(json!({"id": "4"}), "id").as_deref(), Some("4"));
        assert_eq!(key(json!({"a": {"id": "x"}}), "a.id").as_deref(), Some("x"));
        assert_eq!(
            key(json!({"a.id": "y", "a": {"id": "x"}}), "a.id").as_deref(),
            Some("y")
        );
        assert_eq!(key(json!({"id": null}), "id"), None);
    }
}
