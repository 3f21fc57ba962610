//! The slow routes, as one axum router. Searches and document reads and writes never come here: the cores serve them.
//!
//! An unknown path is a 404 without a body, as on a node (SDKs rely on it), a wrong method a 405 without one. What

mod admin;
pub(crate) mod body;
mod chats;
mod dumps;
mod features;
mod indexes;
mod keys;
mod settings;
mod tasks;
mod webhooks;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use bytes::Bytes;
use miroir_api::Error;
use miroir_auth::Access;
use serde::Serialize;
use serde_json::{json, Value};

use crate::plane::Plane;
use crate::stats::SizesWanted;

type Shared = State<Arc<Plane>>;

/// What the client may see; the core has put it there with [`crate::Control::handle`].
type Who = Extension<Access>;

/// Builds the router.
pub(crate) fn router(plane: Arc<Plane>) -> Router {
    Router::new()
        .route("/", get(running))
        .route("/health", get(health))
        .route("/version", get(version))
        .route("/stats", get(stats))
        .merge(indexes::router())
        .merge(settings::router())
        .merge(tasks::router())
        .merge(keys::router())
        .merge(admin::router(&plane))
        .merge(webhooks::router())
        .merge(features::router())
        .merge(chats::router())
        .merge(dumps::router())
        // The cores serve these; what reaches us has a method that they do not know.
        .route("/multi-search", any(wrong_method))
        .route("/indexes/{uid}/search", any(wrong_method))
        .route("/indexes/{uid}/facet-search", any(wrong_method))
        .route("/indexes/{uid}/similar", any(wrong_method))
        .route("/indexes/{uid}/documents", any(wrong_method))
        .route("/indexes/{uid}/documents/{id}", any(wrong_method))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .method_not_allowed_fallback(wrong_method)
        .with_state(plane)
}

async fn wrong_method() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

/// Where a node without its dashboard says that it lives.
async fn running() -> Response {
    json_response(200, &json!({ "status": "Meilisearch is running" }))
}

async fn health() -> Response {
    json_response(200, &json!({ "status": "available" }))
}

async fn version(State(plane): Shared) -> Response {
    let lowest = plane
        .nodes()
        .iter()
        .filter_map(|client| client.about())
        .min_by_key(|(version, _)| *version);
    match lowest {
        Some((_, body)) => json_response(200, &body),
        None => Failure(crate::settings::no_node()).into_response(),
    }
}

async fn stats(State(plane): Shared, access: Who, RawQuery(query): RawQuery) -> Answer {
    let wanted = sizes_wanted(&plane, query).await?;
    ok(&plane.stats(&access, wanted).await?)
}

/// What the query of a statistics route asks for. Which parameters there are depends on the nodes' version: a node judges.
async fn sizes_wanted(plane: &Plane, query: Option<String>) -> Result<SizesWanted, Error> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(SizesWanted::default());
    };
    let client = plane.first_up().ok_or_else(crate::settings::no_node)?;
    let judged = client
        .get(&format!("/stats?{query}"))
        .await
        .map_err(|_| crate::settings::no_node())?;
    if judged.status != 200 {
        return Err(judged.error());
    }
    Ok(SizesWanted::parse(&query))
}

/// What a handler returns.
type Answer = Result<Response, Failure>;

/// An error on its way to the client.
struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        respond(self.0.status, self.0.to_body().into())
    }
}

fn ok(body: &Value) -> Answer {
    Ok(json_response(200, body))
}

fn accepted(body: &impl Serialize) -> Answer {
    Ok(json_response(202, body))
}

fn json_response(status: u16, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => respond(status, bytes.into()),
        Err(error) => Failure(Error::internal(error.to_string())).into_response(),
    }
}

fn respond(status: u16, body: Bytes) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
