//! Searching one index, as Meilisearch 1.15.1 does.
//!
//! A search comes in three shapes (a query string, a body, an element of a multi-search) that [`get`], [`request`] and
//! [`multi`] read into one [`SearchQuery`]. [`search`] runs it on a snapshot of the index: [`kind`] says by words or
//! by meaning, the engine finds and ranks, [`hits`] turns document numbers into what the client sees, [`facets`]
//! counts. Filters are read in [`filter`], which the document routes use too. [`federated`] makes one list of the hits
//! of several searches.

mod codes;
mod facet_search;
mod facets;
mod federated;
mod filter;
mod get;
mod hits;
mod kind;
mod multi;
mod request;
mod select;
mod similar;
#[cfg(test)]
pub mod tests;
#[cfg(test)]
mod vector_tests;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use heed::RoTxn;
use milli_core as milli;
use milli_core::score_details::ScoringStrategy;
use milli_core::{AscDesc, Index, SortError, TimeBudget};
use miroir_api::Error;
use serde::Serialize;

use crate::error::{heed_error, milli_error};
use crate::features::Flags;
use facets::{facets, FacetDistribution, FacetStats};
use hits::{make_hits, SearchHit};
use kind::SearchKind;
use request::DEFAULT_LIMIT;

pub use facet_search::{facet_search, parse_facet_search};
pub use federated::{facet_values, federated_search, FacetValue};
pub use filter::parse_filter;
pub use get::{parse_search_get, sort_list};
pub use multi::{inside_query, parse_multi_search, IndexedResult, MultiSearch};
pub use request::{parse_search_post, SearchQuery};
pub use select::select;
pub use similar::{parse_similar_get, parse_similar_post, similar, SimilarQuery};

/// Hits beyond this one are never shown or counted, unless the index's settings say otherwise.
const DEFAULT_MAX_TOTAL_HITS: usize = 1000;

/// The answer to a search; its fields are named and present as in Meilisearch's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchResult {
    pub hits: Vec<SearchHit>,
    pub query: String,
    pub processing_time_ms: u64,
    #[serde(flatten)]
    pub count: HitCount,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facet_distribution: Option<FacetDistribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facet_stats: Option<BTreeMap<String, FacetStats>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semantic_hit_count: Option<u32>,
}

/// How many documents match, and which of them the answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HitCount {
    /// The client asked for pages, so the count is exact (up to `maxTotalHits`).
    #[serde(rename_all = "camelCase")]
    Pages {
        hits_per_page: usize,
        page: usize,
        total_pages: usize,
        total_hits: usize,
    },
    #[serde(rename_all = "camelCase")]
    Window {
        limit: usize,
        offset: usize,
        estimated_total_hits: usize,
    },
}

/// Runs `query` on the present state of `index`, whose name is `uid`.
///
/// Errors: 400 with an `invalid_search_*` code where the query does not fit the index's settings; the engine's own
/// failures as [`crate::error::milli_error`] maps them.
pub fn search(
    index: &Index,
    uid: &str,
    query: SearchQuery,
    flags: Flags,
) -> Result<SearchResult, Error> {
    let started = Instant::now();
    let rtxn = index.read_txn().map_err(heed_error)?;
    let kind = SearchKind::of(&query, index, &rtxn)?;
    let window = Window::of(&query, index, &rtxn)?;

    let search_on = search_on(index, &rtxn, &query)?;
    let search = prepare(
        index,
        &rtxn,
        &query,
        search_on.as_deref(),
        &kind,
        &window,
        flags,
    )?;
    let (mut result, semantic_hit_count) = kind.execute(uid, search)?;

    let candidates = std::mem::take(&mut result.candidates);
    let count = window.count(&query, candidates.len());
    let hits = make_hits(index, &rtxn, &query, result).map_err(milli_error)?;
    let (facet_distribution, facet_stats) = match &query.facets {
        Some(names) => {
            let found = facets(names, index, &rtxn, candidates).map_err(milli_error)?;
            (Some(found.distribution), Some(found.stats))
        }
        None => (None, None),
    };

    Ok(SearchResult {
        hits,
        query: query.q.unwrap_or_default(),
        processing_time_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        count,
        facet_distribution,
        facet_stats,
        semantic_hit_count,
    })
}

/// The attributes to search on, without those that are searchable by the settings and that no document has: newer Meilisearch finds
/// nothing in them, this engine knows no such attribute.
fn search_on(
    index: &Index,
    rtxn: &RoTxn<'_>,
    query: &SearchQuery,
) -> Result<Option<Vec<String>>, Error> {
    let Some(attributes) = &query.attributes_to_search_on else {
        return Ok(None);
    };
    let listed = index
        .user_defined_searchable_fields(rtxn)
        .map_err(heed_error)?;
    let listed = listed.unwrap_or_default();
    let fields = index.fields_ids_map(rtxn).map_err(heed_error)?;
    let unseen = |name: &&String| listed.contains(&name.as_str()) && fields.id(name).is_none();
    let seen = attributes
        .iter()
        .filter(|name| *name == "*" || !unseen(name));
    Ok(Some(seen.cloned().collect()))
}

