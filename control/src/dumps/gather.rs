//! A shard's documents, from a copy that serves.

use std::sync::Arc;

use bytes::Bytes;
use miroir_api::Error;
use miroir_router::{and_shards, rewrite_filter, told_of_filter, Layout, Shard};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{json, Value};

use crate::catalogue::Entry;
use crate::clock::Nanos;
use crate::nodes::{NodeClient, NodeRequest};
use crate::plane::Plane;

/// Documents that are asked for at first; then as many as fit.
const FIRST_PAGE: usize = 100;

/// The most documents in one request: their ids stand in it.
const PAGE_MAX: usize = 5000;

/// About so many bytes of documents come in one answer.
const PAGE_BYTES: usize = 4 << 20;

/// More documents than an index can have.
const ALL: u32 = u32::MAX;

/// An index as it was when the dump began.
pub(crate) struct Source {
    pub name: String,
    pub node_uid: String,
    pub primary_key: Option<String>,
    pub created_at: Nanos,
    pub updated_at: Nanos,
    layout: Arc<Layout>,
}

/// Who takes documents in, as nodes list them.
pub(crate) trait Pages {
    async fn documents(&mut self, answer: Bytes) -> Result<(), Error>;
}

#[derive(Deserialize)]
struct Keys {
    results: Vec<Value>,
}

impl Source {
    /// Every index that clients see.
    pub(crate) fn all(plane: &Plane) -> Vec<Source> {
        let source = |entry: &Entry| {
            Some(Source {
                name: entry.name.clone(),
                node_uid: entry.node_uid.clone(),
                primary_key: entry.visible.as_ref()?.primary_key.clone(),
                created_at: entry.created_at,
                updated_at: entry.updated_at,
                layout: Arc::clone(&entry.layouts.published),
            })
        };
        let catalogue = plane.catalogue();
        catalogue.listed().into_iter().filter_map(source).collect()
    }

    /// Whether clients still see it.
    pub(crate) fn is_visible(&self, plane: &Plane) -> bool {
        plane
            .catalogue()
            .get(&self.node_uid)
            .is_some_and(|entry| entry.visible.is_some())
    }

    /// Hands its documents (those that `filter` finds) to `pages`, and says how many there are.
    pub(crate) async fn gather(
        &self,
        plane: &Plane,
        primary_key: &str,
        filter: Option<&Value>,
        pages: &mut impl Pages,
    ) -> Result<u64, Error> {
        let mut rewritten = filter.cloned();
        rewritten.iter_mut().for_each(rewrite_filter);
        let mut found = 0;
        for shard in (0..self.layout.shards).map(Shard) {
            let list = json!({
                "fields": [primary_key],
                "limit": ALL,
                "filter": and_shards(rewritten.clone(), &[shard]),
            });
            let listed = self.ask(plane, shard, list).await;
            let listed = listed.map_err(|error| in_words_of(error, filter))?;
            let keys: Keys = serde_json::from_slice(&listed).map_err(unreadable)?;
            let mut ids: &[Value] = &keys
                .results
                .iter()
                .filter_map(|document| key_of(document, primary_key))
                .cloned()
                .collect::<Vec<_>>();
            found += ids.len() as u64;
            let mut page = FIRST_PAGE;
            while !ids.is_empty() {
                let (now, later) = ids.split_at(page.min(ids.len()));
                ids = later;
                let fetch = json!({ "ids": now, "limit": now.len(), "retrieveVectors": true });
                let documents = self.ask(plane, shard, fetch).await?;
                let fits = PAGE_BYTES * now.len() / documents.len().max(1);
                page = fits.clamp(1, PAGE_MAX.min(page * 4));
                pages.documents(documents).await?;
            }
        }
        Ok(found)
    }

    /// Asks one copy of the shard after the other.
    async fn ask(&self, plane: &Plane, shard: Shard, body: Value) -> Result<Bytes, Error> {
        let path = format!("/indexes/{}/documents/fetch", self.node_uid);
        let request = NodeRequest::new(Method::POST, path, Some(body));
        let mut refused = None;
        // The states of just now: a copy may have missed a write since the dump began.
        let layout = plane.catalogue().get(&self.node_uid).map_or_else(
            || Arc::clone(&self.layout),
            |entry| Arc::clone(&entry.layouts.published),
        );
        let serving = layout.copies_of(shard).iter();
        let nodes: Vec<Arc<NodeClient>> = serving
            .filter(|copy| copy.state.serves())
            .filter_map(|copy| plane.node(copy.node))
            .collect();
        for client in nodes {
            match client.send(&request).await {
                Ok(reply) if reply.status == 200 => return Ok(reply.body),
                Ok(reply) => refused = Some(reply.error()),
                Err(error) => {
                    tracing::warn!(node = client.id(), %error, "a dump asks another copy");
                }
            }
        }
        Err(refused.unwrap_or_else(|| {
            let message = format!(
                "No copy of shard {} of index `{}` could be read; start its nodes and ask for the dump again.",
                shard.0, self.name
            );
            Error::system(503, "miroir_shard_unavailable", message)
        }))
    }
}

/// The value of a primary key, which may be a path, written as one name or as objects in objects.
fn key_of<'d>(document: &'d Value, primary_key: &str) -> Option<&'d Value> {
    if let Some(value) = document.get(primary_key) {
        return Some(value);
    }
    let mut rest = primary_key;
    while let Some(dot) = rest.rfind('.') {
        rest = &primary_key[..dot];
        if let Some(inner) = document.get(rest) {
            return key_of(inner, &primary_key[dot + 1..]);
        }
    }
    None
}

/// What a node says of the rewritten filter, said of the client's own.
fn in_words_of(mut error: Error, filter: Option<&Value>) -> Error {
    if let Some(filter) = filter {
        error.message = told_of_filter(&error.message, filter);
    }
    error
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::internal(format!(
        "a node's list of documents cannot be read: {error}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_where_documents_have_them() {
        let found = |document: Value, key: &str| key_of(&document, key).cloned();
        assert_eq!(found(json!({ "id": 4 }), "id"), Some(json!(4)));
        assert_eq!(found(json!({ "a": { "b": "x" } }), "a.b"), Some(json!("x")));
        assert_eq!(found(json!({ "a.b": "x" }), "a.b"), Some(json!("x")));
        assert_eq!(found(json!({ "a": { "b.c": 1 } }), "a.b.c"), Some(json!(1)));
        assert_eq!(found(json!({ "a.b": { "c": 1 } }), "a.b.c"), Some(json!(1)));
        assert_eq!(found(json!({ "b": 1 }), "a.b"), None);
    }
}
