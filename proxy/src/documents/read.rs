//! Reading documents: one by its id, or lists over all shards.
//!
//! Without `sort` the first [`BY_KEY`] documents of every node are merged by their keys, each node's own order kept, and the
//! rest follows node by node: each page takes up where the last ended, as long as the same copies answer. With `sort` the
//! nodes say by which values, and their lists are merged.

use std::cell::Cell;
use std::collections::BTreeSet;

use bytes::Bytes;
use miroir_api::{is_index_uid, Error, SHARD_FIELD};
use miroir_merge::{
    id_text, merge_documents, scan_documents, strip_document, ByKey, DocumentsPage, Placeless,
};
use miroir_net::client::OutRequest;
use miroir_net::{Request, Response};
use miroir_router::{rewrite_filter, shard_of, Index, ReadTarget, RoutingTable, Shard};
use percent_encoding::{utf8_percent_encode, NON_ALPHANUMERIC};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::{json_object, visible_index, App};
use crate::pinned;
use crate::scatter::Wanted;
use crate::search::{
    check_filter, degraded, filter_parameter, list_parameter, merge_error, reserved_field,
    sort_parameter, with_shards, Object,
};

/// How a rule that sorts by a place begins, and what a node says that has no documents with one.
const PLACE_RULE: &str = "_geoPoint(";
const PLACELESS: &str = "invalid_document_sort";

/// So many documents of each node stand at the beginning of a list without `sort`, by key. Pages among them are asked for
/// from the beginning, so more would cost more.
const BY_KEY: usize = 1000;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    sort: Option<Vec<String>>,
}

impl Fetch {
    fn check_reserved(&self) -> Result<(), Error> {
        check_filter(self.filter.as_ref(), "filter")?;
        let mut sort = self.sort.iter().flatten();
        if sort.any(|rule| rule.starts_with(SHARD_FIELD)) {
            return Err(reserved_field("sort"));
        }
        Ok(())
    }
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
        Some(fetch) => match page(app, table, uid, fetch).await {
            // Nodes were asked by another filter.
            Err(error) => Err(app.retell(table, request, error).await),
            listed => listed,
        },
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
        Some(fetch) => match page(app, table, uid, fetch).await {
            // Nodes were asked by another filter.
            Err(error) => Err(app.retell(table, request, error).await),
            listed => listed,
        },
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
                let ids = value.split(',').filter(|id| !id.is_empty());
                fetch.ids = Some(ids.map(Value::from).collect());
            }
            "sort" => fetch.sort = Some(sort_parameter(&value)),
            _ => return None,
        }
    }
    Some(fetch)
}

/// Those of these documents that are there, by id, with what hits may show of them.
pub async fn by_ids(
    app: &App,
    table: &RoutingTable,
    index: &Index,
    ids: BTreeSet<String>,
) -> Result<Vec<(String, Object)>, Error> {
    let Some(primary_key) = &index.primary_key else {
        return Ok(Vec::new());
    };
    let settings = &index.settings;
    let limit = ids.len();
    let ids: Vec<Value> = ids.into_iter().map(Value::from).collect();
    let displayed = settings.displayed_attributes.clone();
    let list = List {
        app,
        table,
        index,
        shards: pinned::by_ids(index, Some(&ids), None),
        sorted: false,
        key: None,
        adds_key: false,
        fetch: Fetch {
            fields: displayed
                .map(|fields| fields.into_iter().chain([primary_key.clone()]).collect()),
            ids: Some(ids),
            ..Fetch::default()
        },
    };
    let mut found = Vec::with_capacity(limit);
    for (_, body) in list.gather(|_| (0, limit)).await? {
        let mut page: Page = serde_json::from_slice(&body)
            .map_err(|error| Error::internal(format!("a node's documents: {error}")))?;
        for mut document in page.results.drain(..) {
            document.remove(SHARD_FIELD);
            let id: Option<Value> = document.read(primary_key);
            let Some(id) = id.as_ref().and_then(id_text) else {
                continue;
            };
            if !settings.displays(primary_key) {
                document.remove(primary_key);
            }
            found.push((id, document));
        }
    }
    Ok(found)
}

/// A node's list of documents.
#[derive(Deserialize)]
struct Page {
    results: Vec<Object>,
}

