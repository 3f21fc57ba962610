//! `POST /multi-search` with `federation`: several searches, one list of hits.
//!
//! A node is asked everything in one request with the header that makes it tell by what values it ranked each hit
//! (MEILISEARCH C). It gets *all* queries in the client's order, also those of indexes of which it is not asked any shard (their
//! filter then lets nothing pass): so every node checks that the queries go together, positions need no translation, and
//! layouts may differ between indexes. [`miroir_merge::merge_federated`] makes one answer of theirs.
//!
//! Some queries are asked apart ([`plan::Way`]): a hybrid one, which nodes would each decide on by themselves, as two lists, one
//! whose frequent words may be missing, and one whose distinct attribute is hidden. What all queries find together is counted in a second round then, when it is known which
//! hybrid queries words are good enough for.
//!
//! What a node refuses is retold by a node that sees the client's own words ([`crate::judge`]).

use miroir_api::Error;
use miroir_auth::Access;
use miroir_net::{Request, Response};
use miroir_router::RoutingTable;
use serde_json::{Map, Value};

use super::inside;
use crate::core::App;
use crate::judge::{Shown, REMOTE_SEARCH};
use crate::stages::{understands, Stages};

mod answer;
mod asking;
mod plan;
mod request;
mod rules;

use plan::Search;
use request::Query;
pub use request::{object, Federation};

/// Answers a federated search.
pub async fn handle(
    app: &App,
    table: &RoutingTable,
    access: &Access,
    request: &Request,
    federation: Federation,
    queries: Vec<Map<String, Value>>,
) -> Result<Response, Error> {
    let mut stages = Stages::begin();
    let queries: Option<Vec<Query>> = queries.into_iter().map(Query::read).collect();
    let understood = understands(table, federation.show_performance_details);
    let Some(mut queries) = queries.filter(|_| understood) else {
        return Err(refused(app, table, request).await);
    };
    for (position, query) in queries.iter_mut().enumerate() {
        let seen = access.check_named(&query.uid);
        seen.map_err(|error| inside(position, error))?;
        access.restrict(&query.uid, &mut query.body.filter);
    }
    if !queries.iter().all(Query::is_federated) {
        return Err(refused(app, table, request).await);
    }
    let mut search = match Search::prepare(app, table, federation, queries) {
        Ok(search) => search,
        Err((position, error)) => return Err(retold(app, table, request, position, error).await),
    };
    if search.needs_a_judge() {
        // What nodes are not shown of the request is looked at by one first.
        if let Some(refusal) = app.judge(table, request, Shown::Whole).await? {
            return Err(refusal);
        }
    }
    stages.planned();
    search.decide(table).await;
    let answers = search.ask(table).await;
    stages.asked();
    match answers {
        Ok(answers) => search.respond(table, answers, &stages).await,
        // Positions in a node's words are the client's.
        Err(error) => Err(retold(app, table, request, None, error).await),
    }
}

/// For a request that does not fit what this program knows, or has a query that no federated search may have.
async fn refused(app: &App, table: &RoutingTable, request: &Request) -> Error {
    let error = app
        .judged_refusal(table, request, "a parameter of this federated search")
        .await;
    // Nodes may search with others, so that they answer us. Clients may where they have said so.
    if error.code != "invalid_multi_search_remote" {
        return error;
    }
    match app.network_is_off(request).await {
        Ok(Some(refusal)) | Err(refusal) => refusal,
        Ok(None) => Error::not_implemented("federated searches of another instance"),
    }
}

/// A node's words for the whole request where it is the request that is wrong; ours where no node finds anything wrong.
async fn retold(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    position: Option<usize>,
    error: Error,
) -> Error {
    if error.code == "feature_not_enabled" && error.message.starts_with(REMOTE_SEARCH) {
        return Error::not_implemented(
            "federated search while a node's experimental feature `network` is off; switch it on with PATCH \
             /experimental-features {\"network\": true} on every node",
        );
    }
    let ours = match position {
        Some(position) => inside(position, error),
        None => error,
    };
    app.retell(table, request, ours).await
}
