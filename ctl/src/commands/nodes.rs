//! `miroir-ctl nodes`: single changes, each applied as a layout version of its own.

use serde_json::{json, Value};

use super::layout::{applied, people};
use super::{confirm, list, text, Context, Health};
use crate::arguments::NodesCommand;
use crate::client::{encoded, Failure};
use crate::table;

pub fn run(context: &Context, command: NodesCommand) -> Result<Health, Failure> {
    match command {
        NodesCommand::List(_) => context.show(&context.client.get("/_miroir/nodes")?, show),
        NodesCommand::Add(add) => {
            let body = json!({
                "id": add.id, "address": add.address, "group": add.group, "weight": add.weight, "zone": add.zone,
            });
            let make = |query: &str| {
                context
                    .client
                    .post(&format!("/_miroir/nodes{query}"), Some(body.clone()))
            };
            change(context, "Add it?", add.yes, add.dry_run, false, make)
        }
        NodesCommand::Drain(drain) => {
            let path = format!("/_miroir/nodes/{}/drain", encoded(&drain.id));
            let make = |query: &str| context.client.post(&format!("{path}{query}"), None);
            change(context, "Drain it?", drain.yes, drain.dry_run, false, make)
        }
        NodesCommand::Trust(trust) => {
            let path = format!("/_miroir/nodes/{}/trust", encoded(&trust.id));
            let make = |query: &str| context.client.post(&format!("{path}{query}"), None);
            let question = "Give up what only others had?";
            change(context, question, trust.yes, trust.dry_run, false, make)
        }
        NodesCommand::Remove(remove) => {
            let path = format!("/_miroir/nodes/{}", encoded(&remove.id));
            let make = |query: &str| context.client.delete(&format!("{path}{query}"));
            change(
                context,
                "Remove it?",
                remove.yes,
                remove.dry_run,
                remove.force,
                make,
            )
        }
        NodesCommand::Replace(replace) => {
            let path = format!("/_miroir/nodes/{}/replace", encoded(&replace.id));
            let body = json!({ "id": replace.by, "address": replace.address });
            let make = |query: &str| {
                context
                    .client
                    .post(&format!("{path}{query}"), Some(body.clone()))
            };
            change(
                context,
                "Replace it?",
                replace.yes,
                replace.dry_run,
                false,
                make,
            )
        }
    }
}

/// Shows what would move, asks, and makes the change.
fn change(
    context: &Context,
    question: &str,
    yes: bool,
    dry_run: bool,
    force: bool,
    make: impl Fn(&str) -> Result<Value, Failure>,
) -> Result<Health, Failure> {
    let forced = if force { "&force=true" } else { "" };
    if dry_run || !yes {
        let diff = make(&format!("?dryRun=true{forced}"))?;
        if dry_run || !context.json {
            context.show(&diff, people)?;
        }
        if dry_run {
            return Ok(Health::Well);
        }
        confirm(question, yes)?;
    }
    let made = make(&format!("?dryRun=false{forced}"))?;
    context.show(&made, |made| applied(&made["nextVersion"], made))
}

fn show(nodes: &Value) {
    let rows: Vec<Vec<String>> = list(nodes, "results").iter().map(row).collect();
    table::print(
        &[
            "node", "address", "group", "zone", "weight", "state", "version", "copies",
        ],
        &rows,
    );
}

fn row(node: &Value) -> Vec<String> {
    let copies: Vec<String> = node["copies"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(state, count)| format!("{count} {}", state.replace('_', " ")))
        .collect();
    let state = text(&node["state"]);
    vec![
        text(&node["id"]),
        text(&node["address"]),
        text(&node["group"]),
        text(&node["zone"]),
        text(&node["weight"]),
        if state == "up" {
            state
        } else {
            state.to_uppercase()
        },
        text(&node["version"]),
        if copies.is_empty() {
            "none".to_owned()
        } else {
            copies.join(", ")
        },
    ]
}
