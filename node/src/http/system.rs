//! What is about the node as a whole.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::Extension;
use miroir_api::features::Feature;
use miroir_api::{Error, EMBEDDED};
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;

use super::indexes::IndexStats;
use super::{blocking, body, enqueue, json, Answer, Shared, Who};
use crate::deserialize::read_json;
use crate::error::{heed_error, milli_error};
use crate::features::Change;
use crate::tasks::Work;

/// Routes of Meilisearch that an embedded node does not have; they say so.
pub const NOT_HERE: &[&str] = &["/snapshots", "/export"];

/// 501 `miroir_not_implemented`.
pub async fn unwilling(path: MatchedPath) -> Answer {
    Err(Error::not_implemented(format!("`{}` on an embedded node", path.as_str())).into())
}

/// The routes of features that an embedded node does not have: refused as features that are off. One that is on all the
/// same is not here yet.
pub async fn disabled(
    State(app): Shared,
    path: MatchedPath,
    action: &'static str,
    feature: Feature,
) -> Answer {
    if app.features.flags().is_on(feature.name) {
        return unwilling(path).await;
    }
    Err(feature.refusal(action).into())
}

/// Asks for a dump.
pub async fn dump(State(app): Shared) -> Answer {
    let features = serde_json::to_value(app.features.flags());
    let (keys, _) = app.keys.page(0, usize::MAX);
    let work = Work::CreateDump {
        folder: app.dump_folder.clone(),
        keys: keys.iter().map(miroir_dump::key_line).collect(),
        features: features.map_err(|error| Error::internal(error.to_string()))?,
    };
    enqueue(&app, StatusCode::ACCEPTED, None, work).await
}

pub async fn root() -> Answer {
    json(StatusCode::OK, &json!({"status": "Meilisearch is running"}))
}

pub async fn health() -> Answer {
    json(StatusCode::OK, &json!({"status": "available"}))
}

/// The version is the engine's: it is what decides how the node behaves.
pub async fn version() -> Answer {
    json(
        StatusCode::OK,
        &json!({"commitSha": EMBEDDED, "commitDate": "unknown", "pkgVersion": "1.15.1"}),
    )
}

pub async fn features(State(app): Shared) -> Answer {
    json(StatusCode::OK, &app.features.flags())
}

/// Unlike other settings of Meilisearch, features change at once and without a task.
pub async fn switch_features(State(app): Shared, headers: HeaderMap, body: Body) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let change: Change = read_json(&body)?;
    let flags = blocking(&app, move |app| app.features.change(&change)).await?;
    json(StatusCode::OK, &flags)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    database_size: u64,
    used_database_size: u64,
    #[serde(with = "time::serde::rfc3339::option")]
    last_update: Option<OffsetDateTime>,
    indexes: BTreeMap<String, IndexStats>,
}

pub async fn stats(State(app): Shared, Extension(access): Who) -> Answer {
    let stats = blocking(&app, move |app| {
        let mut stats = Stats {
            database_size: 0,
            used_database_size: 0,
            last_update: None,
            indexes: BTreeMap::new(),
        };
        for uid in app.scheduler.indexes.names() {
            let Some(index) = app.scheduler.indexes.find(&uid)? else {
                continue;
            };
            let rtxn = index.read_txn().map_err(heed_error)?;
            stats.database_size += index.on_disk_size().map_err(milli_error)?;
            stats.used_database_size += index.used_size().map_err(milli_error)?;
            // Sizes are of all, whoever asks.
            if !access.sees(&uid) {
                continue;
            }
            stats.last_update = stats
                .last_update
                .max(Some(index.updated_at(&rtxn).map_err(milli_error)?));
            let of_index = IndexStats::new(app, &uid, &index)?;
            stats.indexes.insert(uid, of_index);
        }
        Ok(stats)
    });
    json(StatusCode::OK, &stats.await?)
}
