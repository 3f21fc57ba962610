//! Which Meilisearch code stands for which failure of the engine, and which status and type a code has.
//!
//! The tables follow `crates/meilisearch-types/src/error.rs` at 1.15.1. Messages are the engine's own.

use std::io;

use milli_core as milli;
use miroir_api::{Error, ErrorType};

/// An error with Meilisearch's status and type for `code`.
///
/// Codes that are not in the table below are 400 `invalid_request`, as nearly all of Meilisearch's are.
pub fn coded(code: &'static str, message: impl Into<String>) -> Error {
    use ErrorType::{Auth, Internal, InvalidRequest, System};
    let (status, kind) = match code {
        "api_key_not_found"
        | "document_not_found"
        | "index_not_found"
        | "task_not_found"
        | "task_file_not_found"
        | "batch_not_found"
        | "dump_not_found" => (404, InvalidRequest),
        "api_key_already_exists" | "index_already_exists" => (409, InvalidRequest),
        "payload_too_large" => (413, InvalidRequest),
        "missing_content_type" | "invalid_content_type" | "unsupported_media_type" => {
            (415, InvalidRequest)
        }
        "internal" | "database_size_limit_reached" | "invalid_state" | "invalid_store_file" => {
            (500, Internal)
        }
        "io_error" | "no_space_left_on_device" | "too_many_open_files" => (422, System),
        "too_many_search_requests" => (503, System),
        "unretrievable_document" => (400, Internal),
        "missing_authorization_header" | "missing_master_key" => (401, Auth),
        "invalid_api_key" => (403, Auth),
        _ => (400, InvalidRequest),
    };
    Error::new(status, code, kind, message)
}

/// The error a client sees for a failure of the engine.
///
/// A filter that an index refuses is `invalid_search_filter` here, as in Meilisearch; the document routes rename it
/// with [`document_filter_error`].
pub fn milli_error(error: milli::Error) -> Error {
    let code = match &error {
        milli::Error::InternalError(_) => "internal",
        milli::Error::IoError(source) => io_code(source),
        milli::Error::UserError(user) => user_code(user),
    };
    with_io_hint(code, error.to_string())
}

/// As [`milli_error`], for a filter that came with a request about documents.
pub fn document_filter_error(error: milli::Error) -> Error {
    match error {
        milli::Error::UserError(milli::UserError::InvalidFilter(_)) => {
            coded("invalid_document_filter", error.to_string())
        }
        other => milli_error(other),
    }
}

/// As [`milli_error`], for a task: the index is named first, and the filter that a task carries is one on documents.
pub fn task_error(uid: &str, error: milli::Error) -> Error {
    use milli::UserError::{InvalidFilter, InvalidFilterExpression};
    let mut error = match &error {
        milli::Error::UserError(InvalidFilter(_) | InvalidFilterExpression(..)) => {
            coded("invalid_document_filter", error.to_string())
        }
        _ => milli_error(error),
    };
    error.message = format!("Index `{uid}`: {}", error.message);
    error
}

/// The error for a failure of the disk or of another system call.
pub fn io_error(error: &io::Error) -> Error {
    with_io_hint(io_code(error), error.to_string())
}

/// The error for a failure of the key-value store below the engine.
pub fn heed_error(error: heed::Error) -> Error {
    milli_error(milli::Error::from(error))
}

fn io_code(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(5) => "io_error",
        Some(24) => "too_many_open_files",
        Some(28) => "no_space_left_on_device",
        _ => "internal",
    }
}

fn with_io_hint(code: &'static str, mut message: String) -> Error {
    if code == "io_error" {
        message.push_str(
            ". This error generally happens when you have no space left on device or when your database doesn't have \
             read or write right.",
        );
    }
    coded(code, message)
}

fn user_code(error: &milli::UserError) -> &'static str {
    use milli::UserError as U;
    match error {
        U::SerdeJson(_)
        | U::EnvAlreadyOpened
        | U::DocumentLimitReached
        | U::UnknownInternalDocumentId { .. } => "internal",
        U::InvalidStoreFile => "invalid_store_file",
        U::NoSpaceLeftOnDevice => "no_space_left_on_device",
        U::MaxDatabaseSizeReached => "database_size_limit_reached",
        U::AttributeLimitReached => "max_fields_limit_exceeded",
        U::InvalidFilter(_)
        | U::InvalidFilterExpression(..)
        | U::FilterOperatorNotAllowed { .. } => "invalid_search_filter",
        U::MissingDocumentId { .. } => "missing_document_id",
        U::InvalidDocumentId { .. } | U::TooManyDocumentIds { .. } => "invalid_document_id",
        U::MissingDocumentField(_) => "invalid_document_fields",
        U::InvalidFieldForSource { .. }
        | U::MissingFieldForSource { .. }
        | U::InvalidOpenAiModel { .. }
        | U::InvalidOpenAiModelDimensions { .. }
        | U::InvalidOpenAiModelDimensionsMax { .. }
        | U::InvalidSettingsDimensions { .. }
        | U::InvalidUrl { .. }
        | U::InvalidSettingsDocumentTemplateMaxBytes { .. }
        | U::InvalidPrompt(_)
        | U::InvalidDisableBinaryQuantization { .. }
        | U::InvalidSourceForNested { .. }
        | U::MissingSourceForNested { .. }
        | U::InvalidSettingsEmbedder { .. }
        | U::TooManyEmbedders(_)
        | U::InvalidPromptForEmbeddings(..) => "invalid_settings_embedders",
        U::NoPrimaryKeyCandidateFound => "index_primary_key_no_candidate_found",
        U::MultiplePrimaryKeyCandidatesFound { .. } => {
            "index_primary_key_multiple_candidates_found"
        }
        U::PrimaryKeyCannotBeChanged(_) => "index_primary_key_already_exists",
        U::InvalidDistinctAttribute { .. } => "invalid_search_distinct",
        U::SortRankingRuleMissing | U::InvalidSortableAttribute { .. } | U::SortError(_) => {
            "invalid_search_sort"
        }
        U::InvalidFacetsDistribution { .. } => "invalid_search_facets",
        U::InvalidSearchableAttribute { .. } => "invalid_search_attributes_to_search_on",
        U::InvalidFacetSearchFacetName { .. } => "invalid_facet_search_facet_name",
        U::CriterionError(_) => "invalid_settings_ranking_rules",
        U::InvalidGeoField { .. } => "invalid_document_geo_field",
        U::InvalidVectorDimensions { .. } | U::InvalidIndexingVectorDimensions { .. } => {
            "invalid_vector_dimensions"
        }
        U::InvalidVectorsMapType { .. } | U::InvalidVectorsEmbedderConf { .. } => {
            "invalid_vectors_type"
        }
        U::TooManyVectors(_, _) => "too_many_vectors",
        U::InvalidMinTypoWordLenSetting(_, _) => "invalid_settings_typo_tolerance",
        U::InvalidSearchEmbedder(_) => "invalid_search_embedder",
        U::InvalidSimilarEmbedder(_) => "invalid_similar_embedder",
        U::VectorEmbeddingError(_) | U::DocumentEmbeddingError(_) => "vector_embedding_error",
        U::DocumentEditionCannotModifyPrimaryKey
        | U::DocumentEditionDocumentMustBeObject
        | U::DocumentEditionRuntimeError(_)
        | U::DocumentEditionCompilationError(_) => "edit_documents_by_function_error",
    }
}
