//! Batches: which tasks ran together. They are made up from the tasks, which know the number of theirs.
//!
//! Not kept are how long its steps took, and why it ended where it did.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::Extension;
use milli_core::progress::ProgressView;
use miroir_api::Error;
use miroir_auth::Access;
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::tasks::ListQuery;
use super::{blocking, json, Answer, App, Shared, Who};
use crate::deserialize::{read_query, Param};
use crate::error::coded;
use crate::queue::Filter;
use crate::tasks::{iso_duration, Kind, Status, Task};

/// The shape of `crates/meilisearch-types/src/batch_view.rs` at 1.15.1.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchView {
    uid: u32,
    progress: Option<ProgressView>,
    details: Map<String, Value>,
    stats: Stats,
    duration: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
    batch_strategy: &'static str,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    total_nb_tasks: u32,
    status: BTreeMap<&'static str, u32>,
    types: BTreeMap<&'static str, u32>,
    index_uids: BTreeMap<String, u32>,
}

impl BatchView {
    /// `tasks`: all tasks of the batch, ascending.
    fn new(uid: u32, tasks: &[Task], progress: Option<ProgressView>) -> BatchView {
        let mut details = Map::new();
        let mut stats = Stats::default();
        for task in tasks {
            stats.total_nb_tasks += 1;
            *stats.status.entry(task.status.name()).or_default() += 1;
            *stats.types.entry(task.kind.name()).or_default() += 1;
            if let Some(uid) = &task.index_uid {
                *stats.index_uids.entry(uid.clone()).or_default() += 1;
            }
            if let Some(Value::Object(of_task)) = &task.details {
                add_details(&mut details, of_task);
            }
        }
        let started_at = tasks.iter().find_map(|task| task.started_at);
        let finished_at = tasks.iter().find_map(|task| task.finished_at);
        BatchView {
            uid,
            progress,
            details,
            stats,
            duration: started_at
                .zip(finished_at)
                .and_then(|(start, end)| iso_duration(end - start)),
            started_at,
            finished_at,
            batch_strategy: "unspecified",
        }
    }
}

/// Counts are summed, filters stand one after the other, of settings the last one counts.
fn add_details(sum: &mut Map<String, Value>, of_task: &Map<String, Value>) {
    const FIRST_STAYS: [&str; 3] = ["primaryKey", "context", "function"];
    const COUNTS: [&str; 8] = [
        "receivedDocuments",
        "indexedDocuments",
        "editedDocuments",
        "providedIds",
        "deletedDocuments",
        "matchedTasks",
        "canceledTasks",
        "deletedTasks",
    ];
    for (name, value) in of_task {
        let Some(known) = sum.get_mut(name) else {
            sum.insert(name.clone(), value.clone());
            continue;
        };
        match (&mut *known, value) {
            (_, Value::Null) => (),
            (Value::Null, value) => *known = value.clone(),
            (Value::Number(a), Value::Number(b)) if COUNTS.contains(&name.as_str()) => {
                let count = |number: &serde_json::Number| number.as_u64().unwrap_or(0);
                *known = (count(a) + count(b)).into();
            }
            (Value::String(a), Value::String(b)) if name == "originalFilter" => {
                a.push('&');
                a.push_str(b);
            }
            (Value::Array(a), Value::Array(b)) if name == "swaps" => a.extend(b.iter().cloned()),
            _ if FIRST_STAYS.contains(&name.as_str()) => (),
            (known, value) => *known = value.clone(),
        }
    }
}

#[derive(Serialize)]
struct BatchList {
    results: Vec<BatchView>,
    total: usize,
    limit: u32,
    from: Option<u32>,
    next: Option<u32>,
}

pub async fn list(State(app): Shared, Extension(access): Who, RawQuery(query): RawQuery) -> Answer {
    let query: ListQuery = read_query(&query.unwrap_or_default())?;
    let (Param(limit), from, reverse, choice) = query.split();
    let filter = of_batches(choice.into_filter(&access));
    let list = blocking(&app, move |app| {
        let all = app.scheduler.queue.list(&filter)?.tasks;
        let all: BTreeSet<u32> = all.into_iter().filter_map(|task| task.batch_uid).collect();
        let total = all.len();
        let mut uids: Vec<u32> = all.into_iter().collect();
        let reverse = reverse.is_some_and(|Param(reverse)| reverse);
        if !reverse {
            uids.reverse();
        }
        if let Some(Param(from)) = from {
            uids.retain(|uid| if reverse { *uid >= from } else { *uid <= from });
        }
        let next = uids.get(limit as usize).copied();
        uids.truncate(limit as usize);
        let results = uids
            .iter()
            .filter_map(|uid| view(app, *uid, &access).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let from = results.first().map(|batch| batch.uid);
        Ok(BatchList {
            results,
            total,
            limit,
            from,
            next,
        })
    });
    json(StatusCode::OK, &list.await?)
}

/// The tasks that choose batches: `canceledBy` names the batches of the cancelations, not what they canceled.
fn of_batches(mut filter: Filter) -> Filter {
    if let Some(cancelations) = filter.canceled_by.take() {
        let asked = filter.uids.take();
        let both = |uid: &u32| asked.as_ref().is_none_or(|asked| asked.contains(uid));
        filter.uids = Some(cancelations.into_iter().filter(both).collect());
        filter.kinds = Some(vec![Kind::TaskCancelation]);
        filter.statuses = Some(vec![Status::Succeeded]);
    }
    filter
}

fn view(app: &App, uid: u32, access: &Access) -> Result<Option<BatchView>, Error> {
    let filter = Filter {
        batch_uids: Some(vec![uid]),
        reverse: true,
        seen: access.indexes(),
        ..Filter::default()
    };
    // In this order: a batch that ends between the two is shown with its end, not as one that has no progress.
    let progress = app.scheduler.queue.progress(uid);
    let tasks = app.scheduler.queue.list(&filter)?.tasks;
    let ended = tasks.iter().any(|task| task.finished_at.is_some());
    let progress = progress.filter(|_| !ended);
    Ok((!tasks.is_empty()).then(|| BatchView::new(uid, &tasks, progress)))
}

pub async fn one(State(app): Shared, Extension(access): Who, Path(text): Path<String>) -> Answer {
    let Ok(uid) = text.parse::<u32>() else {
        let message =
            format!("Batch uid `{text}` is invalid. It should only contain numeric characters.");
        return Err(coded("invalid_batch_uids", message).into());
    };
    let batch = blocking(&app, move |app| {
        let missing = || coded("batch_not_found", format!("Batch `{uid}` not found."));
        view(app, uid, &access)?.ok_or_else(missing)
    });
    json(StatusCode::OK, &batch.await?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_are_summed() {
        let mut sum = Map::new();
        for details in [
            json!({"receivedDocuments": 2, "indexedDocuments": null, "searchCutoffMs": 1, "primaryKey": "a"}),
            json!({"receivedDocuments": 3, "indexedDocuments": 1, "searchCutoffMs": 2, "primaryKey": "b"}),
            json!({"providedIds": 1, "indexedDocuments": null, "originalFilter": "a"}),
            json!({"providedIds": 2, "originalFilter": "b"}),
        ] {
            add_details(&mut sum, details.as_object().unwrap());
        }
        assert_eq!(
            Value::from(sum),
            json!({"receivedDocuments": 5, "indexedDocuments": 1, "searchCutoffMs": 2, "primaryKey": "a",
                   "providedIds": 3, "originalFilter": "a&b"})
        );
    }
}
