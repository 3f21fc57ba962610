//! Deleting documents: one, a batch of ids, all that match a filter, or all.

use std::collections::BTreeSet;

use bytes::Bytes;
use miroir_api::body::unknown_parameter;
use miroir_api::Error;
use miroir_control::{BeginWrite, Touched, Turn, WriteKind};
use miroir_merge::id_text;
use miroir_net::{Request, Response};
use miroir_router::{rewrite_filter, shard_of, Index, Layout, RoutingTable, Shard};
use percent_encoding::{utf8_percent_encode, NON_ALPHANUMERIC};
use serde_json::{json, Value};

use super::write::{fail, perform, targets, Described, Part};
use crate::core::{is_json, json_object, App};
use crate::judge::Shown;
use crate::search::check_filter;

const KIND: WriteKind = WriteKind::DocumentDeletion;

/// `DELETE /indexes/{uid}/documents/{id}`.
pub async fn one(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    uid: &str,
    id: &str,
) -> Result<Response, Error> {
    let custom_metadata = metadata(request)?;
    let turn = begin(app, uid, KIND).await?;
    let mut described = described(Value::from(1), Value::Null, custom_metadata);
    if let Some(error) = turn.doomed.clone() {
        return fail(app, turn, error, described).await;
    }
    let path = turn.index.node_path(&format!(
        "/documents/{}",
        utf8_percent_encode(id, NON_ALPHANUMERIC)
    ));
    let shard = shard_of(id.as_bytes(), turn.index.layout.shards);
    described.touched = Touched::Keys(BTreeSet::from([(shard, id.to_owned())]));
    let parts = targets(&turn.index.layout, &[shard])?
        .into_iter()
        .map(|target| Part {
            target,
            request: app.ask("DELETE", &path, None, false),
        })
        .collect();
    perform(app, table, turn, parts, described).await
}

/// `POST /indexes/{uid}/documents/delete-batch`: the ids are split like documents.
pub async fn batch(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    uid: &str,
) -> Result<Response, Error> {
    let ids: Option<Vec<Value>> = is_json(request)
        .then(|| serde_json::from_slice(&request.body).ok())
        .flatten();
    let Some(ids) = ids else {
        return Err(refused(app, table, request).await);
    };
    let turn = begin(app, uid, KIND).await?;
    let mut described = described(Value::from(ids.len()), Value::Null, metadata(request)?);
    if let Some(error) = turn.doomed.clone() {
        return fail(app, turn, error, described).await;
    }
    let placed = place(&turn.index.layout, ids);
    if turn.index.is_filling() {
        let keys = placed.iter().map(|(shard, key, _)| (*shard, key.clone()));
        described.touched = Touched::Keys(keys.collect());
    }
    let parts = batch_parts(app, &turn.index, &placed)?;
    perform(app, table, turn, parts, described).await
}

/// `POST /indexes/{uid}/documents/delete` with a filter: every node looks for itself.
pub async fn by_filter(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    uid: &str,
) -> Result<Response, Error> {
    let body: Option<serde_json::Map<String, Value>> = json_object(request);
    let filter = body
        .filter(|body| body.len() == 1)
        .and_then(|mut body| body.remove("filter"));
    let Some(mut filter) = filter else {
        return Err(refused_filter(app, table, request).await);
    };
    check_filter(Some(&filter), "filter")?;
    let original = Value::String(filter.to_string());
    rewrite_filter(&mut filter);
    let body = Bytes::from(json!({ "filter": filter }).to_string());
    let described = described(Value::from(0), original, metadata(request)?);
    everywhere(app, table, uid, KIND, described, |index| {
        let path = index.node_path("/documents/delete");
        app.ask("POST", &path, Some(body.to_vec()), false)
    })
    .await
}

/// `DELETE /indexes/{uid}/documents`.
pub async fn all(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    uid: &str,
) -> Result<Response, Error> {
    let described = Described {
        details: json!({ "deletedDocuments": null }),
        custom_metadata: metadata(request)?,
        touched: Touched::Everything,
    };
    everywhere(app, table, uid, KIND, described, |index| {
        app.ask("DELETE", &index.node_path("/documents"), None, false)
    })
    .await
}

/// One request to every node that holds a copy of any shard.
pub(super) async fn everywhere(
    app: &App,
    table: &RoutingTable,
    uid: &str,
    kind: WriteKind,
    described: Described,
    build: impl Fn(&Index) -> miroir_net::client::OutRequest,
) -> Result<Response, Error> {
    let turn = begin(app, uid, kind).await?;
    if let Some(error) = turn.doomed.clone() {
        return fail(app, turn, error, described).await;
    }
    let shards: Vec<Shard> = (0..turn.index.layout.shards).map(Shard).collect();
    let parts = targets(&turn.index.layout, &shards)?
        .into_iter()
        .map(|target| Part {
            target,
            request: build(&turn.index),
        })
        .collect();
    perform(app, table, turn, parts, described).await
}

