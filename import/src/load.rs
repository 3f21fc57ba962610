//! What is put into a server, whatever it comes from.

use std::collections::VecDeque;

use bytes::Bytes;
use reqwest::Method;
use serde_json::{json, Map, Value};

use crate::progress::Progress;
use crate::server::{Body, Server, Trouble};
use crate::Options;

/// Settings of features that need switching on, and that a cluster does not have.
const LEFT_OUT: [&str; 2] = ["chat", "foreignKeys"];

/// Makes an index with its primary key and settings, and waits until it has them.
pub(crate) async fn put_index(
    server: &Server,
    uid: &str,
    primary_key: Option<&str>,
    settings: &Map<String, Value>,
    progress: &Progress,
) -> Result<(), Trouble> {
    let doing = format!("creating index `{uid}`");
    let body = Body::Json(json!({ "uid": uid, "primaryKey": primary_key }));
    let task = server.task(&doing, Method::POST, "/indexes", body).await?;
    match server.wait(&doing, task).await {
        // An earlier try of this request, or of this import, has made it.
        Err(trouble) if trouble.code.as_deref() == Some("index_already_exists") => (),
        made => drop(made?),
    }
    let settings = portable(uid, settings, progress);
    if settings.is_empty() {
        return Ok(());
    }
    let doing = format!("changing the settings of index `{uid}`");
    let path = format!("/indexes/{uid}/settings");
    let body = Body::Json(Value::Object(settings));
    let task = server.task(&doing, Method::PATCH, &path, body).await?;
    server.wait(&doing, task).await.map(drop)
}

/// The settings that another server can take: without secrets that were masked, and without those of experiments.
fn portable(uid: &str, settings: &Map<String, Value>, progress: &Progress) -> Map<String, Value> {
    let mut kept = settings.clone();
    for name in LEFT_OUT {
        if kept.remove(name).is_some_and(|value| !is_empty(&value)) {
            progress.note(format!(
                "index `{uid}`: the setting `{name}` was not taken over"
            ));
        }
    }
    let mut kept = Value::Object(kept);
    for name in without_masked_secrets(&mut kept) {
        progress.note(format!(
            "index `{uid}`: the source does not tell the API key of embedder `{name}`; set it with PATCH \
             /indexes/{uid}/settings/embedders"
        ));
    }
    match kept {
        Value::Object(kept) => kept,
        _ => Map::new(),
    }
}

/// Takes out of settings the secrets that a server shows masked: set again as they are shown, they would be wrong. Gives
/// the names of the embedders that had one.
pub fn without_masked_secrets(settings: &mut Value) -> Vec<String> {
    let embedders = settings.get_mut("embedders").and_then(Value::as_object_mut);
    let embedders = embedders.into_iter().flatten();
    embedders
        .filter_map(|(name, embedder)| remove_masked(embedder).then(|| name.clone()))
        .collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Takes masked keys out of an embedder, also out of those that it is composed of; says whether there was one.
fn remove_masked(embedder: &mut Value) -> bool {
    let Some(members) = embedder.as_object_mut() else {
        return false;
    };
    // `hide_secret` in Meilisearch's `settings.rs` ends every masked secret so.
    let masked = |value: &Value| value.as_str().is_some_and(|text| text.ends_with("XXX..."));
    let mut found = members.get("apiKey").is_some_and(masked);
    if found {
        members.remove("apiKey");
    }
    for part in ["searchEmbedder", "indexingEmbedder"] {
        if let Some(part) = members.get_mut(part) {
            found |= remove_masked(part);
        }
    }
    found
}

/// Adds keys that the server does not have, under their own uids: with the same master key their texts are the same.
/// `keys` are as clients see them. Gives the number of keys that were made.
pub(crate) async fn put_keys(
    server: &Server,
    keys: &[Value],
    progress: &Progress,
) -> Result<usize, Trouble> {
    const DOING: &str = "creating API keys";
    let mut made = 0;
    // The newest is listed first.
    for key in keys.iter().rev() {
        let mut body = Map::new();
        for name in [
            "uid",
            "name",
            "description",
            "actions",
            "indexes",
            "expiresAt",
        ] {
            body.insert(name.to_owned(), key[name].clone());
        }
        let body = Body::Json(Value::Object(body));
        match server.call(DOING, Method::POST, "/keys", body).await {
            Ok(_) => made += 1,
            Err(trouble) => {
                match trouble.code.as_deref() {
                    Some("api_key_already_exists") => (),
                    Some("missing_master_key" | "miroir_not_implemented") => {
                        progress.note("the server has no master key, or keeps no keys: they were not taken over");
                        return Ok(made);
                    }
                    Some("invalid_api_key_expires_at") => {
                        progress.note(format!("key {} has expired and was left out", key["uid"]));
                    }
                    Some("invalid_api_key_actions") => {
                        let why = &trouble.why;
                        progress.note(format!("key {} was left out: {why}", key["uid"]));
                    }
                    _ => return Err(trouble),
                }
            }
        }
    }
    Ok(made)
}

/// Switches features on, one by one: the server may not know them all.
pub(crate) async fn put_features(
    server: &Server,
    features: &Map<String, Value>,
    progress: &Progress,
) {
    for (name, value) in features {
        if value != &Value::Bool(true) {
            continue;
        }
        let body = Body::Json(json!({ name: true }));
        let path = "/experimental-features";
        if let Err(trouble) = server
            .call("switching a feature on", Method::PATCH, path, body)
            .await
        {
            progress.note(format!(
                "the experimental feature `{name}` was not switched on: {}",
                trouble.why
            ));
        }
    }
}

/// Documents on their way into a server, a few batches ahead of what it has run.
pub(crate) struct Load<'a> {
    server: &'a Server,
    progress: &'a Progress,
    options: Options,
    sent: VecDeque<Sent>,
}

