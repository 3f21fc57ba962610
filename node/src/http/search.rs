//! Searches: what they say and how they run is in [`crate::search`].

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::Extension;
use miroir_api::Error;
use miroir_auth::Access;
use serde_json::{json, Value};

use super::query::index_uid;
use super::{blocking, body, Answer, App, Shared, Who};
use crate::search::{
    facet_search, federated_search, inside_query, parse_facet_search, parse_multi_search,
    parse_search_get, parse_search_post, parse_similar_get, parse_similar_post, search, similar,
    IndexedResult, MultiSearch, SearchQuery, SimilarQuery,
};

pub async fn get(
    state: Shared,
    access: Who,
    Path(uid): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = parse_search_get(&query.unwrap_or_default())?;
    run(state, access, index_uid(uid)?, query).await
}

pub async fn post(
    state: Shared,
    access: Who,
    Path(uid): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, state.body_bytes_max).await?;
    let query = parse_search_post(&body)?;
    run(state, access, index_uid(uid)?, query).await
}

async fn run(
    State(app): Shared,
    Extension(access): Who,
    uid: String,
    mut query: SearchQuery,
) -> Answer {
    access.restrict(&uid, &mut query.filter);
    let result = blocking(&app, move |app| {
        let index = app.scheduler.indexes.get(&uid)?;
        search(&index, &uid, query, app.features.flags())
    });
    super::json(StatusCode::OK, &result.await?)
}

pub async fn facets(
    State(app): Shared,
    Extension(access): Who,
    Path(uid): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let mut query = parse_facet_search(&body)?;
    let uid = index_uid(uid)?;
    access.restrict(&uid, &mut query.filter);
    let result = blocking(&app, move |app| {
        let index = app.scheduler.indexes.get(&uid)?;
        facet_search(&index, query, app.features.flags())
    });
    super::json(StatusCode::OK, &result.await?)
}

pub async fn similar_get(
    state: Shared,
    access: Who,
    Path(uid): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = parse_similar_get(&query.unwrap_or_default())?;
    run_similar(state, access, index_uid(uid)?, query).await
}

pub async fn similar_post(
    state: Shared,
    access: Who,
    Path(uid): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, state.body_bytes_max).await?;
    let query = parse_similar_post(&body)?;
    run_similar(state, access, index_uid(uid)?, query).await
}

async fn run_similar(
    State(app): Shared,
    Extension(access): Who,
    uid: String,
    mut query: SimilarQuery,
) -> Answer {
    access.restrict(&uid, &mut query.filter);
    let result = blocking(&app, move |app| {
        let index = app.scheduler.indexes.get(&uid)?;
        similar(&index, query, app.features.flags())
    });
    super::json(StatusCode::OK, &result.await?)
}

pub async fn multi(
    State(app): Shared,
    Extension(access): Who,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    match parse_multi_search(&body)? {
        MultiSearch::Separate(mut queries) => {
            for (position, (uid, query)) in queries.iter_mut().enumerate() {
                limit(&access, position, uid, &mut query.filter)?;
            }
            let results = blocking(&app, move |app| separate(app, queries)).await?;
            super::json(StatusCode::OK, &json!({ "results": results }))
        }
        MultiSearch::Federated(federation, mut queries) => {
            for (position, query) in queries.iter_mut().enumerate() {
                limit(&access, position, &query.index_uid, &mut query.query.filter)?;
            }
            let proxied = is_proxied(&headers);
            let result = blocking(&app, move |app| {
                let flags = app.features.flags();
                federated_search(&app.scheduler.indexes, federation, queries, flags, proxied)
            });
            super::json(StatusCode::OK, &result.await?)
        }
    }
}

/// Checks and narrows one search of several.
fn limit(
    access: &Access,
    position: usize,
    uid: &str,
    filter: &mut Option<Value>,
) -> Result<(), Error> {
    access
        .check_named(uid)
        .map_err(|error| inside_query(position, error))?;
    access.restrict(uid, filter);
    Ok(())
}

/// Whether another instance asks, which wants to know by what hits were ranked.
pub fn is_proxied(headers: &HeaderMap) -> bool {
    let value = headers.get("Meili-Proxy-Search");
    value.is_some_and(|value| value.as_bytes() == b"true")
}

fn separate(app: &App, queries: Vec<(String, SearchQuery)>) -> Result<Vec<IndexedResult>, Error> {
    let flags = app.features.flags();
    let mut results = Vec::with_capacity(queries.len());
    for (position, (uid, query)) in queries.into_iter().enumerate() {
        let index = app.scheduler.indexes.get(&uid).map_err(|mut error| {
            // The index is not part of this route's path, so its absence is a bad request.
            error.status = 400;
            inside_query(position, error)
        })?;
        let result =
            search(&index, &uid, query, flags).map_err(|error| inside_query(position, error))?;
        results.push(IndexedResult {
            index_uid: uid,
            result,
        });
    }
    Ok(results)
}
