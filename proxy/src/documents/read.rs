//! Reading documents: one by its id, or lists over all shards.
//!
//! A list's order is by shard owner, then the node's own order: stable, and each page takes up where the last ended.

use bytes::Bytes;
use miroir_api::{is_index_uid, Error};
use miroir_merge::{merge_documents, scan_documents, strip_document};
use miroir_net::{Request, Response};
use miroir_router::{shard_of, Index, RoutingTable};
use percent_encoding::{utf8_percent_encode, NON_ALPHANUMERIC};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::{json_object, visible_index, App};
use crate::scatter::Wanted;
use crate::search::{
    degraded, filter_parameter, list_parameter, merge_error, names_reserved_field, reserved_field,
    rewrite_filter, with_shards,
};

/// Meilisearch's default page of documents.
const DEFAULT_LIMIT: usize = 20;

/// Body of `POST /indexes/{uid}/documents/fetch`, and of what nodes are asked.
#[derive(Deserialize, Serialize, Default, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Fetch {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retrieve_vectors: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<Value>>,
}

/// `GET /indexes/{uid}/documents/{id}`: asked of the one shard that can hold it.
pub async fn one(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    uid: &str,
    id: &str,
) -> Result<Response, Error> {
    let query = request.query();
    let known = form_urlencoded::parse(query.as_bytes()).all(|(name, value)| match name.as_ref() {
        "fields" => true,
        "retrieveVectors" => value.parse::<bool>().is_ok(),
        _ => false,
    });
    if !known || !is_index_uid(uid) {
        return Err(app
            .judged_refusal(table, request, "a parameter of this request")
            .await);
    }
    let index = visible_index(table, uid)?;
    let shard = shard_of(id.as_bytes(), index.layout.shards);
    let separator = if query.is_empty() { "" } else { "?" };
    let path = index.node_path(&format!(
        "/documents/{}{separator}{query}",
        utf8_percent_encode(id, NON_ALPHANUMERIC)
    ));
    let wanted = Wanted {
        index,
        only: Some(&[shard]),
        seed: u64::from(shard.0),
    };
    let gathered = app
        .scatter(table, wanted, |_| app.ask("GET", &path, None, true))
        .await?;
    degraded(app, &gathered, true)?;
    let Some((_, document)) = gathered.answers.first() else {
        return Err(Error::document_not_found(id));
    };
    Ok(json(
        strip_document(document)
            .map_err(merge_error)?
            .into_segments(),
    ))
}

/// `GET /indexes/{uid}/documents`.
pub async fn list(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    uid: &str,
) -> Result<Response, Error> {
    match from_query(request.query()).filter(|_| is_index_uid(uid)) {
        Some(fetch) => page(app, table, uid, fetch).await,
        None => Err(app
            .judged_refusal(table, request, "a parameter of this request")
            .await),
    }
}

/// `POST /indexes/{uid}/documents/fetch`.
pub async fn fetch(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    uid: &str,
) -> Result<Response, Error> {
    let body: Option<Fetch> = json_object(request);
    match body.filter(|_| is_index_uid(uid)) {
        Some(fetch) => page(app, table, uid, fetch).await,
        None => Err(app
            .judged_refusal(table, request, "a parameter of this request")
            .await),
    }
}

fn from_query(query: &str) -> Option<Fetch> {
    let mut fetch = Fetch::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "offset" => fetch.offset = Some(value.parse().ok()?),
            "limit" => fetch.limit = Some(value.parse().ok()?),
            "fields" if value == "*" => fetch.fields = None,
            "fields" => fetch.fields = Some(list_parameter(&value)),
            "filter" => fetch.filter = Some(filter_parameter(value.into_owned())),
            "retrieveVectors" => fetch.retrieve_vectors = Some(value.parse().ok()?),
            "ids" => {
                fetch.ids = Some(
                    list_parameter(&value)
                        .into_iter()
                        .map(Value::String)
                        .collect(),
                )
            }
            _ => return None,
        }
    }
    Some(fetch)
}

