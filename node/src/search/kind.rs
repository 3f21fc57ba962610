//! By words, by meaning, or both: which search a query asks for, and the embedder that it names.
//!
//! Only embedders whose vectors come from the user are run here: the others call a model over the network for every
//! query, which is for a later issue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use heed::RoTxn;
use milli_core as milli;
use milli_core::vector::{Embedder, EmbedderOptions};
use milli_core::Index;
use miroir_api::Error;

use super::request::{HybridQuery, SearchQuery};
use crate::error::{coded, milli_error};

/// How long an embedder may take for one query, as in Meilisearch.
const EMBED_DEADLINE: Duration = Duration::from_secs(10);

pub enum SearchKind {
    Keyword,
    Semantic(NamedEmbedder),
    Hybrid(NamedEmbedder, f32),
}

pub struct NamedEmbedder {
    name: String,
    embedder: Arc<Embedder>,
    quantized: bool,
}

impl SearchKind {
    /// Errors: `invalid_search_embedder` for an unknown one, `invalid_vector_dimensions`, `missing_search_hybrid` for a
    /// vector without `hybrid`, 501 for an embedder that is not user-provided.
    pub fn of(query: &SearchQuery, index: &Index, rtxn: &RoTxn<'_>) -> Result<Self, Error> {
        let vector = query.vector.as_deref();
        let embedder = |name: &str| {
            let unknown = milli::UserError::InvalidSearchEmbedder;
            NamedEmbedder::find(name, vector.map(<[f32]>::len), index, rtxn, unknown)
        };
        // The order of the cases matters: a blank query is a placeholder search even with `hybrid`.
        match (query.q.as_deref(), &query.hybrid, vector) {
            (Some(q), _, None) if q.trim().is_empty() => Ok(SearchKind::Keyword),
            (None, _, None) => Ok(SearchKind::Keyword),
            (_, None, Some(_)) => Err(coded(
                "missing_search_hybrid",
                "Invalid request: missing `hybrid` parameter when `vector` is present.",
            )),
            (Some(_), None, None) => Ok(SearchKind::Keyword),
            (
                q,
                Some(HybridQuery {
                    semantic_ratio,
                    embedder: name,
                }),
                _,
            ) => match semantic_ratio.get() {
                1.0 => embedder(name).map(SearchKind::Semantic),
                0.0 => Ok(SearchKind::Keyword),
                _ if q.is_none() => embedder(name).map(SearchKind::Semantic),
                ratio => embedder(name).map(|embedder| SearchKind::Hybrid(embedder, ratio)),
            },
        }
    }

    /// Gives the search what it looks for: words, a vector, or both.
    pub fn prepare(
        &self,
        query: &SearchQuery,
        search: &mut milli::Search<'_>,
    ) -> Result<(), Error> {
        match self {
            SearchKind::Keyword => {
                if let Some(q) = &query.q {
                    search.query(q);
                }
            }
            SearchKind::Semantic(embedder) => {
                let vector = match (&query.vector, &query.q) {
                    (Some(vector), _) => vector.clone(),
                    (None, q) => embedder.embed(q.as_deref().unwrap_or_default())?,
                };
                embedder.attach(search, Some(vector));
            }
            SearchKind::Hybrid(embedder, _) => {
                if let Some(q) = &query.q {
                    search.query(q);
                }
                embedder.attach(search, query.vector.clone());
            }
        }
        Ok(())
    }

    /// Runs the search; the second value is the number of hits that are there for their meaning.
    pub fn execute(
        &self,
        uid: &str,
        search: milli::Search<'_>,
    ) -> Result<(milli::SearchResult, Option<u32>), Error> {
        match self {
            SearchKind::Keyword => search.execute().map(|result| (result, None)),
            SearchKind::Semantic(_) => search.execute().map(|result| {
                let count = result.document_scores.len() as u32;
                (result, Some(count))
            }),
            SearchKind::Hybrid(_, ratio) => search.execute_hybrid(*ratio),
        }
        .map_err(|error| {
            // Here, and not for the search's other failures, Meilisearch names the index.
            let mut error = milli_error(error);
            error.message = format!("Index `{uid}`: {}", error.message);
            error
        })
    }
}

impl NamedEmbedder {
    /// `unknown` is the error where there is no such embedder.
    pub fn find(
        name: &str,
        dimensions: Option<usize>,
        index: &Index,
        rtxn: &RoTxn<'_>,
        unknown: fn(String) -> milli::UserError,
    ) -> Result<Self, Error> {
        let configs = index.embedding_configs(rtxn).map_err(milli_error)?;
        let Some(config) = configs.into_iter().find(|config| config.name == name) else {
            return Err(user_error(unknown(name.to_owned())));
        };
        let quantized = config.config.quantized();
        let options = match config.config.embedder_options {
            options @ EmbedderOptions::UserProvided(_) => options,
            _ => {
                return Err(Error::not_implemented(format!(
                    "searching with the embedder `{name}`"
                )))
            }
        };
        let embedder = Embedder::new(options, 0)
            .map_err(|error| milli_error(milli::vector::Error::from(error).into()))?;
        if let Some(found) = dimensions.filter(|&found| found != embedder.dimensions()) {
            let expected = embedder.dimensions();
            return Err(user_error(milli::UserError::InvalidVectorDimensions {
                expected,
                found,
            }));
        }
        Ok(NamedEmbedder {
            name: name.to_owned(),
            embedder: Arc::new(embedder),
            quantized,
        })
    }

    fn embed(&self, text: &str) -> Result<Vec<f32>, Error> {
        self.embedder
            .embed_search(text, Some(Instant::now() + EMBED_DEADLINE))
            .map_err(|error| milli_error(milli::vector::Error::from(error).into()))
    }

    /// A search for the documents near `id`.
    pub fn similar_to<'s>(
        self,
        id: milli::DocumentId,
        offset: usize,
        limit: usize,
        index: &'s Index,
        rtxn: &'s RoTxn<'s>,
    ) -> milli::Similar<'s> {
        let NamedEmbedder {
            name,
            embedder,
            quantized,
        } = self;
        milli::Similar::new(id, offset, limit, index, rtxn, name, embedder, quantized)
    }

    fn attach(&self, search: &mut milli::Search<'_>, vector: Option<Vec<f32>>) {
        search.semantic(
            self.name.clone(),
            self.embedder.clone(),
            self.quantized,
            vector,
        );
    }
}

fn user_error(error: milli::UserError) -> Error {
    milli_error(milli::Error::UserError(error))
}
