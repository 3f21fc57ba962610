//! `/webhooks`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::Router;
use bytes::Bytes;

use super::{body, json_response, ok, Answer, Shared};
use crate::plane::Plane;

pub(super) fn router() -> Router<Arc<Plane>> {
    Router::new()
        .route("/webhooks", get(list).post(create))
        .route("/webhooks/{uuid}", get(show).patch(update).delete(delete))
}

async fn list(State(plane): Shared) -> Answer {
    ok(&plane.list_webhooks())
}

async fn create(State(plane): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let made = plane.create_webhook(&body::json(&headers, &bytes)?).await?;
    Ok(json_response(201, &made))
}

async fn show(State(plane): Shared, Path(uuid): Path<String>) -> Answer {
    ok(&plane.show_webhook(&uuid)?)
}

async fn update(
    State(plane): Shared,
    Path(uuid): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let body = body::json(&headers, &bytes)?;
    ok(&plane.update_webhook(&uuid, &body).await?)
}

async fn delete(State(plane): Shared, Path(uuid): Path<String>) -> Answer {
    plane.delete_webhook(&uuid).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
