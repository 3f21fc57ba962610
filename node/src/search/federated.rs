//! Several searches, one list of hits.
//!
//! The searches of one index run on one snapshot of it and are merged first ([`index`]: a document stands where its
//! best query puts it), then the lists of the indexes are merged. Hits are compared by the weighted values of their
//! ranking rules ([`compare`]), which must be of the same kinds in all queries ([`rules`]).
//!
//! Follows `crates/meilisearch/src/search/federated/perform.rs` at 1.15.1, with the paging by pages and the
//! `distinct` over all queries of 1.50. An embedded node has no remotes. A request with the header of a proxy search
//! gets, with each hit, the values it was ranked by.

mod compare;
mod facets;
mod index;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use itertools::Itertools;
use miroir_api::Error;
use serde::Serialize;

use super::facets::{FacetDistribution, FacetStats, Facets};
use super::hits::SearchHit;
use super::multi::{inside_query, FederatedQuery, Federation, MergeFacets};
use super::request::{SearchQuery, DEFAULT_LIMIT};
use super::select::Object;
use super::HitCount;
use crate::error::{coded, heed_error};
use crate::features::Flags;
use crate::indexes::Indexes;
pub use facets::{facet_values, FacetValue};

use compare::Rank;
use facets::{inside, uncount, values_of_hit, Orders};
use rules::Rules;

/// The answer to a federated search.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FederatedResult {
    pub hits: Vec<SearchHit>,
    pub processing_time_ms: u64,
    #[serde(flatten)]
    pub count: HitCount,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semantic_hit_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facet_distribution: Option<FacetDistribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facet_stats: Option<BTreeMap<String, FacetStats>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facets_by_index: BTreeMap<String, Facets>,
}

/// Runs a federated search; `proxied`: the client is another instance that merges this answer with others.
///
/// Errors: 400 with an `invalid_multi_search_*` code for what does not go together, with the codes of a single search
/// for what is wrong in one query (its position stands in the message), `feature_not_enabled`.
pub fn federated_search(
    indexes: &Indexes,
    mut federation: Federation,
    queries: Vec<FederatedQuery>,
    flags: Flags,
    proxied: bool,
) -> Result<FederatedResult, Error> {
    if proxied {
        flags.check_network("Performing a remote federated search")?;
    }
    let started = Instant::now();
    let by_index = partition(queries, &federation, flags)?;
    let facets_by_index = std::mem::take(&mut federation.facets_by_index.0);
    let mut run = Run {
        federation: &federation,
        facets_by_index,
        flags,
        proxied,
        orders: federation.merge_facets.map(|_| Orders::default()),
        previous: None,
        semantic_hit_count: None,
    };
    let mut found = Vec::with_capacity(by_index.len());
    for (uid, parts) in by_index {
        found.push(run.search_index(indexes, uid, parts)?);
    }
    run.check_unused_facets(indexes)?;
    Ok(run.merge(found, started))
}

/// One query, with its place in the request and its weight.
struct Part {
    query: SearchQuery,
    weight: f64,
    position: usize,
}

/// The queries by index, whose order is that in which they run.
fn partition(
    queries: Vec<FederatedQuery>,
    federation: &Federation,
    flags: Flags,
) -> Result<BTreeMap<String, Vec<Part>>, Error> {
    let mut by_index: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    for (position, asked) in queries.into_iter().enumerate() {
        let FederatedQuery {
            index_uid,
            query,
            options,
            paging,
        } = asked;
        refuse_options(position, &index_uid, &query, paging, federation)?;
        if let Some(remote) = options.remote {
            flags.check_network("Performing a remote federated search")?;
            let message = format!(
                "Invalid `queries[{position}].federation_options.remote`: remote `{remote}` is not registered"
            );
            return Err(coded("invalid_multi_search_remote", message));
        }
        if options.query_position.is_some() {
            flags.check_network("Using `federationOptions.queryPosition`")?;
        }
        by_index.entry(index_uid).or_default().push(Part {
            query,
            weight: options.weight.0,
            position: options.query_position.unwrap_or(position),
        });
    }
    Ok(by_index)
}

