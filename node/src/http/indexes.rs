//! Indexes: list, create, look at, change, delete, count.

use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::Extension;
use deserr::{take_cf_content, DeserializeError, Deserr, ErrorKind, ValuePointerRef};
use milli_core::{FieldDistribution, Index};
use miroir_api::Error;
use serde::Serialize;
use time::OffsetDateTime;

use super::query::{index_uid, IndexUid, DEFAULT_LIMIT};
use super::{blocking, body, enqueue, json, Answer, App, Paged, Shared, Who};
use crate::deserialize::{
    codes::*, missing, read_json, read_query, JsonRejection, Param, QueryRejection,
};
use crate::error::{coded, heed_error, milli_error};
use crate::fields::{self, FieldsFilter};
use crate::tasks::{Swap, Work};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexView {
    uid: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
    primary_key: Option<String>,
}

impl IndexView {
    fn new(uid: String, index: &Index) -> Result<IndexView, Error> {
        let rtxn = index.read_txn().map_err(heed_error)?;
        Ok(IndexView {
            uid,
            created_at: index.created_at(&rtxn).map_err(milli_error)?,
            updated_at: index.updated_at(&rtxn).map_err(milli_error)?,
            primary_key: index
                .primary_key(&rtxn)
                .map_err(heed_error)?
                .map(String::from),
        })
    }
}

#[derive(Deserr)]
#[deserr(error = QueryRejection, rename_all = camelCase, deny_unknown_fields)]
struct ListQuery {
    #[deserr(default, error = QueryRejection<InvalidIndexOffset>)]
    offset: Param<usize>,
    #[deserr(default = Param(DEFAULT_LIMIT), error = QueryRejection<InvalidIndexLimit>)]
    limit: Param<usize>,
}

pub async fn list(State(app): Shared, Extension(access): Who, RawQuery(query): RawQuery) -> Answer {
    let ListQuery {
        offset: Param(offset),
        limit: Param(limit),
    } = read_query(&query.unwrap_or_default())?;
    let page = blocking(&app, move |app| {
        let mut names = app.scheduler.indexes.names();
        names.retain(|uid| access.sees(uid));
        let total = names.len();
        let mut results = Vec::new();
        for uid in names.into_iter().skip(offset).take(limit) {
            // It may have been deleted since.
            if let Some(index) = app.scheduler.indexes.find(&uid)? {
                results.push(IndexView::new(uid, &index)?);
            }
        }
        Ok(Paged {
            results,
            offset,
            limit,
            total,
        })
    });
    json(StatusCode::OK, &page.await?)
}

#[derive(Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
struct CreateBody {
    #[deserr(error = JsonRejection<InvalidIndexUid>, missing_field_error = missing::<MissingIndexUid>)]
    uid: IndexUid,
    #[deserr(default, error = JsonRejection<InvalidIndexPrimaryKey>)]
    primary_key: Option<String>,
}

pub async fn create(
    State(app): Shared,
    Extension(access): Who,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let CreateBody { uid, primary_key } = read_json(&body)?;
    access.check_creation(&uid.0)?;
    enqueue(
        &app,
        StatusCode::ACCEPTED,
        Some(uid.0),
        Work::CreateIndex { primary_key },
    )
    .await
}

pub async fn one(State(app): Shared, Path(uid): Path<String>) -> Answer {
    let uid = index_uid(uid)?;
    let view = blocking(&app, move |app| {
        let index = app.scheduler.indexes.get(&uid)?;
        IndexView::new(uid, &index)
    });
    json(StatusCode::OK, &view.await?)
}

#[derive(Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields = immutable)]
struct UpdateBody {
    #[deserr(default, error = JsonRejection<InvalidIndexPrimaryKey>)]
    primary_key: Option<String>,
    #[deserr(default, error = JsonRejection<InvalidIndexUid>)]
    uid: Option<String>,
}

fn immutable(field: &str, accepted: &[&str], at: ValuePointerRef) -> JsonRejection {
    let code = match field {
        "createdAt" => "immutable_index_created_at",
        "updatedAt" => "immutable_index_updated_at",
        key => {
            let kind = ErrorKind::UnknownKey { key, accepted };
            return take_cf_content(JsonRejection::error::<Infallible>(None, kind, at));
        }
    };
    let accepted = accepted
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    JsonRejection::new(
        code,
        format!("Immutable field `{field}`: expected one of {accepted}"),
    )
}

pub async fn update(
    State(app): Shared,
    Path(uid): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let UpdateBody {
        primary_key,
        uid: new_uid,
    } = read_json(&body)?;
    let uid = index_uid(uid)?;
    let new_uid = new_uid.map(index_uid).transpose()?;
    enqueue(
        &app,
        StatusCode::ACCEPTED,
        Some(uid),
        Work::UpdateIndex {
            primary_key,
            new_uid,
        },
    )
    .await
}

