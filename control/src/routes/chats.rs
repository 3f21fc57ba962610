//! `/chats`, but for completions.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::routing::get;
use axum::Router;
use bytes::Bytes;
use miroir_api::is_index_uid;
use reqwest::Method;
use serde_json::Value;

use super::features::{Switch, CHAT, CHATS, CHAT_SETTINGS};
use super::{body, ok, respond, Answer, Shared};
use crate::plane::Plane;

pub(super) fn router() -> Router<Arc<Plane>> {
    Router::new()
        .route("/chats", get(list))
        .route("/chats/{workspace}", get(show).delete(delete))
        .route(
            "/chats/{workspace}/settings",
            get(settings).patch(change).delete(reset),
        )
}

async fn list(State(plane): Shared, RawQuery(query): RawQuery) -> Answer {
    CHATS.require(&plane).await?;
    let rest = query.map(|query| format!("?{query}"));
    ok(&plane.read_chats(&rest.unwrap_or_default()).await?)
}

async fn show(State(plane): Shared, Path(workspace): Path<String>) -> Answer {
    let rest = place(&plane, &CHAT, &workspace, "").await?;
    ok(&plane.read_chats(&rest).await?)
}

async fn delete(State(plane): Shared, Path(workspace): Path<String>) -> Answer {
    let rest = place(&plane, &CHAT, &workspace, "").await?;
    told(&plane, Method::DELETE, &rest, None).await
}

async fn settings(State(plane): Shared, Path(workspace): Path<String>) -> Answer {
    let rest = place(&plane, &CHAT_SETTINGS, &workspace, "/settings").await?;
    ok(&plane.read_chats(&rest).await?)
}

async fn change(
    State(plane): Shared,
    Path(workspace): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let rest = place(&plane, &CHAT_SETTINGS, &workspace, "/settings").await?;
    let body = body::json(&headers, &bytes)?;
    told(&plane, Method::PATCH, &rest, Some(body)).await
}

async fn reset(State(plane): Shared, Path(workspace): Path<String>) -> Answer {
    let rest = place(&plane, &CHAT_SETTINGS, &workspace, "/settings").await?;
    told(&plane, Method::DELETE, &rest, None).await
}

/// What follows `/chats`, where the feature is on.
async fn place(
    plane: &Plane,
    switch: &Switch,
    workspace: &str,
    rest: &str,
) -> Result<String, super::Failure> {
    switch.require(plane).await?;
    if !is_index_uid(workspace) {
        // No such name may reach a node's path; it is refused as an index's is.
        crate::indexes::check_uid(workspace)?;
    }
    Ok(format!("/{workspace}{rest}"))
}

async fn told(plane: &Plane, method: Method, rest: &str, body: Option<Value>) -> Answer {
    let reply = plane.change_chats(method, rest, body).await?;
    Ok(respond(reply.status, reply.body))
}
