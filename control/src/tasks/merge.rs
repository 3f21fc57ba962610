//! How a task stands for its parts (MEILISEARCH G.4).
//!
//! It runs as soon as any part runs, and ends when every part has ended: failed if any counted part failed (with the
//! error of the lowest shard) or any auxiliary part failed for another reason than that the index was there already.
//!
//! A write of documents that failed on one copy of a shard and succeeded on another one has succeeded: the first node
//! lost its data, has no disk left, or the like. The copy missed a write.

use std::collections::{HashMap, HashSet};

use miroir_api::told_of_function;
use miroir_router::{told_of_filter, Shard};
use serde_json::{json, Value};

use super::{Kind, Part, Role, Status, Task};
use crate::clock::Nanos;
use crate::fields::compaction_details;
use crate::rules;
use crate::scrub::scrub_error;

/// What a task's parts amount to just now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Merged {
    pub status: Status,
    pub started_at: Option<Nanos>,
    pub finished_at: Option<Nanos>,
    pub details: Value,
    pub error: Option<Value>,
    /// Copies on which the task failed or was cancelled although another copy of the shard has run it: they missed a
    /// write.
    pub missed: Vec<(Shard, String)>,
    /// The index exists on every node, whatever became of the rest.
    pub created: bool,
}

/// The status of a task that still runs; `None` once every part has ended.
pub(crate) fn progress(parts: &[Part]) -> Option<Status> {
    if parts.iter().all(|part| part.status.is_finished()) {
        return None;
    }
    let running = parts.iter().any(|part| part.status != Status::Enqueued);
    Some(if running {
        Status::Processing
    } else {
        Status::Enqueued
    })
}

/// Merges `parts` of `task`; `now` stands in for times that no node gave.
pub(crate) fn merge(task: &Task, parts: &[Part], now: Nanos) -> Merged {
    if task.kind.is_job() {
        return job(task, now);
    }
    let started_at = parts.iter().filter_map(|part| part.started_at).min();
    if let Some(status) = progress(parts) {
        let running = status == Status::Processing;
        return Merged {
            status,
            started_at: if running {
                started_at.or(task.started_at)
            } else {
                None
            },
            finished_at: None,
            details: running_details(task),
            error: None,
            missed: Vec::new(),
            created: false,
        };
    }
    let error = task.doom.clone().or_else(|| first_error(task, parts));
    let canceled = |part: &Part| part.role == Role::Counted && part.status == Status::Canceled;
    let status = if error.is_some() {
        Status::Failed
    } else if parts.iter().any(canceled) {
        Status::Canceled
    } else {
        Status::Succeeded
    };
    let finished_at = parts
        .iter()
        .filter_map(|part| part.finished_at)
        .max()
        .unwrap_or(now);
    Merged {
        status,
        started_at: Some(started_at.unwrap_or(finished_at).min(finished_at)),
        finished_at: Some(finished_at),
        details: match task.kind {
            Kind::IndexCompaction => compaction_details(parts, status),
            kind if kind.changes_rules() => rules::details(task, parts),
            _ => final_details(task, parts, status),
        },
        missed: match task.kind.writes_documents() {
            true => missed(parts),
            false => Vec::new(),
        },
        created: match task.kind {
            Kind::IndexCreation => error.is_none(),
            _ => parts
                .iter()
                .filter(|part| part.role == Role::AuxiliaryCreation)
                .all(harmless),
        },
        error,
    }
}

/// A job has ended once it has an end, a reason why not, or was cancelled.
fn job(task: &Task, now: Nanos) -> Merged {
    let status = if task.doom.is_some() {
        Status::Failed
    } else if task.finished_at.is_some() {
        Status::Succeeded
    } else if task.canceled_by.is_some() {
        Status::Canceled
    } else if task.started_at.is_some() {
        Status::Processing
    } else {
        Status::Enqueued
    };
    Merged {
        status,
        // As on a node, whatever has ended has begun.
        started_at: task.started_at.or(status.is_finished().then_some(now)),
        finished_at: task.finished_at.or(status.is_finished().then_some(now)),
        details: task.details.clone(),
        error: task.doom.clone(),
        missed: Vec::new(),
        created: false,
    }
}

