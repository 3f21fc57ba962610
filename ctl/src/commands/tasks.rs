//! `miroir-ctl tasks`.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{list as members, moment, seconds, text, Context, Health};
use crate::arguments::{TasksList, TasksWait};
use crate::client::{encoded, Failure};
use crate::table;

/// The pause between two looks at a task.
const POLL: Duration = Duration::from_millis(100);

/// The newest tasks first.
pub fn list(context: &Context, wanted: &TasksList) -> Result<Health, Failure> {
    let mut path = format!("/_miroir/tasks?limit={}", wanted.limit);
    for (name, value) in [("statuses", &wanted.status), ("indexUids", &wanted.index)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    context.show(&context.client.get(&path)?, |tasks| {
        let columns = [
            "uid",
            "indexUid",
            "type",
            "status",
            "enqueuedAt",
            "duration",
        ];
        let rows: Vec<Vec<String>> = members(tasks, "results")
            .iter()
            .map(|task| columns.iter().map(|key| cell(key, &task[*key])).collect())
            .collect();
        table::print(
            &["uid", "index", "type", "status", "enqueued", "duration"],
            &rows,
        );
    })
}

/// One task, whole.
pub fn get(context: &Context, uid: u32) -> Result<Health, Failure> {
    context.show(
        &context.client.get(&format!("/_miroir/tasks/{uid}"))?,
        people,
    )
}

/// Waits for a task's end.
pub fn wait(context: &Context, wanted: &TasksWait) -> Result<Health, Failure> {
    let (uid, timeout) = (wanted.uid, wanted.timeout);
    let deadline = Instant::now() + Duration::from_secs(timeout);
    loop {
        let task = context.client.get(&format!("/_miroir/tasks/{uid}"))?;
        match task["status"].as_str() {
            Some("enqueued" | "processing") if Instant::now() < deadline => {
                std::thread::sleep(POLL)
            }
            Some("enqueued" | "processing") => {
                return Err(Failure::Unreachable(format!(
                    "task {uid} has not ended after {timeout} s; wait longer with --timeout"
                )))
            }
            status => {
                context.show(&task, people)?;
                return Ok(match status {
                    Some("succeeded") => Health::Well,
                    _ => Health::Unwell,
                });
            }
        }
    }
}

fn cell(name: &str, value: &Value) -> String {
    match name {
        "enqueuedAt" => moment(value),
        "duration" => seconds(value),
        _ => text(value),
    }
}

fn people(task: &Value) {
    for (name, value) in task.as_object().into_iter().flatten() {
        println!("{name:<12}{}", text(value));
    }
}
