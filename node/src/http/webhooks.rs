//! Webhooks.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use uuid::Uuid;

use super::{blocking, body, json, Answer, Shared};
use crate::deserialize::json_value;

pub async fn list(State(app): Shared) -> Answer {
    json(StatusCode::OK, &app.webhooks.hooks().list())
}

pub async fn create(State(app): Shared, headers: HeaderMap, body: Body) -> Answer {
    let body = json_value(&body::read_json(&headers, body, app.body_bytes_max).await?)?;
    let made = blocking(&app, move |app| {
        app.webhooks
            .change(|hooks| hooks.create(&body, Uuid::new_v4()))
    });
    json(StatusCode::CREATED, &made.await?)
}

pub async fn one(State(app): Shared, Path(uuid): Path<String>) -> Answer {
    json(StatusCode::OK, &app.webhooks.hooks().show(&uuid)?)
}

pub async fn update(
    State(app): Shared,
    Path(uuid): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = json_value(&body::read_json(&headers, body, app.body_bytes_max).await?)?;
    let changed = blocking(&app, move |app| {
        app.webhooks.change(|hooks| hooks.update(&uuid, &body))
    });
    json(StatusCode::OK, &changed.await?)
}

pub async fn delete(State(app): Shared, Path(uuid): Path<String>) -> Answer {
    blocking(&app, move |app| {
        app.webhooks.change(|hooks| hooks.delete(&uuid))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
