//! `POST /tasks/cancel` and `DELETE /tasks`: both are tasks themselves.
//!
//! Cancelling asks the nodes to cancel what they have not begun, and waits until every task that it asked for has ended
//! one way or the other. Only writes of documents, snapshots, dumps and exports are cancelled: a change of settings or of an index that reached some
//! nodes and not others would leave them at odds, so such tasks count as begun from the moment they are accepted.
//!
//! Deleting forgets finished tasks here; the nodes' own tasks are nobody's business. As on one node, which ends the batch
//! that it works on first, tasks that had begun when the deletion came are waited for and forgotten too.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use miroir_api::Error;
use reqwest::Method;
use serde_json::json;

use crate::catalogue::Effect;
use crate::clock::now;
use crate::indexes::bare_task;
use crate::jobs::waits;
use crate::nodes::NodeRequest;
use crate::plane::Plane;
use crate::tasks::{summary, Kind, Part, Role, Task, TaskFilter, TaskUid};
use crate::types::TaskSummary;

/// Uids in one request to a node: bounds the length of its query string.
const UIDS_MAX: usize = 500;

impl Plane {
    /// `POST /tasks/cancel`; `query` is the client's own, as its task shows it.
    pub(crate) async fn cancel_tasks(
        self: &Arc<Self>,
        filter: TaskFilter,
        query: &str,
    ) -> Result<TaskSummary, Error> {
        let matched = self.store.task_uids(filter).await?;
        let cancels = self.cancellable(&matched);
        let details = json!({
            "matchedTasks": matched.len(),
            "canceledTasks": null,
            "originalFilter": format!("?{query}"),
        });
        let task = Task {
            effect: Effect {
                after: cancels.clone(),
                ..Effect::default()
            },
            ..bare_task(Kind::TaskCancelation, details, now())
        };
        // In the store before a node hears of it, so that what is cancelled can name the task that did it.
        let task = self.accept_quietly(task).await?;
        for uid in &cancels {
            if let Some(flight) = self.flights.lock().get_mut(uid) {
                flight.task.canceled_by = Some(task.uid);
            }
        }
        let parts = self.cancel_on_nodes(&cancels).await;
        self.store.add_parts(task.uid, parts.clone()).await?;
        self.flights.insert(task.clone(), parts);
        Ok(summary(&task))
    }

    /// Which of these still run and may be cancelled.
    fn cancellable(&self, matched: &[TaskUid]) -> Vec<TaskUid> {
        let flights = self.flights.lock();
        let may = |uid: &&TaskUid| {
            flights.get(uid).is_some_and(|flight| {
                let kind = flight.task.kind;
                let on_nodes = kind.writes_documents() || kind == Kind::SnapshotCreation;
                let running = |part: &Part| !part.status.is_finished();
                !flight.ended
                    && (waits(&flight.task) || on_nodes && flight.parts.iter().any(running))
            })
        };
        matched.iter().filter(may).copied().collect()
    }

    /// Asks every node to cancel its parts of these tasks. A node that does not answer cancels nothing: its tasks run.
    async fn cancel_on_nodes(&self, tasks: &[TaskUid]) -> Vec<Part> {
        let mut wanted: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        {
            let flights = self.flights.lock();
            let parts = tasks
                .iter()
                .filter_map(|uid| flights.get(uid))
                .flat_map(|flight| &flight.parts)
                .filter(|part| part.role == Role::Counted && !part.status.is_finished());
            for part in parts {
                wanted
                    .entry(part.node.clone())
                    .or_default()
                    .push(part.node_task);
            }
        }
        let nodes = self.nodes();
        let mut requests = Vec::new();
        for client in nodes.iter() {
            for uids in wanted
                .get(client.id())
                .into_iter()
                .flat_map(|all| all.chunks(UIDS_MAX))
            {
                let uids: Vec<String> = uids.iter().map(u32::to_string).collect();
                let path = format!("/tasks/cancel?uids={}", uids.join(","));
                requests.push(async move {
                    let request = NodeRequest::new(Method::POST, path, None);
                    (client, client.send(&request).await)
                });
            }
        }
        let mut parts = Vec::new();
        for (client, reply) in join_all(requests).await {
            let uid = reply
                .as_ref()
                .ok()
                .filter(|reply| reply.status == 200)
                .and_then(|reply| u32::try_from(reply.json()["taskUid"].as_u64()?).ok());
            match uid {
                Some(uid) => parts.push(Part::new(client.id(), uid, Role::Auxiliary, Vec::new())),
                None => tracing::warn!(node = client.id(), "a node did not cancel tasks; they run"),
            }
        }
        parts
    }

    /// `DELETE /tasks`.
    pub(crate) async fn delete_tasks(
        self: &Arc<Self>,
        filter: TaskFilter,
        query: &str,
    ) -> Result<TaskSummary, Error> {
        let matched = self.store.task_uids(filter).await?;
        let details = json!({
            "matchedTasks": matched.len(),
            "deletedTasks": null,
            "originalFilter": format!("?{query}"),
        });
        let task = Task {
            effect: Effect {
                after: self.flights.begun(&matched),
                forgets: matched,
                ..Effect::default()
            },
            ..bare_task(Kind::TaskDeletion, details, now())
        };
        let task = self.accept_quietly(task).await?;
        self.flights.insert(task.clone(), Vec::new());
        Ok(summary(&task))
    }

    /// Stores a task that waits for what is still to be sent.
    async fn accept_quietly(&self, task: Task) -> Result<Task, Error> {
        let new = crate::store::NewTask {
            task,
            parts: Vec::new(),
            index: None,
            missed: Vec::new(),
        };
        Ok(self.store.register(new).await?)
    }
}
