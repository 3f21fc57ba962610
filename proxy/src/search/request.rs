//! A search as the client wrote it, and as a node must be asked.
//!
//! One type reads the client's body and writes the node's, so that what is not touched on the way cannot change. Values
//! that this program never looks at stay raw JSON. A body that does not fit this type is not judged here: a node is
//! asked, and its words are the client's (see `judge`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::{to_raw_value, RawValue};

use super::hybrid::Hybrid;
use miroir_api::{Error, SHARD_FIELD};
use miroir_merge::Paging;
use miroir_router::{and_shards, covers, rewrite_filter, Index, ReadTarget, SearchSettings, Shard};

use super::counting::{bare, Counting};
use super::reserved_field;
use crate::core::App;
use crate::pinned;
use crate::scatter::{multi_search_body, Ask};

/// Meilisearch's default page size.
pub const DEFAULT_LIMIT: usize = 20;

/// Body of `POST /indexes/{uid}/search` (MEILISEARCH B.1).
#[derive(Deserialize, Serialize, Default, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SearchBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub offset: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hits_per_page: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes_to_retrieve: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub show_ranking_score: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub show_ranking_score_details: Option<bool>,
    /// Answered here ([`crate::stages`]).
    #[serde(skip_serializing, deserialize_with = "not_null")]
    pub show_performance_details: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub facets: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub attributes_to_highlight: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub highlight_pre_tag: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub highlight_post_tag: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub attributes_to_crop: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub crop_length: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub crop_marker: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub show_matches_position: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub matching_strategy: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub attributes_to_search_on: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub ranking_score_threshold: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub locales: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub retrieve_vectors: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hybrid: Option<Hybrid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Box<RawValue>>,
}

/// `null` is not the same as leaving a member out: where Meilisearch refuses it, it must reach a node to be refused.
pub fn not_null<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    member: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(member).map(Some)
}

/// A search after planning: what to send, and what the merge must know.
pub struct PlannedSearch {
    /// The node's body without the shard filter.
    pub(super) node_body: SearchBody,
    /// The client's page.
    pub paging: Paging,
    pub query: String,
    pub show_score: bool,
    pub show_details: bool,
    pub ranked: bool,
    /// A node that answers alone is asked for no details: its list needs no merging.
    pub alone: bool,
    pub distinct: Option<String>,
    /// Fields that were asked for on behalf of the merge only.
    pub strip_fields: Vec<String>,
    /// Those of them that are to go from `_formatted` too: which the client did not want highlighted or cropped, or may not see.
    pub strip_formatted: Vec<String>,
    /// The client asks for facets by a `*`.
    pub facet_star: bool,
    /// What else nodes are asked, for the totals.
    pub counting: Option<Counting>,
    /// Nodes are asked in the form that tells values which `displayedAttributes` hides.
    pub reveal: Option<Reveal>,
}

/// What a search needs that public answers hide; asked for by a federated search of the one query (MEILISEARCH C).
#[derive(Debug, Default, PartialEq)]
pub struct Reveal {
    /// The distinct attribute, where it is hidden. Values to sort by, and scores, come of themselves.
    distinct: Option<String>,
}

/// Why a search that a node would understand cannot be answered here yet.
pub struct Unsupported(pub String);