/// The page `offset..offset+limit` of the list in which the nodes' documents follow each other, or of the one into which
/// their sorted lists are merged.
async fn page(
    app: &App,
    table: &RoutingTable,
    uid: &str,
    mut fetch: Fetch,
) -> Result<Response, Error> {
    let index = visible_index(table, uid)?;
    fetch.check_reserved()?;
    if let Some(filter) = &mut fetch.filter {
        rewrite_filter(filter);
    }
    let (offset, limit) = (
        fetch.offset.unwrap_or(0),
        fetch.limit.unwrap_or(DEFAULT_LIMIT),
    );
    let sorted = fetch.sort.as_ref().is_some_and(|sort| !sort.is_empty());
    // A key that is a path is no member of its own.
    let key = index.primary_key.as_deref();
    let key = key.filter(|key| !key.contains('.'));
    let adds_key = key.is_some_and(|key| add_field(&mut fetch.fields, key));
    let list = List {
        app,
        table,
        index,
        shards: pinned::by_ids(index, fetch.ids.as_deref(), fetch.filter.as_ref()),
        sorted,
        key,
        adds_key,
        fetch,
    };
    let answers = list.answers(offset, limit).await?;
    let page = DocumentsPage {
        offset,
        limit,
        skip: answers.skip,
        sorted: list.sorted,
        by_key: ByKey {
            key: list.key.unwrap_or_default(),
            first: answers.by_key,
            cut: list.adds_key,
        },
        placeless: Placeless {
            answers: &answers.placeless,
            rules: &list.place_rules(),
        },
    };
    Ok(json(
        merge_documents(&answers.bodies, &page)
            .map_err(merge_error)?
            .into_segments(),
    ))
}

/// Adds a field to those that are asked for, and says whether it was not among them.
fn add_field(fields: &mut Option<Vec<String>>, key: &str) -> bool {
    let asked = |name: &String| name == "*" || name == key;
    match fields {
        Some(fields) if !fields.iter().any(asked) => {
            fields.push(key.to_owned());
            true
        }
        _ => false,
    }
}

/// Documents of one index that are listed over its shards.
struct List<'a> {
    app: &'a App,
    table: &'a RoutingTable,
    index: &'a Index,
    /// Only these can hold what is listed.
    shards: Option<Vec<Shard>>,
    sorted: bool,
    /// The member by which documents are merged that no order tells apart; nodes are asked for it on behalf of the merge where the client
    /// did not (`adds_key`).
    key: Option<&'a str>,
    adds_key: bool,
    fetch: Fetch,
}

/// What the nodes send for a page.
#[derive(Default)]
struct Answers {
    bodies: Vec<Bytes>,
    /// So many of their documents come before the page.
    skip: usize,
    /// So many of the first documents of each are merged by key.
    by_key: usize,
    /// Those of nodes that were asked without rules that sort by a place.
    placeless: Vec<usize>,
}

impl Answers {
    fn of(answers: Vec<(ReadTarget, Bytes)>, skip: usize) -> Self {
        Answers {
            bodies: answers.into_iter().map(|(_, body)| body).collect(),
            skip,
            ..Answers::default()
        }
    }
}

