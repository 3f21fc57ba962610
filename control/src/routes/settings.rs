//! `/indexes/{uid}/settings` and its sub-routes.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::routing::{get, MethodRouter};
use axum::Router;
use bytes::Bytes;
use miroir_api::Error;

use super::features::{FOREIGN_KEYS, INDEX_CHAT};
use super::{accepted, body, ok, Answer, Shared, Who};
use crate::plane::Plane;
use crate::settings::{Sub, SUBS};

pub(super) fn router() -> Router<Arc<Plane>> {
    let whole = get(|State(plane): Shared, Path(uid): Path<String>| read(plane, uid, None))
        .patch(
            |State(plane): Shared, access: Who, Path(uid): Path<String>, headers, bytes| {
                change(plane, access, uid, None, headers, bytes)
            },
        )
        .delete(|State(plane): Shared, Path(uid): Path<String>| reset(plane, uid, None));
    SUBS.iter().fold(
        Router::new().route("/indexes/{uid}/settings", whole),
        |router, sub| router.route(&format!("/indexes/{{uid}}/settings/{}", sub.path), one(sub)),
    )
}

fn one(sub: &'static Sub) -> MethodRouter<Arc<Plane>> {
    let routes =
        get(move |State(plane): Shared, Path(uid): Path<String>| read(plane, uid, Some(sub)))
            .delete(move |State(plane): Shared, Path(uid): Path<String>| {
                reset(plane, uid, Some(sub))
            });
    let set =
        move |State(plane): Shared,
              access: Who,
              Path(uid): Path<String>,
              headers: HeaderMap,
              bytes: Bytes| { change(plane, access, uid, Some(sub), headers, bytes) };
    if sub.verb == Method::PATCH {
        routes.patch(set)
    } else {
        routes.put(set)
    }
}

async fn read(plane: Arc<Plane>, uid: String, sub: Option<&'static Sub>) -> Answer {
    known(&plane, sub).await?;
    ok(&plane.settings(&uid, sub).await?)
}

async fn change(
    plane: Arc<Plane>,
    access: Who,
    uid: String,
    sub: Option<&'static Sub>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    crate::indexes::check_uid(&uid)?;
    known(&plane, sub).await?;
    let body = body::json(&headers, &bytes)?;
    let may_create = access.may_create(&uid);
    let task = plane.change_settings(&uid, sub, Some(body), may_create);
    accepted(&task.await?)
}

async fn reset(plane: Arc<Plane>, uid: String, sub: Option<&'static Sub>) -> Answer {
    known(&plane, sub).await?;
    accepted(&plane.change_settings(&uid, sub, None, false).await?)
}

/// Older nodes lack the route of this one setting.
async fn known(plane: &Plane, sub: Option<&'static Sub>) -> Result<(), Error> {
    match sub {
        Some(sub) if sub.key == "chat" => INDEX_CHAT.require(plane).await,
        Some(sub) if !sub.is_in(plane.publisher.current().lowest_version()) => {
            FOREIGN_KEYS.require(plane).await
        }
        _ => Ok(()),
    }
}