/// Refuses what belongs to the federation and not to one of its queries.
fn refuse_options(
    position: usize,
    uid: &str,
    query: &SearchQuery,
    paging: Option<&str>,
    federation: &Federation,
) -> Result<(), Error> {
    let refused = |code, message| Err(inside_query(position, coded(code, message)));
    if let Some(name) = paging {
        let message = format!(
            "Using pagination options is not allowed in federated queries.\n - Hint: remove `{name}` from query \
             #{position} or remove `federation` from the request\n - Hint: pass `federation.limit` and \
             `federation.offset` for pagination in federated search"
        );
        return refused("invalid_multi_search_query_pagination", message);
    }
    if let Some(facets) = query.facets.as_ref().filter(|facets| !facets.is_empty()) {
        let message = format!(
            "Using facet options is not allowed in federated queries.\n - Hint: remove `facets` from query \
             #{position} or remove `federation` from the request\n - Hint: pass `federation.facetsByIndex.{uid}: \
             {facets:?}` for facets in federated search"
        );
        return refused("invalid_multi_search_query_facets", message);
    }
    if query.distinct.is_some() && federation.distinct.is_some() {
        let message = "Using `distinct` options is not allowed in federated queries when it also appears in \
                       `.federation.distinct`.\n - Hint: remove `distinct` from the query or remove `federation` \
                       from the request\n  - Note: `distinct` at the query level is discouraged in federated search.";
        return refused("invalid_multi_search_distinct", message.to_owned());
    }
    Ok(())
}

/// A federated search under way.
struct Run<'f> {
    federation: &'f Federation,
    /// Of the indexes that have not been searched yet.
    facets_by_index: BTreeMap<String, Option<Vec<String>>>,
    flags: Flags,
    proxied: bool,
    /// Where facets are merged.
    orders: Option<Orders>,
    /// The rules that the next query is compared with: those before it that compare the most.
    previous: Option<Rules>,
    /// Present once a query asks for a vector.
    semantic_hit_count: Option<u32>,
}

/// What was found in one index.
struct FoundInIndex {
    uid: String,
    hits: Vec<FoundHit>,
    total: usize,
    facets: Option<Facets>,
}

struct FoundHit {
    hit: SearchHit,
    /// Fields that `distinct` and facets need and the hit does not show.
    hidden: Object,
    rank: Rank,
}