impl List<'_> {
    async fn answers(&self, offset: usize, limit: usize) -> Result<Answers, Error> {
        let reach = offset.saturating_add(limit);
        if self.sorted {
            return match self.gather(|_| (0, reach)).await {
                Err(error) if error.code == PLACELESS && !self.place_rules().is_empty() => {
                    let answers = self.answers_without_places(reach, error).await?;
                    Ok(Answers {
                        skip: offset,
                        by_key: usize::MAX,
                        ..answers
                    })
                }
                answers => Ok(Answers {
                    by_key: usize::MAX,
                    ..Answers::of(answers?, offset)
                }),
            };
        }
        let first = if self.key.is_some() { BY_KEY } else { 0 };
        // Each node may fill the page alone.
        if offset == 0 || reach <= first {
            return self.up_to(reach, offset, first).await;
        }
        // Deep in a list without an order that would be much, and the totals say which nodes the page lies on.
        let counted = self.gather(|_| (0, 0)).await?;
        let totals = totals(&counted)?;
        let merged: usize = totals.iter().map(|total| first.min(*total)).sum();
        let rest: Vec<usize> = totals
            .iter()
            .map(|total| total - first.min(*total))
            .collect();
        let windows = match offset.checked_sub(merged) {
            Some(behind) => windows(&rest, behind, limit)
                .into_iter()
                .map(|(start, take)| (first + start, take))
                .collect::<Vec<_>>(),
            // It begins among those that are merged, so these are asked for whole.
            None => windows(&rest, 0, reach.saturating_sub(merged))
                .into_iter()
                .map(|(_, take)| (0, first + take))
                .collect(),
        };
        let known: Vec<(ReadTarget, (usize, usize))> = counted
            .into_iter()
            .zip(windows)
            .map(|((target, _), window)| (target, window))
            .collect();
        let elsewhere = Cell::new(false);
        let answers = self
            .gather(|target| match known.iter().find(|(of, _)| of == target) {
                Some((_, window)) => *window,
                None => {
                    elsewhere.set(true);
                    (0, reach)
                }
            })
            .await?;
        if elsewhere.get() {
            // A copy failed in between, so that others answered for its shards: the windows do not fit any more.
            return self.up_to(reach, offset, first).await;
        }
        let among = offset < merged;
        Ok(Answers {
            by_key: if among { first } else { 0 },
            ..Answers::of(answers, if among { offset } else { 0 })
        })
    }

    async fn up_to(&self, reach: usize, offset: usize, first: usize) -> Result<Answers, Error> {
        let answers = self.gather(|_| (0, reach)).await?;
        Ok(Answers {
            by_key: first,
            ..Answers::of(answers, offset)
        })
    }

    /// Where rules that sort by a place stand in `sort`.
    fn place_rules(&self) -> Vec<usize> {
        let rules = self.fetch.sort.iter().flatten().enumerate();
        rules
            .filter(|(_, rule)| rule.starts_with(PLACE_RULE))
            .map(|(at, _)| at)
            .collect()
    }

    /// Asks each node by itself, since some refuse to sort by a place (with `refusal`): those that hold no document that has one.
    /// They are asked without; where all of them refuse, so would one node.
    async fn answers_without_places(&self, reach: usize, refusal: Error) -> Result<Answers, Error> {
        let mut unsorted = self.fetch.clone();
        unsorted.sort = None;
        let counted = self.asking(unsorted, self.shards.clone(), false);
        let counted = counted.gather(|_| (0, 0)).await?;
        let mut answers = Answers::default();
        for (target, _) in counted {
            let shards = Some(target.shards.to_vec());
            let list = self.asking(self.fetch.clone(), shards.clone(), true);
            let sent = match list.gather(|_| (0, reach)).await {
                Err(error) if error.code == PLACELESS => {
                    let mut fetch = self.fetch.clone();
                    if let Some(sort) = &mut fetch.sort {
                        sort.retain(|rule| !rule.starts_with(PLACE_RULE));
                    }
                    let list = self.asking(fetch, shards, true);
                    let sent = list.gather(|_| (0, reach)).await?;
                    let first = answers.bodies.len();
                    answers.placeless.extend(first..first + sent.len());
                    sent
                }
                sent => sent?,
            };
            answers
                .bodies
                .extend(sent.into_iter().map(|(_, body)| body));
        }
        if answers.placeless.len() == answers.bodies.len() {
            return Err(refusal);
        }
        Ok(answers)
    }

    /// The same list, asked otherwise.
    fn asking(&self, fetch: Fetch, shards: Option<Vec<Shard>>, sorted: bool) -> List<'_> {
        List {
            app: self.app,
            table: self.table,
            index: self.index,
            shards,
            sorted,
            key: None,
            adds_key: false,
            fetch,
        }
    }

    /// One answer a node, in the plan's order; `window` gives each target's offset and limit.
    async fn gather(
        &self,
        window: impl Fn(&ReadTarget) -> (usize, usize),
    ) -> Result<Vec<(ReadTarget, Bytes)>, Error> {
        let path = self.index.node_path("/documents/fetch");
        let wanted = Wanted {
            index: self.index,
            only: self.shards.as_deref(),
            seed: 0,
        };
        let build = |target: &ReadTarget| {
            let (offset, limit) = window(target);
            let mut fetch = Fetch {
                offset: Some(offset),
                limit: Some(limit),
                ..self.fetch.clone()
            };
            if !target.whole {
                fetch.filter = Some(with_shards(fetch.filter.take(), target));
            }
            // Strings, numbers and JSON values always serialise.
            let body = serde_json::to_vec(&fetch).unwrap_or_default();
            let request = self.app.ask("POST", &path, Some(body), true);
            if !self.sorted {
                return request;
            }
            // Then each document comes with the values that it is sorted by (MEILISEARCH A.4).
            OutRequest {
                headers: vec![("Meili-Proxy-Search", "true".to_owned())],
                ..request
            }
        };
        let gathered = self.app.scatter(self.table, wanted, build).await?;
        degraded(self.app, &gathered, true)?;
        Ok(gathered.answers)
    }
}

fn totals(answers: &[(ReadTarget, Bytes)]) -> Result<Vec<usize>, Error> {
    answers
        .iter()
        .map(|(_, answer)| {
            let page = scan_documents(answer).map_err(merge_error)?;
            Ok(usize::try_from(page.total).unwrap_or(usize::MAX))
        })
        .collect()
}

/// Offset and limit of the part of each node's own list that lies in the page of the joined list.
fn windows(totals: &[usize], offset: usize, limit: usize) -> Vec<(usize, usize)> {
    let (mut skip, mut left) = (offset, limit);
    totals
        .iter()
        .map(|&total| {
            let start = skip.min(total);
            skip -= start;
            let take = left.min(total - start);
            left -= take;
            (start, take)
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
        assert_eq!(windows(&[3, 0, 4], 0, 2), [(0, 2), (0, 0), (0, 0)]);
        assert_eq!(windows(&[3, 0, 4], 2, 3), [(2, 1), (0, 0), (0, 2)]);
        assert_eq!(windows(&[3, 0, 4], 5, 9), [(3, 0), (0, 0), (2, 2)]);
        assert_eq!(windows(&[3, 0, 4], 9, 9), [(3, 0), (0, 0), (4, 0)]);
    }
}