/// Each id with its shard and its text.
fn place(layout: &Layout, ids: Vec<Value>) -> Vec<(Shard, String, Value)> {
    let place = |id: Value| {
        let text = id_text(&id).unwrap_or_else(|| id.to_string());
        (shard_of(text.as_bytes(), layout.shards), text, id)
    };
    ids.into_iter().map(place).collect()
}

fn batch_parts(
    app: &App,
    index: &Index,
    placed: &[(Shard, String, Value)],
) -> Result<Vec<Part>, Error> {
    let path = index.node_path("/documents/delete-batch");
    let mut shards: Vec<Shard> = placed.iter().map(|(shard, ..)| *shard).collect();
    if shards.is_empty() {
        // So that its task is a real one.
        shards.push(Shard(0));
    }
    let parts = targets(&index.layout, &shards)?
        .into_iter()
        .map(|target| {
            let ids: Vec<&Value> = placed
                .iter()
                .filter(|(shard, ..)| target.shards.binary_search(shard).is_ok())
                .map(|(.., id)| id)
                .collect();
            // JSON values always serialise.
            let body = serde_json::to_vec(&ids).unwrap_or_default();
            Part {
                target,
                request: app.ask("POST", &path, Some(body), false),
            }
        })
        .collect();
    Ok(parts)
}

async fn begin(app: &App, uid: &str, kind: WriteKind) -> Result<Turn, Error> {
    let begin = BeginWrite {
        index: uid.to_owned(),
        kind,
        primary_key: None,
        inference: None,
        may_create: false,
    };
    app.shared.control.begin_write(begin).await
}

fn described(
    provided: Value,
    original_filter: Value,
    custom_metadata: Option<String>,
) -> Described {
    Described {
        details: json!({ "providedIds": provided, "deletedDocuments": null, "originalFilter": original_filter }),
        custom_metadata,
        touched: Touched::Everything,
    }
}

/// The only parameter of a deletion. Nobody may be asked to judge a deletion by running it, so others are refused here.
pub(super) fn metadata(request: &Request) -> Result<Option<String>, Error> {
    const KNOWN: &str = "customMetadata";
    let mut metadata = None;
    for (name, value) in form_urlencoded::parse(request.query().as_bytes()) {
        if name != KNOWN {
            return Err(unknown_parameter(&name, &[KNOWN]));
        }
        metadata = Some(value.into_owned());
    }
    Ok(metadata)
}

/// A body that is not a list of ids (or has no JSON content type) is refused by every node, so one may see the whole.
async fn refused(app: &App, table: &RoutingTable, request: &Request) -> Error {
    let is_list = serde_json::from_slice::<Vec<Value>>(&request.body).is_ok();
    let shown = if is_list {
        Shown::WithoutBody
    } else {
        Shown::Whole
    };
    match app.judge(table, request, shown).await {
        Ok(Some(refusal)) => refusal,
        Ok(None) => Error::bad_request(
            "Json deserialize error: invalid type, expected a sequence of document ids",
        ),
        Err(error) => error,
    }
}

/// `POST /documents/delete` with a body of the wrong shape: a node refuses it before it looks at the filter, so the
/// whole request may be shown unless it holds a filter that could match.
async fn refused_filter(app: &App, table: &RoutingTable, request: &Request) -> Error {
    let body: Result<Value, _> = serde_json::from_slice(&request.body);
    let could_match =
        body.is_ok_and(|body| body.get("filter").is_some_and(|filter| !filter.is_null()));
    let shown = if could_match {
        Shown::WithoutBody
    } else {
        Shown::Whole
    };
    match app.judge(table, request, shown).await {
        Ok(Some(refusal)) if !could_match || !is_json(request) || request.body.is_empty() => {
            refusal
        }
        Ok(Some(refusal)) if refusal.code != "missing_payload" => refusal,
        Ok(_) => Error::bad_request(unknown_field(&request.body)),
        Err(error) => error,
    }
}

/// What a node says of the first member that it does not know. It is not asked: it might know it, and delete.
fn unknown_field(body: &[u8]) -> String {
    let body: serde_json::Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let unknown = body.keys().find(|name| *name != "filter");
    let unknown = unknown.map_or("", String::as_str);
    format!("Unknown field `{unknown}`: expected one of `filter`")
}
