//! What each command asks and shows.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Client, Failure};
use crate::table;

/// How to show a result.
#[derive(Clone, Copy)]
pub struct Output {
    pub json: bool,
}

/// What the exit code says.
pub enum Health {
    Well,
    Unwell,
}

/// The pause between two looks at a task.
const POLL: Duration = Duration::from_millis(100);

/// `miroir-ctl status`.
pub fn status(client: &Client, output: Output) -> Result<Health, Failure> {
    let topology = client.get("/_miroir/topology")?;
    let nodes = list(&topology, "nodes");
    let indexes = list(&topology, "indexes");
    let down = nodes.iter().filter(|node| node["up"] != true).count();
    let idle: usize = indexes
        .iter()
        .map(|index| list(index, "notServing").len())
        .sum();
    let health = if down + idle == 0 {
        Health::Well
    } else {
        Health::Unwell
    };
    if output.json {
        println!("{topology}");
        return Ok(health);
    }
    let layout = &topology["layout"];
    println!(
        "{} shards, replication factor {}, {} group(s); epoch {}, driver {}, {} task(s) in flight\n",
        text(&layout["shards"]),
        text(&layout["replicationFactor"]),
        text(&layout["replicaGroups"]),
        text(&topology["epoch"]),
        text(&topology["driver"]),
        text(&topology["tasksInFlight"]),
    );
    let rows: Vec<Vec<String>> = nodes
        .iter()
        .map(|node| {
            let state = if node["up"] == true { "up" } else { "DOWN" };
            let shards = list(node, "shards").len().to_string();
            vec![
                text(&node["id"]),
                text(&node["address"]),
                text(&node["group"]),
                state.into(),
                shards,
                text(&node["version"]),
            ]
        })
        .collect();
    table::print(
        &["node", "address", "group", "state", "shards", "version"],
        &rows,
    );
    let rows: Vec<Vec<String>> = indexes
        .iter()
        .map(|index| {
            let idle = list(index, "notServing").len();
            let copies = if idle == 0 {
                "all serve".to_owned()
            } else {
                format!("{idle} OUT OF SYNC")
            };
            vec![text(&index["uid"]), text(&index["primaryKey"]), copies]
        })
        .collect();
    println!();
    table::print(&["index", "primary key", "copies"], &rows);
    if down > 0 {
        println!("\n{down} node(s) down: start them again; their shards are asked elsewhere where a copy is");
    }
    Ok(health)
}

/// `miroir-ctl tasks list`.
pub fn tasks_list(
    client: &Client,
    output: Output,
    limit: u32,
    status: Option<String>,
    index: Option<String>,
) -> Result<Health, Failure> {
    let mut path = format!("/tasks?limit={limit}");
    for (name, value) in [("statuses", status), ("indexUids", index)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={value}"));
        }
    }
    let tasks = client.get(&path)?;
    if output.json {
        println!("{tasks}");
        return Ok(Health::Well);
    }
    let rows: Vec<Vec<String>> = list(&tasks, "results")
        .iter()
        .map(|task| {
            [
                "uid",
                "indexUid",
                "type",
                "status",
                "enqueuedAt",
                "duration",
            ]
            .iter()
            .map(|key| text(&task[*key]))
            .collect()
        })
        .collect();
    table::print(
        &["uid", "index", "type", "status", "enqueued", "duration"],
        &rows,
    );
    Ok(Health::Well)
}

/// `miroir-ctl tasks get`.
pub fn task_get(client: &Client, output: Output, uid: u32) -> Result<Health, Failure> {
    let task = client.get(&format!("/tasks/{uid}"))?;
    show(&task, output);
    Ok(Health::Well)
}

/// `miroir-ctl tasks wait`.
pub fn task_wait(
    client: &Client,
    output: Output,
    uid: u32,
    timeout_seconds: u64,
) -> Result<Health, Failure> {
    let deadline = Instant::now() + Duration::from_secs(timeout_seconds);
    loop {
        let task = client.get(&format!("/tasks/{uid}"))?;
        match task["status"].as_str() {
            Some("enqueued" | "processing") if Instant::now() < deadline => {
                std::thread::sleep(POLL)
            }
            Some("enqueued" | "processing") => {
                return Err(Failure::Unreachable(format!(
                    "task {uid} has not ended after {timeout_seconds} s; wait longer with --timeout"
                )))
            }
            Some("succeeded") => {
                show(&task, output);
                return Ok(Health::Well);
            }
            _ => {
                show(&task, output);
                return Ok(Health::Unwell);
            }
        }
    }
}

fn show(task: &Value, output: Output) {
    if output.json {
        println!("{task}");
    } else if let Some(members) = task.as_object() {
        for (name, value) in members {
            println!("{name:<12}{}", text(value));
        }
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// A value as a person reads it: text without quotes, a dash for nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
