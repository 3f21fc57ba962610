//! Reading documents back.

mod sort;
#[cfg(test)]
mod tests;

use milli_core as milli;
use milli_core::documents::validate_document_id_value;
use milli_core::heed::RoTxn;
use milli_core::vector::parsed_vectors::ExplicitVectors;
use milli_core::{DocumentId, Index, Object};
use miroir_api::Error;
use roaring::RoaringBitmap;
use serde_json::{Map, Value};

use crate::error::{coded, document_filter_error, heed_error, milli_error};
use crate::features::Flags;
use crate::search::{parse_filter, select};

/// Which documents to read, and what of them.
#[derive(Debug)]
pub struct Browse {
    pub offset: usize,
    pub limit: usize,
    /// Dotted names; `None` for everything.
    pub fields: Option<Vec<String>>,
    pub vectors: bool,
    pub ids: Option<Vec<Value>>,
    pub filter: Option<Value>,
    /// Rules such as `year:asc`; by internal id where there are none.
    pub sort: Option<Vec<String>>,
    /// Another instance merges the documents with those of others: it gets the values they are sorted by.
    pub proxied: bool,
}

impl Browse {
    /// The ids in their text form; 400 `invalid_document_ids` for what can be no id.
    pub fn checked_ids(&self) -> Result<Option<Vec<String>>, Error> {
        let Some(ids) = &self.ids else {
            return Ok(None);
        };
        let check = |(index, id): (usize, &Value)| {
            validate_document_id_value(id.clone()).map_err(|error| {
                coded(
                    "invalid_document_ids",
                    format!("In `.ids[{index}]`: {error}"),
                )
            })
        };
        ids.iter()
            .enumerate()
            .map(check)
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

/// One document by its id, or 404 `document_not_found`.
pub fn one(
    index: &Index,
    id: &str,
    fields: Option<&[String]>,
    vectors: bool,
) -> Result<Object, Error> {
    let rtxn = index.read_txn().map_err(heed_error)?;
    let internal = index
        .external_documents_ids()
        .get(&rtxn, id)
        .map_err(heed_error)?;
    let internal = internal.ok_or_else(|| Error::document_not_found(id))?;
    let documents = read(index, &rtxn, [internal], fields, vectors)?;
    documents
        .into_iter()
        .next()
        .ok_or_else(|| Error::document_not_found(id))
}

/// A page of documents, and how many there are in all.
///
/// Errors: 400 `invalid_document_filter`, `invalid_document_sort`.
pub fn browse(
    index: &Index,
    browse: &Browse,
    ids: Option<&[String]>,
    flags: Flags,
) -> Result<(usize, Vec<Object>), Error> {
    let rtxn = index.read_txn().map_err(heed_error)?;
    let filter = match &browse.filter {
        Some(filter) => parse_filter(filter, "invalid_document_filter", flags)?,
        None => None,
    };
    let mut found = match ids {
        Some(ids) => {
            let external = index.external_documents_ids();
            let mut found = RoaringBitmap::new();
            for id in ids {
                found.extend(external.get(&rtxn, id).map_err(heed_error)?);
            }
            found
        }
        None => index.documents_ids(&rtxn).map_err(heed_error)?,
    };
    if let Some(filter) = filter {
        found &= filter
            .evaluate(&rtxn, index)
            .map_err(document_filter_error)?;
    }
    let total = found.len() as usize;
    let rules = browse.sort.as_deref().map(sort::parse).transpose()?;
    let page: Vec<DocumentId> = match &rules {
        Some(rules) => {
            let sorted = sort::sorted(index, &rtxn, rules, &found)?;
            let page = sorted.into_iter().skip(browse.offset);
            page.take(browse.limit).collect()
        }
        None => found
            .into_iter()
            .skip(browse.offset)
            .take(browse.limit)
            .collect(),
    };
    let fields = browse.fields.as_deref();
    let mut documents = read(index, &rtxn, page.iter().copied(), fields, browse.vectors)?;
    if browse.proxied {
        let rules = rules.unwrap_or_default();
        // The values may stand in fields that were not asked for.
        let whole = read(index, &rtxn, page, None, false)?;
        for (document, whole) in documents.iter_mut().zip(&whole) {
            let about = sort::federation_of(&rules, whole);
            document.insert("_federation".to_owned(), about);
        }
    }
    Ok((total, documents))
}

pub fn read(
    index: &Index,
    rtxn: &RoTxn,
    ids: impl IntoIterator<Item = DocumentId>,
    fields: Option<&[String]>,
    vectors: bool,
) -> Result<Vec<Object>, Error> {
    let names = index.fields_ids_map(rtxn).map_err(heed_error)?;
    let all: Vec<_> = names.iter().map(|(id, _)| id).collect();
    let mut kept: Option<Vec<&str>> =
        fields.map(|fields| fields.iter().map(String::as_str).collect());
    if let (Some(kept), true) = (&mut kept, vectors) {
        kept.push("_vectors");
    }
    let mut documents = Vec::new();
    for id in ids {
        let stored = index.document(rtxn, id).map_err(milli_error)?;
        let mut document = milli::obkv_to_json(&all, &names, stored).map_err(milli_error)?;
        let explicit = document.remove("_vectors");
        if vectors {
            let vectors = with_generated(index, rtxn, id, explicit)?;
            document.insert("_vectors".to_owned(), Value::Object(vectors));
        }
        documents.push(match &kept {
            Some(kept) => select(&document, kept),
            None => document,
        });
    }
    Ok(documents)
}

/// The vectors that the user gave, together with those that embedders made.
fn with_generated(
    index: &Index,
    rtxn: &RoTxn,
    id: DocumentId,
    explicit: Option<Value>,
) -> Result<Map<String, Value>, Error> {
    let mut vectors = match explicit {
        Some(Value::Object(vectors)) => vectors,
        _ => Map::new(),
    };
    let configs = index.embedding_configs(rtxn).map_err(milli_error)?;
    for (name, embeddings) in index.embeddings(rtxn, id).map_err(milli_error)? {
        let provided = configs
            .iter()
            .any(|config| config.name == name && config.user_provided.contains(id));
        let shown = ExplicitVectors {
            embeddings: Some(embeddings.into()),
            regenerate: !provided,
        };
        vectors.insert(
            name,
            serde_json::to_value(shown).map_err(|e| Error::internal(e.to_string()))?,
        );
    }
    Ok(vectors)
}
