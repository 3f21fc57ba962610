//! Where shards and documents are.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use miroir_api::Error;
use miroir_router::{shard_of, Layout, Shard};
use serde::Deserialize;
use serde_json::{json, Value};

use super::read_query;
use crate::plane::Plane;
use crate::routes::{ok, Answer, Shared};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfIndex {
    /// None: what a new index gets.
    index: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfDocument {
    index: String,
    /// `true` is an id, too.
    id: Value,
}

pub(super) async fn list(State(plane): Shared, RawQuery(query): RawQuery) -> Answer {
    let wanted: OfIndex = read_query(query.as_deref())?;
    let layout = match &wanted.index {
        Some(name) => layout_of(&plane, name)?,
        None => plane.layout(),
    };
    let shards: Vec<Value> = layout
        .all_shards()
        .map(|shard| json!({ "shard": shard, "copies": copies(&plane, &layout, shard) }))
        .collect();
    ok(&json!({ "index": wanted.index, "version": layout.version, "results": shards }))
}

pub(super) async fn locate(State(plane): Shared, RawQuery(query): RawQuery) -> Answer {
    let wanted: OfDocument = read_query(query.as_deref())?;
    let layout = layout_of(&plane, &wanted.index)?;
    let id = match &wanted.id {
        Value::String(id) => id.clone(),
        other => other.to_string(),
    };
    let shard = shard_of(id.as_bytes(), layout.shards);
    ok(&json!({
        "index": wanted.index,
        "id": id,
        "shard": shard,
        "copies": copies(&plane, &layout, shard),
    }))
}

fn layout_of(plane: &Plane, index: &str) -> Result<Arc<Layout>, Error> {
    let catalogue = plane.catalogue();
    let entry = catalogue.visible(index);
    let entry = entry.ok_or_else(|| Error::index_not_found(index))?;
    Ok(Arc::clone(&entry.layouts.published))
}

fn copies(plane: &Plane, layout: &Layout, shard: Shard) -> Vec<Value> {
    let view = |copy: &miroir_router::Placement| {
        let client = plane.node(copy.node)?;
        Some(json!({
            "node": client.id(),
            "address": client.node.address,
            "group": layout.group_of(copy.node),
            "state": copy.state,
            "up": client.node.is_up(),
        }))
    };
    layout.copies_of(shard).iter().filter_map(view).collect()
}
