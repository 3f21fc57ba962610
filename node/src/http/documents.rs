//! Documents: add, update, delete, clear, read.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{header, HeaderMap, StatusCode};
use axum::Extension;
use deserr::Deserr;
use miroir_api::Error;
use serde_json::Value;

use super::query::{index_uid, List, DEFAULT_LIMIT};
use super::search::is_proxied;
use super::{blocking, body, json, Answer, App, Paged, Shared, Who};
use crate::deserialize::{
    codes::*, json_value, missing, read_json, read_query, JsonRejection, Param, QueryRejection,
};
use crate::documents::{self, Browse};
use crate::error::coded;
use crate::payload::{self, Format};
use crate::search::{parse_filter, sort_list};
use crate::tasks::{Method, TaskSummary, Work};

const ACCEPTED: &[&str] = &["application/json", "application/x-ndjson", "text/csv"];

#[derive(Deserr)]
#[deserr(error = QueryRejection, rename_all = camelCase, deny_unknown_fields)]
struct AddQuery {
    #[deserr(default, error = QueryRejection<InvalidIndexPrimaryKey>)]
    primary_key: Option<String>,
    #[deserr(default, try_from(char) = ascii_delimiter -> QueryRejection<InvalidDocumentCsvDelimiter>, error = QueryRejection<InvalidDocumentCsvDelimiter>)]
    csv_delimiter: Option<u8>,
    #[deserr(default, error = QueryRejection<InvalidIndexCustomMetadata>)]
    custom_metadata: Option<String>,
    #[deserr(default, try_from(String) = boolean -> QueryRejection<InvalidSkipCreation>, error = QueryRejection<InvalidSkipCreation>)]
    skip_creation: Option<bool>,
}

/// What a client says of a change, for itself.
#[derive(Deserr)]
#[deserr(error = QueryRejection, rename_all = camelCase, deny_unknown_fields)]
struct MetadataQuery {
    #[deserr(default, error = QueryRejection<InvalidIndexCustomMetadata>)]
    custom_metadata: Option<String>,
}

fn boolean(text: String) -> Result<Option<bool>, QueryRejection<InvalidSkipCreation>> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => {
            let message = format!("skipCreation must be either `true` or `false`. Found: `{text}`");
            Err(QueryRejection::new("invalid_skip_creation", message))
        }
    }
}

fn ascii_delimiter(c: char) -> Result<Option<u8>, QueryRejection<InvalidDocumentCsvDelimiter>> {
    u8::try_from(c)
        .ok()
        .filter(u8::is_ascii)
        .map(Some)
        .ok_or_else(|| {
            let message = format!("csv delimiter must be an ascii character. Found: `{c}`");
            QueryRejection::new("invalid_document_csv_delimiter", message)
        })
}

pub async fn replace(
    state: Shared,
    access: Who,
    path: Path<String>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    add(Method::Replace, state, access, path, query, headers, body).await
}

pub async fn update(
    state: Shared,
    access: Who,
    path: Path<String>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    add(Method::Update, state, access, path, query, headers, body).await
}

async fn add(
    method: Method,
    State(app): Shared,
    Extension(access): Who,
    Path(uid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let AddQuery {
        primary_key,
        csv_delimiter,
        custom_metadata,
        skip_creation,
    } = read_query(&query.unwrap_or_default())?;
    let uid = index_uid(uid)?;
    let format = format_of(&headers, csv_delimiter)?;
    let body = body::read(&headers, body, app.body_bytes_max).await?;
    let task = blocking(&app, move |app| {
        let documents = payload::read(&body, format)?;
        let payload = app.scheduler.files.keep(documents.ndjson)?;
        let work = Work::AddDocuments {
            method,
            payload,
            documents: documents.count,
            primary_key,
            creates: access.may_create(&uid),
            skips_new: skip_creation.unwrap_or(false),
        };
        let task = app
            .scheduler
            .register_with(Some(&uid), &work, custom_metadata);
        task.inspect_err(|_| {
            if let Some(id) = work.payload_file() {
                app.scheduler.files.remove(id);
            }
        })
    });
    json(StatusCode::ACCEPTED, &TaskSummary::from(task.await?))
}

fn format_of(headers: &HeaderMap, csv_delimiter: Option<u8>) -> Result<Format, Error> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(body::missing_content_type(ACCEPTED));
    };
    let Some((kind, subtype)) = body::media_type(headers) else {
        return Err(body::invalid_content_type(
            value.to_str().unwrap_or("unknown"),
            ACCEPTED,
        ));
    };
    let essence = format!("{kind}/{subtype}");
    match (essence.as_str(), csv_delimiter) {
        ("application/json", None) => Ok(Format::Json),
        ("application/x-ndjson", None) => Ok(Format::Ndjson),
        ("text/csv", delimiter) => Ok(Format::Csv {
            delimiter: delimiter.unwrap_or(b','),
        }),
        ("application/json" | "application/x-ndjson", Some(_)) => {
            let message = format!(
                "The Content-Type `{essence}` does not support the use of a csv delimiter. The csv delimiter can only \
                 be used with the Content-Type `text/csv`."
            );
            Err(coded("invalid_content_type", message))
        }
        _ => Err(body::invalid_content_type(&essence, ACCEPTED)),
    }
}

