//! `/tasks`: answered from the store alone, but for the documents of a task.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::Router;
use miroir_api::Error;
use miroir_auth::Access;
use serde_json::{json, Value};

use super::{features, json_response, ok, Answer, Shared, Who};
use crate::plane::Plane;
use crate::tasks::{batch_view, view, Task, TaskFilter, TaskUid};

pub(super) fn router() -> Router<Arc<Plane>> {
    Router::new()
        .route("/tasks", get(list).delete(delete))
        .route("/tasks/cancel", post(cancel))
        .route("/tasks/{uid}", get(one))
        .route("/tasks/{uid}/documents", get(documents))
        .route("/batches", get(list_batches))
        .route("/batches/{uid}", get(one_batch))
}

async fn cancel(State(plane): Shared, access: Who, RawQuery(query): RawQuery) -> Answer {
    let query = query.unwrap_or_default();
    let filter = seen_by(&access, TaskFilter::parse_selection(&query, "cancel")?);
    // 200 and not 202, as Meilisearch has it.
    Ok(json_response(
        200,
        &plane.cancel_tasks(filter, &query).await?,
    ))
}

async fn delete(State(plane): Shared, access: Who, RawQuery(query): RawQuery) -> Answer {
    let query = query.unwrap_or_default();
    let filter = seen_by(&access, TaskFilter::parse_selection(&query, "delete")?);
    Ok(json_response(
        200,
        &plane.delete_tasks(filter, &query).await?,
    ))
}

pub(super) async fn list(State(plane): Shared, access: Who, RawQuery(query): RawQuery) -> Answer {
    let query = query.unwrap_or_default();
    let filter = match TaskFilter::parse(&query) {
        Ok(filter) => filter,
        Err(error) => return Err(in_a_nodes_words(&plane, &query, error).await.into()),
    };
    page(&plane, seen_by(&access, filter), |task| Some(view(task))).await
}

/// The same filters, on the tasks that have begun: each is a batch.
async fn list_batches(State(plane): Shared, access: Who, RawQuery(query): RawQuery) -> Answer {
    let query = query.unwrap_or_default();
    let filter = match TaskFilter::parse(&query) {
        Ok(filter) => filter.of_batches(),
        Err(error) => return Err(in_a_nodes_words(&plane, &query, error).await.into()),
    };
    page(&plane, seen_by(&access, filter), batch_view).await
}

/// Only tasks of indexes that the key sees.
fn seen_by(access: &Access, filter: TaskFilter) -> TaskFilter {
    TaskFilter {
        seen: access.indexes(),
        ..filter
    }
}

async fn page(plane: &Plane, filter: TaskFilter, view: impl Fn(&Task) -> Option<Value>) -> Answer {
    let limit = filter.limit;
    // One more than the page, to know whether there is a next one.
    let wider = TaskFilter {
        limit: limit.saturating_add(1),
        ..filter
    };
    let (mut tasks, total) = plane.store.tasks(wider).await.map_err(Error::from)?;
    let next: Option<TaskUid> = if tasks.len() > limit as usize {
        tasks.pop().map(|task| task.uid)
    } else {
        None
    };
    let from = tasks.first().map(|task| task.uid);
    let results: Vec<Value> = tasks.iter().filter_map(view).collect();
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

pub(super) async fn one(State(plane): Shared, access: Who, Path(uid): Path<String>) -> Answer {
    ok(&view(&find(&plane, &access, &uid).await?))
}

async fn documents(State(plane): Shared, access: Who, Path(uid): Path<String>) -> Answer {
    features::TASK_DOCUMENTS.require(&plane).await?;
    let task = find(&plane, &access, &uid).await?;
    let payload = plane.task_documents(&task).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], payload).into_response())
}

async fn find(plane: &Plane, access: &Access, uid: &str) -> Result<Task, Error> {
    let number: TaskUid = uid.parse().map_err(|_| {
        let message =
            format!("Task uid `{uid}` is invalid. It should only contain numeric characters.");
        Error::invalid(400, "invalid_task_uids", message)
    })?;
    let task = plane.store.task(number).await?;
    let task = task.filter(|task| sees(access, task));
    task.ok_or_else(|| Error::task_not_found(number))
}

async fn one_batch(State(plane): Shared, access: Who, Path(uid): Path<String>) -> Answer {
    let number: TaskUid = uid.parse().map_err(|_| {
        let message =
            format!("Batch uid `{uid}` is invalid. It should only contain numeric characters.");
        Error::invalid(400, "invalid_batch_uids", message)
    })?;
    let task = plane.store.task(number).await.map_err(Error::from)?;
    let task = task.filter(|task| sees(&access, task));
    let batch = task.as_ref().and_then(batch_view).ok_or_else(|| {
        Error::invalid(
            404,
            "batch_not_found",
            format!("Batch `{number}` not found."),
        )
    })?;
    ok(&batch)
}

fn sees(access: &Access, task: &Task) -> bool {
    let index = task.index_uid.as_deref();
    access.sees_all() || index.is_some_and(|index| access.sees(index))
}
