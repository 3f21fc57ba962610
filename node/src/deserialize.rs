//! Reading request bodies and query strings with Meilisearch's error texts.
//!
//! Meilisearch reads requests with `deserr`, which says where a value is wrong and what was expected; the code of
//! the error is chosen a field at a time. Here a code is a marker type ([`codes`]) in the error type of the field:
//! `#[deserr(default, error = JsonRejection<InvalidSearchQ>)]`.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use deserr::errors::{JsonError, QueryParamError};
use deserr::{
    take_cf_content, DeserializeError, Deserr, ErrorKind, IntoValue, MergeWithError, ValueKind,
    ValuePointerRef,
};
use miroir_api::Error;

use crate::error::coded;

/// A code as a type, for error parameters of `deserr` fields.
pub trait Code {
    const NAME: &'static str;
}

/// The wording for JSON bodies: "Invalid value type at `.limit`: expected ...".
pub struct Json;
/// The wording for query strings: "Invalid value in parameter `limit`: ...".
pub struct Query;

/// A refusal while reading a request; `C` is the code of what is being read.
pub struct Rejection<F, C> {
    pub message: String,
    pub code: &'static str,
    marker: PhantomData<(F, C)>,
}

pub type JsonRejection<C = codes::BadRequest> = Rejection<Json, C>;
pub type QueryRejection<C = codes::BadRequest> = Rejection<Query, C>;

impl<F, C> Rejection<F, C> {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Rejection {
            message: message.into(),
            code,
            marker: PhantomData,
        }
    }
}

impl<F, C> From<Rejection<F, C>> for Error {
    fn from(rejection: Rejection<F, C>) -> Error {
        coded(rejection.code, rejection.message)
    }
}

impl<C: Code> DeserializeError for JsonRejection<C> {
    fn error<V: IntoValue>(
        _: Option<Self>,
        error: ErrorKind<V>,
        at: ValuePointerRef,
    ) -> ControlFlow<Self, Self> {
        let text = take_cf_content(JsonError::error(None, error, at)).to_string();
        ControlFlow::Break(Self::new(C::NAME, text))
    }
}

impl<C: Code> DeserializeError for QueryRejection<C> {
    fn error<V: IntoValue>(
        _: Option<Self>,
        error: ErrorKind<V>,
        at: ValuePointerRef,
    ) -> ControlFlow<Self, Self> {
        let text = take_cf_content(QueryParamError::error(None, error, at)).to_string();
        ControlFlow::Break(Self::new(C::NAME, text))
    }
}

// One error is reported at a time, with the code that the innermost field gave it.
impl<F, C1, C2> MergeWithError<Rejection<F, C2>> for Rejection<F, C1> {
    fn merge(
        _: Option<Self>,
        other: Rejection<F, C2>,
        _: ValuePointerRef,
    ) -> ControlFlow<Self, Self> {
        ControlFlow::Break(Self::new(other.code, other.message))
    }
}

/// A reason in words, from a `FromStr` or `TryFrom`; it takes the code of the field and its position.
#[derive(Debug)]
pub struct Reason(pub String);

impl<F, C> MergeWithError<Reason> for Rejection<F, C>
where
    Self: DeserializeError,
{
    fn merge(_: Option<Self>, other: Reason, at: ValuePointerRef) -> ControlFlow<Self, Self> {
        Self::error::<Infallible>(None, ErrorKind::Unexpected { msg: other.0 }, at)
    }
}

impl<F, C> MergeWithError<Infallible> for Rejection<F, C> {
    fn merge(_: Option<Self>, other: Infallible, _: ValuePointerRef) -> ControlFlow<Self, Self> {
        match other {}
    }
}

/// "Missing field `x`" under a code of its own: for `missing_field_error = missing::<InvalidX>`.
pub fn missing<C: Code>(field: &str, at: ValuePointerRef) -> JsonRejection<C> {
    take_cf_content(JsonRejection::<C>::error::<Infallible>(
        None,
        ErrorKind::MissingField { field },
        at,
    ))
}

/// A value that arrives as text because it stands in a query string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Param<T>(pub T);