/// A batch that waits in the server's queue.
struct Sent {
    doing: String,
    task: u64,
    documents: u64,
}

impl<'a> Load<'a> {
    pub(crate) fn new(server: &'a Server, progress: &'a Progress, options: Options) -> Self {
        Load {
            server,
            progress,
            options,
            sent: VecDeque::new(),
        }
    }

    /// Sends a batch: `lines` are `documents` documents, one a line.
    pub(crate) async fn send(
        &mut self,
        uid: &str,
        primary_key: Option<&str>,
        lines: Bytes,
        documents: u64,
    ) -> Result<(), Trouble> {
        while self.sent.len() >= self.options.batches_ahead.max(1) {
            self.settle_one().await?;
        }
        let doing = format!("sending documents to index `{uid}`");
        let path = documents_path(uid, primary_key);
        let task = self
            .server
            .task(&doing, Method::POST, &path, Body::Ndjson(lines))
            .await?;
        self.sent.push_back(Sent {
            doing,
            task,
            documents,
        });
        Ok(())
    }

    /// Waits until everything that was sent is in its index.
    pub(crate) async fn settle(&mut self) -> Result<(), Trouble> {
        while !self.sent.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }

    /// Documents that were sent and are not in their index yet.
    pub(crate) fn waiting(&self) -> u64 {
        self.sent.iter().map(|sent| sent.documents).sum()
    }

    async fn settle_one(&mut self) -> Result<(), Trouble> {
        if let Some(sent) = self.sent.pop_front() {
            self.server.wait(&sent.doing, sent.task).await?;
            self.progress.done(sent.documents);
        }
        Ok(())
    }
}

/// The route of document additions, with the index's key.
pub(crate) fn documents_path(uid: &str, primary_key: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(key) = primary_key {
        query.append_pair("primaryKey", key);
    }
    format!("/indexes/{uid}/documents?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_travel_without_masked_secrets_and_experiments() {
        let settings = json!({
            "stopWords": ["a"],
            "chat": { "description": "x" },
            "foreignKeys": [],
            "embedders": {
                "rest": { "source": "rest", "apiKey": "secXXXX..." },
                "own": { "source": "openAi", "apiKey": "a-real-key" },
                "two": { "source": "composite", "searchEmbedder": { "apiKey": "XXXXX..." } },
            },
        });
        let progress = Progress::default();
        let kept = portable("films", settings.as_object().unwrap(), &progress);
        assert_eq!(
            Value::Object(kept),
            json!({
                "stopWords": ["a"],
                "embedders": {
                    "rest": { "source": "rest" },
                    "own": { "source": "openAi", "apiKey": "a-real-key" },
                    "two": { "source": "composite", "searchEmbedder": {} },
                },
            })
        );
        assert_eq!(progress.report().notes.len(), 3);
    }
}
