//! Data on the move, and whether all copies hold the same.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use miroir_api::Error;
use serde::Deserialize;
use serde_json::json;

use super::{read, read_query};
use crate::plane::Plane;
use crate::routes::body;
use crate::routes::{json_response, ok, Answer, Shared};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Throttle {
    /// None: as fast as the nodes can.
    documents_per_second: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Of {
    /// None: all indexes.
    index: Option<String>,
}

pub(super) async fn show(State(plane): Shared) -> Answer {
    ok(&json!(plane.movements_view()))
}

pub(super) async fn pause(State(plane): Shared) -> Answer {
    plane.movements.pause();
    ok(&json!(plane.movements_view()))
}

pub(super) async fn resume(State(plane): Shared) -> Answer {
    plane.movements.resume();
    ok(&json!(plane.movements_view()))
}

pub(super) async fn throttle(State(plane): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let throttle: Throttle = read(body::json(&headers, &bytes)?)?;
    if throttle.documents_per_second == Some(0) {
        return Err(Error::bad_request(
            "`documentsPerSecond` is 0: give a number from 1, or null for no limit; to stop, use /_miroir/rebalance/pause.",
        )
        .into());
    }
    plane.movements.throttle(throttle.documents_per_second);
    ok(&json!(plane.movements_view()))
}

/// The last comparison, or the running one so far.
pub(super) async fn report(State(plane): Shared) -> Answer {
    let nothing = || json!({ "startedAt": null, "finishedAt": null, "indexes": [] });
    ok(&plane
        .last_report()
        .map_or_else(nothing, |report| json!(report)))
}

pub(super) async fn verify(State(plane): Shared, RawQuery(query): RawQuery) -> Answer {
    compare(&plane, query.as_deref(), false)
}

pub(super) async fn repair(State(plane): Shared, RawQuery(query): RawQuery) -> Answer {
    compare(&plane, query.as_deref(), true)
}

/// Begins a comparison, which may take long: GET /_miroir/verify says how it is doing.
fn compare(plane: &Arc<Plane>, query: Option<&str>, repair: bool) -> Answer {
    let of: Of = read_query(query)?;
    if let Some(index) = &of.index {
        if plane.catalogue().visible(index).is_none() {
            return Err(Error::index_not_found(index).into());
        }
    }
    let plane = Arc::clone(plane);
    tokio::spawn(async move {
        let index = of.index.as_deref();
        let outcome = match repair {
            true => plane.repair(index).await,
            false => plane.verify(index).await,
        };
        if let Err(error) = outcome {
            tracing::warn!(error = error.message, "the copies were not compared");
        }
    });
    Ok(json_response(
        202,
        &json!({ "status": "started", "next": "GET /_miroir/verify" }),
    ))
}
