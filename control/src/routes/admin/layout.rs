//! The layout as a plan: staged, looked at, applied as one version, kept as history.

use axum::extract::State;
use axum::http::HeaderMap;
use bytes::Bytes;
use miroir_router::{Layout, NodeIdx};
use serde::Deserialize;
use serde_json::{json, Value};

use super::read;
use crate::clock::rfc3339;
use crate::fleet::changes::Change;
use crate::plane::Plane;
use crate::routes::body;
use crate::routes::{ok, Answer, Shared};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stage {
    changes: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Apply {
    version: u64,
}

pub(super) async fn show(State(plane): Shared) -> Answer {
    let layout = plane.layout();
    let mut view = layout_view(&plane, &layout);
    view["staged"] = json!(plane.staged().await?.len());
    ok(&view)
}

pub(super) async fn staged(State(plane): Shared) -> Answer {
    ok(&json!({ "changes": plane.staged().await? }))
}

pub(super) async fn stage(State(plane): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let stage: Stage = read(body::json(&headers, &bytes)?)?;
    ok(&json!({ "changes": plane.stage(stage.changes).await? }))
}

pub(super) async fn revert(State(plane): Shared) -> Answer {
    plane.revert().await?;
    ok(&json!({ "changes": [] }))
}

pub(super) async fn diff(State(plane): Shared) -> Answer {
    let staged = plane.staged().await?;
    ok(&plane.diff(&staged).await?)
}

pub(super) async fn apply(State(plane): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let apply: Apply = read(body::json(&headers, &bytes)?)?;
    plane.apply_staged(apply.version).await?;
    ok(&layout_view(&plane, &plane.layout()))
}

pub(super) async fn history(State(plane): Shared) -> Answer {
    let versions = plane.versions().await?;
    let results: Vec<Value> = versions
        .iter()
        .map(|version| {
            json!({
                "version": version.layout.version,
                "appliedAt": rfc3339(version.created_at),
                "replicationFactor": version.layout.replication_factor,
                "replicaGroups": version.layout.replica_groups,
                "changes": version.changes,
            })
        })
        .collect();
    ok(&json!({ "results": results }))
}

fn layout_view(plane: &Plane, layout: &Layout) -> Value {
    let fleet = plane.fleet();
    let nodes: Vec<Value> = layout
        .nodes
        .iter()
        .enumerate()
        .map(|(position, node)| (NodeIdx(position as u16), node))
        .filter(|(idx, _)| fleet.is_member(*idx))
        .map(|(idx, node)| {
            json!({
                "id": node.id,
                "group": node.group,
                "weight": node.weight,
                "zone": node.zone,
                "shards": layout.shards_of(idx),
            })
        })
        .collect();
    json!({
        "version": layout.version,
        "shards": layout.shards,
        "replicationFactor": layout.replication_factor,
        "replicaGroups": layout.replica_groups,
        "nodes": nodes,
    })
}
