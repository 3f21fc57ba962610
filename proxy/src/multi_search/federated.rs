//! `POST /multi-search` with `federation`: several searches, one list of hits.
//!
//! A node is asked everything in one request with the header that makes it tell by what values it ranked each hit
//! (MEILISEARCH C). It gets *all* queries in the client's order, also those of indexes of which it is not asked any shard (their
//! filter then lets nothing pass): so every node checks that the queries go together, positions need no translation, and
//! layouts may differ between indexes. [`miroir_merge::merge_federated`] makes one answer of theirs.
//!
//! What a node refuses is retold by a node that sees the client's own words ([`crate::judge`]).

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use miroir_api::{is_index_uid, Error};
use miroir_auth::Access;
use miroir_merge::{
    merge_federated, FacetOrder, FederatedIndex, FederatedQuery, FederatedSpec, MergeFacets, Paging,
};
use miroir_net::client::OutRequest;
use miroir_net::{Request, Response};
use miroir_router::{Index, ReadTarget, RoutingTable, SearchSettings};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{json, Map, Value};

use super::inside;
use crate::core::{visible_index, App};
use crate::judge::Shown;
use crate::scatter::{multi_search_body, Ask, Gathered, Leg, Wanted};
use crate::search::{
    degraded, merge_error, merge_order, not_null, reserved_field, sends_request_uid, Part,
    PlannedSearch, SearchBody, DEFAULT_LIMIT,
};

/// How the queries' hits become one list: the member `federation` of the body.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Federation {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    offset: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits_per_page: Option<usize>,
    /// Index -> facets; `null` stands for none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    facets_by_index: BTreeMap<String, Option<Vec<String>>>,
    #[serde(skip_serializing, deserialize_with = "object")]
    merge_facets: Option<Merging>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distinct: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Merging {
    #[serde(default)]
    max_values_per_facet: Option<usize>,
}

/// Reads an object or null. Derived readers also take an array for a struct, member by member, which no node does.
pub fn object<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    member: D,
) -> Result<Option<T>, D::Error> {
    match Option::<Value>::deserialize(member)? {
        None => Ok(None),
        Some(object @ Value::Object(_)) => serde_json::from_value(object).map_err(D::Error::custom),
        Some(_) => Err(D::Error::custom("not an object")),
    }
}

/// The member `federationOptions` of a query.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Options {
    weight: f64,
    remote: Option<String>,
    query_position: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            weight: 1.0,
            remote: None,
            query_position: None,
        }
    }
}

/// A query of the request that fits what this program knows.
struct Query {
    uid: String,
    body: SearchBody,
    options: Options,
}

/// Answers a federated search.
pub async fn handle(
    app: &App,
    table: &RoutingTable,
    access: &Access,
    request: &Request,
    federation: Federation,
    queries: Vec<Map<String, Value>>,
) -> Result<Response, Error> {
    let started = Instant::now();
    let queries: Option<Vec<Query>> = queries.into_iter().map(Query::read).collect();
    let Some(mut queries) = queries else {
        return Err(refused(app, table, request, None).await);
    };
    for (position, query) in queries.iter_mut().enumerate() {
        let seen = access.check_named(&query.uid);
        seen.map_err(|error| inside(position, error))?;
        access.restrict(&query.uid, &mut query.body.filter);
    }
    if let Some(wrong) = queries.iter().find(|query| !query.is_federated()) {
        return Err(refused(app, table, request, Some(wrong)).await);
    }
    let search = match Search::prepare(app, table, federation, queries) {
        Ok(search) => search,
        Err((position, error)) => return Err(retold(app, table, request, position, error).await),
    };
    if search.needs_a_judge() {
        // What nodes are not shown of the request is looked at by one first.
        if let Some(refusal) = app.judge(table, request, Shown::Whole).await? {
            return Err(refusal);
        }
    }
    let gathered = match app.run_legs(table, &search.legs()).await {
        Ok(gathered) => gathered,
        // Positions in a node's words are the client's.
        Err((_, error)) => return Err(retold(app, table, request, None, error).await),
    };
    search.respond(app, gathered, started)
}