pub async fn delete(
    State(app): Shared,
    Path((uid, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Answer {
    let uid = index_uid(uid)?;
    accept(&app, uid, query, Work::DeleteDocuments { ids: vec![id] }).await
}

/// Registers a change of documents with the metadata that the query has.
async fn accept(app: &Arc<App>, uid: String, query: Option<String>, work: Work) -> Answer {
    let MetadataQuery { custom_metadata } = read_query(&query.unwrap_or_default())?;
    let task = blocking(app, move |app| {
        app.scheduler
            .register_with(Some(&uid), &work, custom_metadata)
    });
    json(StatusCode::ACCEPTED, &TaskSummary::from(task.await?))
}

pub async fn delete_batch(
    State(app): Shared,
    Path(uid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let ids: Vec<Value> = json_value(&body)?;
    let uid = index_uid(uid)?;
    // Every value is taken for an id in its text form; what is no id deletes nothing.
    let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), String::from);
    let work = Work::DeleteDocuments {
        ids: ids.iter().map(text).collect(),
    };
    accept(&app, uid, query, work).await
}

#[derive(Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
struct DeleteByFilter {
    #[deserr(error = JsonRejection<InvalidDocumentFilter>, missing_field_error = missing::<MissingDocumentFilter>)]
    filter: Value,
}

pub async fn delete_by_filter(
    State(app): Shared,
    Path(uid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let DeleteByFilter { filter } = read_json(&body)?;
    let uid = index_uid(uid)?;
    let flags = app.features.flags();
    refuse_empty(parse_filter(&filter, "invalid_document_filter", flags)?.is_none())?;
    accept(&app, uid, query, Work::DeleteByFilter { filter }).await
}

#[derive(Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
struct EditBody {
    #[deserr(default, error = JsonRejection<InvalidDocumentFilter>)]
    filter: Option<Value>,
    #[deserr(default, error = JsonRejection<InvalidDocumentEditionContext>)]
    context: Option<Value>,
    #[deserr(error = JsonRejection<InvalidDocumentEditionFunctionFilter>, missing_field_error = missing::<MissingDocumentEditionFunction>)]
    function: String,
}

/// Editing by function is an experimental feature.
pub async fn edit(
    State(app): Shared,
    Path(uid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let EditBody {
        filter,
        context,
        function,
    } = read_json(&body)?;
    let flags = app.features.flags();
    flags.check_edit_documents("Using the documents edit route")?;
    let uid = index_uid(uid)?;
    if let Err(error) = milli_core::rhai::Engine::new().compile(&function) {
        return Err(Error::bad_request(error.to_string()).into());
    }
    if let Some(filter) = &filter {
        refuse_empty(parse_filter(filter, "invalid_document_filter", flags)?.is_none())?;
    }
    let context = match context {
        Some(Value::Object(context)) => Some(context),
        None => None,
        Some(_) => {
            let message = "The context must be an object";
            return Err(coded("invalid_document_edition_context", message).into());
        }
    };
    let work = Work::EditDocuments {
        function,
        context,
        filter,
    };
    accept(&app, uid, query, work).await
}

fn refuse_empty(is_empty: bool) -> Result<(), Error> {
    if is_empty {
        let message = "Sending an empty filter is forbidden.";
        return Err(coded("invalid_document_filter", message));
    }
    Ok(())
}

pub async fn clear(
    State(app): Shared,
    Path(uid): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let uid = index_uid(uid)?;
    accept(&app, uid, query, Work::ClearDocuments).await
}

#[derive(Deserr)]
#[deserr(error = QueryRejection, rename_all = camelCase, deny_unknown_fields)]
struct OneQuery {
    #[deserr(default, error = QueryRejection<InvalidDocumentFields>)]
    fields: List<String>,
    #[deserr(default, error = QueryRejection<InvalidDocumentRetrieveVectors>)]
    retrieve_vectors: Param<bool>,
}

pub async fn one(
    State(app): Shared,
    Path((uid, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Answer {
    let OneQuery {
        fields,
        retrieve_vectors: Param(vectors),
    } = read_query(&query.unwrap_or_default())?;
    let uid = index_uid(uid)?;
    let document = blocking(&app, move |app| {
        let index = app.scheduler.indexes.get(&uid)?;
        documents::one(&index, &id, fields.restriction().as_deref(), vectors)
    });
    json(StatusCode::OK, &document.await?)
}

#[derive(Deserr)]
#[deserr(error = QueryRejection, rename_all = camelCase, deny_unknown_fields)]
struct ListQuery {
    #[deserr(default, error = QueryRejection<InvalidDocumentOffset>)]
    offset: Param<usize>,
    #[deserr(default = Param(DEFAULT_LIMIT), error = QueryRejection<InvalidDocumentLimit>)]
    limit: Param<usize>,
    #[deserr(default, error = QueryRejection<InvalidDocumentFields>)]
    fields: List<String>,
    #[deserr(default, error = QueryRejection<InvalidDocumentRetrieveVectors>)]
    retrieve_vectors: Param<bool>,
    #[deserr(default, error = QueryRejection<InvalidDocumentIds>)]
    ids: Option<Param<String>>,
    #[deserr(default, error = QueryRejection<InvalidDocumentFilter>)]
    filter: Option<String>,
    #[deserr(default, error = QueryRejection<InvalidDocumentSort>)]
    sort: Option<String>,
}

pub async fn list(state: Shared, path: Path<String>, RawQuery(query): RawQuery) -> Answer {
    let query: ListQuery = read_query(&query.unwrap_or_default())?;
    let ids = |Param(text): Param<String>| {
        let parts = text.split(',').filter(|id| !id.is_empty());
        parts.map(Value::from).collect()
    };
    let browse = Browse {
        offset: query.offset.0,
        limit: query.limit.0,
        fields: query.fields.restriction(),
        vectors: query.retrieve_vectors.0,
        ids: query.ids.map(ids),
        // A filter may be written as JSON or as an expression.
        filter: query
            .filter
            .map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
        sort: query.sort.as_deref().map(sort_list),
        proxied: false,
    };
    browsed(state, path, browse).await
}

#[derive(Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
struct FetchBody {
    #[deserr(default, error = JsonRejection<InvalidDocumentOffset>)]
    offset: usize,
    #[deserr(default = DEFAULT_LIMIT, error = JsonRejection<InvalidDocumentLimit>)]
    limit: usize,
    #[deserr(default, error = JsonRejection<InvalidDocumentFields>)]
    fields: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidDocumentRetrieveVectors>)]
    retrieve_vectors: bool,
    #[deserr(default, error = JsonRejection<InvalidDocumentIds>)]
    ids: Option<Vec<Value>>,
    #[deserr(default, error = JsonRejection<InvalidDocumentFilter>)]
    filter: Option<Value>,
    #[deserr(default, error = JsonRejection<InvalidDocumentSort>)]
    sort: Option<Vec<String>>,
}

pub async fn fetch(
    State(app): Shared,
    path: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let FetchBody {
        offset,
        limit,
        fields,
        retrieve_vectors,
        ids,
        filter,
        sort,
    } = read_json(&body)?;
    browsed(
        State(app),
        path,
        Browse {
            offset,
            limit,
            fields,
            vectors: retrieve_vectors,
            ids,
            filter,
            sort,
            proxied: is_proxied(&headers),
        },
    )
    .await
}

async fn browsed(State(app): Shared, Path(uid): Path<String>, browse: Browse) -> Answer {
    let uid = index_uid(uid)?;
    let (offset, limit) = (browse.offset, browse.limit);
    let page = blocking(&app, move |app| {
        let ids = browse.checked_ids()?;
        let index = app.scheduler.indexes.get(&uid)?;
        let (total, results) =
            documents::browse(&index, &browse, ids.as_deref(), app.features.flags())?;
        Ok(Paged {
            results,
            offset,
            limit,
            total,
        })
    });
    json(StatusCode::OK, &page.await?)
}