impl SearchBody {
    /// Decides what every node is asked, from the client's body and the index's settings.
    pub fn plan(mut self, settings: &SearchSettings) -> Result<PlannedSearch, Unsupported> {
        let paging = self.paging();
        self.reach(paging, settings.max_total_hits);
        let query = self.q.clone().unwrap_or_default();
        let show_score = self.show_ranking_score.unwrap_or(false);
        let show_details = self.show_ranking_score_details.unwrap_or(false);
        let ranked = self.is_ranked(settings);
        if ranked {
            self.show_ranking_score_details = Some(true);
        }
        let distinct = self
            .distinct
            .clone()
            .or_else(|| settings.distinct_attribute.clone());
        let mut strip_fields = self.strays(settings);
        let reveal = self.reveal(distinct.as_deref(), settings)?;
        match (&distinct, &reveal) {
            (None, _) | (_, Some(Reveal { distinct: Some(_) })) => {}
            (Some(field), _) => self.retrieve_also(field, &mut strip_fields),
        }
        if let Some(filter) = &mut self.filter {
            rewrite_filter(filter);
        }
        let facet_star = self.has_facet_star();
        let counting = Counting::of(&self, distinct.as_deref(), paging, settings);
        let strip_formatted = self.unformatted(&strip_fields, settings);
        let alone =
            ranked && !show_details && distinct.is_none() && counting.is_none() && reveal.is_none();
        Ok(PlannedSearch {
            node_body: self,
            paging,
            query,
            show_score,
            show_details: show_details && ranked,
            ranked,
            alone,
            distinct,
            strip_fields,
            strip_formatted,
            facet_star,
            counting,
            reveal,
        })
    }

    /// Whether some attribute lets each value through only once.
    pub fn is_distinct(&self, settings: &SearchSettings) -> bool {
        self.distinct.is_some() || settings.distinct_attribute.is_some()
    }

    /// Whether documents are told apart by a field that their hits cannot show.
    pub fn hides_distinct(&self, settings: &SearchSettings) -> bool {
        let distinct = self
            .distinct
            .as_ref()
            .or(settings.distinct_attribute.as_ref());
        distinct.is_some_and(|field| !settings.nodes_display(field))
    }

    /// What must be asked for because no public answer shows it.
    fn reveal(
        &self,
        distinct: Option<&str>,
        settings: &SearchSettings,
    ) -> Result<Option<Reveal>, Unsupported> {
        let distinct = distinct.filter(|field| !settings.nodes_display(field));
        if let Some(field) = distinct.filter(|_| self.distinct.is_none()) {
            // By the setting it may be anything, and nodes display it (ADR 5) unless it was set by an earlier build; by a request it
            // must be filterable, and we must request it.
            if !settings.is_filterable(field) {
                return Err(Unsupported(format!(
                    "distinct on `{field}`, which displayedAttributes hides (send displayedAttributes again: Miroir now tells nodes to show it \
                     to Miroir alone)"
                )));
            }
        }
        let sorts = self.sort.iter().flatten().chain(&settings.ranking_rules);
        let sorts_by_hidden = sorts
            .filter_map(|rule| rule.rsplit_once(':'))
            .any(|(field, _)| !field.starts_with("_geo") && hides_values(settings, field));
        Ok(
            (distinct.is_some() || sorts_by_hidden || !settings.foreign_keys.is_empty()).then(
                || Reveal {
                    distinct: distinct.map(str::to_owned),
                },
            ),
        )
    }

    fn paging(&self) -> Paging {
        paging(self.offset, self.limit, self.page, self.hits_per_page)
    }

    /// Every node must send as much from its start as the page could need from it alone (DESIGN 7).
    fn reach(&mut self, paging: Paging, hits_max: usize) {
        match paging {
            Paging::Offset { offset, limit } => {
                self.offset = None;
                self.limit = Some(if limit == 0 {
                    0
                } else {
                    offset.saturating_add(limit).min(hits_max)
                });
            }
            Paging::Pages {
                page,
                hits_per_page,
            } => {
                self.offset = None;
                self.limit = None;
                self.page = Some(1);
                self.hits_per_page = Some(page.saturating_mul(hits_per_page).min(hits_max));
            }
        }
    }

    /// A search without words, `sort` and custom ranking rules ties everywhere: its hits need no rank keys.
    fn is_ranked(&self, settings: &SearchSettings) -> bool {
        let words = self.q.as_deref().is_some_and(|q| !q.trim().is_empty());
        let sorts = self.sort.as_ref().is_some_and(|sort| !sort.is_empty());
        let custom = settings.ranking_rules.iter().any(|rule| rule.contains(':'));
        words || sorts || custom || self.show_ranking_score_details == Some(true)
    }

