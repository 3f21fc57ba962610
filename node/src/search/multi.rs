//! The body of `POST /multi-search`: several searches, each naming its index, and how they become one list.

use std::collections::BTreeMap;

use deserr::Deserr;
use miroir_api::Error;
use serde::Serialize;
use serde_json::Value;

use super::codes::*;
use super::request::{
    default_crop_marker, default_highlight_post_tag, default_highlight_pre_tag, HybridQuery,
    MatchingStrategy, ScoreThreshold, SearchQuery, DEFAULT_CROP_LENGTH, DEFAULT_LIMIT,
};
use super::SearchResult;
use crate::deserialize::{missing, read_json, JsonRejection, Reason};
use crate::error::coded;
use crate::settings::Locale;

/// What a multi-search asks for.
pub enum MultiSearch {
    /// One answer each.
    Separate(Vec<(String, SearchQuery)>),
    /// One list of all.
    Federated(Federation, Vec<FederatedQuery>),
}

/// One search of a federated request.
pub struct FederatedQuery {
    pub index_uid: String,
    pub query: SearchQuery,
    pub options: FederationOptions,
    /// The paging parameter that it has and must not have.
    pub paging: Option<&'static str>,
}

/// Reads a multi-search.
///
/// Errors: 400 as for a single search (positions in messages are `.queries[i]...`).
pub fn parse_multi_search(body: &[u8]) -> Result<MultiSearch, Error> {
    let request: Request = read_json(body)?;
    if let Some(federation) = request.federation {
        let queries = request
            .queries
            .into_iter()
            .map(IndexedQuery::into_federated);
        return Ok(MultiSearch::Federated(federation, queries.collect()));
    }
    let mut queries = Vec::with_capacity(request.queries.len());
    for (position, query) in request.queries.into_iter().enumerate() {
        if query.federation_options.is_some() {
            let message = format!(
                "Using `federationOptions` is not allowed in a non-federated search.\n - Hint: remove \
                 `federationOptions` from query #{position} or add `federation` to the request."
            );
            return Err(inside_query(
                position,
                coded("invalid_multi_search_federation_options", message),
            ));
        }
        queries.push(query.into_search());
    }
    Ok(MultiSearch::Separate(queries))
}

/// An error of one search of a multi-search: its message says which one.
pub fn inside_query(position: usize, mut error: Error) -> Error {
    error.message = format!("Inside `.queries[{position}]`: {}", error.message);
    error
}

/// An element of `results` in the answer to a multi-search.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexedResult {
    pub index_uid: String,
    #[serde(flatten)]
    pub result: SearchResult,
}

#[derive(Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
struct Request {
    queries: Vec<IndexedQuery>,
    #[deserr(default)]
    federation: Option<Federation>,
}

/// How the hits become one list. `page`, `hitsPerPage` and `distinct` are of later versions (read at 1.50), because
/// proxies in front of them use these.
#[derive(Debug, Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
pub struct Federation {
    #[deserr(default = DEFAULT_LIMIT, error = JsonRejection<InvalidSearchLimit>)]
    pub limit: usize,
    #[deserr(default, error = JsonRejection<InvalidSearchOffset>)]
    pub offset: usize,
    #[deserr(default, error = JsonRejection<InvalidSearchPage>)]
    pub page: Option<usize>,
    #[deserr(default, error = JsonRejection<InvalidSearchHitsPerPage>)]
    pub hits_per_page: Option<usize>,
    #[deserr(default, error = JsonRejection<InvalidMultiSearchFacetsByIndex>)]
    pub facets_by_index: FacetsByIndex,
    #[deserr(default, error = JsonRejection<InvalidMultiSearchMergeFacets>)]
    pub merge_facets: Option<MergeFacets>,
    #[deserr(default, error = JsonRejection<InvalidSearchDistinct>)]
    pub distinct: Option<String>,
}

/// The facets that each index counts.
#[derive(Debug, Default, Deserr)]
#[deserr(try_from(BTreeMap<String, Option<Vec<String>>>) = FacetsByIndex::check -> Reason)]
pub struct FacetsByIndex(pub BTreeMap<String, Option<Vec<String>>>);