/// For a request that does not fit what this program knows, or has a query that no federated search may have.
async fn refused(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    wrong: Option<&Query>,
) -> Error {
    let error = app
        .judged_refusal(table, request, "a parameter of this federated search")
        .await;
    // Nodes may search with others, so that they answer us. Clients may not.
    if error.code == "invalid_multi_search_remote" {
        return network_is_off(REMOTE_SEARCH);
    }
    match wrong {
        Some(query) if error.status == 501 && query.options.query_position.is_some() => {
            network_is_off("Using `federationOptions.queryPosition`")
        }
        _ => error,
    }
}

fn network_is_off(what: &str) -> Error {
    Error::invalid(
        400,
        "feature_not_enabled",
        format!(
            "{what} requires enabling the `network` experimental feature. See \
             https://github.com/orgs/meilisearch/discussions/805"
        ),
    )
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
    if ours.status >= 500 || ours.code.starts_with("miroir_") {
        return ours;
    }
    let said = app.judge(table, request, Shown::Whole).await;
    said.ok().flatten().unwrap_or(ours)
}

/// What a node without the feature calls our header, and a client's `remote`.
const REMOTE_SEARCH: &str = "Performing a remote federated search";

impl Query {
    fn read(mut query: Map<String, Value>) -> Option<Self> {
        let uid = match query.remove("indexUid")? {
            Value::String(uid) if is_index_uid(&uid) => uid,
            _ => return None,
        };
        let options = match query.remove("federationOptions") {
            Some(options) => object(options).ok()?.unwrap_or_default(),
            None => Options::default(),
        };
        let body = serde_json::from_value(Value::Object(query)).ok()?;
        Some(Query { uid, body, options })
    }

    /// Whether it has nothing that belongs to the federation, or to a network.
    fn is_federated(&self) -> bool {
        let body = &self.body;
        body.offset.is_none()
            && body.limit.is_none()
            && body.page.is_none()
            && body.hits_per_page.is_none()
            && body.facets.is_none()
            && self.options.weight >= 0.0
            && self.options.remote.is_none()
            && self.options.query_position.is_none()
    }
}

/// A federated search that is ready to be asked.
struct Search<'t> {
    app: &'t App,
    federation: Federation,
    /// Those that are searched, each once, in the order of the request.
    indexes: Vec<&'t Index>,
    queries: Vec<Planned>,
    /// Those whose facets are asked for.
    counted: Vec<&'t Index>,
}

struct Planned {
    /// Its index, by position in the search's list.
    index: usize,
    search: PlannedSearch,
    weight: f64,
}

impl<'t> Search<'t> {
    /// Errors: what a client may not ask, with the query's position where it is about a query.
    fn prepare(
        app: &'t App,
        table: &'t RoutingTable,
        federation: Federation,
        queries: Vec<Query>,
    ) -> Result<Self, (Option<usize>, Error)> {
        let counted = federation.facets_by_index.keys();
        let counted: Result<_, Error> = counted.map(|uid| named(table, uid)).collect();
        let mut search = Search {
            app,
            counted: counted.map_err(|error| (None, error))?,
            federation,
            indexes: Vec::new(),
            queries: Vec::with_capacity(queries.len()),
        };
        for (position, query) in queries.into_iter().enumerate() {
            search
                .add(table, query)
                .map_err(|error| (Some(position), error))?;
        }
        Ok(search)
    }

    fn add(&mut self, table: &'t RoutingTable, query: Query) -> Result<(), Error> {
        let Query { uid, body, options } = query;
        let index = named(table, &uid)?;
        let place = self.indexes.iter().position(|known| known.uid == index.uid);
        let place = place.unwrap_or_else(|| {
            self.indexes.push(index);
            self.indexes.len() - 1
        });
        if body.uses_reserved_field() {
            return Err(reserved_field("search"));
        }
        if body.goes_by_meaning() {
            return Err(Error::not_implemented(
                "a search by meaning in a federated multi-search",
            ));
        }
        let planned = match self.federation.distinct {
            // Overrides the index's own; nodes send its values on the side.
            Some(_) => body.plan(&SearchSettings {
                distinct_attribute: None,
                ..(*index.settings).clone()
            }),
            None => body.plan(&index.settings),
        };
        let search = planned.map_err(|unsupported| Error::not_implemented(unsupported.0))?;
        if search.hides_distinct() {
            return Err(Error::not_implemented(
                "distinct, in one query of a federated search, on a field that displayedAttributes hides (show the field, \
                 or use `federation.distinct`)",
            ));
        }
        self.queries.push(Planned {
            index: place,
            search,
            weight: options.weight,
        });
        Ok(())
    }