    /// Those of these fields that the client may not see, or does not want highlighted or cropped.
    fn unformatted(&self, fields: &[String], settings: &SearchSettings) -> Vec<String> {
        let shown = |field: &&String| self.formats(field) && settings.displays(field);
        fields
            .iter()
            .filter(|field| !shown(field))
            .cloned()
            .collect()
    }

    /// Whether the client wants the field highlighted or cropped.
    fn formats(&self, field: &str) -> bool {
        let mut formatted = self.formatted();
        formatted.any(|name| name == "*" || covers(&name, field))
    }

    /// The attributes that the client wants highlighted or cropped.
    fn formatted(&self) -> impl Iterator<Item = String> {
        let highlighted = attributes(self.attributes_to_highlight.as_deref());
        let mut cropped = attributes(self.attributes_to_crop.as_deref());
        for name in &mut cropped {
            name.truncate(without_length(name).len());
        }
        cropped.into_iter().chain(highlighted)
    }

    /// Whether a node before 1.50 orders every facet as it orders those without an order of their own.
    pub fn has_facet_star(&self) -> bool {
        attributes(self.facets.as_deref())
            .iter()
            .any(|name| name == "*")
    }

    /// The hidden field must not filter, sort or tell documents apart. In lists of attributes it does no harm: it is cut out
    /// of every answer.
    pub fn check_reserved(&self) -> Result<(), Error> {
        let mut named = self.distinct.iter().chain(self.sort.iter().flatten());
        if named.any(|name| name.starts_with(SHARD_FIELD)) {
            return Err(reserved_field("search"));
        }
        check_filter(self.filter.as_ref(), "search")
    }

    /// The facets that are asked for, and this one.
    pub(super) fn with_facet(&self, field: &str) -> Option<Box<RawValue>> {
        let mut facets = attributes(self.facets.as_deref());
        facets.push(field.to_owned());
        to_raw_value(&facets).ok()
    }

    /// Makes hits carry a field that the merge needs, before the search is planned; see [`PlannedSearch::strip`].
    pub fn need(&mut self, field: &str, settings: &SearchSettings) -> Result<Needed, Unsupported> {
        if !settings.nodes_display(field) {
            return Err(Unsupported(format!(
                "a search that must tell documents apart by `{field}`, which displayedAttributes hides (send \
                 displayedAttributes again: Miroir now tells nodes to show it to Miroir alone)"
            )));
        }
        let mut added = Vec::new();
        self.retrieve_also(field, &mut added);
        Ok(Needed {
            unformatted: self.unformatted(&added, settings),
            added,
        })
    }

    /// Whether hits are shown with anything that depends on the words which they matched.
    pub fn shows_matches(&self) -> bool {
        self.attributes_to_highlight.is_some()
            || self.attributes_to_crop.is_some()
            || self.show_matches_position.is_some()
    }

    fn retrieve_also(&mut self, field: &str, strip: &mut Vec<String>) {
        let Some(retrieved) = &self.attributes_to_retrieve else {
            return;
        };
        let covered = retrieved
            .iter()
            .any(|name| name == "*" || covers(name, field));
        if covered {
            return;
        }
        strip.push(field.to_owned());
        // Its parents would come too where they are empty: they go, unless the client wants something else in them.
        let kept: Vec<String> = self.formatted().chain(self.retrieved()).collect();
        let parents = field.match_indices('.').map(|(dot, _)| &field[..dot]);
        let free = |parent: &&str| !kept.iter().any(|name| covers(parent, name));
        strip.extend(parents.filter(free).take(1).map(str::to_owned));
        self.attributes_to_retrieve
            .get_or_insert_default()
            .push(field.to_owned());
    }

    pub(super) fn retrieved(&self) -> impl Iterator<Item = String> + '_ {
        self.attributes_to_retrieve.iter().flatten().cloned()
    }
}

