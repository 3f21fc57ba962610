//! `miroir-ctl verify` and `repair`: do all copies hold the same?

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::Value;

use super::{list, text, Context, Health};
use crate::client::{encoded, Failure};
use crate::table;

/// The pause between two looks.
const POLL: Duration = Duration::from_millis(300);

/// Compares all copies.
pub fn verify(context: &Context, index: Option<&str>) -> Result<Health, Failure> {
    compare(context, "/_miroir/verify", index)
}

/// Compares all copies, and tries at once again what failed.
pub fn repair(context: &Context, index: Option<&str>) -> Result<Health, Failure> {
    compare(context, "/_miroir/repair", index)
}

fn compare(context: &Context, path: &str, index: Option<&str>) -> Result<Health, Failure> {
    let before = context.client.get("/_miroir/verify")?["startedAt"].clone();
    let query = index.map(|index| format!("?index={}", encoded(index)));
    context
        .client
        .post(&format!("{path}{}", query.unwrap_or_default()), None)?;
    let report = loop {
        let report = context.client.get("/_miroir/verify")?;
        if report["startedAt"] != before && !report["finishedAt"].is_null() {
            break report;
        }
        if std::io::stderr().is_terminal() && report["startedAt"] != before {
            eprint!(
                "\r\x1b[K{} index(es) compared",
                list(&report, "indexes").len()
            );
        }
        std::thread::sleep(POLL);
    };
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    context.show(&report, show)?;
    let good = |index: &Value| list(index, "differing").is_empty() && index["error"].is_null();
    Ok(match list(&report, "indexes").iter().all(good) {
        true => Health::Well,
        false => Health::Unwell,
    })
}

fn show(report: &Value) {
    let row = |index: &Value| {
        let differing = list(index, "differing").len();
        vec![
            text(&index["index"]),
            text(&index["documents"]),
            if differing == 0 {
                "none".to_owned()
            } else {
                format!("{differing} DIFFER")
            },
            text(&index["notCompared"]),
            text(&index["error"]),
        ]
    };
    let indexes = list(report, "indexes");
    let rows: Vec<Vec<String>> = indexes.iter().map(row).collect();
    table::print(
        &[
            "index",
            "documents",
            "copies that differ",
            "not compared",
            "error",
        ],
        &rows,
    );
    if indexes.iter().any(|index| index["notCompared"] != 0) {
        println!(
            "\nnot compared: copies that do not serve, or whose node is down: miroir-ctl status"
        );
    }
    for index in indexes {
        for copy in list(index, "differing") {
            println!(
                "shard {} of {} on {} differs from {} in {} document(s), and is being repaired: miroir-ctl rebalance status",
                copy["shard"],
                text(&index["index"]),
                text(&copy["node"]),
                text(&copy["right"]),
                copy["documents"]
            );
        }
    }
}
