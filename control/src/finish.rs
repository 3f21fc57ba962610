//! Ending tasks: from "every part has ended" to "the client may know".
//!
//! A task is reported as ended only once the routing table that shows its effect is published and the store has it: a
//! client that waits for its task and then searches must find what it asked for. Tasks of one index that change the
//! index itself hold back the later ones, so that effects come true in the order in which they were accepted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, BoxFuture};
use futures_util::FutureExt;
use miroir_router::{NodeIdx, Shard};
use serde_json::Value;
use tokio::time::timeout;

use crate::catalogue::Catalogue;
use crate::clock::now;
use crate::flights::Flight;
use crate::plane::Plane;
use crate::settings::{read_back, typed, ReadBack};
use crate::store::{FinishedTask, IndexRow, SettingsVersion, StoreError};
use crate::tasks::{merge, progress, Kind, Merged, Status, Task, TaskUid};

/// Ends that are on their way to the store.
type Ending = Vec<BoxFuture<'static, Result<Task, StoreError>>>;

/// How long a task waits at most before another try at what held it back (a node that must be read back is down).
const RETRY: Duration = Duration::from_millis(200);

/// Runs until the runtime stops.
pub(crate) async fn run_finisher(plane: Arc<Plane>) {
    let mut held_back = false;
    loop {
        if held_back {
            let _ = timeout(RETRY, plane.flights.moved.notified()).await;
        } else {
            plane.flights.moved.notified().await;
        }
        held_back = match round(&plane).await {
            Ok(held_back) => held_back,
            Err(error) => {
                tracing::error!(%error, "task states were not stored; trying again");
                true
            }
        };
    }
}

/// One look at all running tasks, oldest first; says whether something waits for another look.
async fn round(plane: &Plane) -> Result<bool, StoreError> {
    let looks = looks(plane);
    let flights: Vec<Flight> = looks.iter().map(|look| look.flight.clone()).collect();
    let mut held_back = false;
    let mut held_indexes: HashSet<String> = HashSet::new();
    let mut running: Vec<Task> = Vec::new();
    let mut ending: Ending = Vec::new();
    for Look { flight, behind } in &looks {
        let mut merged = merge(&flight.task, &flight.parts, now());
        let held = |held: &HashSet<String>| flight.task.indexes().any(|index| held.contains(index));
        if merged.status.is_finished() {
            let barrier = flight.task.effect.is_barrier();
            if !behind
                && !held(&held_indexes)
                && earlier_done(plane, flight, &mut merged, &mut ending).await?
                && end(plane, flight, &merged, &flights, &mut ending).await
            {
                if barrier {
                    // Later tasks of the index may depend on it.
                    settle(plane, &mut ending).await?;
                }
                continue;
            }
            // Behind another task: when that one moves, there will be another look.
            held_back |= !behind;
            held_indexes.extend(flight.task.indexes().map(str::to_owned));
            merged.status = match flight.parts.is_empty() {
                true => Status::Enqueued,
                false => Status::Processing,
            };
        } else if flight.task.effect.is_barrier() {
            held_indexes.extend(flight.task.indexes().map(str::to_owned));
        }
        if merged.status != flight.task.status {
            let mut task = flight.task.clone();
            task.status = merged.status;
            task.started_at = merged.started_at;
            running.push(task);
        }
    }
    if !running.is_empty() {
        running.iter_mut().for_each(|task| task.canceled_by = None);
        plane.store.update_tasks(running.clone()).await?;
        let mut flights = plane.flights.lock();
        for task in running {
            if let Some(flight) = flights.get_mut(&task.uid) {
                flight.task.status = task.status;
                flight.task.started_at = task.started_at;
            }
        }
    }
    settle(plane, &mut ending).await?;
    Ok(held_back)
}

/// Whether the tasks that this one waits for have ended; if so, a cancelation counts those that it cancelled.
async fn earlier_done(
    plane: &Plane,
    flight: &Flight,
    merged: &mut Merged,
    ending: &mut Ending,
) -> Result<bool, StoreError> {
    if !matches!(flight.task.kind, Kind::TaskCancelation | Kind::TaskDeletion) {
        return Ok(true);
    }
    settle(plane, ending).await?;
    let runs = |uid: &TaskUid| plane.flights.lock().contains_key(uid);
    if flight.task.effect.after.iter().any(runs) {
        return Ok(false);
    }
    if flight.task.kind == Kind::TaskDeletion {
        return Ok(true);
    }
    let count = plane.store.canceled_count(flight.task.uid).await?;
    merged.details["canceledTasks"] = Value::from(count);
    Ok(true)
}