    /// Facets are merged here, so no node sees that two indexes order them differently; and without queries no node is asked.
    fn needs_a_judge(&self) -> bool {
        let order = |index: &Index| index.settings.sort_facet_values_by.clone();
        let differ = self
            .counted
            .windows(2)
            .any(|two| order(two[0]) != order(two[1]));
        self.queries.is_empty() || (self.federation.merge_facets.is_some() && differ)
    }

    /// One leg an index; what they ask of one node is one request.
    fn legs(&self) -> Vec<Leg<'_>> {
        let seed = self.seed();
        let leg = |index: &&'t Index| Leg {
            wanted: Wanted {
                index,
                only: None,
                seed,
            },
            ask: Ask::Together(Box::new(|targets| self.request(targets))),
        };
        self.indexes.iter().map(leg).collect()
    }

    /// The request for one node, of which these shards of these indexes (by position) are wanted.
    fn request(&self, targets: &[(usize, &ReadTarget)]) -> OutRequest {
        let body = self.body(self.federation.reach(), |index| {
            let target = targets.iter().find(|(at, _)| *at == index);
            target.map_or(Part::Nothing, |(_, target)| Part::Of(target))
        });
        OutRequest {
            headers: vec![("Meili-Proxy-Search", "true".to_owned())],
            ..self.app.ask("POST", "/multi-search", Some(body), true)
        }
    }

    /// What picks the copies: everything but the page, so that page 2 comes from the same copies as page 1.
    fn seed(&self) -> u64 {
        let unpaged = Federation {
            facets_by_index: self.federation.facets_by_index.clone(),
            distinct: self.federation.distinct.clone(),
            ..Federation::default()
        };
        xxhash_rust::xxh3::xxh3_64(&self.body(unpaged, |_| Part::Everything))
    }

    /// The body for a node; `part` says by an index's position what of it is wanted.
    fn body<'r>(&self, mut federation: Federation, part: impl Fn(usize) -> Part<'r>) -> Vec<u8> {
        let queries = self.queries.iter().map(|query| {
            let mut body = query.search.federated_body(part(query.index));
            let weight = json!({ "weight": query.weight });
            append(&mut body, "federationOptions", &weight.to_string());
            (self.indexes[query.index].node_uid.as_str(), body)
        });
        let mut body = multi_search_body(queries);
        let facets = std::mem::take(&mut federation.facets_by_index);
        let facets = facets.into_iter();
        federation.facets_by_index = facets
            .map(|(uid, names)| (self.node_uid(uid), names))
            .collect();
        append(&mut body, "federation", &json!(federation).to_string());
        body
    }

    /// What nodes call an index of `facetsByIndex`, which need not be searched.
    fn node_uid(&self, uid: String) -> String {
        let known = self.counted.iter().find(|index| index.uid == uid);
        known.map_or(uid, |index| index.node_uid.clone())
    }

    fn respond(
        &self,
        app: &App,
        gathered: Vec<Gathered>,
        started: Instant,
    ) -> Result<Response, Error> {
        let mut short: Vec<String> = Vec::new();
        let mut answers: Vec<Bytes> = Vec::new();
        for (index, gathered) in self.indexes.iter().zip(gathered) {
            if let Some(shards) = degraded(app, &gathered, gathered.answers.is_empty())? {
                short.push(format!("{}:{shards}", index.uid));
            }
            for (_, body) in gathered.answers {
                // An answer is about all indexes that its node was asked for, and stands at each of them.
                if !answers.iter().any(|known| known.as_ptr() == body.as_ptr()) {
                    answers.push(body);
                }
            }
        }
        let merged = self.with_spec(app, started, |spec| merge_federated(&answers, spec));
        let response = Response::segments(200, merged.map_err(merge_error)?.into_segments());
        if short.is_empty() {
            Ok(response)
        } else {
            Ok(response.header("X-Miroir-Degraded", short.join(" ")))
        }
    }

    /// What the merge must know.
    fn with_spec<T>(
        &self,
        app: &App,
        started: Instant,
        merge: impl FnOnce(&FederatedSpec) -> T,
    ) -> T {
        let version = app.shared.control.node_version();
        let orders: Vec<_> = self
            .indexes
            .iter()
            .map(|index| self.facet_orders(index, version))
            .collect();
        let orders: Vec<_> = orders
            .iter()
            .map(|orders| {
                (
                    |field: &str| orders.own(field),
                    |field: &str| orders.merged(field),
                )
            })
            .collect();
        let indexes: Vec<FederatedIndex> = self
            .indexes
            .iter()
            .zip(&orders)
            .map(|(index, (own, merged))| FederatedIndex {
                uid: &index.uid,
                node_uid: &index.node_uid,
                hits_max: if version < INDEX_HITS_MAX_SINCE {
                    usize::MAX
                } else {
                    index.settings.max_total_hits
                },
                facet_order: own,
                merged_order: merged,
                max_values_per_facet: index.settings.max_values_per_facet,
            })
            .collect();
        let strips: Vec<Vec<&str>> = self
            .queries
            .iter()
            .map(|query| {
                query
                    .search
                    .strip_fields
                    .iter()
                    .map(String::as_str)
                    .collect()
            })
            .collect();
        let queries: Vec<FederatedQuery> = self
            .queries
            .iter()
            .zip(&strips)
            .map(|(Planned { index, search, .. }, strip)| FederatedQuery {
                index: *index,
                show_score: search.show_score,
                show_details: search.show_details,
                ranked: search.ranked,
                distinct: search.distinct.as_deref(),
                strip_fields: strip,
                strip_formatted: if search.strip_formatted { strip } else { &[] },
            })
            .collect();
        let request_uid = sends_request_uid(app).then(|| uuid::Uuid::now_v7().to_string());
        merge(&FederatedSpec {
            paging: self.federation.paging(),
            indexes: &indexes,
            queries: &queries,
            distinct: self.federation.distinct.as_deref(),
            merge_facets: self
                .federation
                .merge_facets
                .as_ref()
                .map(|merging| MergeFacets {
                    max_values_per_facet: merging.max_values_per_facet,
                }),
            processing_time_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            request_uid: request_uid.as_deref(),
        })
    }
}

