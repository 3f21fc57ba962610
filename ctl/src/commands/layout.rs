//! `miroir-ctl layout`: several changes, looked at together and applied as one version.

use serde_json::{json, Value};

use super::{bytes, confirm, list, moment, text, Context, Health};
use crate::arguments::{LayoutCommand, LayoutStage};
use crate::client::Failure;
use crate::table;

pub fn run(context: &Context, command: LayoutCommand) -> Result<Health, Failure> {
    let client = &context.client;
    match command {
        LayoutCommand::Show(_) => context.show(&client.get("/_miroir/layout")?, show),
        LayoutCommand::Stage(stage) => {
            let changes = changes(&stage).map_err(Failure::Unreachable)?;
            if changes.is_empty() {
                return Err(Failure::Unreachable(
                    "say what to stage; `miroir-ctl layout stage --help` lists what there is"
                        .to_owned(),
                ));
            }
            client.post(
                "/_miroir/layout/staged",
                Some(json!({ "changes": changes })),
            )?;
            context.show(&client.get("/_miroir/layout/diff")?, staged)
        }
        LayoutCommand::Diff(_) => context.show(&client.get("/_miroir/layout/diff")?, staged),
        LayoutCommand::Apply(apply) => {
            let diff = client.get("/_miroir/layout/diff")?;
            let staged_as = diff["nextVersion"].as_u64();
            if staged_as.is_some_and(|next| next != apply.version)
                && !list(&diff, "changes").is_empty()
            {
                return Err(Failure::Refused(format!(
                    "what is staged is version {}, not {}; nothing was changed. Look at it with: miroir-ctl layout diff",
                    text(&diff["nextVersion"]),
                    apply.version
                )));
            }
            if apply.dry_run {
                return context.show(&diff, staged);
            }
            if !apply.yes && !context.json {
                people(&diff);
            }
            confirm(&format!("Apply version {}?", apply.version), apply.yes)?;
            let body = json!({ "version": apply.version });
            let layout = client.post("/_miroir/layout/apply", Some(body))?;
            context.show(&layout, |layout| applied(&layout["version"], &diff))
        }
        LayoutCommand::Revert(_) => {
            let answer = client.delete("/_miroir/layout/staged")?;
            context.show(&answer, |_| println!("nothing is staged any more"))
        }
        LayoutCommand::History(_) => context.show(&client.get("/_miroir/layout/history")?, history),
    }
}

/// What the options ask for.
fn changes(stage: &LayoutStage) -> Result<Vec<Value>, String> {
    let mut changes = Vec::new();
    for add in &stage.add {
        changes.push(addition(add)?);
    }
    for replace in &stage.replace {
        let parts: Vec<&str> = replace.splitn(3, '=').collect();
        let [id, by, address] = parts[..] else {
            return Err(format!(
                "--replace {replace}: write OLD=NEW=http://host:port"
            ));
        };
        changes.push(json!({ "change": "replaceNode", "id": id, "by": by, "address": address }));
    }
    for address in &stage.address {
        let (id, address) = pair("--address", address, "ID=http://host:port")?;
        changes.push(json!({ "change": "moveNode", "id": id, "address": address }));
    }
    for weight in &stage.weight {
        let (id, number) = pair("--weight", weight, "ID=N")?;
        let number: u32 = number
            .parse()
            .map_err(|_| format!("--weight {weight}: write ID=N with a number from 0"))?;
        changes.push(json!({ "change": "setWeight", "id": id, "weight": number }));
    }
    for zone in &stage.zone {
        let (id, zone) = pair("--zone", zone, "ID=Z")?;
        changes.push(json!({ "change": "setZone", "id": id, "zone": zone }));
    }
    changes.extend(
        stage
            .replication_factor
            .map(|value| json!({ "change": "setReplicationFactor", "value": value })),
    );
    changes.extend(
        stage
            .groups
            .map(|value| json!({ "change": "setReplicaGroups", "value": value })),
    );
    changes.extend(
        stage
            .drain
            .iter()
            .map(|id| json!({ "change": "drainNode", "id": id })),
    );
    changes.extend(
        stage
            .remove
            .iter()
            .map(|id| json!({ "change": "removeNode", "id": id })),
    );
    Ok(changes)
}

/// `ID=http://host:port,group=1,weight=2,zone=rack-a`.
fn addition(text: &str) -> Result<Value, String> {
    let bad = || {
        format!(
            "--add {text}: write ID=http://host:port, and if need be ,group=N ,weight=N ,zone=Z"
        )
    };
    let mut parts = text.split(',');
    let (id, address) = parts
        .next()
        .and_then(|first| first.split_once('='))
        .ok_or_else(bad)?;
    let mut change = json!({ "change": "addNode", "id": id, "address": address });
    for part in parts {
        let (name, value) = part.split_once('=').ok_or_else(bad)?;
        change[name] = match name {
            "group" | "weight" => json!(value.parse::<u32>().map_err(|_| bad())?),
            "zone" => json!(value),
            _ => return Err(bad()),
        };
    }
    Ok(change)
}

fn pair<'a>(option: &str, text: &'a str, form: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once('=')
        .ok_or_else(|| format!("{option} {text}: write {form}"))
}

