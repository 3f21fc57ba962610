//! Meilisearch's codes for the fields of a search, as types for `deserr`.

use crate::deserialize::Code;

macro_rules! codes {
    ($($ident:ident = $name:literal),* $(,)?) => {
        $(
            pub struct $ident;
            impl Code for $ident {
                const NAME: &'static str = $name;
            }
        )*
    };
}

codes! {
    InvalidSearchAttributesToCrop = "invalid_search_attributes_to_crop",
    InvalidSearchAttributesToHighlight = "invalid_search_attributes_to_highlight",
    InvalidSearchAttributesToRetrieve = "invalid_search_attributes_to_retrieve",
    InvalidSearchAttributesToSearchOn = "invalid_search_attributes_to_search_on",
    InvalidSearchCropLength = "invalid_search_crop_length",
    InvalidSearchCropMarker = "invalid_search_crop_marker",
    InvalidSearchDistinct = "invalid_search_distinct",
    InvalidSearchEmbedder = "invalid_search_embedder",
    InvalidSearchFacets = "invalid_search_facets",
    InvalidSearchFilter = "invalid_search_filter",
    InvalidSearchHighlightPostTag = "invalid_search_highlight_post_tag",
    InvalidSearchHighlightPreTag = "invalid_search_highlight_pre_tag",
    InvalidSearchHitsPerPage = "invalid_search_hits_per_page",
    InvalidSearchHybridQuery = "invalid_search_hybrid_query",
    InvalidSearchLimit = "invalid_search_limit",
    InvalidSearchLocales = "invalid_search_locales",
    InvalidSearchMatchingStrategy = "invalid_search_matching_strategy",
    InvalidSearchOffset = "invalid_search_offset",
    InvalidSearchPage = "invalid_search_page",
    InvalidSearchQ = "invalid_search_q",
    InvalidSearchRankingScoreThreshold = "invalid_search_ranking_score_threshold",
    InvalidSearchRetrieveVectors = "invalid_search_retrieve_vectors",
    InvalidSearchSemanticRatio = "invalid_search_semantic_ratio",
    InvalidSearchShowMatchesPosition = "invalid_search_show_matches_position",
    InvalidSearchShowRankingScore = "invalid_search_show_ranking_score",
    InvalidSearchShowRankingScoreDetails = "invalid_search_show_ranking_score_details",
    InvalidSearchSort = "invalid_search_sort",
    InvalidSearchVector = "invalid_search_vector",
    // of a search for similar documents
    InvalidSimilarAttributesToRetrieve = "invalid_similar_attributes_to_retrieve",
    InvalidSimilarEmbedder = "invalid_similar_embedder",
    InvalidSimilarFilter = "invalid_similar_filter",
    InvalidSimilarId = "invalid_similar_id",
    InvalidSimilarLimit = "invalid_similar_limit",
    InvalidSimilarOffset = "invalid_similar_offset",
    InvalidSimilarRankingScoreThreshold = "invalid_similar_ranking_score_threshold",
    InvalidSimilarRetrieveVectors = "invalid_similar_retrieve_vectors",
    InvalidSimilarShowRankingScore = "invalid_similar_show_ranking_score",
    InvalidSimilarShowRankingScoreDetails = "invalid_similar_show_ranking_score_details",
    // of facet search
    InvalidFacetSearchExhaustiveFacetCount = "invalid_facet_search_exhaustive_facet_count",
    InvalidFacetSearchFacetName = "invalid_facet_search_facet_name",
    InvalidFacetSearchQuery = "invalid_facet_search_query",
    MissingFacetSearchFacetName = "missing_facet_search_facet_name",
    // of multi-search
    InvalidQueryIndexUid = "invalid_index_uid",
    MissingQueryIndexUid = "missing_index_uid",
    InvalidMultiSearchFacetsByIndex = "invalid_multi_search_facets_by_index",
    InvalidMultiSearchMaxValuesPerFacet = "invalid_multi_search_max_values_per_facet",
    InvalidMultiSearchMergeFacets = "invalid_multi_search_merge_facets",
    InvalidMultiSearchQueryPosition = "invalid_multi_search_query_position",
    InvalidMultiSearchRemote = "invalid_multi_search_remote",
    InvalidMultiSearchWeight = "invalid_multi_search_weight",
}