impl Search<'_> {
    fn facet_orders<'s>(&'s self, index: &'s Index, version: (u32, u32, u32)) -> FacetOrders<'s> {
        let asked = self.federation.facets_by_index.get(&index.uid);
        FacetOrders {
            settings: &index.settings,
            asked: asked.and_then(Option::as_deref).unwrap_or_default(),
            by_name: version >= FACET_ORDER_BY_NAME_SINCE,
        }
    }
}

/// In what order an index's facets come. Up to 1.49 patterns had an order of their own.
struct FacetOrders<'s> {
    settings: &'s SearchSettings,
    /// Names and patterns.
    asked: &'s [String],
    by_name: bool,
}

impl FacetOrders<'_> {
    fn own(&self, field: &str) -> FacetOrder {
        let all = !self.by_name && self.asked.iter().any(|name| name == "*");
        merge_order(self.settings.facet_order(if all { "*" } else { field }))
    }

    fn merged(&self, field: &str) -> FacetOrder {
        if self.by_name || self.asked.iter().any(|name| name == field) {
            merge_order(self.settings.facet_order(field))
        } else {
            FacetOrder::Alpha
        }
    }
}

impl Federation {
    fn paging(&self) -> Paging {
        if self.page.is_some() || self.hits_per_page.is_some() {
            Paging::Pages {
                page: self.page.unwrap_or(1),
                hits_per_page: self.hits_per_page.unwrap_or(DEFAULT_LIMIT),
            }
        } else {
            Paging::Offset {
                offset: self.offset.unwrap_or(0),
                limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            }
        }
    }