/// How a query parameter's text becomes a value; the reason of a refusal is Meilisearch's wording.
pub trait FromParam: Sized {
    fn from_param(text: &str) -> Result<Self, Reason>;
}

impl<T, E> Deserr<E> for Param<T>
where
    T: FromParam,
    E: DeserializeError + MergeWithError<Reason>,
{
    fn deserialize_from_value<V: IntoValue>(
        value: deserr::Value<V>,
        at: ValuePointerRef,
    ) -> Result<Self, E> {
        match value {
            deserr::Value::String(text) => T::from_param(&text)
                .map(Param)
                .map_err(|reason| take_cf_content(E::merge(None, reason, at))),
            actual => {
                let kind = ErrorKind::IncorrectValueKind {
                    actual,
                    accepted: &[ValueKind::String],
                };
                Err(take_cf_content(E::error(None, kind, at)))
            }
        }
    }
}

impl FromParam for usize {
    fn from_param(text: &str) -> Result<Self, Reason> {
        text.parse()
            .map_err(|_| Reason(format!("could not parse `{text}` as a positive integer")))
    }
}

impl FromParam for u32 {
    fn from_param(text: &str) -> Result<Self, Reason> {
        text.parse()
            .map_err(|_| Reason(format!("could not parse `{text}` as a positive integer")))
    }
}

impl FromParam for bool {
    fn from_param(text: &str) -> Result<Self, Reason> {
        let wording =
            || format!("could not parse `{text}` as a boolean, expected either `true` or `false`");
        text.parse().map_err(|_| Reason(wording()))
    }
}

/// Reads a whole JSON body; the errors of syntax are actix's and `deserr`'s, as Meilisearch shows them.
pub fn read_json<T: Deserr<JsonRejection>>(body: &[u8]) -> Result<T, Error> {
    let value: serde_json::Value = json_value(body)?;
    deserr::deserialize::<T, _, JsonRejection>(value).map_err(Error::from)
}

/// Parses a body as JSON: an empty one is `missing_payload`, a broken one `malformed_payload`.
pub fn json_value<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| {
        use serde_json::error::Category;
        match error.classify() {
            Category::Eof if error.line() == 1 && error.column() == 0 => {
                coded("missing_payload", "A json payload is missing.")
            }
            Category::Data => coded("bad_request", format!("Json deserialize error: {error}")),
            _ => coded(
                "malformed_payload",
                format!("The json payload provided is malformed. `{error}`."),
            ),
        }
    })
}

/// Reads a query string; a repeated key keeps its last value, as `deserr` does for Meilisearch.
pub fn read_query<T: Deserr<QueryRejection>>(query: &str) -> Result<T, Error> {
    let mut object = serde_json::Map::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        object.insert(
            key.into_owned(),
            serde_json::Value::String(value.into_owned()),
        );
    }
    deserr::deserialize::<T, _, QueryRejection>(serde_json::Value::Object(object))
        .map_err(Error::from)
}

macro_rules! codes {
    ($($ident:ident = $name:literal),* $(,)?) => {
        /// Meilisearch's codes as types.
        pub mod codes {
            $(
                pub struct $ident;
                impl super::Code for $ident {
                    const NAME: &'static str = $name;
                }
            )*
        }
    };
}

