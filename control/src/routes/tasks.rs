//! `/tasks`: answered from the store alone.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use axum::Router;
use miroir_api::Error;
use serde_json::{json, Value};

use super::{ok, Answer, Failure, Shared, Who};
use crate::plane::Plane;
use crate::tasks::{view, Task, TaskFilter, TaskUid};

pub(super) fn router() -> Router<Arc<Plane>> {
    Router::new()
        .route("/tasks", get(list).delete(|| later("deleting tasks")))
        .route("/tasks/cancel", post(|| later("cancelling tasks")))
        .route(
            "/tasks/compact",
            post(|| later("compacting the task queue")),
        )
        .route("/tasks/{uid}", get(one))
        .route(
            "/tasks/{uid}/documents",
            get(|| later("showing a task's documents")),
        )
        .route("/batches", get(|| later("batches")))
        .route("/batches/{uid}", get(|| later("batches")))
}

async fn later(what: &'static str) -> Failure {
    Failure(Error::not_implemented(what))
}

async fn list(State(plane): Shared, access: Who, RawQuery(query): RawQuery) -> Answer {
    let query = query.unwrap_or_default();
    let filter = match TaskFilter::parse(&query) {
        Ok(filter) => filter,
        Err(error) => return Err(in_a_nodes_words(&plane, &query, error).await.into()),
    };
    let limit = filter.limit;
    // One more than the page, to know whether there is a next one.
    let wider = TaskFilter {
        limit: limit.saturating_add(1),
        seen: access.indexes(),
        ..filter
    };
    let (mut tasks, total) = plane.store.tasks(wider).await.map_err(Error::from)?;
    let next: Option<TaskUid> = if tasks.len() > limit as usize {
        tasks.pop().map(|task| task.uid)
    } else {
        None
    };
    let from = tasks.first().map(|task| task.uid);
    let results: Vec<Value> = tasks.iter().map(view).collect();
    ok(&json!({ "results": results, "total": total, "limit": limit, "from": from, "next": next }))
}

/// The names that a refusal lists depend on the nodes' version: a node that refuses the same says it better.
async fn in_a_nodes_words(plane: &Plane, query: &str, own: Error) -> Error {
    let Some(client) = plane.first_up() else {
        return own;
    };
    match client.get(&format!("/tasks?{query}")).await {
        Ok(judged) if judged.status == own.status => judged.error(),
        _ => own,
    }
}

async fn one(State(plane): Shared, access: Who, Path(uid): Path<String>) -> Answer {
    let number: TaskUid = uid.parse().map_err(|_| {
        let message =
            format!("Task uid `{uid}` is invalid. It should only contain numeric characters.");
        Error::invalid(400, "invalid_task_uids", message)
    })?;
    let task = plane.store.task(number).await.map_err(Error::from)?;
    let seen = |task: &Task| {
        let index = task.index_uid.as_deref();
        access.sees_all() || index.is_some_and(|index| access.sees(index))
    };
    let task = task.filter(seen);
    ok(&view(&task.ok_or_else(|| Error::task_not_found(number))?))
}
