//! Taking out of an answer what may lawfully differ between two deployments: dates, durations, sizes on disk, ids of tasks.
//!
//! A value is not dropped but replaced by its kind, so that a missing date or a date in place of null still shows.

use serde_json::{Map, Value};

/// Task ids that a scenario has met in one deployment, in the order in which it met them. Two deployments number their tasks
/// differently; the third task of a scenario is the third in both.
#[derive(Debug, Default)]
pub struct TaskNames(Vec<u64>);

impl TaskNames {
    /// The place of a task, which is noted when it is new.
    pub fn note(&mut self, uid: u64) -> usize {
        self.place(uid).unwrap_or_else(|| {
            self.0.push(uid);
            self.0.len() - 1
        })
    }

    /// The place of a task met before.
    pub fn place(&self, uid: u64) -> Option<usize> {
        self.0.iter().position(|&u| u == uid)
    }

    /// The id of the task at a place.
    pub fn uid(&self, place: usize) -> Option<u64> {
        self.0.get(place).copied()
    }
}

/// A copy of `answer` with everything volatile replaced by its kind.
pub fn settle(answer: &Value, names: &mut TaskNames) -> Value {
    match answer {
        Value::Array(items) => items.iter().map(|v| settle(v, names)).collect(),
        Value::Object(map) => Value::Object(settle_object(map, names)),
        other => other.clone(),
    }
}

/// Members whose value depends on clock, disk or build, wherever they stand in an answer of Meilisearch's.
const VOLATILE: &[&str] = &[
    "processingTimeMs",
    "enqueuedAt",
    "startedAt",
    "finishedAt",
    "duration",
    "createdAt",
    "updatedAt",
    "lastUpdate",
    "requestUid",
    "databaseSize",
    "preCompactionSize",
    "postCompactionSize",
    "usedDatabaseSize",
    "rawDocumentDbSize",
    "avgDocumentSize",
    "batchUid",
    "commitSha",
    "commitDate",
    "pkgVersion",
];

/// Lists of documents: what stands in them is the client's data, where `duration` is just a field.
const DATA: &[&str] = &[
    "hits",
    "facetDistribution",
    "facetStats",
    "fieldDistribution",
];

fn settle_object(map: &Map<String, Value>, names: &mut TaskNames) -> Map<String, Value> {
    let is_documents =
        map.contains_key("results") && !map.contains_key("from") && map.contains_key("offset");
    map.iter()
        .map(|(key, value)| {
            let settled = match value {
                Value::Number(n) if matches!(key.as_str(), "taskUid" | "uid" | "canceledBy") => n
                    .as_u64()
                    .map_or(value.clone(), |uid| task(names.note(uid))),
                Value::Number(n) if matches!(key.as_str(), "from" | "next") => n
                    .as_u64()
                    .and_then(|uid| names.place(uid))
                    .map_or("<number>".into(), task),
                _ if VOLATILE.contains(&key.as_str()) => kind(value),
                _ if DATA.contains(&key.as_str()) => value.clone(),
                Value::Array(items) if is_documents && key == "results" => {
                    settle_results(items, names)
                }
                _ => settle(value, names),
            };
            (key.clone(), settled)
        })
        .collect()
}

/// `results` is a list of indexes (which have dates), or of documents (left alone).
fn settle_results(items: &[Value], names: &mut TaskNames) -> Value {
    let is_index =
        |v: &Value| v.get("uid").is_some_and(Value::is_string) && v.get("createdAt").is_some();
    items
        .iter()
        .map(|v| {
            if is_index(v) {
                settle(v, names)
            } else {
                v.clone()
            }
        })
        .collect()
}

fn task(place: usize) -> Value {
    Value::String(format!("task#{place}"))
}

fn kind(value: &Value) -> Value {
    let name = match value {
        Value::Null => return Value::Null,
        Value::Bool(_) => "<boolean>",
        Value::Number(_) => "<number>",
        Value::String(_) => "<string>",
        Value::Array(_) => "<array>",
        Value::Object(_) => "<object>",
    };
    Value::String(name.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tasks_are_named_by_the_order_of_meeting() {
        let mut names = TaskNames::default();
        assert_eq!(
            settle(&json!({"taskUid": 70, "indexUid": "a"}), &mut names),
            json!({"taskUid": "task#0", "indexUid": "a"})
        );
        assert_eq!(
            settle(&json!({"uid": 71, "next": 70}), &mut names),
            json!({"uid": "task#1", "next": "task#0"})
        );
        assert_eq!(names.uid(1), Some(71));
    }

    #[test]
    fn a_missing_date_still_shows() {
        let mut names = TaskNames::default();
        let running = settle(&json!({"finishedAt": null}), &mut names);
        let ended = settle(&json!({"finishedAt": "2026-11-21T00:00:00Z"}), &mut names);
        assert_ne!(running, ended);
    }

    #[test]
    fn documents_keep_fields_that_look_volatile() {
        let mut names = TaskNames::default();
        let page = json!({"hits": [{"duration": 3, "uid": 4}], "limit": 20});
        assert_eq!(settle(&page, &mut names), page);
        let documents =
            json!({"results": [{"duration": 3, "uid": 4}], "offset": 0, "limit": 20, "total": 1});
        assert_eq!(settle(&documents, &mut names), documents);
    }
}