/// The page `offset..offset+limit` of the list in which the nodes' documents follow each other.
async fn page(
    app: &App,
    table: &RoutingTable,
    uid: &str,
    mut wanted: Fetch,
) -> Result<Response, Error> {
    let index = visible_index(table, uid)?;
    if wanted.filter.as_ref().is_some_and(names_reserved_field) {
        return Err(reserved_field("filter"));
    }
    if let Some(filter) = &mut wanted.filter {
        rewrite_filter(filter);
    }
    let (offset, limit) = (
        wanted.offset.unwrap_or(0),
        wanted.limit.unwrap_or(DEFAULT_LIMIT),
    );
    // From the start each node may fill the page alone; further on the totals say which nodes the page lies on.
    let first_limit = if offset == 0 { limit } else { 0 };
    let first = gather(app, table, index, &wanted, |_| Some((0, first_limit))).await?;
    let answers = if offset == 0 {
        first
    } else {
        let windows = windows(&totals(&first)?, offset, limit);
        gather(app, table, index, &wanted, |position| {
            windows.get(position).copied().flatten()
        })
        .await?
    };
    Ok(json(
        merge_documents(&answers, offset, limit)
            .map_err(merge_error)?
            .into_segments(),
    ))
}

/// One answer a node, in the plan's order; `window` gives each position its offset and limit.
async fn gather(
    app: &App,
    table: &RoutingTable,
    index: &Index,
    wanted: &Fetch,
    window: impl Fn(usize) -> Option<(usize, usize)>,
) -> Result<Vec<Bytes>, Error> {
    let path = index.node_path("/documents/fetch");
    let position = std::cell::Cell::new(0);
    let gathered = app
        .scatter(
            table,
            Wanted {
                index,
                only: None,
                seed: 0,
            },
            |target| {
                let (offset, limit) =
                    window(position.replace(position.get() + 1)).unwrap_or((0, 0));
                let mut fetch = Fetch {
                    offset: Some(offset),
                    limit: Some(limit),
                    ..wanted.clone()
                };
                if !target.whole {
                    fetch.filter = Some(with_shards(fetch.filter.take(), target));
                }
                // Strings, numbers and JSON values always serialise.
                app.ask(
                    "POST",
                    &path,
                    Some(serde_json::to_vec(&fetch).unwrap_or_default()),
                    true,
                )
            },
        )
        .await?;
    degraded(app, &gathered, true)?;
    Ok(gathered.answers.into_iter().map(|(_, body)| body).collect())
}

fn totals(answers: &[Bytes]) -> Result<Vec<usize>, Error> {
    answers
        .iter()
        .map(|answer| {
            let page = scan_documents(answer).map_err(merge_error)?;
            Ok(usize::try_from(page.total).unwrap_or(usize::MAX))
        })
        .collect()
}

/// Which part of each node's own list lies in the page of the joined list.
fn windows(totals: &[usize], offset: usize, limit: usize) -> Vec<Option<(usize, usize)>> {
    let (mut skip, mut left) = (offset, limit);
    totals
        .iter()
        .map(|&total| {
            let start = skip.min(total);
            skip -= start;
            let take = left.min(total - start);
            left -= take;
            (take > 0).then_some((start, take))
        })
        .collect()
}

fn json(segments: Vec<Bytes>) -> Response {
    Response::segments(200, segments)
}

#[cfg(test)]
mod tests {
    use super::windows;

    #[test]
    fn pages_of_the_joined_list() {
        assert_eq!(windows(&[3, 0, 4], 0, 2), [Some((0, 2)), None, None]);
        assert_eq!(
            windows(&[3, 0, 4], 2, 3),
            [Some((2, 1)), None, Some((0, 2))]
        );
        assert_eq!(windows(&[3, 0, 4], 5, 9), [None, None, Some((2, 2))]);
        assert_eq!(windows(&[3, 0, 4], 9, 9), [None, None, None]);
    }
}