fn prepare<'q>(
    index: &'q Index,
    rtxn: &'q RoTxn<'q>,
    query: &'q SearchQuery,
    search_on: Option<&'q [String]>,
    kind: &SearchKind,
    window: &Window,
    flags: Flags,
) -> Result<milli::Search<'q>, Error> {
    let mut search = index.search(rtxn);
    search.time_budget(match index.search_cutoff(rtxn).map_err(milli_error)? {
        Some(cutoff_ms) => TimeBudget::new(Duration::from_millis(cutoff_ms)),
        None => TimeBudget::default(),
    });
    if let Some(threshold) = query.ranking_score_threshold {
        search.ranking_score_threshold(threshold.get());
    }
    if let Some(distinct) = &query.distinct {
        search.distinct(distinct.clone());
    }
    kind.prepare(query, &mut search)?;
    if let Some(attributes) = search_on {
        search.searchable_attributes(attributes);
    }
    search.terms_matching_strategy(query.matching_strategy.into());
    search.exhaustive_number_hits(query.paginated());
    search.scoring_strategy(scoring(query));
    search.offset(window.offset);
    search.limit(window.limit);
    if let Some(filter) = &query.filter {
        if let Some(filter) = parse_filter(filter, "invalid_search_filter", flags)? {
            search.filter(filter);
        }
    }
    if let Some(rules) = &query.sort {
        let rules: Result<_, _> = rules.iter().map(|rule| AscDesc::from_str(rule)).collect();
        search.sort_criteria(rules.map_err(|error| milli_error(SortError::from(error).into()))?);
    }
    if let Some(locales) = &query.locales {
        search.locales(locales.iter().map(|&locale| locale.into()).collect());
    }
    Ok(search)
}

/// Scores cost time and switch off shortcuts of the engine, so they are computed only where they are seen or used.
fn scoring(query: &SearchQuery) -> ScoringStrategy {
    let seen = query.show_ranking_score || query.show_ranking_score_details;
    if seen || query.ranking_score_threshold.is_some() {
        ScoringStrategy::Detailed
    } else {
        ScoringStrategy::Skip
    }
}

/// How many hits of a search can be seen at all.
fn max_total_hits(index: &Index, rtxn: &RoTxn<'_>) -> Result<usize, Error> {
    let stored = index.pagination_max_total_hits(rtxn).map_err(heed_error)?;
    Ok(stored.map_or(DEFAULT_MAX_TOTAL_HITS, |max| max as usize))
}

/// The part of the ranked documents that is shown, cut to `maxTotalHits`.
struct Window {
    offset: usize,
    limit: usize,
    max_total_hits: usize,
}

impl Window {
    fn of(query: &SearchQuery, index: &Index, rtxn: &RoTxn<'_>) -> Result<Self, Error> {
        let max_total_hits = max_total_hits(index, rtxn)?;
        let (offset, limit) = if query.paginated() {
            let limit = query.hits_per_page.unwrap_or(DEFAULT_LIMIT);
            // Page 0 is allowed and holds nothing.
            match query.page.unwrap_or(1).checked_sub(1) {
                Some(before) => (limit.saturating_mul(before), limit),
                None => (0, 0),
            }
        } else {
            (query.offset, query.limit)
        };
        let offset = offset.min(max_total_hits);
        let limit = limit.min(max_total_hits - offset);
        Ok(Window {
            offset,
            limit,
            max_total_hits,
        })
    }

    /// `found`: how many documents the engine counted. The `limit` shown is the client's, the offset is the cut one.
    fn count(&self, query: &SearchQuery, found: u64) -> HitCount {
        let total = usize::try_from(found)
            .unwrap_or(usize::MAX)
            .min(self.max_total_hits);
        if !query.paginated() {
            return HitCount::Window {
                limit: query.limit,
                offset: self.offset,
                estimated_total_hits: total,
            };
        }
        HitCount::pages(query.page, query.hits_per_page, total)
    }
}

impl HitCount {
    /// The count for a client that asked for a page.
    fn pages(page: Option<usize>, hits_per_page: Option<usize>, total: usize) -> HitCount {
        let hits_per_page = hits_per_page.unwrap_or(DEFAULT_LIMIT);
        // With 0 hits a page there are no pages.
        let total_pages = if hits_per_page == 0 {
            0
        } else {
            total.div_ceil(hits_per_page)
        };
        HitCount::Pages {
            hits_per_page,
            page: page.unwrap_or(1),
            total_pages,
            total_hits: total,
        }
    }
}
