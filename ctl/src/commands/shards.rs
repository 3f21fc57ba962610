//! `miroir-ctl shards`.

use serde_json::Value;

use super::{list, text, Context, Health};
use crate::arguments::ShardsCommand;
use crate::client::{encoded, Failure};
use crate::table;

pub fn run(context: &Context, command: ShardsCommand) -> Result<Health, Failure> {
    match command {
        ShardsCommand::List(of) => {
            let query = of.index.map(|index| format!("?index={}", encoded(&index)));
            let path = format!("/_miroir/shards{}", query.unwrap_or_default());
            context.show(&context.client.get(&path)?, |shards| {
                let row = |shard: &Value| vec![text(&shard["shard"]), copies(shard)];
                let rows: Vec<Vec<String>> = list(shards, "results").iter().map(row).collect();
                table::print(&["shard", "copies"], &rows);
            })
        }
        ShardsCommand::Where(of) => {
            let path = format!(
                "/_miroir/shards/where?index={}&id={}",
                encoded(&of.index),
                encoded(&of.id)
            );
            context.show(&context.client.get(&path)?, |found| {
                println!(
                    "document {} of index {} belongs to shard {}",
                    text(&found["id"]),
                    text(&found["index"]),
                    found["shard"]
                );
                let row = |copy: &Value| {
                    let keys = ["node", "address", "group", "state"].iter();
                    let mut cells: Vec<String> = keys.map(|key| text(&copy[*key])).collect();
                    cells[3] = cells[3].replace('_', " ");
                    cells.push(if copy["up"] == true { "up" } else { "DOWN" }.to_owned());
                    cells
                };
                let rows: Vec<Vec<String>> = list(found, "copies").iter().map(row).collect();
                table::print(&["node", "address", "group", "copy", "node is"], &rows);
            })
        }
    }
}

fn copies(shard: &Value) -> String {
    let copy = |copy: &Value| {
        let mut said = text(&copy["node"]);
        if copy["state"] != "in_sync" {
            said = format!("{said} ({})", text(&copy["state"]).replace('_', " "));
        }
        if copy["up"] != true {
            said.push_str(" DOWN");
        }
        said
    };
    let all: Vec<String> = list(shard, "copies").iter().map(copy).collect();
    all.join(", ")
}
