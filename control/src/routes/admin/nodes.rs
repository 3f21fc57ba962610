//! The nodes: which there are, what they hold, and single changes of them, each a layout version of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use miroir_api::body::object;
use miroir_router::NodeIdx;
use serde::Deserialize;
use serde_json::{json, Value};

use super::{read, read_query};
use crate::fleet::changes::Change;
use crate::plane::Plane;
use crate::routes::body;
use crate::routes::{ok, Answer, Shared};

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    /// Only say what would move.
    dry_run: bool,
    /// Remove a node although it still has copies.
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Successor {
    id: String,
    address: String,
}

/// Every node with the copies that it has, over all indexes, by their state.
pub(super) async fn list(State(plane): Shared) -> Answer {
    let fleet = plane.fleet();
    let mut copies: BTreeMap<(NodeIdx, String), usize> = BTreeMap::new();
    for entry in plane.catalogue().iter() {
        for copy in entry.layouts.published.copies.iter().flatten() {
            *copies
                .entry((copy.node, state_name(&copy.state)))
                .or_default() += 1;
        }
    }
    let results: Vec<Value> = fleet
        .members()
        .iter()
        .map(|client| {
            let planned = &fleet.layout.nodes[usize::from(client.idx.0)];
            let own = copies.iter().filter(|((node, _), _)| *node == client.idx);
            let own: serde_json::Map<String, Value> = own
                .map(|((_, state), count)| (state.clone(), json!(count)))
                .collect();
            json!({
                "id": client.id(),
                "address": client.node.address,
                "group": planned.group,
                "weight": planned.weight,
                "zone": planned.zone,
                "state": client.node.state.load().as_str(),
                "version": client.about().map(|(_, body)| body["pkgVersion"].clone()),
                "shards": fleet.layout.shards_of(client.idx).len(),
                "copies": own,
            })
        })
        .collect();
    ok(&json!({ "results": results }))
}

pub(super) async fn add(
    State(plane): Shared,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let mut body = body::json(&headers, &bytes)?;
    object(&body)?;
    body["change"] = json!("addNode");
    let change = read(body)?;
    make(&plane, query, |_| change).await
}

pub(super) async fn remove(
    State(plane): Shared,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    make(&plane, query, |options| Change::RemoveNode {
        id,
        force: options.force,
    })
    .await
}

pub(super) async fn drain(
    State(plane): Shared,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    make(&plane, query, |_| Change::DrainNode { id }).await
}

pub(super) async fn trust(
    State(plane): Shared,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    make(&plane, query, |_| Change::TrustNode { id }).await
}

pub(super) async fn replace(
    State(plane): Shared,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let by: Successor = read(body::json(&headers, &bytes)?)?;
    make(&plane, query, |_| Change::ReplaceNode {
        id,
        by: by.id,
        address: by.address,
    })
    .await
}

/// Says what the change moves, and makes it unless that is all that is wanted.
async fn make(
    plane: &Arc<Plane>,
    query: Option<String>,
    change: impl FnOnce(&Options) -> Change,
) -> Answer {
    let options: Options = read_query(query.as_deref())?;
    let changes = vec![change(&options)];
    let mut diff = plane.diff(&changes).await?;
    if !options.dry_run {
        plane.change_now(changes).await?;
    }
    diff["applied"] = json!(!options.dry_run);
    ok(&diff)
}

fn state_name(state: &miroir_router::CopyState) -> String {
    json!(state).as_str().unwrap_or_default().to_owned()
}
