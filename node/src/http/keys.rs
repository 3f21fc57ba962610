//! API keys.

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use miroir_api::body::paging;

use super::{blocking, body, json, Answer, Paged, Shared};
use crate::deserialize::json_value;

pub async fn list(State(app): Shared, RawQuery(query): RawQuery) -> Answer {
    let codes = ("invalid_api_key_offset", "invalid_api_key_limit");
    let (offset, limit) = paging(query.as_deref(), codes)?;
    let (results, total) = app.keys.page(offset, limit);
    json(
        StatusCode::OK,
        &Paged {
            results,
            offset,
            limit,
            total,
        },
    )
}

pub async fn create(State(app): Shared, headers: HeaderMap, body: Body) -> Answer {
    let body = json_value(&body::read_json(&headers, body, app.body_bytes_max).await?)?;
    let made = blocking(&app, move |app| app.keys.create(&body)).await?;
    json(StatusCode::CREATED, &made)
}

pub async fn one(State(app): Shared, Path(name): Path<String>) -> Answer {
    json(StatusCode::OK, &app.keys.one(&name)?)
}

pub async fn update(
    State(app): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = json_value(&body::read_json(&headers, body, app.body_bytes_max).await?)?;
    let changed = blocking(&app, move |app| app.keys.update(&name, &body)).await?;
    json(StatusCode::OK, &changed)
}

pub async fn delete(State(app): Shared, Path(name): Path<String>) -> Answer {
    blocking(&app, move |app| app.keys.delete(&name)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