pub async fn delete(State(app): Shared, Path(uid): Path<String>) -> Answer {
    let uid = index_uid(uid)?;
    enqueue(&app, StatusCode::ACCEPTED, Some(uid), Work::DeleteIndex).await
}

#[derive(Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
struct SwapBody {
    #[deserr(error = JsonRejection<InvalidSwapIndexes>, missing_field_error = missing::<MissingSwapIndexes>)]
    indexes: Vec<IndexUid>,
    #[deserr(default, error = JsonRejection<InvalidSwapRename>)]
    rename: bool,
}

pub async fn swap(
    State(app): Shared,
    Extension(access): Who,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let asked: Vec<SwapBody> = read_json(&body)?;
    let mut swaps = Vec::with_capacity(asked.len());
    for SwapBody { indexes, rename } in asked {
        let names: Vec<String> = indexes.into_iter().map(|uid| uid.0).collect();
        let [one, other] = &names[..] else {
            let message = format!(
                "Two indexes must be given for each swap. The list `{names:?}` contains {} indexes.",
                names.len()
            );
            return Err(coded("invalid_swap_indexes", message).into());
        };
        access.check_named(one)?;
        access.check_named(other)?;
        let indexes = (one.clone(), other.clone());
        swaps.push(Swap { indexes, rename });
    }
    refuse_repeated(&swaps)?;
    enqueue(
        &app,
        StatusCode::ACCEPTED,
        None,
        Work::SwapIndexes { swaps },
    )
    .await
}

/// An index can be in one swap only, and not twice in it.
fn refuse_repeated(swaps: &[Swap]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    let names = swaps
        .iter()
        .flat_map(|Swap { indexes, .. }| [&indexes.0, &indexes.1]);
    let repeated: BTreeSet<&String> = names.filter(|name| !seen.insert(*name)).collect();
    let names: Vec<String> = repeated.iter().map(|name| format!("`{name}`")).collect();
    let verb = match names.len() {
        0 => return Ok(()),
        1 => "was",
        _ => "were",
    };
    let message = format!(
        "Indexes must be declared only once during a swap. {} {verb} specified several times.",
        names.join(", ")
    );
    Err(coded("invalid_swap_duplicate_index_found", message))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexStats {
    number_of_documents: u64,
    raw_document_db_size: u64,
    avg_document_size: u64,
    is_indexing: bool,
    number_of_embeddings: u64,
    number_of_embedded_documents: u64,
    field_distribution: FieldDistribution,
}

impl IndexStats {
    pub fn new(app: &App, uid: &str, index: &Index) -> Result<IndexStats, Error> {
        let rtxn = index.read_txn().map_err(heed_error)?;
        let documents = index
            .documents_stats(&rtxn)
            .map_err(heed_error)?
            .unwrap_or_default();
        let vectors = index.arroy_stats(&rtxn).map_err(milli_error)?;
        Ok(IndexStats {
            number_of_documents: index.number_of_documents(&rtxn).map_err(milli_error)?,
            raw_document_db_size: documents.total_size(),
            avg_document_size: documents.average_value_size(),
            is_indexing: app.scheduler.queue.is_processing_index(uid)?,
            number_of_embeddings: vectors.number_of_embeddings,
            number_of_embedded_documents: vectors.documents.len(),
            field_distribution: index.field_distribution(&rtxn).map_err(heed_error)?,
        })
    }
}

pub async fn stats(State(app): Shared, Path(uid): Path<String>) -> Answer {
    let uid = index_uid(uid)?;
    let stats = blocking(&app, move |app| {
        let index = app.scheduler.indexes.get(&uid)?;
        IndexStats::new(app, &uid, &index)
    });
    json(StatusCode::OK, &stats.await?)
}

pub async fn compact(State(app): Shared, Path(uid): Path<String>) -> Answer {
    let uid = index_uid(uid)?;
    enqueue(&app, StatusCode::ACCEPTED, Some(uid), Work::CompactIndex).await
}

#[derive(Deserr)]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
struct FieldsBody {
    #[deserr(default, error = JsonRejection<InvalidIndexOffset>)]
    offset: usize,
    #[deserr(default = DEFAULT_LIMIT, error = JsonRejection<InvalidIndexLimit>)]
    limit: usize,
    #[deserr(default, error = JsonRejection<InvalidIndexFieldsFilter>)]
    filter: Option<FieldsFilter>,
}

pub async fn fields(
    State(app): Shared,
    Path(uid): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = body::read_json(&headers, body, app.body_bytes_max).await?;
    let FieldsBody {
        offset,
        limit,
        filter,
    } = read_json(&body)?;
    let page = blocking(&app, move |app| {
        let fields = fields::list(&app.scheduler.indexes.get(&uid)?, filter.as_ref())?;
        let total = fields.len();
        Ok(Paged {
            results: fields.into_iter().skip(offset).take(limit).collect(),
            offset,
            limit,
            total,
        })
    });
    json(StatusCode::OK, &page.await?)
}
