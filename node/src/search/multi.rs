//! The body of `POST /multi-search`: several searches, each naming its index.
//!
//! Federated search (one merged list) is a request of its own and is not there yet.

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

/// Reads the searches of a multi-search, in order, each with the uid of its index.
///
/// Errors: 400 as for a single search (positions in messages are `.queries[i]...`); 501 where `federation` is asked for.
pub fn parse_multi_search(body: &[u8]) -> Result<Vec<(String, SearchQuery)>, Error> {
    let request: MultiSearch = read_json(body)?;
    if request.federation.is_some() {
        return Err(Error::not_implemented("federated search"));
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
    Ok(queries)
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
struct MultiSearch {
    queries: Vec<IndexedQuery>,
    #[deserr(default)]
    federation: Option<Value>,
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

/// Read only so that a wrong value is named before the whole is refused.
#[derive(Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
#[allow(dead_code)]
struct FederationOptions {
    #[deserr(default, error = JsonRejection<InvalidMultiSearchWeight>)]
    weight: Option<Weight>,
    #[deserr(default, error = JsonRejection<InvalidMultiSearchRemote>)]
    remote: Option<String>,
    #[deserr(default, error = JsonRejection<InvalidMultiSearchQueryPosition>)]
    query_position: Option<usize>,
}

#[derive(Deserr)]
#[deserr(try_from(f64) = Weight::check -> Reason)]
struct Weight;

impl Weight {
    fn check(weight: f64) -> Result<Self, Reason> {
        if weight < 0.0 {
            return Err(Reason(
                "the value of `weight` is invalid, expected a positive float (>= 0.0).".to_owned(),
            ));
        }
        Ok(Weight)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: Value) -> (String, String) {
        let error = parse_multi_search(body.to_string().as_bytes()).unwrap_err();
        (error.code.into_owned(), error.message)
    }

    #[test]
    fn queries_keep_their_order() {
        let body = json!({"queries": [{"indexUid": "b", "q": "x", "limit": null}, {"indexUid": "a", "limit": 3}]});
        let queries = parse_multi_search(body.to_string().as_bytes()).unwrap();
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
    fn federation_is_not_there_yet() {
        let error = parse_multi_search(br#"{"federation": {}, "queries": []}"#).unwrap_err();
        assert_eq!(error.status, 501);
        assert!(
            parse_multi_search(br#"{"federation": null, "queries": []}"#)
                .unwrap()
                .is_empty()
        );
    }
}
