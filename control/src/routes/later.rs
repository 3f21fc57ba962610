//! Routes that Meilisearch has (MEILISEARCH A) and we do not have yet: 501, never a wrong answer.

use std::sync::Arc;

use axum::routing::{any, MethodRouter};
use axum::Router;
use miroir_api::Error;

use super::Failure;
use crate::plane::Plane;

/// Path and what it is called in the answer.
const LATER: [(&str, &str); 25] = [
    ("/dumps", "dumps"),
    ("/snapshots", "snapshots"),
    ("/export", "exports"),
    ("/metrics", "metrics"),
    ("/experimental-features", "experimental features"),
    ("/network", "networks"),
    ("/network/control", "networks"),
    ("/webhooks", "webhooks"),
    ("/webhooks/{uuid}", "webhooks"),
    ("/logs/stream", "log streams"),
    ("/logs/stderr", "log levels"),
    ("/dynamic-search-rules", "dynamic search rules"),
    ("/dynamic-search-rules/{uid}", "dynamic search rules"),
    ("/render-template", "rendering templates"),
    ("/chats", "chats"),
    ("/chats/{workspace}", "chats"),
    ("/chats/{workspace}/settings", "chats"),
    ("/chats/{workspace}/chat/completions", "chats"),
    ("/indexes/{uid}/facet-search", "facet search"),
    ("/indexes/{uid}/similar", "similar documents"),
    ("/indexes/{uid}/fields", "listing fields"),
    ("/indexes/{uid}/compact", "compacting an index"),
    (
        "/indexes/{uid}/documents/edit",
        "editing documents by function",
    ),
    ("/indexes/{uid}/settings/chat", "chat settings"),
    ("/indexes/{uid}/settings/foreign-keys", "foreign keys"),
];

pub(super) fn router() -> Router<Arc<Plane>> {
    LATER.iter().fold(Router::new(), |router, (path, what)| {
        router.route(path, not_yet(what))
    })
}

fn not_yet(what: &'static str) -> MethodRouter<Arc<Plane>> {
    any(move || async move { Failure(Error::not_implemented(what)) })
}
