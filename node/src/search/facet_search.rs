//! Searching among the values of a facet, as Meilisearch 1.15.1 does.

use std::time::Instant;

use deserr::Deserr;
use milli_core::tokenizer::Language;
use milli_core::{FacetValueHit, Index, PatternMatch, SearchForFacetValues};
use miroir_api::Error;
use serde::Serialize;
use serde_json::Value;

use super::codes::*;
use super::kind::SearchKind;
use super::request::{HybridQuery, MatchingStrategy, ScoreThreshold, SearchQuery};
use super::{prepare, search_on, Window};
use crate::deserialize::{missing, read_json, JsonRejection};
use crate::error::{coded, heed_error, milli_error};
use crate::features::Flags;
use crate::settings::Locale;

/// Reads the body of a facet search.
///
/// Errors: 400 with the code of the field, `missing_facet_search_facet_name`.
pub fn parse_facet_search(body: &[u8]) -> Result<FacetSearchQuery, Error> {
    read_json(body)
}

/// Which values of which facet. Unknown fields pass, so that clients can send the body of the search that they refine.
#[derive(Debug, Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase)]
pub struct FacetSearchQuery {
    #[deserr(default, error = JsonRejection<InvalidFacetSearchQuery>)]
    facet_query: Option<String>,
    #[deserr(error = JsonRejection<InvalidFacetSearchFacetName>, missing_field_error = missing::<MissingFacetSearchFacetName>)]
    facet_name: String,
    #[deserr(default, error = JsonRejection<InvalidSearchQ>)]
    q: Option<String>,
    #[deserr(default, error = JsonRejection<InvalidSearchVector>)]
    vector: Option<Vec<f32>>,
    #[deserr(default, error = JsonRejection<InvalidSearchHybridQuery>)]
    hybrid: Option<HybridQuery>,
    #[deserr(default, error = JsonRejection<InvalidSearchFilter>)]
    pub filter: Option<Value>,
    #[deserr(default, error = JsonRejection<InvalidSearchMatchingStrategy>)]
    matching_strategy: MatchingStrategy,
    #[deserr(default, error = JsonRejection<InvalidSearchAttributesToSearchOn>)]
    attributes_to_search_on: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidSearchRankingScoreThreshold>)]
    ranking_score_threshold: Option<ScoreThreshold>,
    #[deserr(default, error = JsonRejection<InvalidSearchLocales>)]
    locales: Option<Vec<Locale>>,
    #[deserr(default, error = JsonRejection<InvalidFacetSearchExhaustiveFacetCount>)]
    exhaustive_facet_count: Option<bool>,
}

/// The answer to a facet search.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FacetSearchResult {
    pub facet_hits: Vec<FacetValueHit>,
    pub facet_query: Option<String>,
    pub processing_time_ms: u64,
}

impl FacetSearchQuery {
    /// The search whose documents are counted.
    fn search(&self) -> SearchQuery {
        SearchQuery {
            q: self.q.clone(),
            vector: self.vector.clone(),
            hybrid: self.hybrid.clone(),
            filter: self.filter.clone(),
            matching_strategy: self.matching_strategy,
            attributes_to_search_on: self.attributes_to_search_on.clone(),
            ranking_score_threshold: self.ranking_score_threshold,
            locales: self.locales.clone(),
            // A search for page 0 finds every match and ranks none.
            page: (self.exhaustive_facet_count == Some(true)).then_some(0),
            ..SearchQuery::default()
        }
    }
}

/// Finds values of a facet.
///
/// Errors: 400 `facet_search_disabled`, `invalid_facet_search_facet_name`, those of a search.
pub fn facet_search(
    index: &Index,
    asked: FacetSearchQuery,
    flags: Flags,
) -> Result<FacetSearchResult, Error> {
    let started = Instant::now();
    let query = asked.search();
    let rtxn = index.read_txn().map_err(heed_error)?;
    let kind = SearchKind::of(&query, index, &rtxn)?;
    if !index.facet_search(&rtxn).map_err(heed_error)? {
        return Err(coded(
            "facet_search_disabled",
            "The facet search is disabled for this index",
        ));
    }
    let rules = index
        .localized_attributes_rules(&rtxn)
        .map_err(heed_error)?;
    let rules = rules.unwrap_or_default();
    let rule = rules
        .iter()
        .find(|rule| rule.match_str(&asked.facet_name) == PatternMatch::Match);
    // Values of a facet without a rule have no language, whatever the client says of its text.
    let languages = rule.map(|rule| common(rule.locales(), asked.locales.as_deref()));

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
    let is_hybrid = matches!(kind, SearchKind::Hybrid(..));
    let mut values = SearchForFacetValues::new(asked.facet_name, search, is_hybrid);
    if let Some(text) = &asked.facet_query {
        values.query(text);
    }
    if let Some(max) = index.max_values_per_facet(&rtxn).map_err(heed_error)? {
        values.max_values(max as usize);
    }
    if let Some(languages) = languages {
        values.locales(languages);
    }
    Ok(FacetSearchResult {
        facet_hits: values.execute().map_err(milli_error)?,
        facet_query: asked.facet_query,
        processing_time_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// The languages of a rule that the client allows too.
fn common(of_rule: &[Language], allowed: Option<&[Locale]>) -> Vec<Language> {
    let is_allowed = |language: &&Language| {
        let same = |&locale: &Locale| Language::from(locale) == **language;
        allowed.is_none_or(|allowed| allowed.iter().any(same))
    };
    of_rule.iter().filter(is_allowed).copied().collect()
}