/// Which page a client asks for: `page` or `hitsPerPage` switch to exhaustive pages.
pub fn paging(
    offset: Option<usize>,
    limit: Option<usize>,
    page: Option<usize>,
    hits_per_page: Option<usize>,
) -> Paging {
    if page.is_some() || hits_per_page.is_some() {
        Paging::Pages {
            page: page.unwrap_or(1),
            hits_per_page: hits_per_page.unwrap_or(DEFAULT_LIMIT),
        }
    } else {
        Paging::Offset {
            offset: offset.unwrap_or(0),
            limit: limit.unwrap_or(DEFAULT_LIMIT),
        }
    }
}

/// A cropped attribute may carry its length: `overview:20`.
pub(super) fn without_length(name: &str) -> &str {
    name.split_once(':').map_or(name, |(name, _)| name)
}

/// A list of attributes as the client wrote it; whether it is one, nodes judge.
fn attributes(list: Option<&RawValue>) -> Vec<String> {
    list.and_then(|list| serde_json::from_str(list.get()).ok())
        .unwrap_or_default()
}

/// What of an index a node is to search.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    Everything,
    Of(&'a ReadTarget),
    Nothing,
}

/// A field that hits carry for the merge.
#[derive(Default)]
pub struct Needed {
    /// Its name, where the client did not ask for it.
    added: Vec<String>,
    /// The same, where the client does not see it in `_formatted` either.
    unformatted: Vec<String>,
}

/// What stands beside the queries of a federated search.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Federation<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits_per_page: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facets_by_index: Option<BTreeMap<&'a str, Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distinct: Option<&'a str>,
}

impl SearchBody {
    /// The bytes of this search as a query of a federated one, whose paging is not here.
    pub fn federated_body(&self, part: Part) -> Vec<u8> {
        serialise(&self.federated_query(part))
    }

    pub(super) fn federated_query(&self, part: Part) -> SearchBody {
        let mut body = SearchBody {
            limit: None,
            hits_per_page: None,
            page: None,
            ..self.clone()
        };
        let shards: &[Shard] = match part {
            Part::Of(target) if !target.whole => &target.shards,
            Part::Of(_) | Part::Everything => return body,
            Part::Nothing => &[],
        };
        body.filter = Some(and_shards(body.filter.take(), shards));
        body
    }
}

impl PlannedSearch {
    /// Whether documents are told apart by a field that their hits cannot show.
    pub fn hides_distinct(&self) -> bool {
        let reveal = self.reveal.as_ref();
        reveal.is_some_and(|reveal| reveal.distinct.is_some())
    }

    /// Cuts out again what the client did not ask for.
    pub fn strip(&mut self, needed: &Needed) {
        self.strip_fields.extend_from_slice(&needed.added);
        self.strip_formatted.extend_from_slice(&needed.unformatted);
    }

