//! How the cluster is: ready or not, its nodes, its indexes.

use axum::extract::State;
use miroir_router::{read_plan, Layout, NodeIdx};
use serde_json::{json, Value};

use crate::nodes::NodeClient;
use crate::routes::{json_response, ok, Answer, Shared};

/// 200 when every shard can be searched, else 503 with what cannot.
pub(super) async fn ready(State(plane): Shared) -> Answer {
    let table = plane.publisher.current();
    let usable = |node: NodeIdx| {
        table
            .nodes
            .get(usize::from(node.0))
            .is_some_and(|node| node.is_up())
    };
    let layouts = table
        .indexes
        .values()
        .map(|index| (index.uid.as_str(), &index.layout));
    for (name, layout) in std::iter::once(("new indexes", &table.layout)).chain(layouts) {
        let uncovered = read_plan(layout, None, 0, usable).uncovered;
        if !uncovered.is_empty() {
            let body = json!({ "status": "degraded", "index": name, "shards": uncovered });
            return Ok(json_response(503, &body));
        }
    }
    ok(&json!({ "status": "ready" }))
}

pub(super) async fn topology(State(plane): Shared) -> Answer {
    let table = plane.publisher.current();
    let layout = plane.layout();
    let nodes: Vec<Value> = plane
        .nodes()
        .iter()
        .map(|client| node_view(&layout, client))
        .collect();
    let indexes: Vec<Value> = table
        .indexes
        .values()
        .map(|index| {
            let troubled: Vec<Value> = (0..index.layout.shards)
                .map(miroir_router::Shard)
                .flat_map(|shard| index.layout.copies_of(shard).iter().map(move |copy| (shard, copy)))
                .filter(|(_, copy)| !copy.state.serves())
                .map(|(shard, copy)| json!({ "shard": shard, "node": plane.node(copy.node).map(|node| node.id().to_owned()), "state": copy.state }))
                .collect();
            json!({
                "uid": index.uid,
                "visible": index.visible,
                "primaryKey": index.primary_key,
                "layoutVersion": index.layout.version,
                "settingsVersion": index.settings_version,
                "notServing": troubled,
            })
        })
        .collect();
    ok(&json!({
        "cluster": plane.cluster_id,
        "epoch": table.epoch,
        "driver": plane.driver,
        "layout": {
            "version": layout.version,
            "shards": layout.shards,
            "replicationFactor": layout.replication_factor,
            "replicaGroups": layout.replica_groups,
        },
        "nodes": nodes,
        "indexes": indexes,
        "tasksInFlight": plane.flights.lock().len(),
    }))
}

fn node_view(layout: &Layout, client: &NodeClient) -> Value {
    let shards: Vec<Value> = layout
        .shards_of(client.idx)
        .into_iter()
        .map(|shard| {
            let copy = layout
                .copies_of(shard)
                .iter()
                .find(|copy| copy.node == client.idx);
            json!({ "shard": shard, "state": copy.map(|copy| copy.state) })
        })
        .collect();
    let about = client.about();
    json!({
        "id": client.id(),
        "address": client.node.address,
        "group": client.node.group,
        "weight": layout.nodes.get(usize::from(client.idx.0)).map(|node| node.weight),
        "zone": layout.nodes.get(usize::from(client.idx.0)).and_then(|node| node.zone.as_ref()),
        "state": client.node.state.load().as_str(),
        "up": client.node.is_up(),
        "federates": client.node.federates(),
        "version": about.as_ref().map(|(_, body)| &body["pkgVersion"]),
        "shards": shards,
    })
}
