//! Documents near a given one, as Meilisearch 1.15.1 finds them.

use std::time::Instant;

use deserr::Deserr;
use milli_core as milli;
use milli_core::documents::validate_document_id_value;
use milli_core::Index;
use miroir_api::Error;
use serde::Serialize;
use serde_json::Value;

use super::codes::*;
use super::get::{filter_value, CommaList, ScoreThresholdText};
use super::hits::{make_hits, SearchHit};
use super::kind::NamedEmbedder;
use super::request::{ScoreThreshold, SearchQuery, DEFAULT_LIMIT};
use super::{max_total_hits, parse_filter, HitCount};
use crate::deserialize::{read_json, read_query, JsonRejection, Param, QueryRejection};
use crate::error::{coded, heed_error, milli_error};
use crate::features::Flags;

/// Reads the body of `POST /indexes/{uid}/similar`. Errors: 400 with the `invalid_similar_*` code of the field.
pub fn parse_similar_post(body: &[u8]) -> Result<SimilarQuery, Error> {
    read_json(body)
}

/// Reads the query string of `GET /indexes/{uid}/similar`, as [`parse_similar_post`] reads a body.
pub fn parse_similar_get(query: &str) -> Result<SimilarQuery, Error> {
    let asked: SimilarParameters = read_query(query)?;
    Ok(SimilarQuery {
        id: Value::String(asked.id.0),
        offset: asked.offset.0,
        limit: asked.limit.0,
        filter: asked.filter.map(filter_value),
        embedder: asked.embedder,
        attributes_to_retrieve: asked.attributes_to_retrieve.map(|list| list.0),
        retrieve_vectors: asked.retrieve_vectors.0,
        show_ranking_score: asked.show_ranking_score.0,
        show_ranking_score_details: asked.show_ranking_score_details.0,
        ranking_score_threshold: asked.ranking_score_threshold.map(|text| text.0),
    })
}

/// To which document, and what of the others is shown.
#[derive(Debug, Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
pub struct SimilarQuery {
    #[deserr(error = JsonRejection<InvalidSimilarId>)]
    id: Value,
    #[deserr(default, error = JsonRejection<InvalidSimilarOffset>)]
    offset: usize,
    #[deserr(default = DEFAULT_LIMIT, error = JsonRejection<InvalidSimilarLimit>)]
    limit: usize,
    #[deserr(default, error = JsonRejection<InvalidSimilarFilter>)]
    pub filter: Option<Value>,
    #[deserr(error = JsonRejection<InvalidSimilarEmbedder>)]
    embedder: String,
    #[deserr(default, error = JsonRejection<InvalidSimilarAttributesToRetrieve>)]
    attributes_to_retrieve: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidSimilarRetrieveVectors>)]
    retrieve_vectors: bool,
    #[deserr(default, error = JsonRejection<InvalidSimilarShowRankingScore>)]
    show_ranking_score: bool,
    #[deserr(default, error = JsonRejection<InvalidSimilarShowRankingScoreDetails>)]
    show_ranking_score_details: bool,
    #[deserr(default, error = JsonRejection<InvalidSimilarRankingScoreThreshold>)]
    ranking_score_threshold: Option<ScoreThreshold>,
}

/// The parameters in the order in which an "Unknown parameter" message lists them.
#[derive(Deserr)]
#[deserr(error = QueryRejection, rename_all = camelCase, deny_unknown_fields)]
struct SimilarParameters {
    #[deserr(error = QueryRejection<InvalidSimilarId>)]
    id: Param<String>,
    #[deserr(default, error = QueryRejection<InvalidSimilarOffset>)]
    offset: Param<usize>,
    #[deserr(default = Param(DEFAULT_LIMIT), error = QueryRejection<InvalidSimilarLimit>)]
    limit: Param<usize>,
    #[deserr(default, error = QueryRejection<InvalidSimilarAttributesToRetrieve>)]
    attributes_to_retrieve: Option<CommaList<String>>,
    #[deserr(default, error = QueryRejection<InvalidSimilarRetrieveVectors>)]
    retrieve_vectors: Param<bool>,
    #[deserr(default, error = QueryRejection<InvalidSimilarFilter>)]
    filter: Option<String>,
    #[deserr(default, error = QueryRejection<InvalidSimilarShowRankingScore>)]
    show_ranking_score: Param<bool>,
    #[deserr(default, error = QueryRejection<InvalidSimilarShowRankingScoreDetails>)]
    show_ranking_score_details: Param<bool>,
    #[deserr(default, error = QueryRejection<InvalidSimilarRankingScoreThreshold>)]
    ranking_score_threshold: Option<ScoreThresholdText>,
    #[deserr(error = QueryRejection<InvalidSimilarEmbedder>)]
    embedder: String,
}

/// The answer to a search for similar documents.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SimilarResult {
    pub hits: Vec<SearchHit>,
    pub id: String,
    pub processing_time_ms: u64,
    #[serde(flatten)]
    pub count: HitCount,
}

/// Finds the documents nearest to the one that `asked` names.
///
/// Errors: 400 `invalid_similar_embedder`, `invalid_similar_id`, `not_found_similar_id`, `invalid_similar_filter`; 501
/// for an embedder that is not user-provided.
pub fn similar(index: &Index, asked: SimilarQuery, flags: Flags) -> Result<SimilarResult, Error> {
    let started = Instant::now();
    let rtxn = index.read_txn().map_err(heed_error)?;
    let unknown = milli::UserError::InvalidSimilarEmbedder;
    let embedder = NamedEmbedder::find(&asked.embedder, None, index, &rtxn, unknown)?;
    let id = validate_document_id_value(asked.id).map_err(|error| {
        coded(
            "invalid_similar_id",
            format!("Invalid value at `.id`: {error}"),
        )
    })?;
    let internal = index
        .external_documents_ids()
        .get(&rtxn, &id)
        .map_err(heed_error)?;
    let internal = internal.ok_or_else(|| {
        coded(
            "not_found_similar_id",
            format!("Document `{id}` not found."),
        )
    })?;

    // The engine makes room for as many as it is asked for.
    let documents = index.number_of_documents(&rtxn).map_err(milli_error)? as usize;
    let (offset, limit) = (asked.offset.min(documents), asked.limit.min(documents));
    let mut search = embedder.similar_to(internal, offset, limit, index, &rtxn);
    if let Some(filter) = &asked.filter {
        if let Some(filter) = parse_filter(filter, "invalid_similar_filter", flags)? {
            search.filter(filter);
        }
    }
    if let Some(threshold) = asked.ranking_score_threshold {
        search.ranking_score_threshold(threshold.get());
    }
    let result = search.execute().map_err(|error| match error {
        milli::Error::UserError(milli::UserError::InvalidFilter(_)) => {
            coded("invalid_similar_filter", error.to_string())
        }
        error => milli_error(error),
    })?;

    let found = usize::try_from(result.candidates.len()).unwrap_or(usize::MAX);
    let shown = SearchQuery {
        attributes_to_retrieve: asked.attributes_to_retrieve,
        retrieve_vectors: asked.retrieve_vectors,
        show_ranking_score: asked.show_ranking_score,
        show_ranking_score_details: asked.show_ranking_score_details,
        ..SearchQuery::default()
    };
    Ok(SimilarResult {
        hits: make_hits(index, &rtxn, &shown, result).map_err(milli_error)?,
        id,
        processing_time_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        count: HitCount::Window {
            limit: asked.limit,
            offset: asked.offset,
            estimated_total_hits: found.min(max_total_hits(index, &rtxn)?),
        },
    })
}
