//! `/experimental-features`, and the routes of features that mean nothing behind a proxy.
//!
//! The latter answer what a Meilisearch answers on which the feature is not enabled, whatever was switched on;
//! `docs/compatibility.md` has the reason for each.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{any, get};
use axum::Router;
use bytes::Bytes;
use miroir_api::Error;

use super::{body, ok, Answer, Failure, Shared};
use crate::plane::Plane;

/// A feature as its refusal names it: the action, the feature, where it is discussed.
struct Feature {
    name: &'static str,
    discussion: &'static str,
}

const METRICS: Feature = Feature {
    name: "metrics",
    discussion: "https://github.com/meilisearch/product/discussions/625",
};
const LOGS: Feature = Feature {
    name: "logs route",
    discussion: "https://github.com/orgs/meilisearch/discussions/721",
};
const NETWORK: Feature = Feature {
    name: "network",
    discussion: "https://github.com/orgs/meilisearch/discussions/805",
};
const TASK_DOCUMENTS: Feature = Feature {
    name: "get task documents route",
    discussion: "https://github.com/orgs/meilisearch/discussions/808",
};
const COMPACTION: Feature = Feature {
    name: "task queue compaction route",
    discussion: "https://github.com/orgs/meilisearch/discussions/883",
};
const CHATS: Feature = Feature {
    name: "chat completions",
    discussion: "https://github.com/orgs/meilisearch/discussions/835",
};
const RULES: Feature = Feature {
    name: "dynamic search rules",
    discussion: "https://github.com/orgs/meilisearch/discussions/884",
};
const RENDER: Feature = Feature {
    name: "render_route",
    discussion: "https://github.com/orgs/meilisearch/discussions/888",
};
const FOREIGN_KEYS: Feature = Feature {
    name: "foreign_keys",
    discussion: "https://github.com/orgs/meilisearch/discussions/873",
};

const USING_LOGS: &str = "Modifying logs through the `/logs/*` routes";
const USING_RULES: &str = "Using the `/dynamic-search-rules` routes";

/// Path, what is refused in Meilisearch's words, and the feature.
const DISABLED: [(&str, &str, Feature); 16] = [
    ("/metrics", "Getting metrics", METRICS),
    ("/logs/stream", USING_LOGS, LOGS),
    ("/logs/stderr", USING_LOGS, LOGS),
    ("/network", "Using the /network route", NETWORK),
    (
        "/network/control",
        "Using the /network/control route",
        NETWORK,
    ),
    (
        "/tasks/{uid}/documents",
        "Getting the documents of an enqueued task",
        TASK_DOCUMENTS,
    ),
    (
        "/tasks/compact",
        "Using the /tasks/compact route",
        COMPACTION,
    ),
    ("/chats", "listing the chats", CHATS),
    ("/chats/{workspace}", "displaying a chat", CHATS),
    (
        "/chats/{workspace}/settings",
        "using the /chats/settings route",
        CHATS,
    ),
    (
        "/chats/{workspace}/chat/completions",
        "using the /chats chat completions route",
        CHATS,
    ),
    ("/dynamic-search-rules", USING_RULES, RULES),
    ("/dynamic-search-rules/{uid}", USING_RULES, RULES),
    (
        "/render-template",
        "calling the /render-template route",
        RENDER,
    ),
    (
        "/indexes/{uid}/settings/chat",
        "setting `chat` in the index settings",
        CHATS,
    ),
    (
        "/indexes/{uid}/settings/foreign-keys",
        "setting `foreignKeys` in the index settings",
        FOREIGN_KEYS,
    ),
];

pub(super) fn router() -> Router<Arc<Plane>> {
    let router = Router::new().route("/experimental-features", get(show).patch(change));
    DISABLED
        .iter()
        .fold(router, |router, (path, action, feature)| {
            router.route(
                path,
                any(move || async move { Failure(refusal(action, feature)) }),
            )
        })
}

async fn show(State(plane): Shared) -> Answer {
    ok(&plane.features().await?)
}

async fn change(State(plane): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let body = body::json(&headers, &bytes)?;
    ok(&plane.change_features(body).await?)
}

fn refusal(action: &str, feature: &Feature) -> Error {
    let Feature { name, discussion } = feature;
    Error::invalid(
        400,
        "feature_not_enabled",
        format!("{action} requires enabling the `{name}` experimental feature. See {discussion}"),
    )
}
