//! `/keys`.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::Router;
use bytes::Bytes;
use miroir_api::body::paging;

use super::{body, json_response, ok, Answer, Shared};
use crate::plane::Plane;

pub(super) fn router() -> Router<Arc<Plane>> {
    Router::new()
        .route("/keys", get(list).post(create))
        .route("/keys/{key}", get(show).patch(update).delete(delete))
}

async fn list(State(plane): Shared, RawQuery(query): RawQuery) -> Answer {
    let codes = ("invalid_api_key_offset", "invalid_api_key_limit");
    let (offset, limit) = paging(query.as_deref(), codes)?;
    ok(&plane.list_keys(offset, limit).await?)
}

async fn create(State(plane): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let key = plane.create_key(&body::json(&headers, &bytes)?).await?;
    Ok(json_response(201, &key))
}

async fn show(State(plane): Shared, Path(key): Path<String>) -> Answer {
    ok(&plane.show_key(&key).await?)
}

async fn update(
    State(plane): Shared,
    Path(key): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let body = body::json(&headers, &bytes)?;
    ok(&plane.update_key(&key, &body).await?)
}

async fn delete(State(plane): Shared, Path(key): Path<String>) -> Answer {
    plane.delete_key(&key).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