/// A running task to look at.
struct Look {
    flight: Flight,
    /// An earlier task of its index still runs on some node: one node may be done with this task before another has
    /// begun the earlier one, but clients that wait for their last task must find all the earlier ones done, as on one
    /// node.
    behind: bool,
}

/// The running tasks of which something is to be said, oldest first. A bulk load has thousands of others.
fn looks(plane: &Plane) -> Vec<Look> {
    let mut unfinished: HashSet<String> = HashSet::new();
    let mut looks = Vec::new();
    for flight in plane.flights.lock().values() {
        if is_of_interest(flight) {
            let behind = flight
                .task
                .indexes()
                .any(|index| unfinished.contains(index));
            looks.push(Look {
                flight: flight.clone(),
                behind,
            });
        }
        let finished = flight.ended || progress(&flight.parts).is_none();
        if !finished {
            for index in flight.task.indexes() {
                if !unfinished.contains(index) {
                    unfinished.insert(index.to_owned());
                }
            }
        }
    }
    looks
}

/// Ended, moved, or in the way of later ones.
fn is_of_interest(flight: &Flight) -> bool {
    flight.task.effect.is_barrier()
        || !flight.task.effect.after.is_empty()
        || progress(&flight.parts) != Some(flight.task.status)
}

/// Waits for the store, then tells whom it may concern.
async fn settle(plane: &Plane, ending: &mut Ending) -> Result<(), StoreError> {
    let ended = join_all(ending.drain(..)).await;
    plane.webhooks.tell(ended.iter().flatten());
    if ended.iter().flatten().any(|task| task.kind.changes_rules()) {
        plane.relearn_rules().await;
    }
    ended.into_iter().try_for_each(|task| task.map(drop))
}

/// Makes a task's effect true: catalogue, routing table, store. `false`: not possible just now.
async fn end(
    plane: &Plane,
    flight: &Flight,
    merged: &Merged,
    flights: &[Flight],
    ending: &mut Ending,
) -> bool {
    let mut task = flight.task.clone();
    task.status = merged.status;
    task.details = merged.details.clone();
    task.error = merged.error.clone();
    task.started_at = merged.started_at;
    task.finished_at = merged.finished_at;
    // It may have been faster than its cancelation.
    task.canceled_by = task.canceled_by.filter(|_| task.status == Status::Canceled);

    let mut settings = None;
    let created = task.effect.creates && merged.created;
    let uid = task.node_uid.clone().unwrap_or_default();
    if created {
        plane.identify_index(&uid).await;
    }
    if created || (task.effect.changes_settings() && task.status == Status::Succeeded) {
        match new_settings(plane, &task, flights).await {
            Read::Settings(value) => settings = Some(value),
            Read::Diverged(value, why) => {
                task.status = Status::Failed;
                let message = format!(
                    "The nodes do not agree on the settings: {why}. Send the settings again."
                );
                task.error = Some(
                    miroir_api::Error::system(500, "miroir_settings_diverged", message).to_value(),
                );
                settings = Some(value);
            }
            Read::Skip => {}
            Read::NotNow => return false,
        }
    }

    let mut catalogue = plane.catalogue();
    let mut version = None;
    let mut rows = Vec::new();
    let mut gone = None;
    let mut replanned = false;
    if task.status == Status::Succeeded {
        rename(plane, &mut catalogue, &mut task);
    }
    if let Some(entry) = catalogue.get_mut(&uid) {
        let planned = entry.planned.clone();
        entry.finish(
            task.uid,
            &task.effect,
            task.status,
            merged.created,
            task.finished_at.unwrap_or_else(now),
        );
        replanned = entry.planned != planned;
        if let (Some(settings), Some(visible)) = (settings, entry.visible.as_ref()) {
            entry.settings = Arc::new(typed(&settings, &visible.faceting));
            entry.settings_version += 1;
            version = Some(SettingsVersion {
                version: entry.settings_version,
                settings,
            });
        }
        if entry.is_gone() {
            gone = Some(uid.clone());
            catalogue.remove(&uid);
        }
    }
    let missed = missed(plane, &catalogue, &uid, merged);
    let missed = plane.distrust(&mut catalogue, &uid, &missed);
    replanned |= !missed.is_empty();
    catalogue.settle_names(task.uid, &task.effect.names);
    rows.extend(
        task.indexes()
            .filter_map(|index| catalogue.get(index))
            .map(IndexRow::from),
    );
    if replanned || task.effect.is_barrier() {
        plane.publish(&catalogue);
    }
    // Answers that were begun before must not be given to those who hear of it.
    let everywhere = task.kind.changes_rules() || task.node_uid.is_none();
    for entry in catalogue.iter() {
        if everywhere || task.indexes().any(|index| index == entry.node_uid) {
            entry.changes.note();
        }
    }
    let done = task.uid;
    let flights = Arc::clone(&plane.flights);
    if let Some(flight) = flights.lock().get_mut(&done) {
        flight.ended = true;
    }
    let stored = plane.store.finish(FinishedTask {
        task,
        indexes: rows,
        gone,
        missed,
        settings: version,
    });
    let end = async move {
        let task = stored.await?;
        flights.lock().remove(&done);
        Ok(task)
    };
    ending.push(end.boxed());
    true
}

