//! `miroir-ctl rebalance`: data on the move.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::{json, Value};

use super::{list, text, Context, Health};
use crate::arguments::RebalanceCommand;
use crate::client::Failure;
use crate::table;

/// The pause between two looks.
const POLL: Duration = Duration::from_millis(500);
/// Looks in a row that must find nothing on the move: between two steps of a movement there is nothing to see.
const QUIET: u32 = 4;

pub fn run(context: &Context, command: RebalanceCommand) -> Result<Health, Failure> {
    let client = &context.client;
    match command {
        RebalanceCommand::Status(status) if status.watch => watch(context),
        RebalanceCommand::Status(_) => {
            let view = client.get("/_miroir/rebalance")?;
            context.show(&view, show)?;
            Ok(health(&view))
        }
        RebalanceCommand::Pause(_) => {
            let view = client.post("/_miroir/rebalance/pause", None)?;
            context.show(&view, |_| {
                println!("paused; go on with: miroir-ctl rebalance resume")
            })
        }
        RebalanceCommand::Resume(_) => {
            let view = client.post("/_miroir/rebalance/resume", None)?;
            context.show(&view, |_| println!("data moves again"))
        }
        RebalanceCommand::Throttle(throttle) => {
            let rate = match throttle.rate.as_str() {
                "off" => Value::Null,
                rate => match rate.parse::<u64>() {
                    Ok(rate) if rate > 0 => json!(rate),
                    _ => {
                        return Err(Failure::Unreachable(format!(
                            "`{rate}` is no rate: give documents a second, or `off`; to stop, use `rebalance pause`"
                        )))
                    }
                },
            };
            let view = client.post(
                "/_miroir/rebalance/throttle",
                Some(json!({ "documentsPerSecond": rate })),
            )?;
            context.show(&view, |view| match view["documentsPerSecond"].as_u64() {
                Some(rate) => println!("at most {rate} documents a second"),
                None => println!("as fast as the nodes can"),
            })
        }
    }
}

fn health(view: &Value) -> Health {
    let stuck = list(view, "waiting")
        .iter()
        .any(|piece| piece["kind"] == "stuck");
    match list(view, "failures").is_empty() && !stuck {
        true => Health::Well,
        false => Health::Unwell,
    }
}

/// Shows progress until nothing moves.
fn watch(context: &Context) -> Result<Health, Failure> {
    let mut quiet = 0;
    let mut shown = String::new();
    loop {
        let view = context.client.get("/_miroir/rebalance")?;
        let moving = list(&view, "running").len() + list(&view, "waiting").len();
        let line = if context.json {
            view.to_string()
        } else {
            progress(&view)
        };
        if line != shown && moving > 0 {
            tell(&line, context.json);
            shown = line;
        }
        quiet = if moving == 0 { quiet + 1 } else { 0 };
        let done = quiet >= QUIET;
        let stopped = view["paused"] == true && list(&view, "running").is_empty();
        if done || stopped {
            if !context.json {
                tell("", false);
                match stopped && moving > 0 {
                    true => println!("paused with {moving} piece(s) of work left; go on with: miroir-ctl rebalance resume"),
                    false => println!("nothing moves"),
                }
                show_failures(&view);
            }
            return Ok(health(&view));
        }
        std::thread::sleep(POLL);
    }
}

/// One line that replaces the one before on a terminal, a line of its own elsewhere.
fn tell(line: &str, json: bool) {
    if std::io::stdout().is_terminal() && !json {
        print!("\r\x1b[K{line}");
        let _ = std::io::stdout().flush();
    } else if !line.is_empty() {
        println!("{line}");
    }
}

fn progress(view: &Value) -> String {
    let running = list(view, "running");
    let sum = |field: &str| {
        running
            .iter()
            .filter_map(|piece| piece[field].as_u64())
            .sum::<u64>()
    };
    let (done, total) = (sum("done"), sum("total"));
    let phases: Vec<String> = running
        .iter()
        .take(3)
        .map(|piece| {
            format!(
                "{} to {} ({})",
                text(&piece["index"]),
                text(&piece["target"]),
                text(&piece["phase"])
            )
        })
        .collect();
    format!(
        "{} {done}/{total} documents, {} running, {} waiting: {}",
        bar(done, total),
        running.len(),
        list(view, "waiting").len(),
        phases.join(", ")
    )
}

/// `[#####-----]`.
fn bar(done: u64, total: u64) -> String {
    const WIDTH: usize = 20;
    let full = (done.min(total) as usize * WIDTH)
        .checked_div(total as usize)
        .unwrap_or(0);
    format!("[{}{}]", "#".repeat(full), "-".repeat(WIDTH - full))
}

fn show(view: &Value) {
    let pace = match view["documentsPerSecond"].as_u64() {
        Some(rate) => format!("at most {rate} documents a second"),
        None => "as fast as the nodes can".to_owned(),
    };
    let state = if view["paused"] == true {
        "PAUSED, go on with: miroir-ctl rebalance resume"
    } else {
        "on"
    };
    println!("{state}; {pace}");
    let (running, waiting) = (list(view, "running"), list(view, "waiting"));
    if running.is_empty() && waiting.is_empty() {
        println!("nothing moves");
    } else {
        println!();
        let row = |piece: &Value, phase: String| {
            vec![
                text(&piece["kind"]),
                text(&piece["index"]),
                list(piece, "shards").len().to_string(),
                text(&piece["source"]),
                text(&piece["target"]),
                phase,
                match piece["total"].as_u64() {
                    Some(total) => format!("{}/{total}", piece["done"]),
                    None => "-".to_owned(),
                },
            ]
        };
        let now = running
            .iter()
            .map(|piece| row(piece, text(&piece["phase"])));
        let later = waiting.iter().map(|piece| row(piece, "waiting".to_owned()));
        let rows: Vec<Vec<String>> = now.chain(later).collect();
        table::print(
            &[
                "what",
                "index",
                "shards",
                "from",
                "to",
                "phase",
                "documents",
            ],
            &rows,
        );
    }
    if waiting.iter().any(|piece| piece["kind"] == "stuck") {
        println!(
            "\nSTUCK: no complete copy is on a node that answers. Bring the node back; if it is gone for good, or lost its \
             data: miroir-ctl nodes trust --help"
        );
    }
    show_failures(view);
}

fn show_failures(view: &Value) {
    for failure in list(view, "failures") {
        println!(
            "\nFAILED {} time(s), tried again by itself: {} to {}: {}",
            failure["times"],
            text(&failure["index"]),
            text(&failure["target"]),
            text(&failure["lastError"])
        );
    }
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_is_never_too_long() {
        assert_eq!(bar(0, 0), "[--------------------]");
        assert_eq!(bar(5, 10), "[##########----------]");
        assert_eq!(bar(20, 10), "[####################]");
    }
}