    /// The same for nodes: from the first hit as far as the page reaches.
    fn reach(&self) -> Federation {
        let (limit, page, hits_per_page) = match self.paging() {
            Paging::Offset { offset, limit } => (Some(offset.saturating_add(limit)), None, None),
            Paging::Pages {
                page,
                hits_per_page,
            } => (
                None,
                Some(page.min(1)),
                Some(page.saturating_mul(hits_per_page)),
            ),
        };
        Federation {
            offset: None,
            limit,
            page,
            hits_per_page,
            merge_facets: None,
            ..self.clone()
        }
    }
}

/// The index that a query names. The resource that the URL names is there, so the status is not 404 (as Meilisearch has it).
fn named<'t>(table: &'t RoutingTable, uid: &str) -> Result<&'t Index, Error> {
    match visible_index(table, uid) {
        Ok(index) => Ok(index),
        Err(error) => Err(Error {
            status: 400,
            ..error
        }),
    }
}

/// Adds a member to an object's bytes.
fn append(object: &mut Vec<u8>, name: &str, value: &str) {
    object.pop();
    if object.len() > 1 {
        object.push(b',');
    }
    object.extend_from_slice(format!("\"{name}\":{value}}}").as_bytes());
}

/// From this version on an index gives a federated search no more than `maxTotalHits` (1.34: "Enforce index's max total hit").
const INDEX_HITS_MAX_SINCE: (u32, u32, u32) = (1, 34, 0);

/// From this version on a facet that a pattern names has the order of its own name.
const FACET_ORDER_BY_NAME_SINCE: (u32, u32, u32) = (1, 50, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_asked_from_the_first_hit_on() {
        let reach = |federation: Value| {
            let federation: Federation = serde_json::from_value(federation).unwrap();
            serde_json::to_value(federation.reach()).unwrap()
        };
        assert_eq!(reach(json!({})), json!({"limit": 20}));
        assert_eq!(reach(json!({"offset": 5, "limit": 3})), json!({"limit": 8}));
        assert_eq!(
            reach(json!({"page": 3, "limit": 3})),
            json!({"page": 1, "hitsPerPage": 60})
        );
        assert_eq!(
            reach(json!({"page": 0})),
            json!({"page": 0, "hitsPerPage": 0})
        );
        assert_eq!(
            reach(
                json!({"facetsByIndex": {"a": ["x"], "b": null}, "mergeFacets": {}, "distinct": "d"})
            ),
            json!({"limit": 20, "facetsByIndex": {"a": ["x"], "b": null}, "distinct": "d"})
        );
    }

    #[test]
    fn what_a_node_must_judge() {
        let read = |query: Value| match query {
            Value::Object(query) => Query::read(query).filter(Query::is_federated),
            _ => None,
        };
        let query =
            read(json!({"indexUid": "a", "q": "x", "federationOptions": {"weight": 0.5}})).unwrap();
        assert_eq!((query.uid.as_str(), query.options.weight), ("a", 0.5));
        assert_eq!(
            read(json!({"indexUid": "a", "federationOptions": null}))
                .unwrap()
                .options
                .weight,
            1.0
        );
        for (name, value) in [
            ("limit", json!(1)),
            ("offset", json!(1)),
            ("page", json!(1)),
            ("hitsPerPage", json!(1)),
            ("facets", json!([])),
            ("indexUid", json!("not valid!")),
            ("unknown", json!(1)),
            ("federationOptions", json!([0.5])),
            ("federationOptions", json!({"weight": null})),
            ("federationOptions", json!({"weight": -1})),
            ("federationOptions", json!({"remote": "x"})),
            ("federationOptions", json!({"queryPosition": 1})),
        ] {
            let mut query = json!({"indexUid": "a"});
            query[name] = value;
            assert!(read(query.clone()).is_none(), "{query}");
        }
        for federation in [
            json!({"limit": null}),
            json!({"facetsByIndex": null}),
            json!({"x": 1}),
            json!({"limit": -1}),
        ] {
            assert!(
                serde_json::from_value::<Federation>(federation.clone()).is_err(),
                "{federation}"
            );
        }
    }

    #[test]
    fn members_are_added_to_any_object() {
        for (object, expected) in [("{}", r#"{"a":1}"#), (r#"{"b":2}"#, r#"{"b":2,"a":1}"#)] {
            let mut bytes = object.as_bytes().to_vec();
            append(&mut bytes, "a", "1");
            assert_eq!(bytes, expected.as_bytes());
        }
    }
}