impl FacetsByIndex {
    fn check(facets: BTreeMap<String, Option<Vec<String>>>) -> Result<Self, Reason> {
        match facets.keys().find(|uid| !miroir_api::is_index_uid(uid)) {
            None => Ok(FacetsByIndex(facets)),
            Some(uid) => Err(Reason(format!(
                "the key \"{uid}\" could not be deserialized into the key type \
                 `meilisearch_types::index_uid::IndexUid`"
            ))),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserr)]
#[deserr(error = JsonRejection<InvalidMultiSearchMergeFacets>, rename_all = camelCase, deny_unknown_fields)]
pub struct MergeFacets {
    #[deserr(default, error = JsonRejection<InvalidMultiSearchMaxValuesPerFacet>)]
    pub max_values_per_facet: Option<usize>,
}

/// A search as it stands in `queries`. Its fields are written out again because `deserr` cannot flatten, and because
/// they differ: `null` is allowed for `offset` and `limit`, a wrong `vector` has the code of `q`, and the order (which
/// "Unknown field" messages show) is another.
#[derive(Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
struct IndexedQuery {
    #[deserr(error = JsonRejection<InvalidQueryIndexUid>, missing_field_error = missing::<MissingQueryIndexUid>)]
    index_uid: QueryIndexUid,
    #[deserr(default, error = JsonRejection<InvalidSearchQ>)]
    q: Option<String>,
    #[deserr(default, error = JsonRejection<InvalidSearchQ>)]
    vector: Option<Vec<f32>>,
    #[deserr(default, error = JsonRejection<InvalidSearchHybridQuery>)]
    hybrid: Option<HybridQuery>,
    #[deserr(default, error = JsonRejection<InvalidSearchOffset>)]
    offset: Option<usize>,
    #[deserr(default, error = JsonRejection<InvalidSearchLimit>)]
    limit: Option<usize>,
    #[deserr(default, error = JsonRejection<InvalidSearchPage>)]
    page: Option<usize>,
    #[deserr(default, error = JsonRejection<InvalidSearchHitsPerPage>)]
    hits_per_page: Option<usize>,
    #[deserr(default, error = JsonRejection<InvalidSearchAttributesToRetrieve>)]
    attributes_to_retrieve: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidSearchRetrieveVectors>)]
    retrieve_vectors: bool,
    #[deserr(default, error = JsonRejection<InvalidSearchAttributesToCrop>)]
    attributes_to_crop: Option<Vec<String>>,
    #[deserr(default = DEFAULT_CROP_LENGTH, error = JsonRejection<InvalidSearchCropLength>)]
    crop_length: usize,
    #[deserr(default, error = JsonRejection<InvalidSearchAttributesToHighlight>)]
    attributes_to_highlight: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidSearchShowRankingScore>)]
    show_ranking_score: bool,
    #[deserr(default, error = JsonRejection<InvalidSearchShowRankingScoreDetails>)]
    show_ranking_score_details: bool,
    #[deserr(default, error = JsonRejection<InvalidSearchShowMatchesPosition>)]
    show_matches_position: bool,
    #[deserr(default, error = JsonRejection<InvalidSearchFilter>)]
    filter: Option<Value>,
    #[deserr(default, error = JsonRejection<InvalidSearchSort>)]
    sort: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidSearchDistinct>)]
    distinct: Option<String>,
    #[deserr(default, error = JsonRejection<InvalidSearchFacets>)]
    facets: Option<Vec<String>>,
    #[deserr(default = default_highlight_pre_tag(), error = JsonRejection<InvalidSearchHighlightPreTag>)]
    highlight_pre_tag: String,
    #[deserr(default = default_highlight_post_tag(), error = JsonRejection<InvalidSearchHighlightPostTag>)]
    highlight_post_tag: String,
    #[deserr(default = default_crop_marker(), error = JsonRejection<InvalidSearchCropMarker>)]
    crop_marker: String,
    #[deserr(default, error = JsonRejection<InvalidSearchMatchingStrategy>)]
    matching_strategy: MatchingStrategy,
    #[deserr(default, error = JsonRejection<InvalidSearchAttributesToSearchOn>)]
    attributes_to_search_on: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidSearchRankingScoreThreshold>)]
    ranking_score_threshold: Option<ScoreThreshold>,
    #[deserr(default, error = JsonRejection<InvalidSearchLocales>)]
    locales: Option<Vec<Locale>>,
    #[deserr(default)]
    federation_options: Option<FederationOptions>,
}

impl IndexedQuery {
    fn into_federated(self) -> FederatedQuery {
        let paging = [
            ("offset", self.offset),
            ("limit", self.limit),
            ("page", self.page),
            ("hitsPerPage", self.hits_per_page),
        ];
        let paging = paging.into_iter().find(|(_, value)| value.is_some());
        let options = self.federation_options.clone().unwrap_or_default();
        let (index_uid, query) = self.into_search();
        FederatedQuery {
            index_uid,
            query,
            options,
            paging: paging.map(|(name, _)| name),
        }
    }

    fn into_search(self) -> (String, SearchQuery) {
        let query = SearchQuery {
            q: self.q,
            vector: self.vector,
            hybrid: self.hybrid,
            offset: self.offset.unwrap_or_default(),
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            page: self.page,
            hits_per_page: self.hits_per_page,
            attributes_to_retrieve: self.attributes_to_retrieve,
            retrieve_vectors: self.retrieve_vectors,
            attributes_to_crop: self.attributes_to_crop,
            crop_length: self.crop_length,
            attributes_to_highlight: self.attributes_to_highlight,
            show_matches_position: self.show_matches_position,
            show_ranking_score: self.show_ranking_score,
            show_ranking_score_details: self.show_ranking_score_details,
            filter: self.filter,
            sort: self.sort,
            distinct: self.distinct,
            facets: self.facets,
            highlight_pre_tag: self.highlight_pre_tag,
            highlight_post_tag: self.highlight_post_tag,
            crop_marker: self.crop_marker,
            matching_strategy: self.matching_strategy,
            attributes_to_search_on: self.attributes_to_search_on,
            ranking_score_threshold: self.ranking_score_threshold,
            locales: self.locales,
        };
        (self.index_uid.0, query)
    }
}

