//! What a search asks for, and how the body of `POST /indexes/{uid}/search` says it.
//!
//! The order of the fields is the order in which an "Unknown field" message lists them, so it is Meilisearch's.

use deserr::Deserr;
use milli_core::TermsMatchingStrategy;
use miroir_api::Error;
use serde_json::Value;

use super::codes::*;
use crate::deserialize::{read_json, JsonRejection, Reason};
use crate::settings::Locale;

pub const DEFAULT_LIMIT: usize = 20;
pub const DEFAULT_CROP_LENGTH: usize = 10;
pub const DEFAULT_SEMANTIC_RATIO: SemanticRatio = SemanticRatio(0.5);

/// Reads the body of a search.
///
/// Errors: 400 with the `invalid_search_*` code of the field, `malformed_payload` or `missing_payload`.
pub fn parse_search_post(body: &[u8]) -> Result<SearchQuery, Error> {
    read_json(body)
}

/// One search, whichever way it came (`crates/meilisearch/src/search/mod.rs`, `SearchQuery`).
#[derive(Clone, Debug, PartialEq, Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
pub struct SearchQuery {
    #[deserr(default, error = JsonRejection<InvalidSearchQ>)]
    pub q: Option<String>,
    #[deserr(default, error = JsonRejection<InvalidSearchVector>)]
    pub vector: Option<Vec<f32>>,
    #[deserr(default, error = JsonRejection<InvalidSearchHybridQuery>)]
    pub hybrid: Option<HybridQuery>,
    #[deserr(default, error = JsonRejection<InvalidSearchOffset>)]
    pub offset: usize,
    #[deserr(default = DEFAULT_LIMIT, error = JsonRejection<InvalidSearchLimit>)]
    pub limit: usize,
    #[deserr(default, error = JsonRejection<InvalidSearchPage>)]
    pub page: Option<usize>,
    #[deserr(default, error = JsonRejection<InvalidSearchHitsPerPage>)]
    pub hits_per_page: Option<usize>,
    #[deserr(default, error = JsonRejection<InvalidSearchAttributesToRetrieve>)]
    pub attributes_to_retrieve: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidSearchRetrieveVectors>)]
    pub retrieve_vectors: bool,
    #[deserr(default, error = JsonRejection<InvalidSearchAttributesToCrop>)]
    pub attributes_to_crop: Option<Vec<String>>,
    #[deserr(default = DEFAULT_CROP_LENGTH, error = JsonRejection<InvalidSearchCropLength>)]
    pub crop_length: usize,
    #[deserr(default, error = JsonRejection<InvalidSearchAttributesToHighlight>)]
    pub attributes_to_highlight: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidSearchShowMatchesPosition>)]
    pub show_matches_position: bool,
    #[deserr(default, error = JsonRejection<InvalidSearchShowRankingScore>)]
    pub show_ranking_score: bool,
    #[deserr(default, error = JsonRejection<InvalidSearchShowRankingScoreDetails>)]
    pub show_ranking_score_details: bool,
    #[deserr(default, error = JsonRejection<InvalidSearchFilter>)]
    pub filter: Option<Value>,
    #[deserr(default, error = JsonRejection<InvalidSearchSort>)]
    pub sort: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidSearchDistinct>)]
    pub distinct: Option<String>,
    #[deserr(default, error = JsonRejection<InvalidSearchFacets>)]
    pub facets: Option<Vec<String>>,
    #[deserr(default = default_highlight_pre_tag(), error = JsonRejection<InvalidSearchHighlightPreTag>)]
    pub highlight_pre_tag: String,
    #[deserr(default = default_highlight_post_tag(), error = JsonRejection<InvalidSearchHighlightPostTag>)]
    pub highlight_post_tag: String,
    #[deserr(default = default_crop_marker(), error = JsonRejection<InvalidSearchCropMarker>)]
    pub crop_marker: String,
    #[deserr(default, error = JsonRejection<InvalidSearchMatchingStrategy>)]
    pub matching_strategy: MatchingStrategy,
    #[deserr(default, error = JsonRejection<InvalidSearchAttributesToSearchOn>)]
    pub attributes_to_search_on: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidSearchRankingScoreThreshold>)]
    pub ranking_score_threshold: Option<ScoreThreshold>,
    #[deserr(default, error = JsonRejection<InvalidSearchLocales>)]
    pub locales: Option<Vec<Locale>>,
}