    /// How nodes are asked.
    pub fn ask<'a>(&'a self, app: &'a App, index: &'a Index) -> Ask<'a> {
        if !self.alone {
            return self.ask_as(&self.node_body, app, index);
        }
        Ask::Search(Box::new(|target, alone| {
            if !alone {
                return bytes_for(&self.node_body, target);
            }
            let undetailed = SearchBody {
                show_ranking_score_details: None,
                ..self.node_body.clone()
            };
            bytes_for(&undetailed, target)
        }))
    }

    /// How nodes are asked another search in the same form.
    pub(super) fn ask_as<'a>(
        &'a self,
        body: &'a SearchBody,
        app: &'a App,
        index: &'a Index,
    ) -> Ask<'a> {
        match &self.reveal {
            None => Ask::Search(Box::new(|target, _| bytes_for(body, target))),
            Some(reveal) => Ask::Request(Box::new(move |target| {
                let body = revealing_body(body, reveal, &index.node_uid, target);
                let (name, value) = miroir_api::PROXY_SEARCH_HEADER;
                let mut request = app.ask("POST", "/multi-search", Some(body), true);
                request.headers.push((name, value.to_owned()));
                request
            })),
        }
    }

    /// How nodes are asked for so many hits, whatever their `maxTotalHits`: in the federated form, which did not keep to it before
    /// 1.34.
    pub fn ask_past_max<'a>(&'a self, hits: usize, app: &'a App, index: &'a Index) -> Ask<'a> {
        Ask::Request(Box::new(move |target| {
            let body = SearchBody {
                limit: Some(hits),
                ..self.node_body.clone()
            };
            let nothing_hidden = Reveal { distinct: None };
            let body = revealing_body(&body, &nothing_hidden, &index.node_uid, target);
            app.ask("POST", "/multi-search", Some(body), true)
        }))
    }

    /// The bytes for one node.
    pub fn body_for(&self, target: &ReadTarget) -> Vec<u8> {
        bytes_for(&self.node_body, target)
    }

    /// What nodes are asked, without the shard filter.
    pub fn body(&self) -> &SearchBody {
        &self.node_body
    }

    /// The bytes of a query of this search that is asked by itself; and the distinct attribute where it has to stand beside the query.
    pub fn alone_body(&self, body: &SearchBody, part: Part) -> (Vec<u8>, Option<&str>) {
        let hidden = self
            .reveal
            .as_ref()
            .and_then(|reveal| reveal.distinct.as_deref());
        let mut body = body.federated_query(part);
        if hidden.is_some() {
            body.distinct = None;
        }
        (serialise(&body), hidden)
    }

    /// Makes nodes show all documents, whatever distinct attribute the index has: one that a request names goes before it, and no
    /// document has this one, which may be filtered by as part of the hidden field.
    pub fn show_duplicates(&mut self) {
        self.node_body.distinct = Some(format!("{SHARD_FIELD}.none"));
    }

    /// The shards that can hold a hit, where the filter says so. With facets all shards are asked: those that a node does
    /// not know are missing from its answer, and a whole index knows them all.
    pub fn pinned_shards(&self, index: &Index) -> Option<Vec<Shard>> {
        let facets = self.node_body.facets.as_ref();
        if facets.is_some_and(|facets| facets.get() != "[]") {
            return None;
        }
        pinned::by_filter(index, self.node_body.filter.as_ref())
    }

    /// What picks the copies: everything but the page, so that page 2 comes from the same copies as page 1.
    pub fn seed(&self) -> u64 {
        let body = SearchBody {
            limit: None,
            hits_per_page: None,
            page: None,
            ..self.node_body.clone()
        };
        xxhash_rust::xxh3::xxh3_64(&serialise(&body))
    }
}

/// The bytes for one node: with a shard filter unless the node holds just what it is asked for.
pub fn bytes_for(body: &SearchBody, target: &ReadTarget) -> Vec<u8> {
    if target.whole {
        return serialise(body);
    }
    let mut body = body.clone();
    body.filter = Some(with_shards(body.filter.take(), target));
    serialise(&body)
}

/// The bytes for one node as a federated search, which wants paging, facets and `distinct` beside the query.
fn revealing_body(body: &SearchBody, reveal: &Reveal, uid: &str, target: &ReadTarget) -> Vec<u8> {
    let mut query = body.clone();
    if !target.whole {
        query.filter = Some(with_shards(query.filter.take(), target));
    }
    if reveal.distinct.is_some() {
        query.distinct = None;
    }
    let federation = Federation {
        limit: query.limit.take(),
        page: query.page.take(),
        hits_per_page: query.hits_per_page.take(),
        facets_by_index: query.facets.take().map(|facets| [(uid, facets)].into()),
        distinct: reveal.distinct.as_deref(),
    };
    with_federation([(uid, serialise(&query))].into_iter(), &federation)
}

