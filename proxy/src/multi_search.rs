//! `POST /multi-search`, not federated: several searches, answered in their order.

use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use miroir_api::{is_index_uid, Error};
use miroir_net::{Request, Response};
use miroir_router::RoutingTable;
use serde::Deserialize;
use serde_json::Value;

use crate::core::{json_object, visible_index, App};
use crate::search::{search, Answer, SearchBody};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    queries: Vec<serde_json::Map<String, Value>>,
    #[serde(default)]
    federation: Option<Value>,
}

/// Runs every search at once; the first failing one, by its place in the request, is the answer's error.
pub async fn handle(app: &App, table: &RoutingTable, request: &Request) -> Result<Response, Error> {
    let started = Instant::now();
    let refused = || app.judged_refusal(table, request, "a parameter of this multi-search");
    let body: Option<Body> = json_object(request);
    let Some(body) = body else {
        return Err(refused().await);
    };
    if body
        .federation
        .is_some_and(|federation| !federation.is_null())
    {
        return Err(Error::not_implemented("federated multi-search"));
    }
    let mut queries = Vec::with_capacity(body.queries.len());
    for mut query in body.queries {
        let uid = query.remove("indexUid");
        let search: Option<SearchBody> = serde_json::from_value(Value::Object(query)).ok();
        match (uid, search) {
            (Some(Value::String(uid)), Some(search)) if is_index_uid(&uid) => {
                queries.push((uid, search))
            }
            _ => return Err(refused().await),
        }
    }
    let answers = join_all(queries.into_iter().enumerate().map(
        |(position, (uid, query))| async move {
            let answer = match visible_index(table, &uid) {
                Ok(index) => search(app, table, index, query, started).await,
                // The resource that the URL names is there, so the status is not 404 (as Meilisearch has it).
                Err(error) => Err(Error {
                    status: 400,
                    ..error
                }),
            };
            answer
                .map(|answer| (uid, answer))
                .map_err(|error| inside(position, error))
        },
    ))
    .await;
    let answers: Vec<(String, Answer)> = answers.into_iter().collect::<Result<_, _>>()?;
    Ok(respond(answers))
}

fn inside(position: usize, error: Error) -> Error {
    Error {
        message: format!("Inside `.queries[{position}]`: {}", error.message),
        ..error
    }
}

/// `{"results":[{"indexUid":"a", ...}, ...]}` as a gather list: each merged answer keeps its own segments.
fn respond(answers: Vec<(String, Answer)>) -> Response {
    let mut segments: Vec<Bytes> = Vec::new();
    let mut degraded: Vec<String> = Vec::new();
    for (position, (uid, answer)) in answers.into_iter().enumerate() {
        let before = if position == 0 { "{\"results\":[" } else { "," };
        // An index's name needs no escapes; a merged answer begins with `{` and is never empty.
        segments.push(Bytes::from(format!("{before}{{\"indexUid\":\"{uid}\",")));
        let mut rest = answer.merged.into_segments().into_iter();
        if let Some(first) = rest.next() {
            segments.push(first.slice(1..));
        }
        segments.extend(rest);
        degraded.extend(answer.degraded.map(|shards| format!("{uid}:{shards}")));
    }
    if segments.is_empty() {
        segments.push(Bytes::from_static(b"{\"results\":["));
    }
    segments.push(Bytes::from_static(b"]}"));
    let response = Response::segments(200, segments);
    if degraded.is_empty() {
        response
    } else {
        response.header("X-Miroir-Degraded", degraded.join(" "))
    }
}
