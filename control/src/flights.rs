//! Accepted tasks that have not ended, with what their nodes last said.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miroir_router::NodeIdx;
use serde_json::Value;
use tokio::sync::Notify;

use crate::clock::parse_rfc3339;
use crate::tasks::{Part, Status, Task, TaskUid};

/// One running task.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub task: Task,
    pub parts: Vec<Part>,
    /// Its end is on its way to the store.
    pub ended: bool,
}

/// All of them, and who is to be woken when something moves.
pub(crate) struct Flights {
    running: Mutex<BTreeMap<TaskUid, Flight>>,
    /// A node (by position) has got a new part.
    node_work: Mutex<Vec<Arc<Notify>>>,
    /// A part has moved, or a task without parts to wait for has come.
    pub moved: Notify,
}

impl Flights {
    pub(crate) fn new() -> Self {
        Flights {
            running: Mutex::new(BTreeMap::new()),
            node_work: Mutex::default(),
            moved: Notify::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskUid, Flight>> {
        // Entries change by assignment; a panic elsewhere leaves none half-changed.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, task: Task, parts: Vec<Part>) {
        self.lock().insert(
            task.uid,
            Flight {
                task,
                parts,
                ended: false,
            },
        );
        self.all_work().iter().for_each(|work| work.notify_one());
        self.moved.notify_one();
    }

    /// What wakes the poller of the node at this position.
    pub(crate) fn work_of(&self, node: NodeIdx) -> Arc<Notify> {
        let mut all = self.all_work();
        let position = usize::from(node.0);
        if all.len() <= position {
            all.resize_with(position + 1, Arc::default);
        }
        Arc::clone(&all[position])
    }

    fn all_work(&self) -> MutexGuard<'_, Vec<Arc<Notify>>> {
        self.node_work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The node is gone for good: nobody waits for its parts any more. The others decide how their tasks end; a task
    /// that has no others has failed.
    pub(crate) fn dismiss(&self, node: &str) {
        for flight in self.lock().values_mut() {
            let open = |part: &Part| part.node == node && !part.status.is_finished();
            if flight.parts.iter().all(open) {
                flight.parts.iter_mut().for_each(lose);
            } else {
                flight.parts.retain(|part| !open(part));
            }
        }
        self.moved.notify_one();
    }

    /// Which of `uids` have begun, or would have on a node that is not busy: nothing of their index is before them.
    pub(crate) fn begun(&self, uids: &[TaskUid]) -> Vec<TaskUid> {
        let mut busy: HashSet<&str> = HashSet::new();
        let running = self.lock();
        let mut begun = Vec::new();
        for (uid, flight) in running.iter() {
            let first = !flight.task.indexes().any(|index| busy.contains(index));
            let wanted = first || flight.task.status == Status::Processing;
            if wanted && uids.binary_search(uid).is_ok() {
                begun.push(*uid);
            }
            busy.extend(flight.task.indexes());
        }
        begun
    }

    /// The node tasks of `node` that have not ended, oldest first.
    pub(crate) fn pending(&self, node: &str) -> Vec<u32> {
        let mut uids: Vec<u32> = self
            .lock()
            .values()
            .flat_map(|flight| &flight.parts)
            .filter(|part| part.node == node && !part.status.is_finished())
            .map(|part| part.node_task)
            .collect();
        uids.sort_unstable();
        uids
    }

    /// Takes in a node's answer to `GET /tasks?uids=asked`; says whether anything moved.
    pub(crate) fn absorb(&self, node: &str, asked: &[u32], answer: &Value) -> bool {
        let Some(results) = answer["results"].as_array() else {
            return false;
        };
        let by_uid: BTreeMap<u64, &Value> = results
            .iter()
            .filter_map(|task| Some((task["uid"].as_u64()?, task)))
            .collect();
        let mut moved = false;
        for flight in self.lock().values_mut() {
            for part in flight
                .parts
                .iter_mut()
                .filter(|part| part.node == node && !part.status.is_finished())
            {
                if asked.binary_search(&part.node_task).is_err() {
                    continue;
                }
                moved |= match by_uid.get(&u64::from(part.node_task)) {
                    Some(task) => take_in(part, task),
                    None => {
                        lose(part);
                        true
                    }
                };
            }
        }
        moved
    }
}

fn take_in(part: &mut Part, task: &Value) -> bool {
    let Some(status) = task["status"].as_str().and_then(Status::parse) else {
        return false;
    };
    if status == part.status {
        return false;
    }
    let time = |field: &str| task[field].as_str().and_then(parse_rfc3339);
    part.status = status;
    part.started_at = time("startedAt");
    part.finished_at = time("finishedAt");
    part.details = task.get("details").cloned();
    part.error = task.get("error").filter(|error| !error.is_null()).cloned();
    true
}

/// The node answered 202 once and does not know the task any more: its data was lost or replaced.
fn lose(part: &mut Part) {
    tracing::error!(
        node = part.node,
        task = part.node_task,
        "the node has lost a task that it had accepted"
    );
    part.status = Status::Failed;
    let message = format!(
        "Node `{}` does not know its task {} any more: was its data replaced? Send the write again.",
        part.node, part.node_task
    );
    part.error = Some(miroir_api::Error::system(500, "miroir_node_task_lost", message).to_value());
}