/// How nodes are asked how many documents any of these searches for no hits finds, and for the facets of those documents.
pub(super) fn ask_for_any<'a>(
    searches: Cow<'a, [SearchBody]>,
    app: &'a App,
    index: &'a Index,
) -> Ask<'a> {
    if searches.len() == 1 {
        return Ask::Search(Box::new(move |target, _| bytes_for(&searches[0], target)));
    }
    Ask::Request(Box::new(move |target| {
        let body = united_body(&searches, &index.node_uid, target);
        app.ask("POST", "/multi-search", Some(body), true)
    }))
}

fn united_body(searches: &[SearchBody], uid: &str, target: &ReadTarget) -> Vec<u8> {
    let facets = searches.first().and_then(|search| search.facets.clone());
    let federation = Federation {
        limit: Some(0),
        facets_by_index: facets.map(|facets| [(uid, facets)].into()),
        ..Federation::default()
    };
    let query = |search: &SearchBody| (uid, bare(search).federated_body(Part::Of(target)));
    with_federation(searches.iter().map(query), &federation)
}

fn with_federation<'a>(
    queries: impl Iterator<Item = (&'a str, Vec<u8>)>,
    federation: &Federation,
) -> Vec<u8> {
    // Strings, numbers and raw JSON always serialise.
    let federation = serde_json::to_vec(federation).unwrap_or_default();
    let mut request = multi_search_body(queries);
    // Before the closing brace.
    request.pop();
    request.extend_from_slice(b",\"federation\":");
    request.extend_from_slice(&federation);
    request.push(b'}');
    request
}

/// Joins the user's filter and the shards of a target with AND, as a node's array form does.
pub fn with_shards(filter: Option<serde_json::Value>, target: &ReadTarget) -> serde_json::Value {
    and_shards(filter, &target.shards)
}

/// What nodes must not be asked: by the hidden field, because clients may not look at shards; and by documents of other
/// indexes, which may be on other nodes.
pub fn check_filter(filter: Option<&serde_json::Value>, place: &str) -> Result<(), Error> {
    let Some(filter) = filter else {
        return Ok(());
    };
    if names(filter, SHARD_FIELD) {
        return Err(reserved_field(place));
    }
    if names(filter, "_foreign(") {
        return Err(Error::not_implemented(
            "a filter by documents of another index (`_foreign`)",
        ));
    }
    Ok(())
}

/// Whether a filter has this text somewhere.
fn names(filter: &serde_json::Value, text: &str) -> bool {
    match filter {
        serde_json::Value::String(filter) => filter.contains(text),
        serde_json::Value::Array(items) => items.iter().any(|item| names(item, text)),
        _ => false,
    }
}

/// A struct of strings, numbers and raw JSON always serialises.
pub(super) fn serialise(body: &SearchBody) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

/// Whether nodes hide the values of this field in ranking details: unlike documents they go by the exact name alone (milli
/// `sort.rs`, `must_redact`).
fn hides_values(settings: &SearchSettings, field: &str) -> bool {
    let displayed = settings.displayed_attributes.as_ref();
    let also = &settings.also_displayed;
    displayed.is_some_and(|names| {
        let mut names = names.iter().chain(also);
        !names.any(|name| name == "*" || name == field)
    })
}