impl Run<'_> {
    /// How many hits of the merged list have to be known.
    fn required(&self) -> usize {
        let (skip, take) = self.window();
        skip.saturating_add(take)
    }

    /// The part of the merged list that is shown: how many before it, how many of it.
    fn window(&self) -> (usize, usize) {
        let Federation {
            limit,
            offset,
            page,
            hits_per_page,
            ..
        } = self.federation;
        if !self.paginated() {
            return (*offset, *limit);
        }
        let take = hits_per_page.unwrap_or(DEFAULT_LIMIT);
        match page.unwrap_or(1).checked_sub(1) {
            Some(before) => (take.saturating_mul(before), take),
            None => (0, 0),
        }
    }

    fn paginated(&self) -> bool {
        self.federation.page.is_some() || self.federation.hits_per_page.is_some()
    }

    /// Names that are wrong are an error even where no query looks at the index.
    fn check_unused_facets(&mut self, indexes: &Indexes) -> Result<(), Error> {
        for (uid, names) in std::mem::take(&mut self.facets_by_index) {
            let mut check = || {
                let index = get_index(indexes, &uid)?;
                let rtxn = index.read_txn().map_err(heed_error)?;
                let Some(names) = &names else { return Ok(()) };
                if let Some(orders) = &mut self.orders {
                    orders.add(&uid, names, &index, &rtxn)?;
                }
                facets::count(names, &index, &rtxn, Default::default()).map(|_| ())
            };
            check().map_err(|error| inside(&uid, None, error))?;
        }
        Ok(())
    }

    fn merge(mut self, found: Vec<FoundInIndex>, started: Instant) -> FederatedResult {
        let mut total: usize = found.iter().map(|found| found.total).sum();
        let mut by_index = BTreeMap::new();
        let mut lists = Vec::with_capacity(found.len());
        for FoundInIndex {
            uid, hits, facets, ..
        } in found
        {
            by_index.extend(facets.map(|facets| (uid.clone(), facets)));
            lists.push(hits.into_iter().map(move |hit| (uid.clone(), hit)));
        }
        let ranked =
            itertools::kmerge_by(lists, |left: &(String, FoundHit), right: &(_, FoundHit)| {
                left.1.rank.precedes(&right.1.rank)
            });

        let (skip, take) = self.window();
        let mut rejected: BTreeMap<String, Vec<(SearchHit, Object)>> = BTreeMap::new();
        let hits = match &self.federation.distinct {
            None => ranked
                .skip(skip)
                .take(take)
                .map(|(_, found)| found)
                .collect_vec(),
            Some(field) => {
                // To the end of the list, so that the counts know every document that is left out.
                let mut distinct = Distinct::new(field);
                let (kept, left_out): (Vec<_>, Vec<_>) =
                    ranked.partition(|(_, found)| distinct.accepts(&found.hit, &found.hidden));
                total = total.saturating_sub(left_out.len());
                for (uid, found) in left_out {
                    rejected
                        .entry(uid)
                        .or_default()
                        .push((found.hit, found.hidden));
                }
                let kept = kept.into_iter().map(|(_, found)| found);
                kept.skip(skip).take(take).collect_vec()
            }
        };
        if let Some(count) = &mut self.semantic_hit_count {
            *count = hits.iter().filter(|found| found.rank.is_semantic()).count() as u32;
        }
        let (merged, facets_by_index) = self.merge_facets(by_index, rejected);
        let (facet_distribution, facet_stats) = merged
            .map(|facets| (facets.distribution, facets.stats))
            .unzip();
        FederatedResult {
            hits: hits.into_iter().map(|found| found.hit).collect(),
            processing_time_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            count: self.count(total),
            semantic_hit_count: self.semantic_hit_count,
            facet_distribution,
            facet_stats,
            facets_by_index,
        }
    }

    fn merge_facets(
        &self,
        mut by_index: BTreeMap<String, Facets>,
        rejected: BTreeMap<String, Vec<(SearchHit, Object)>>,
    ) -> (Option<Facets>, BTreeMap<String, Facets>) {
        match (&self.orders, self.federation.merge_facets) {
            (
                Some(orders),
                Some(MergeFacets {
                    max_values_per_facet,
                }),
            ) if !by_index.is_empty() => {
                let mut merged = orders.merge(by_index, max_values_per_facet);
                rejected
                    .values()
                    .for_each(|hits| uncount(&mut merged, hits));
                (Some(merged), BTreeMap::new())
            }
            _ => {
                for (uid, hits) in &rejected {
                    if let Some(facets) = by_index.get_mut(uid) {
                        uncount(facets, hits);
                    }
                }
                (None, by_index)
            }
        }
    }

    fn count(&self, total: usize) -> HitCount {
        if !self.paginated() {
            return HitCount::Window {
                limit: self.federation.limit,
                offset: self.federation.offset,
                estimated_total_hits: total,
            };
        }
        HitCount::pages(self.federation.page, self.federation.hits_per_page, total)
    }
}

/// The index of a query. It is not part of the route's path, so its absence is a bad request.
fn get_index(indexes: &Indexes, uid: &str) -> Result<milli_core::Index, Error> {
    indexes.get(uid).map_err(|mut error| {
        error.status = 400;
        error
    })
}

/// One document for each value of a field, the best one.
struct Distinct<'f> {
    field: &'f str,
    seen: HashSet<facets::FacetValue>,
}

impl<'f> Distinct<'f> {
    fn new(field: &'f str) -> Self {
        Distinct {
            field,
            seen: HashSet::new(),
        }
    }

    /// Whether none of the hit's values has been seen; they are from now on.
    fn accepts(&mut self, hit: &SearchHit, hidden: &Object) -> bool {
        let values = values_of_hit(hit, hidden, self.field);
        let is_new = !values.iter().any(|value| self.seen.contains(value));
        if is_new {
            self.seen.extend(values);
        }
        is_new
    }
}