fn missed(parts: &[Part]) -> Vec<(Shard, String)> {
    let ran = ran(parts);
    let counted = parts.iter().filter(|part| part.role == Role::Counted);
    counted
        .filter(|part| matches!(part.status, Status::Failed | Status::Canceled))
        .flat_map(|part| part.shards.iter().map(|shard| (*shard, part.node.clone())))
        .filter(|(shard, _)| ran.contains(shard))
        .collect()
}

/// The shards of which some copy has run the task.
fn ran(parts: &[Part]) -> HashSet<Shard> {
    let ran = parts
        .iter()
        .filter(|part| part.role == Role::Counted && part.status == Status::Succeeded);
    ran.flat_map(|part| part.shards.iter().copied()).collect()
}

fn first_error(task: &Task, parts: &[Part]) -> Option<Value> {
    let some_created = task.kind == Kind::IndexCreation
        && parts.iter().any(|part| part.status == Status::Succeeded);
    let ran = match task.kind.writes_documents() {
        true => Some(ran(parts)),
        false => None,
    };
    let ran_elsewhere = |part: &Part| {
        let ran = ran.as_ref();
        ran.is_some_and(|ran| part.shards.iter().all(|shard| ran.contains(shard)))
    };
    let mut failed: Vec<&Part> = parts
        .iter()
        .filter(|part| part.status == Status::Failed)
        .filter(|part| match part.role {
            // An earlier creation that reached only some nodes is completed by this one.
            Role::Counted => !(ran_elsewhere(part) || some_created && harmless(part)),
            Role::AuxiliaryCreation | Role::Auxiliary => !harmless(part),
        })
        .collect();
    failed.sort_by_key(|part| {
        (
            part.role != Role::Counted,
            part.shards.iter().min().copied(),
        )
    });
    let part = failed.first()?;
    let error = part.error.clone().unwrap_or_else(|| {
        miroir_api::Error::internal(format!(
            "node {} failed its task without saying why",
            part.node
        ))
        .to_value()
    });
    let mut error = scrub_error(error);
    if let Some(Value::String(message)) = error.get_mut("message") {
        *message = task.in_clients_words(message);
        *message = told_of_filter(message, &original_filter(task));
        if task.kind == Kind::DocumentEdition {
            *message = told_of_function(message);
        }
    }
    Some(error)
}

