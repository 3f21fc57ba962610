//! Settings: the whole object, and each by itself.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::Extension;
use miroir_api::Error;
use serde_json::Value;

use super::query::index_uid;
use super::{blocking, body, enqueue, json, Answer, App, Shared, Who};
use crate::deserialize::{json_value, read_json};
use crate::error::{heed_error, milli_error};
use crate::settings::{view, Part, Settings};
use crate::tasks::Work;

pub async fn all(State(app): Shared, Path(uid): Path<String>) -> Answer {
    let uid = index_uid(uid)?;
    json(
        StatusCode::OK,
        &blocking(&app, move |app| current(app, &uid)).await?,
    )
}

pub async fn update(
    State(app): Shared,
    Extension(access): Who,
    Path(uid): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let settings: Settings = read_json(&body)?;
    let uid = index_uid(uid)?;
    let work = Work::UpdateSettings {
        settings: Box::new(settings.validated(app.features.flags())?),
        creates: access.may_create(&uid),
    };
    enqueue(&app, StatusCode::ACCEPTED, Some(uid), work).await
}

pub async fn reset(State(app): Shared, Path(uid): Path<String>) -> Answer {
    let uid = index_uid(uid)?;
    let settings = Box::new(Settings::cleared());
    enqueue(
        &app,
        StatusCode::ACCEPTED,
        Some(uid),
        Work::UpdateSettings {
            settings,
            creates: false,
        },
    )
    .await
}

pub async fn part(part: &'static Part, State(app): Shared, Path(uid): Path<String>) -> Answer {
    let uid = index_uid(uid)?;
    let settings = blocking(&app, move |app| current(app, &uid)).await?;
    let settings = serde_json::to_value(settings).map_err(|e| Error::internal(e.to_string()))?;
    json(
        StatusCode::OK,
        settings.get(part.name).unwrap_or(&Value::Null),
    )
}

pub async fn update_part(
    part: &'static Part,
    State(app): Shared,
    Extension(access): Who,
    Path(uid): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let settings = (part.read)(json_value(&body)?, app.features.flags())?;
    let uid = index_uid(uid)?;
    let work = Work::UpdateSettings {
        settings: Box::new(settings),
        creates: access.may_create(&uid),
    };
    enqueue(&app, StatusCode::ACCEPTED, Some(uid), work).await
}

pub async fn reset_part(
    part: &'static Part,
    State(app): Shared,
    Path(uid): Path<String>,
) -> Answer {
    let uid = index_uid(uid)?;
    let work = Work::UpdateSettings {
        settings: Box::new((part.reset)()),
        creates: false,
    };
    enqueue(&app, StatusCode::ACCEPTED, Some(uid), work).await
}

fn current(app: &App, uid: &str) -> Result<Settings, Error> {
    let index = app.scheduler.indexes.get(uid)?;
    let rtxn = index.read_txn().map_err(heed_error)?;
    view(&index, &rtxn).map_err(milli_error)
}
