//! `/experimental-features`, `/network`, and the routes of features that mean nothing behind a proxy.
//!
//! The last answer what a Meilisearch answers on which the feature is not enabled, whatever was switched on;
//! `docs/compatibility.md` has the reason for each.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::Router;
use bytes::Bytes;
use miroir_api::{is_index_uid, Error};

use super::{accepted, body, ok, Answer, Failure, Shared};
use crate::plane::Plane;

/// A feature of which this program looks whether clients have switched it on.
pub(super) struct Switch {
    key: &'static str,
    /// What is refused without it, in Meilisearch's words.
    action: &'static str,
    feature: Feature,
}

impl Switch {
    /// Error: 400 where it is off.
    pub(super) async fn require(&self, plane: &Plane) -> Result<(), Error> {
        match plane.has_feature(self.key).await? {
            true => Ok(()),
            false => Err(refusal(self.action, &self.feature)),
        }
    }
}

pub(super) const TASK_DOCUMENTS: Switch = Switch {
    key: "getTaskDocumentsRoute",
    action: "Getting the documents of an enqueued task",
    feature: Feature {
        name: "get task documents route",
        discussion: "https://github.com/orgs/meilisearch/discussions/808",
    },
};
pub(super) const FOREIGN_KEYS: Switch = Switch {
    key: "foreignKeys",
    action: "setting `foreignKeys` in the index settings",
    feature: Feature {
        name: "foreign_keys",
        discussion: "https://github.com/orgs/meilisearch/discussions/873",
    },
};
const USING_NETWORK: Switch = Switch {
    key: "network",
    action: "Using the /network route",
    feature: NETWORK,
};

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
const COMPACTION: Feature = Feature {
    name: "task queue compaction route",
    discussion: "https://github.com/orgs/meilisearch/discussions/883",
};
const CHATS: Feature = Feature {
    name: "chat completions",
    discussion: "https://github.com/orgs/meilisearch/discussions/835",
};
const RENDER: Feature = Feature {
    name: "render_route",
    discussion: "https://github.com/orgs/meilisearch/discussions/888",
};

const USING_LOGS: &str = "Modifying logs through the `/logs/*` routes";
const USING_RULES: Switch = Switch {
    key: "dynamicSearchRules",
    action: "Using the `/dynamic-search-rules` routes",
    feature: Feature {
        name: "dynamic search rules",
        discussion: "https://github.com/orgs/meilisearch/discussions/884",
    },
};

/// Path, what is refused in Meilisearch's words, and the feature.
const DISABLED: [(&str, &str, Feature); 11] = [
    ("/metrics", "Getting metrics", METRICS),
    ("/logs/stream", USING_LOGS, LOGS),
    ("/logs/stderr", USING_LOGS, LOGS),
    (
        "/network/control",
        "Using the /network/control route",
        NETWORK,
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
];

pub(super) fn router() -> Router<Arc<Plane>> {
    let router = Router::new()
        .route("/experimental-features", get(show).patch(change))
        .route("/network", get(network).patch(change_network))
        .route("/dynamic-search-rules", post(rules).delete(clear_rules))
        .route(
            "/dynamic-search-rules/{uid}",
            get(rule).patch(change_rule).delete(delete_rule),
        );
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

async fn network(State(plane): Shared) -> Answer {
    USING_NETWORK.require(&plane).await?;
    ok(&plane.network().await?)
}

async fn change_network(State(plane): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    USING_NETWORK.require(&plane).await?;
    let body = body::json(&headers, &bytes)?;
    ok(&plane.change_network(body).await?)
}

async fn rules(State(plane): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    USING_RULES.require(&plane).await?;
    let body = body::json(&headers, &bytes)?;
    ok(&plane.read_rules(None, Some(body)).await?)
}

async fn rule(State(plane): Shared, Path(uid): Path<String>) -> Answer {
    if let Some(answer) = not_a_name(&uid) {
        return Ok(answer);
    }
    USING_RULES.require(&plane).await?;
    ok(&plane.read_rules(Some(&uid), None).await?)
}

async fn change_rule(
    State(plane): Shared,
    Path(uid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    if let Some(answer) = not_a_name(&uid) {
        return Ok(answer);
    }
    USING_RULES.require(&plane).await?;
    let body = body::json(&headers, &bytes)?;
    let query = query.unwrap_or_default();
    accepted(&plane.change_rules(Some(&uid), &query, Some(body)).await?)
}

async fn delete_rule(
    State(plane): Shared,
    Path(uid): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    if let Some(answer) = not_a_name(&uid) {
        return Ok(answer);
    }
    USING_RULES.require(&plane).await?;
    let query = query.unwrap_or_default();
    accepted(&plane.change_rules(Some(&uid), &query, None).await?)
}

/// A path with a name that no rule can have leads nowhere, says Meilisearch, in plain words. No such name may reach a node.
fn not_a_name(uid: &str) -> Option<Response> {
    let message = format!(
        "`{uid}` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric characters, \
         hyphens (-) and underscores (_), and can not be more than 512 bytes."
    );
    (!is_index_uid(uid)).then(|| (StatusCode::NOT_FOUND, message).into_response())
}

async fn clear_rules(State(plane): Shared, RawQuery(query): RawQuery) -> Answer {
    USING_RULES.require(&plane).await?;
    accepted(
        &plane
            .change_rules(None, &query.unwrap_or_default(), None)
            .await?,
    )
}

fn refusal(action: &str, feature: &Feature) -> Error {
    let Feature { name, discussion } = feature;
    Error::invalid(
        400,
        "feature_not_enabled",
        format!("{action} requires enabling the `{name}` experimental feature. See {discussion}"),
    )
}