impl Default for SearchQuery {
    fn default() -> Self {
        SearchQuery {
            q: None,
            vector: None,
            hybrid: None,
            offset: 0,
            limit: DEFAULT_LIMIT,
            page: None,
            hits_per_page: None,
            attributes_to_retrieve: None,
            retrieve_vectors: false,
            attributes_to_crop: None,
            crop_length: DEFAULT_CROP_LENGTH,
            attributes_to_highlight: None,
            show_matches_position: false,
            show_ranking_score: false,
            show_ranking_score_details: false,
            filter: None,
            sort: None,
            distinct: None,
            facets: None,
            highlight_pre_tag: default_highlight_pre_tag(),
            highlight_post_tag: default_highlight_post_tag(),
            crop_marker: default_crop_marker(),
            matching_strategy: MatchingStrategy::default(),
            attributes_to_search_on: None,
            ranking_score_threshold: None,
            locales: None,
        }
    }
}

impl SearchQuery {
    /// Whether the answer counts pages: `page` or `hitsPerPage` was given.
    pub fn paginated(&self) -> bool {
        self.page.is_some() || self.hits_per_page.is_some()
    }
}

pub fn default_highlight_pre_tag() -> String {
    "<em>".to_owned()
}

pub fn default_highlight_post_tag() -> String {
    "</em>".to_owned()
}

pub fn default_crop_marker() -> String {
    "…".to_owned()
}

/// Search by meaning as well: which embedder, and how much it weighs.
#[derive(Clone, Debug, PartialEq, Deserr)]
#[deserr(error = JsonRejection<InvalidSearchHybridQuery>, rename_all = camelCase, deny_unknown_fields)]
pub struct HybridQuery {
    #[deserr(default = DEFAULT_SEMANTIC_RATIO, error = JsonRejection<InvalidSearchSemanticRatio>)]
    pub semantic_ratio: SemanticRatio,
    #[deserr(error = JsonRejection<InvalidSearchEmbedder>)]
    pub embedder: String,
}

/// 0.0 (words only) to 1.0 (meaning only).
#[derive(Clone, Copy, Debug, PartialEq, Deserr)]
#[deserr(try_from(f32) = SemanticRatio::new -> Reason)]
pub struct SemanticRatio(f32);

impl SemanticRatio {
    pub fn new(ratio: f32) -> Result<Self, Reason> {
        // NaN passes, as it does there; JSON has no NaN, but a query string can say it.
        if ratio.is_nan() || (0.0..=1.0).contains(&ratio) {
            return Ok(SemanticRatio(ratio));
        }
        Err(Self::invalid())
    }

    pub fn invalid() -> Reason {
        Reason(
            "the value of `semanticRatio` is invalid, expected a float between `0.0` and `1.0`."
                .to_owned(),
        )
    }

    pub fn get(self) -> f32 {
        self.0
    }
}

/// The ranking score below which documents are left out: 0.0 to 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Deserr)]
#[deserr(try_from(f64) = ScoreThreshold::new -> Reason)]
pub struct ScoreThreshold(f64);

impl ScoreThreshold {
    pub fn new(score: f64) -> Result<Self, Reason> {
        if score.is_nan() || (0.0..=1.0).contains(&score) {
            return Ok(ScoreThreshold(score));
        }
        Err(Self::invalid())
    }

    pub fn invalid() -> Reason {
        Reason("the value of `rankingScoreThreshold` is invalid, expected a float between `0.0` and `1.0`.".to_owned())
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

/// Which query words may be missing from a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr)]
#[deserr(rename_all = camelCase)]
pub enum MatchingStrategy {
    /// The last ones first.
    #[default]
    Last,
    /// None.
    All,
    /// The most frequent ones first.
    Frequency,
}

impl From<MatchingStrategy> for TermsMatchingStrategy {
    fn from(strategy: MatchingStrategy) -> Self {
        match strategy {
            MatchingStrategy::Last => TermsMatchingStrategy::Last,
            MatchingStrategy::All => TermsMatchingStrategy::All,
            MatchingStrategy::Frequency => TermsMatchingStrategy::Frequency,
        }
    }
}