/// The filter of a deletion or an edition, as the client wrote it.
fn original_filter(task: &Task) -> Value {
    let text = task.details["originalFilter"].as_str();
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// Succeeded, or failed only because the index was there.
fn harmless(part: &Part) -> bool {
    part.status == Status::Succeeded
        || part.error.as_ref().and_then(|error| error["code"].as_str())
            == Some("index_already_exists")
}

/// Counts are unknown while a task runs.
fn running_details(task: &Task) -> Value {
    with_counts(task, |_| Value::Null)
}

fn final_details(task: &Task, parts: &[Part], status: Status) -> Value {
    with_counts(task, |field| {
        if status != Status::Succeeded {
            // Of an edition that came to nothing a node counts what was edited, and not what was deleted.
            let uncounted = task.kind == Kind::DocumentEdition && field == "deletedDocuments";
            return if uncounted { Value::Null } else { json!(0) };
        }
        let received = task.details["receivedDocuments"].as_u64();
        match (field, received) {
            // The number of accepted documents; with several copies, of which some may have missed the write, the
            // client's own number is the only one that is right.
            ("indexedDocuments", Some(received)) if task.copies > 1 => json!(received),
            _ => json!(count(task, parts, field)),
        }
    })
}

/// How many documents, each counted once. A copy that failed or is being filled says nothing of the others, so what a
/// node counts stands for its share of those that served and ran the task; exact as long as these are whole nodes.
fn count(task: &Task, parts: &[Part], field: &str) -> u64 {
    let ran = || {
        let counted = parts.iter().filter(|part| part.role == Role::Counted);
        counted.filter(|part| part.status == Status::Succeeded)
    };
    let own = |part: &Part| {
        part.details
            .as_ref()
            .and_then(|it| it[field].as_u64())
            .unwrap_or(0)
    };
    let mut copies: HashMap<Shard, u32> = HashMap::new();
    for shard in ran().flat_map(|part| &part.shards) {
        *copies.entry(*shard).or_default() += 1;
    }
    if copies.is_empty() {
        return ran()
            .map(own)
            .sum::<u64>()
            .div_ceil(u64::from(task.copies.max(1)));
    }
    let share = |part: &Part| -> f64 {
        let shares = part
            .shards
            .iter()
            .map(|shard| 1.0 / f64::from(copies[shard]));
        shares.sum::<f64>() / part.shards.len().max(1) as f64
    };
    ran()
        .map(|part| own(part) as f64 * share(part))
        .sum::<f64>()
        .round() as u64
}

/// The task's details with its kind's count set by `count`.
fn with_counts(task: &Task, count: impl Fn(&'static str) -> Value) -> Value {
    let field = match task.kind {
        Kind::DocumentAdditionOrUpdate => "indexedDocuments",
        Kind::DocumentDeletion | Kind::IndexDeletion => "deletedDocuments",
        Kind::TaskCancelation => "canceledTasks",
        Kind::DocumentEdition => {
            let edited = with_count(&task.details, "editedDocuments", &count);
            return with_count(&edited, "deletedDocuments", &count);
        }
        Kind::TaskDeletion
        | Kind::IndexCompaction
        | Kind::DumpCreation
        | Kind::SnapshotCreation
        | Kind::DsrUpdate
        | Kind::DsrClear
        | Kind::Export => return task.details.clone(),
        Kind::SettingsUpdate | Kind::IndexCreation | Kind::IndexUpdate | Kind::IndexSwap => {
            return task.details.clone()
        }
    };
    with_count(&task.details, field, &count)
}

fn with_count(
    details: &Value,
    field: &'static str,
    count: &dyn Fn(&'static str) -> Value,
) -> Value {
    let mut details = match details {
        Value::Object(map) => map.clone(),
        _ => serde_json::Map::new(),
    };
    details.insert(field.to_owned(), count(field));
    Value::Object(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(kind: Kind, details: Value) -> Task {
        Task {
            uid: 3,
            index_uid: Some("movies".into()),
            node_uid: Some("movies".into()),
            kind,
            status: Status::Enqueued,
            details,
            error: None,
            doom: None,
            effect: Default::default(),
            copies: 1,
            enqueued_at: 1,
            started_at: None,
            finished_at: None,
            custom_metadata: None,
            canceled_by: None,
        }
    }

    fn part(role: Role, shard: u16, status: Status, details: Value) -> Part {
        let mut part = Part::new("n", u32::from(shard), role, vec![Shard(shard)]);
        part.status = status;
        part.details = Some(details);
        part.started_at = (status != Status::Enqueued).then_some(10 + i64::from(shard));
        part.finished_at = status.is_finished().then_some(20 + i64::from(shard));
        part
    }

    fn failed(role: Role, shard: u16, code: &str) -> Part {
        let mut part = part(role, shard, Status::Failed, Value::Null);
        part.error = Some(json!({"code": code, "message": "no"}));
        part
    }

    #[test]
    fn enqueued_processing_succeeded() {
        let task = task(
            Kind::DocumentAdditionOrUpdate,
            json!({"receivedDocuments": 5}),
        );
        let mut parts = vec![
            part(Role::Counted, 0, Status::Enqueued, Value::Null),
            part(Role::Counted, 1, Status::Enqueued, Value::Null),
        ];
        assert_eq!(merge(&task, &parts, 99).status, Status::Enqueued);
        parts[1] = part(
            Role::Counted,
            1,
            Status::Succeeded,
            json!({"indexedDocuments": 2}),
        );
        let merged = merge(&task, &parts, 99);
        assert_eq!(
            (merged.status, merged.started_at, merged.finished_at),
            (Status::Processing, Some(11), None)
        );
        assert_eq!(
            merged.details,
            json!({"receivedDocuments": 5, "indexedDocuments": null})
        );
        parts[0] = part(
            Role::Counted,
            0,
            Status::Succeeded,
            json!({"indexedDocuments": 3}),
        );
        let merged = merge(&task, &parts, 99);
        assert_eq!(
            (merged.status, merged.started_at, merged.finished_at),
            (Status::Succeeded, Some(10), Some(21))
        );
        assert_eq!(
            merged.details,
            json!({"receivedDocuments": 5, "indexedDocuments": 5})
        );
    }

    #[test]
    fn a_cancelled_part_cancels_and_copies_that_differ_are_named() {
        let task = task(
            Kind::DocumentAdditionOrUpdate,
            json!({"receivedDocuments": 5}),
        );
        let canceled = part(Role::Counted, 1, Status::Canceled, Value::Null);
        let ran = part(
            Role::Counted,
            0,
            Status::Succeeded,
            json!({"indexedDocuments": 3}),
        );
        let merged = merge(&task, &[ran.clone(), canceled.clone()], 99);
        assert_eq!(merged.status, Status::Canceled);
        assert_eq!(merged.details["indexedDocuments"], 0);
        assert_eq!((merged.error, merged.missed), (None, vec![]));
        let mut other = ran;
        other.shards = vec![Shard(1)];
        other.node = "other".into();
        let merged = merge(&task, &[other, canceled], 99);
        assert_eq!(merged.missed, [(Shard(1), "n".to_owned())]);
    }

    #[test]
    fn what_some_copy_has_run_has_succeeded() {
        let details = json!({"receivedDocuments": 5});
        let mut task = task(Kind::DocumentAdditionOrUpdate, details);
        task.copies = 2;
        let lost = failed(Role::Counted, 1, "miroir_node_task_lost");
        let mut ran = part(Role::Counted, 1, Status::Succeeded, json!({}));
        ran.node = "other".into();
        let merged = merge(&task, &[lost.clone(), ran.clone()], 99);
        assert_eq!((merged.status, merged.error), (Status::Succeeded, None));
        assert_eq!(merged.missed, [(Shard(1), "n".to_owned())]);
        // A copy that is being filled stands for no shard: what becomes of the write there decides nothing.
        ran.shards.clear();
        let merged = merge(&task, &[lost.clone(), ran.clone()], 99);
        assert_eq!((merged.status, merged.missed), (Status::Failed, vec![]));
        let filling = Part {
            shards: vec![],
            ..lost
        };
        let merged = merge(
            &task,
            &[
                filling,
                part(Role::Counted, 1, Status::Succeeded, json!({})),
            ],
            99,
        );
        assert_eq!((merged.status, merged.missed), (Status::Succeeded, vec![]));
        // Settings must be the same everywhere.
        task.kind = Kind::SettingsUpdate;
        ran.shards = vec![Shard(1)];
        let merged = merge(&task, &[failed(Role::Counted, 1, "no_disk"), ran], 99);
        assert_eq!((merged.status, merged.missed), (Status::Failed, vec![]));
    }

    #[test]
    fn an_edition_that_failed_does_not_say_what_it_deleted() {
        let task = task(Kind::DocumentEdition, json!({"function": "doc.a = 1"}));
        let counts = json!({"editedDocuments": 0, "deletedDocuments": null});
        let details = |status| {
            let part = part(Role::Counted, 0, status, counts.clone());
            merge(&task, &[part], 99).details
        };
        let failed = details(Status::Failed);
        assert_eq!(
            (&failed["editedDocuments"], &failed["deletedDocuments"]),
            (&json!(0), &Value::Null)
        );
        assert_eq!(details(Status::Canceled)["deletedDocuments"], Value::Null);
        assert_eq!(details(Status::Succeeded)["deletedDocuments"], 0);
    }

    #[test]
    fn copies_are_not_counted_twice() {
        let mut task = task(
            Kind::DocumentDeletion,
            json!({"providedIds": 3, "originalFilter": null}),
        );
        task.copies = 2;
        let parts: Vec<Part> = (0..2)
            .map(|_| {
                part(
                    Role::Counted,
                    0,
                    Status::Succeeded,
                    json!({"deletedDocuments": 3}),
                )
            })
            .collect();
        assert_eq!(merge(&task, &parts, 99).details["deletedDocuments"], 3);
    }

    #[test]
    fn copies_that_did_not_run_a_deletion_or_are_being_filled_count_for_nothing() {
        let task = Task {
            copies: 3,
            ..task(Kind::DocumentDeletion, json!({"providedIds": 9}))
        };
        let on = |shards: &[u16], status: Status, deleted: u64| {
            let mut part = part(
                Role::Counted,
                0,
                status,
                json!({"deletedDocuments": deleted}),
            );
            part.shards = shards.iter().copied().map(Shard).collect();
            part
        };
        let mut failed = on(&[0, 1], Status::Failed, 0);
        failed.error = Some(json!({"code": "no_space_left_on_device"}));
        let parts = [
            on(&[0, 1], Status::Succeeded, 5),
            on(&[0, 1], Status::Succeeded, 5),
            failed,
            on(&[], Status::Succeeded, 2),
        ];
        assert_eq!(merge(&task, &parts, 99).details["deletedDocuments"], 5);
    }

    #[test]
    fn the_error_is_the_lowest_shards_and_counts_are_zero() {
        let task = task(
            Kind::DocumentAdditionOrUpdate,
            json!({"receivedDocuments": 5}),
        );
        let parts = vec![
            part(
                Role::Counted,
                0,
                Status::Succeeded,
                json!({"indexedDocuments": 3}),
            ),
            failed(Role::Counted, 2, "second"),
            failed(Role::Counted, 1, "first"),
        ];
        let merged = merge(&task, &parts, 99);
        assert_eq!(merged.status, Status::Failed);
        assert_eq!(merged.error.unwrap()["code"], "first");
        assert_eq!(
            merged.details,
            json!({"receivedDocuments": 5, "indexedDocuments": 0})
        );
    }

    #[test]
    fn auxiliary_parts_are_awaited_and_may_find_the_index() {
        let task = task(
            Kind::DocumentAdditionOrUpdate,
            json!({"receivedDocuments": 1}),
        );
        let mut parts = vec![
            part(
                Role::Counted,
                0,
                Status::Succeeded,
                json!({"indexedDocuments": 1}),
            ),
            part(Role::AuxiliaryCreation, 0, Status::Processing, Value::Null),
        ];
        assert_eq!(merge(&task, &parts, 99).status, Status::Processing);
        parts[1] = failed(Role::AuxiliaryCreation, 0, "index_already_exists");
        let merged = merge(&task, &parts, 99);
        assert_eq!((merged.status, merged.created), (Status::Succeeded, true));
        parts[1] = failed(Role::AuxiliaryCreation, 0, "no_space_left_on_device");
        let merged = merge(&task, &parts, 99);
        assert_eq!((merged.status, merged.created), (Status::Failed, false));
    }

    #[test]
    fn a_doomed_task_fails_once_its_auxiliary_parts_are_done() {
        let mut task = task(
            Kind::DocumentAdditionOrUpdate,
            json!({"receivedDocuments": 1}),
        );
        task.doom = Some(json!({"code": "index_primary_key_no_candidate_found"}));
        let merged = merge(
            &task,
            &[part(
                Role::AuxiliaryCreation,
                0,
                Status::Enqueued,
                Value::Null,
            )],
            99,
        );
        assert_eq!(merged.status, Status::Enqueued);
        let merged = merge(
            &task,
            &[part(
                Role::AuxiliaryCreation,
                0,
                Status::Succeeded,
                Value::Null,
            )],
            99,
        );
        assert_eq!((merged.status, merged.created), (Status::Failed, true));
        assert_eq!(merge(&task, &[], 99).finished_at, Some(99));
    }

    #[test]
    fn creating_an_index_completes_a_half_done_creation_but_not_a_whole_one() {
        let task = task(Kind::IndexCreation, json!({"primaryKey": null}));
        let ok = part(Role::Counted, 0, Status::Succeeded, Value::Null);
        let there = failed(Role::Counted, 1, "index_already_exists");
        assert_eq!(
            merge(&task, &[ok, there.clone()], 99).status,
            Status::Succeeded
        );
        assert_eq!(merge(&task, &[there], 99).status, Status::Failed);
    }
}