// The codes that the routes of this crate name in a request's fields; `search` declares its own.
codes! {
    BadRequest = "bad_request",
    MissingIndexUid = "missing_index_uid",
    InvalidSettingsDisplayedAttributes = "invalid_settings_displayed_attributes",
    InvalidSettingsSearchableAttributes = "invalid_settings_searchable_attributes",
    InvalidSettingsFilterableAttributes = "invalid_settings_filterable_attributes",
    InvalidSettingsSortableAttributes = "invalid_settings_sortable_attributes",
    InvalidSettingsRankingRules = "invalid_settings_ranking_rules",
    InvalidSettingsStopWords = "invalid_settings_stop_words",
    InvalidSettingsNonSeparatorTokens = "invalid_settings_non_separator_tokens",
    InvalidSettingsSeparatorTokens = "invalid_settings_separator_tokens",
    InvalidSettingsDictionary = "invalid_settings_dictionary",
    InvalidSettingsSynonyms = "invalid_settings_synonyms",
    InvalidSettingsDistinctAttribute = "invalid_settings_distinct_attribute",
    InvalidSettingsProximityPrecision = "invalid_settings_proximity_precision",
    InvalidSettingsTypoTolerance = "invalid_settings_typo_tolerance",
    InvalidSettingsFaceting = "invalid_settings_faceting",
    InvalidSettingsPagination = "invalid_settings_pagination",
    InvalidSettingsEmbedders = "invalid_settings_embedders",
    InvalidSettingsSearchCutoffMs = "invalid_settings_search_cutoff_ms",
    InvalidSettingsLocalizedAttributes = "invalid_settings_localized_attributes",
    InvalidSettingsFacetSearch = "invalid_settings_facet_search",
    InvalidSettingsPrefixSearch = "invalid_settings_prefix_search",
    InvalidIndexUid = "invalid_index_uid",
    InvalidIndexPrimaryKey = "invalid_index_primary_key",
    InvalidSwapIndexes = "invalid_swap_indexes",
    MissingSwapIndexes = "missing_swap_indexes",
    InvalidSwapRename = "invalid_swap_rename",
    InvalidIndexFieldsFilter = "invalid_index_fields_filter",
    InvalidIndexFieldsFilterAttributePatterns = "invalid_index_fields_filter_attribute_patterns",
    InvalidIndexFieldsFilterDisplayed = "invalid_index_fields_filter_displayed",
    InvalidIndexFieldsFilterSearchable = "invalid_index_fields_filter_searchable",
    InvalidIndexFieldsFilterSortable = "invalid_index_fields_filter_sortable",
    InvalidIndexFieldsFilterDistinct = "invalid_index_fields_filter_distinct",
    InvalidIndexFieldsFilterRankingRule = "invalid_index_fields_filter_ranking_rule",
    InvalidIndexFieldsFilterFilterable = "invalid_index_fields_filter_filterable",
    InvalidIndexOffset = "invalid_index_offset",
    InvalidIndexLimit = "invalid_index_limit",
    InvalidDocumentFields = "invalid_document_fields",
    InvalidDocumentRetrieveVectors = "invalid_document_retrieve_vectors",
    InvalidDocumentOffset = "invalid_document_offset",
    InvalidDocumentLimit = "invalid_document_limit",
    InvalidDocumentIds = "invalid_document_ids",
    InvalidDocumentFilter = "invalid_document_filter",
    InvalidDocumentSort = "invalid_document_sort",
    InvalidDocumentEditionContext = "invalid_document_edition_context",
    InvalidDocumentEditionFunctionFilter = "invalid_document_edition_function_filter",
    MissingDocumentEditionFunction = "missing_document_edition_function",
    MissingDocumentFilter = "missing_document_filter",
    InvalidIndexCustomMetadata = "invalid_index_custom_metadata",
    InvalidSkipCreation = "invalid_skip_creation",
    InvalidDocumentCsvDelimiter = "invalid_document_csv_delimiter",
    InvalidTaskLimit = "invalid_task_limit",
    InvalidTaskFrom = "invalid_task_from",
    InvalidTaskReverse = "invalid_task_reverse",
    InvalidBatchUids = "invalid_batch_uids",
    InvalidTaskUids = "invalid_task_uids",
    InvalidTaskCanceledBy = "invalid_task_canceled_by",
    InvalidTaskTypes = "invalid_task_types",
    InvalidTaskStatuses = "invalid_task_statuses",
    InvalidTaskAfterEnqueuedAt = "invalid_task_after_enqueued_at",
    InvalidTaskBeforeEnqueuedAt = "invalid_task_before_enqueued_at",
    InvalidTaskAfterStartedAt = "invalid_task_after_started_at",
    InvalidTaskBeforeStartedAt = "invalid_task_before_started_at",
    InvalidTaskAfterFinishedAt = "invalid_task_after_finished_at",
    InvalidTaskBeforeFinishedAt = "invalid_task_before_finished_at",
}