fn show(layout: &Value) {
    println!(
        "layout {}: {} shards, replication factor {}, {} group(s)\n",
        text(&layout["version"]),
        text(&layout["shards"]),
        text(&layout["replicationFactor"]),
        text(&layout["replicaGroups"]),
    );
    let row = |node: &Value| {
        let shards = list(node, "shards");
        let named: Vec<String> = shards.iter().take(SHARDS_SHOWN).map(text).collect();
        let more = if shards.len() > SHARDS_SHOWN {
            " ..."
        } else {
            ""
        };
        vec![
            text(&node["id"]),
            text(&node["group"]),
            text(&node["zone"]),
            text(&node["weight"]),
            shards.len().to_string(),
            format!("{}{more}", named.join(" ")),
        ]
    };
    let rows: Vec<Vec<String>> = list(layout, "nodes").iter().map(row).collect();
    table::print(
        &["node", "group", "zone", "weight", "shards", "which"],
        &rows,
    );
    if layout["staged"].as_u64() > Some(0) {
        println!(
            "\n{} change(s) are staged: miroir-ctl layout diff",
            layout["staged"]
        );
    }
}

const SHARDS_SHOWN: usize = 24;

/// A diff of what is staged, with the next step.
fn staged(diff: &Value) {
    if list(diff, "changes").is_empty() {
        println!("nothing is staged; layout {} stays", text(&diff["version"]));
        return;
    }
    people(diff);
    println!(
        "\napply it: miroir-ctl layout apply --version {}; drop it: miroir-ctl layout revert",
        diff["nextVersion"]
    );
}

/// What changes would move.
pub fn people(diff: &Value) {
    println!("layout {} -> {}", diff["version"], diff["nextVersion"]);
    for change in list(diff, "changes") {
        println!("  {}", sentence(change));
    }
    println!();
    let row = |node: &Value| {
        let (now, then) = (&node["shards"]["now"], &node["shards"]["then"]);
        vec![
            text(&node["id"]),
            text(&node["group"]),
            text(&node["zone"]),
            text(&node["weight"]),
            if now == then {
                text(now)
            } else {
                format!("{now} -> {then}")
            },
            text(&node["copiesIn"]),
            text(&node["copiesOut"]),
            text(&node["documents"]),
            bytes(&node["bytes"]),
            if node["change"].is_null() {
                String::new()
            } else {
                text(&node["change"])
            },
        ]
    };
    let rows: Vec<Vec<String>> = list(diff, "nodes").iter().map(row).collect();
    table::print(
        &[
            "node",
            "group",
            "zone",
            "weight",
            "shards",
            "in",
            "out",
            "documents in",
            "bytes in",
            "",
        ],
        &rows,
    );
    println!("\n{}", moves(&diff["moves"]));
    for lost in list(diff, "lost") {
        let shards: Vec<String> = list(lost, "shards").iter().map(text).collect();
        println!(
            "LOST: of index {} the documents in shards {}: no other node has a complete copy",
            text(&lost["index"]),
            shards.join(", ")
        );
    }
}

/// After a change was applied.
pub fn applied(version: &Value, diff: &Value) {
    println!("layout {version} is in force. {}", moves(&diff["moves"]));
    if diff["moves"]["copiesIn"].as_u64() > Some(0) || diff["moves"]["copiesOut"].as_u64() > Some(0)
    {
        println!("data moves in the background: miroir-ctl rebalance status --watch");
    }
}

fn moves(moves: &Value) -> String {
    match moves["copiesIn"].as_u64() {
        Some(0) => "No copies of shards are to be made.".to_owned(),
        _ => format!(
            "{} copies of shards are to be made: about {} documents, {}.",
            text(&moves["copiesIn"]),
            text(&moves["documents"]),
            bytes(&moves["bytes"])
        ),
    }
}

fn sentence(change: &Value) -> String {
    let id = text(&change["id"]);
    match change["change"].as_str().unwrap_or_default() {
        "addNode" => format!(
            "add {id} at {} to group {}, weight {}, zone {}",
            text(&change["address"]),
            text(&change["group"]),
            text(&change["weight"]),
            text(&change["zone"])
        ),
        "drainNode" => format!("drain {id}"),
        "trustNode" => format!("trust what {id} has of lost shards"),
        "removeNode" if change["force"] == true => format!("remove {id}, whatever it has"),
        "removeNode" => format!("remove {id}"),
        "replaceNode" => format!(
            "replace {id} by {} at {}",
            text(&change["by"]),
            text(&change["address"])
        ),
        "moveNode" => format!("reach {id} at {}", text(&change["address"])),
        "setWeight" => format!("weight of {id}: {}", text(&change["weight"])),
        "setZone" => format!("zone of {id}: {}", text(&change["zone"])),
        "setReplicationFactor" => format!("replication factor {}", text(&change["value"])),
        "setReplicaGroups" => format!("{} replica group(s)", text(&change["value"])),
        _ => change.to_string(),
    }
}

fn history(history: &Value) {
    let row = |version: &Value| {
        let changes: Vec<String> = list(version, "changes").iter().map(sentence).collect();
        vec![
            text(&version["version"]),
            moment(&version["appliedAt"]),
            text(&version["replicationFactor"]),
            text(&version["replicaGroups"]),
            if changes.is_empty() {
                "the beginning".to_owned()
            } else {
                changes.join("; ")
            },
        ]
    };
    let rows: Vec<Vec<String>> = list(history, "results").iter().map(row).collect();
    table::print(&["version", "applied", "rf", "groups", "changes"], &rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_are_read() {
        assert_eq!(
            addition("n3=http://h:1,group=1,zone=z").unwrap(),
            json!({ "change": "addNode", "id": "n3", "address": "http://h:1", "group": 1, "zone": "z" })
        );
        for bad in ["n3", "n3=http://h:1,size=2", "n3=http://h:1,weight=x"] {
            assert!(addition(bad).unwrap_err().contains("write ID="), "{bad}");
        }
    }
}
