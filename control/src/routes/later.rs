//! Routes that Meilisearch has (MEILISEARCH A) and we do not have yet: 501, never a wrong answer.

use std::sync::Arc;

use axum::routing::{any, MethodRouter};
use axum::Router;
use miroir_api::Error;

use super::Failure;
use crate::plane::Plane;

/// Path and what it is called in the answer.
const LATER: &[(&str, &str)] = &[("/export", "exports")];

pub(super) fn router() -> Router<Arc<Plane>> {
    LATER.iter().fold(Router::new(), |router, (path, what)| {
        router.route(path, not_yet(what))
    })
}

fn not_yet(what: &'static str) -> MethodRouter<Arc<Plane>> {
    any(move || async move { Failure(Error::not_implemented(what)) })
}
