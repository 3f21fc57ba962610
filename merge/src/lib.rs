//! Meilisearch answers as bytes in, one answer as spans out: pure merging and splitting.
//!
//! A search is sent to several nodes and their answers become one; a payload of documents arrives whole and becomes one
//! payload a node. Both are done on the bytes themselves (DESIGN 7, 8): they are scanned once for spans, spans are
//! reordered, cut and joined, and no document is ever turned into a tree or written anew. That keeps every number and
//! escape as the client or the node wrote it, and costs about as much as looking at the bytes.
//!
//! Nothing here does I/O, reads a clock or draws random numbers, and nothing panics on foreign bytes: whatever is not what it should
//! be comes back as an error.
//!
//! - [`merge_search`], [`merge_hybrid`], [`merge_levels`], [`merge_federated`], [`split_results`], [`merge_facet_search`],
//!   [`merge_documents`], [`strip_document`]: answers
//! - [`split`], [`Part`], [`count_documents`], [`infer_primary_key`], [`id_text`]: payloads
#![forbid(unsafe_code)]

mod anew;
mod cut;
mod documents;
mod error;
mod facet_search;
mod facet_value;
mod federated;
mod rank;
mod reply;
mod results;
mod scan;
mod search;
mod split;
mod tie;
mod weighted;

pub use documents::{
    merge_documents, scan_documents, strip_document, ByKey, DocumentsPage, Page, Placeless,
};
pub use error::MergeError;
pub use facet_search::{merge_facet_search, FacetSearch};
pub use federated::{
    merge_federated, spec_of_mixed, FederatedAnswers, FederatedIndex, FederatedQuery,
    FederatedSpec, Levelled, MergeFacets, Mixed,
};
pub use reply::Merged;
pub use results::split_results;
pub use search::{
    count_found, counts_by_words, merge_hybrid, merge_levels, merge_search, merge_similar,
    missing_beside, missing_words, ByWords, Counts, DistinctCounts, FacetOrder, Levels, Mix,
    Paging, Similar, Spec, Taken, Unsettled,
};
pub use split::{
    count_documents, id_text, infer_primary_key, split, Format, Inference, Part, Pieces, Split,
    SplitError,
};
