//! `POST /multi-search`: several searches, answered in their order. With `federation` see [`federated`].

use bytes::Bytes;
use miroir_api::{is_index_uid, Error};
use miroir_auth::Access;
use miroir_net::{Request, Response};
use miroir_router::RoutingTable;
use serde::Deserialize;
use serde_json::Value;

use crate::core::{json_object, visible_index, App};
use crate::search::{run, Answer, Search, SearchBody};
use crate::stages::{understands, Stages};

mod federated;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    queries: Vec<serde_json::Map<String, Value>>,
    #[serde(default, deserialize_with = "federated::object")]
    federation: Option<federated::Federation>,
}

/// Runs all searches as one request a node; the first failing one, by its place in the request, is the answer's error.
pub async fn handle(
    app: &App,
    table: &RoutingTable,
    access: &Access,
    request: &Request,
) -> Result<Response, Error> {
    let mut stages = Stages::begin();
    let refused = || app.judged_refusal(table, request, "a parameter of this multi-search");
    let body: Option<Body> = json_object(request);
    let Some(body) = body else {
        return Err(refused().await);
    };
    if let Some(federation) = body.federation {
        return federated::handle(app, table, access, request, federation, body.queries).await;
    }
    let mut queries = Vec::with_capacity(body.queries.len());
    for mut query in body.queries {
        let uid = query.remove("indexUid");
        let search: Option<SearchBody> = serde_json::from_value(Value::Object(query)).ok();
        match (uid, search) {
            (Some(Value::String(uid)), Some(search))
                if is_index_uid(&uid) && understands(table, search.show_performance_details) =>
            {
                queries.push((uid, search))
            }
            _ => return Err(refused().await),
        }
    }
    for (position, (uid, search)) in queries.iter_mut().enumerate() {
        access
            .check_named(uid)
            .map_err(|error| inside(position, error))?;
        access.restrict(uid, &mut search.filter);
    }
    let uids: Vec<String> = queries.iter().map(|(uid, _)| uid.clone()).collect();
    let answers = match search_all(app, table, queries, &mut stages).await {
        Ok(answers) => answers,
        // A node's words for the whole request have its own numbering.
        Err((position, error)) => {
            let error = inside(position, error);
            return Err(app.retell(table, request, error).await);
        }
    };
    Ok(respond(uids.into_iter().zip(answers)))
}

/// Errors: the first search that fails, by its place in the request.
async fn search_all(
    app: &App,
    table: &RoutingTable,
    queries: Vec<(String, SearchBody)>,
    stages: &mut Stages,
) -> Result<Vec<Answer>, (usize, Error)> {
    let mut searches = Vec::with_capacity(queries.len());
    let mut refused = None;
    for (position, (uid, body)) in queries.into_iter().enumerate() {
        // The resource that the URL names is there, so the status is not 404 (as Meilisearch has it).
        let index = visible_index(table, &uid).map_err(|error| Error {
            status: 400,
            ..error
        });
        match index.and_then(|index| Search::prepare(table, index, body)) {
            Ok(search) => searches.push(search),
            Err(error) => {
                refused = Some((position, error));
                break;
            }
        }
    }
    // What stands before a refused search may fail too, and would be the answer.
    let answers = run(app, table, &mut searches, stages).await?;
    refused.map_or(Ok(answers), Err)
}

/// An error of one query, by its place in the request.
pub fn inside(position: usize, error: Error) -> Error {
    Error {
        message: format!("Inside `.queries[{position}]`: {}", error.message),
        ..error
    }
}

/// `{"results":[{"indexUid":"a", ...}, ...]}` as a gather list: each merged answer keeps its own segments.
fn respond(answers: impl Iterator<Item = (String, Answer)>) -> Response {
    let mut segments: Vec<Bytes> = Vec::new();
    let mut degraded: Vec<String> = Vec::new();
    for (position, (uid, answer)) in answers.enumerate() {
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