/// The primary key of an index, where hits may show it.
pub fn shown_key(index: &Index) -> Option<&str> {
    let primary_key = index.primary_key.as_deref();
    primary_key.filter(|field| index.settings.nodes_display(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use miroir_router::{FilterableRule, NodeIdx};
    use serde_json::json;

    fn planned(body: serde_json::Value) -> PlannedSearch {
        let body: SearchBody = serde_json::from_value(body).unwrap();
        body.plan(&SearchSettings::default())
            .map_err(|e| e.0)
            .unwrap()
    }

    fn sent(search: &PlannedSearch, whole: bool) -> serde_json::Value {
        let target = ReadTarget {
            node: NodeIdx(0),
            shards: [Shard(0), Shard(3)].into_iter().collect(),
            whole,
        };
        serde_json::from_slice(&search.body_for(&target)).unwrap()
    }

    #[test]
    fn nodes_are_asked_from_the_start() {
        let search = planned(json!({"q": "a", "offset": 40, "limit": 20}));
        assert_eq!(
            sent(&search, true),
            json!({"q": "a", "limit": 60, "showRankingScoreDetails": true})
        );
        let search = planned(json!({"q": "a", "page": 3, "hitsPerPage": 10}));
        assert_eq!(
            sent(&search, true),
            json!({"q": "a", "page": 1, "hitsPerPage": 30, "showRankingScoreDetails": true})
        );
        let search = planned(json!({"offset": 990}));
        assert_eq!(sent(&search, true), json!({"limit": 1000}));
    }

    #[test]
    fn a_filter_is_rewritten_and_joined() {
        let search = planned(json!({"filter": ["a != 1", ["b = 2", "c != 3"]]}));
        let body = sent(&search, false);
        assert_eq!(body["filter"][0], "NOT a = 1");
        assert_eq!(body["filter"][1][1], "NOT c = 3");
        assert!(body["filter"][2]
            .as_str()
            .unwrap()
            .starts_with("_miroir_shard IN ["));
    }

    #[test]
    fn pages_share_a_seed() {
        let first = planned(json!({"q": "a", "offset": 0})).seed();
        assert_eq!(first, planned(json!({"q": "a", "offset": 20})).seed());
        assert_ne!(first, planned(json!({"q": "b"})).seed());
    }

    #[test]
    fn distinct_is_fetched_and_cut_out_again() {
        let search = planned(json!({"distinct": "brand.name", "attributesToRetrieve": ["title"]}));
        assert_eq!(search.strip_fields, ["brand.name", "brand"]);
        let search = planned(
            json!({"distinct": "brand.name", "attributesToRetrieve": ["brand.size"], "attributesToHighlight": ["x"]}),
        );
        assert_eq!(search.strip_fields, ["brand.name"]);
        let search = planned(json!({"distinct": "brand.name", "attributesToRetrieve": ["brand"]}));
        assert!(search.strip_fields.is_empty());
    }

    #[test]
    fn what_is_hidden_is_asked_for() {
        let settings = SearchSettings {
            displayed_attributes: Some(vec!["title".into(), "brand".into()]),
            filterable_attributes: vec![FilterableRule::Field("maker".into())],
            ..SearchSettings::default()
        };
        let plan = |body: serde_json::Value| {
            let body: SearchBody = serde_json::from_value(body).unwrap();
            body.plan(&settings).map_err(|unsupported| unsupported.0)
        };
        let plain = json!({"q": "a", "sort": ["title:asc", "_geoPoint(1,2):asc"], "distinct": "brand.name"});
        assert_eq!(plan(plain).unwrap().reveal, None);
        let search = plan(json!({
            "q": "a", "sort": ["price:asc"], "distinct": "maker", "facets": ["title"], "hitsPerPage": 5,
            "attributesToRetrieve": ["title"],
        }))
        .unwrap();
        let target = ReadTarget {
            node: NodeIdx(0),
            shards: [Shard(0)].into_iter().collect(),
            whole: true,
        };
        let reveal = search.reveal.as_ref().unwrap();
        let body = revealing_body(&search.node_body, reveal, "films", &target);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            json!({
                "queries": [{
                    "indexUid": "films", "q": "a", "sort": ["price:asc"], "attributesToRetrieve": ["title"],
                    "showRankingScoreDetails": true,
                }],
                "federation": {
                    "page": 1, "hitsPerPage": 5, "facetsByIndex": {"films": ["title"]}, "distinct": "maker",
                },
            })
        );
        let setting = SearchSettings {
            distinct_attribute: Some("hidden".into()),
            ..settings.clone()
        };
        assert!(SearchBody::default().plan(&setting).is_err());
    }

    #[test]
    fn unknown_members_are_not_judged_here() {
        assert!(serde_json::from_value::<SearchBody>(json!({"qq": 1})).is_err());
        assert!(serde_json::from_value::<SearchBody>(json!({"limit": -1})).is_err());
    }
}