/// The copies on which the task was not run although it has run on others. The last copy of a shard that serves is not
/// among them.
fn missed(
    plane: &Plane,
    catalogue: &Catalogue,
    node_uid: &str,
    merged: &Merged,
) -> Vec<(Shard, NodeIdx)> {
    let Some(entry) = catalogue.get(node_uid) else {
        return Vec::new();
    };
    let fleet = plane.fleet();
    let copies = merged.missed.iter();
    let copies = copies.filter_map(|(shard, node)| Some((*shard, fleet.member(node)?.idx)));
    let missed: Vec<(Shard, NodeIdx)> = copies.collect();
    let replaceable = |(shard, node): &(Shard, NodeIdx)| {
        let mut others = entry.layouts.published.copies_of(*shard).iter();
        let found =
            others.any(|copy| copy.state.serves() && !missed.contains(&(*shard, copy.node)));
        if !found {
            tracing::error!(
                index = entry.name,
                shard = shard.0,
                node = node.0,
                "the last copy that serves has missed a write"
            );
        }
        found
    };
    missed.iter().copied().filter(replaceable).collect()
}

/// Gives a succeeding task's indexes their new names; where one of them is gone meanwhile, the task fails instead.
fn rename(plane: &Plane, catalogue: &mut Catalogue, task: &mut Task) {
    let Err(error) = catalogue.rename(&task.effect.names) else {
        return;
    };
    task.status = Status::Failed;
    task.error = Some(error.to_value());
    // The plan built on it: names stay, but for what later tasks will change.
    let own: Vec<String> = task.indexes().map(str::to_owned).collect();
    for index in own {
        if let Some(entry) = catalogue.get_mut(&index) {
            entry.planned_name.clone_from(&entry.name);
        }
    }
    for later in plane.flights.lock().values() {
        if later.task.uid > task.uid {
            catalogue.plan_names(&later.task.effect.names);
        }
    }
}

enum Read {
    Settings(Value),
    Diverged(Value, String),
    /// The index is about to go; nobody will look.
    Skip,
    NotNow,
}

/// Reads the index's settings back from the nodes. They are compared only when nothing later is on its way that
/// changes them: otherwise one node may be a step ahead of another, rightly.
async fn new_settings(plane: &Plane, task: &Task, flights: &[Flight]) -> Read {
    let later = || {
        flights
            .iter()
            .filter(|other| other.task.uid > task.uid && other.task.node_uid == task.node_uid)
    };
    if task.effect.deletes || later().any(|other| other.task.effect.deletes) {
        return Read::Skip;
    }
    let alone = !later().any(|other| other.task.effect.is_barrier());
    let index = task.node_uid.as_deref().unwrap_or_default();
    match read_back(&plane.holders(index), index).await {
        ReadBack::Agreed(value) => Read::Settings(value),
        ReadBack::Diverged(value, _) if !alone => Read::Settings(value),
        // Another change began after we looked at what is running.
        ReadBack::Diverged(..) if changing(plane, task) => Read::NotNow,
        ReadBack::Diverged(_, why) => {
            tracing::warn!(index, %why, "settings differ between nodes; reading again");
            match read_back(&plane.holders(index), index).await {
                ReadBack::Agreed(value) => Read::Settings(value),
                ReadBack::Diverged(..) if changing(plane, task) => Read::NotNow,
                ReadBack::Diverged(value, why) => Read::Diverged(value, why),
                ReadBack::Unavailable(_) => Read::NotNow,
            }
        }
        ReadBack::Unavailable(why) => {
            tracing::debug!(index, %why, "settings cannot be read back yet");
            Read::NotNow
        }
    }
}

/// Whether a later change of the index is being sent or is on its way: nodes may be a step apart then, rightly.
fn changing(plane: &Plane, task: &Task) -> bool {
    let uid = task.node_uid.as_deref().unwrap_or_default();
    let held = plane
        .catalogue()
        .get(uid)
        .is_some_and(|entry| entry.turns > 0);
    held || plane.flights.lock().values().any(|other| {
        other.task.uid > task.uid
            && other.task.node_uid == task.node_uid
            && other.task.effect.is_barrier()
    })
}
