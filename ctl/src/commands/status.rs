//! `miroir-ctl status`.

use serde_json::Value;

use super::{list, text, Context, Health};
use crate::client::Failure;
use crate::table;

pub fn show(context: &Context) -> Result<Health, Failure> {
    let topology = context.client.get("/_miroir/topology")?;
    let nodes = list(&topology, "nodes");
    let indexes = list(&topology, "indexes");
    let down = nodes.iter().filter(|node| node["up"] != true).count();
    let broken: usize = indexes
        .iter()
        .map(|index| count(index, "out_of_sync"))
        .sum();
    let health = match down + broken {
        0 => Health::Well,
        _ => Health::Unwell,
    };
    if context.json {
        println!("{topology}");
        return Ok(health);
    }
    let layout = &topology["layout"];
    println!(
        "layout {}: {} shards, replication factor {}, {} group(s); epoch {}, driver {}, {} task(s) in flight\n",
        text(&layout["version"]),
        text(&layout["shards"]),
        text(&layout["replicationFactor"]),
        text(&layout["replicaGroups"]),
        text(&topology["epoch"]),
        text(&topology["driver"]),
        text(&topology["tasksInFlight"]),
    );
    let rows: Vec<Vec<String>> = nodes.iter().map(node_row).collect();
    table::print(
        &["node", "address", "group", "state", "shards", "version"],
        &rows,
    );
    let rows: Vec<Vec<String>> = indexes
        .iter()
        .map(|index| {
            vec![
                text(&index["uid"]),
                text(&index["primaryKey"]),
                copies(index),
            ]
        })
        .collect();
    println!();
    table::print(&["index", "primary key", "copies"], &rows);
    if down > 0 {
        println!(
            "\n{down} node(s) down: start them again (their shards are asked elsewhere where a copy is), or put others in \
             their place: miroir-ctl nodes replace"
        );
    }
    if broken > 0 {
        println!(
            "\n{broken} copies are out of sync and are being repaired: miroir-ctl rebalance status"
        );
    }
    Ok(health)
}

fn node_row(node: &Value) -> Vec<String> {
    let state = match node["state"].as_str() {
        Some(state) if node["up"] == true => state.to_owned(),
        Some(state) => state.to_uppercase(),
        None => "DOWN".to_owned(),
    };
    vec![
        text(&node["id"]),
        text(&node["address"]),
        text(&node["group"]),
        state,
        list(node, "shards").len().to_string(),
        text(&node["version"]),
    ]
}

fn copies(index: &Value) -> String {
    let said = [
        ("out_of_sync", "OUT OF SYNC"),
        ("joining", "being filled"),
        ("left_over", "to be deleted"),
    ];
    let said: Vec<String> = said
        .iter()
        .map(|(state, words)| (count(index, state), words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    match said.is_empty() {
        true => "all serve".to_owned(),
        false => said.join(", "),
    }
}

/// Copies of the index that are in such a state.
fn count(index: &Value, state: &str) -> usize {
    let copies = list(index, "notServing").iter();
    copies.filter(|copy| copy["state"] == state).count()
}