#[derive(Deserr)]
#[deserr(try_from(String) = QueryIndexUid::check -> Reason)]
struct QueryIndexUid(String);

impl QueryIndexUid {
    fn check(uid: String) -> Result<Self, Reason> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        // The message says 512, the check says 400: both are Meilisearch's.
        if !uid.is_empty() && uid.len() <= 400 && uid.chars().all(allowed) {
            return Ok(QueryIndexUid(uid));
        }
        Err(Reason(format!(
            "`{uid}` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric \
             characters, hyphens (-) and underscores (_), and can not be more than 512 bytes."
        )))
    }
}

/// How the hits of one search count in the list of all.
#[derive(Clone, Debug, Default, Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
pub struct FederationOptions {
    #[deserr(default, error = JsonRejection<InvalidMultiSearchWeight>)]
    pub weight: Weight,
    #[deserr(default, error = JsonRejection<InvalidMultiSearchRemote>)]
    pub remote: Option<String>,
    #[deserr(default, error = JsonRejection<InvalidMultiSearchQueryPosition>)]
    pub query_position: Option<usize>,
}

/// What scores are multiplied with; not negative.
#[derive(Clone, Copy, Debug, Deserr)]
#[deserr(try_from(f64) = Weight::check -> Reason)]
pub struct Weight(pub f64);

impl Default for Weight {
    fn default() -> Self {
        Weight(1.0)
    }
}

impl Weight {
    fn check(weight: f64) -> Result<Self, Reason> {
        if weight < 0.0 {
            return Err(Reason(
                "the value of `weight` is invalid, expected a positive float (>= 0.0).".to_owned(),
            ));
        }
        Ok(Weight(weight))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: Value) -> (String, String) {
        let error = parse_multi_search(body.to_string().as_bytes())
            .err()
            .unwrap();
        (error.code.into_owned(), error.message)
    }

    #[test]
    fn queries_keep_their_order() {
        let body = json!({"queries": [{"indexUid": "b", "q": "x", "limit": null}, {"indexUid": "a", "limit": 3}]});
        let parsed = parse_multi_search(body.to_string().as_bytes()).unwrap();
        let MultiSearch::Separate(queries) = parsed else {
            panic!("not federated")
        };
        assert_eq!(queries[0].0, "b");
        assert_eq!((queries[0].1.limit, queries[1].1.limit), (20, 3));
        assert_eq!(queries[1].0, "a");
    }

    #[test]
    fn refusals_name_the_query() {
        assert_eq!(
            refused(json!({"queries": [{"q": "x"}]})),
            (
                "missing_index_uid".to_owned(),
                "Missing field `indexUid` inside `.queries[0]`".to_owned()
            )
        );
        let (code, message) = refused(json!({"queries": [{"indexUid": "a"}, {"indexUid": "hé"}]}));
        assert_eq!(code, "invalid_index_uid");
        assert!(message.starts_with(
            "Invalid value at `.queries[1].indexUid`: `hé` is not a valid index uid."
        ));
        assert_eq!(refused(json!({})).1, "Missing field `queries`");
        let (code, message) =
            refused(json!({"queries": [{"indexUid": "a", "federationOptions": {}}]}));
        assert_eq!(code, "invalid_multi_search_federation_options");
        assert!(
            message.starts_with("Inside `.queries[0]`: Using `federationOptions` is not allowed")
        );
        assert_eq!(
            refused(json!({"queries": [{"indexUid": "a", "federationOptions": {"weight": -1}}]})).0,
            "invalid_multi_search_weight"
        );
    }

    #[test]
    fn federation_says_how_hits_are_merged() {
        let parsed = parse_multi_search(br#"{"federation": {"limit": 3, "facetsByIndex": {"a": ["x"], "b": null}},
            "queries": [{"indexUid": "a", "page": 1, "federationOptions": {"weight": 2, "queryPosition": 7}}]}"#);
        let Ok(MultiSearch::Federated(federation, queries)) = parsed else {
            panic!("federated")
        };
        assert_eq!((federation.limit, federation.offset), (3, 0));
        assert_eq!(federation.facets_by_index.0["b"], None);
        assert_eq!(
            (
                queries[0].options.weight.0,
                queries[0].options.query_position
            ),
            (2.0, Some(7))
        );
        assert_eq!(queries[0].paging, Some("page"));
        let (code, message) =
            refused(json!({"queries": [], "federation": {"facetsByIndex": {"x y": null}}}));
        assert_eq!(code, "invalid_multi_search_facets_by_index");
        assert!(message.starts_with(
            "Invalid value at `.federation.facetsByIndex`: the key \"x y\" could not"
        ));
        assert_eq!(
            refused(
                json!({"queries": [], "federation": {"mergeFacets": {"maxValuesPerFacet": -1}}})
            )
            .0,
            "invalid_multi_search_max_values_per_facet"
        );
        let absent = parse_multi_search(br#"{"federation": null, "queries": []}"#);
        assert!(matches!(absent, Ok(MultiSearch::Separate(queries)) if queries.is_empty()));
    }
}
