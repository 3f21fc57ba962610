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
use miroir_api::features::{Feature, NETWORK, ROUTES, RULES};
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
            false => Err(self.feature.refusal(self.action)),
        }
    }
}

pub(super) const TASK_DOCUMENTS: Switch = Switch {
    key: "getTaskDocumentsRoute",
    action: "Getting the documents of an enqueued task",
    feature: miroir_api::features::TASK_DOCUMENTS,
};
pub(super) const FOREIGN_KEYS: Switch = Switch {
    key: "foreignKeys",
    action: "setting `foreignKeys` in the index settings",
    feature: miroir_api::features::FOREIGN_KEYS,
};
pub(super) const CHATS: Switch = chats("listing the chats");
pub(super) const CHAT: Switch = chats("displaying a chat");
pub(super) const CHAT_SETTINGS: Switch = chats("using the /chats/settings route");
pub(super) const INDEX_CHAT: Switch = chats("setting `chat` in the index settings");

const fn chats(action: &'static str) -> Switch {
    Switch {
        key: "chatCompletions",
        action,
        feature: miroir_api::features::CHATS,
    }
}

const USING_NETWORK: Switch = Switch {
    key: "network",
    action: "Using the /network route",
    feature: NETWORK,
};

const USING_RULES: Switch = Switch {
    key: "dynamicSearchRules",
    action: "Using the `/dynamic-search-rules` routes",
    feature: RULES,
};

/// Routes of features that are served; those of the others are refused.
const SERVED: [&str; 9] = [
    "/chats",
    "/chats/{workspace}",
    "/chats/{workspace}/settings",
    "/indexes/{uid}/settings/chat",
    "/network",
    "/tasks/{uid}/documents",
    "/dynamic-search-rules",
    "/dynamic-search-rules/{uid}",
    "/indexes/{uid}/settings/foreign-keys",
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
    ROUTES
        .iter()
        .filter(|(path, ..)| !SERVED.contains(path))
        .fold(router, |router, (path, action, feature)| {
            router.route(
                path,
                any(move || async move { Failure(feature.refusal(action)) }),
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
