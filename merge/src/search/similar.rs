//! Merging the neighbours of a document: by similarity alone, a document once, the document itself never.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use ahash::AHasher;
use bytes::Bytes;

use super::answer::Carried;
use super::mix::score;
use super::queue::{Head, Queue};
use super::{scan, HitWriter, Spec, Window};
use crate::reply::{Merged, Reply};
use crate::split::stored_id;
use crate::MergeError;

/// What the client asked for besides what every search has.
pub struct Similar<'a> {
    /// The document whose neighbours are wanted, as the answer names it.
    pub id: &'a str,
    /// Dotted path of the primary key, which hits carry where a document may come more than once.
    pub primary_key: Option<&'a str>,
    pub ranking_score_threshold: Option<f64>,
}

/// Merges answers of nodes to `POST /indexes/{uid}/similar`, and to searches by the document's vectors, into one answer of
/// the former. All were asked for `showRankingScore` and `showRankingScoreDetails`, and none for a threshold.
///
/// `totals` are the documents that pass the filter, without the document itself, on all nodes.
///
/// # Errors
/// As [`merge_search`](super::merge_search); and a hit without an id, where it must have one, or a score.
pub fn merge_similar(
    answers: &[Bytes],
    similar: &Similar,
    candidates: u64,
    spec: &Spec,
) -> Result<Merged, MergeError> {
    let scanned = scan(answers)?;
    let window = Window::of(spec.paging);
    let mut reply = Reply::with_capacity(4 * window.take.min(64) + 2, 1024);
    let mut writer = HitWriter::new(spec, &mut reply);
    let carried = Carried {
        hides: true,
        // Some answers may be those of federated searches, not all.
        federation: false,
        ..spec.carried()
    };
    let mut queue = Queue::new(answers, &scanned, carried)?;
    let mut ids: HashSet<Cow<[u8]>, BuildHasherDefault<AHasher>> = HashSet::default();
    let (mut passed, mut candidates) = (0, candidates);
    while writer.written < window.take {
        let Some(Head { key, node, hit, .. }) = queue.next()? else {
            break;
        };
        let bytes = &answers[node];
        // A search by meaning also lists the documents that have no vector.
        if !key.has_similarity() {
            continue;
        }
        if let Some(primary_key) = similar.primary_key {
            let id = stored_id(bytes, hit.span.clone(), primary_key)
                .ok_or_else(|| MergeError::bad(node, "a hit has no document id"))?;
            if !ids.insert(id) {
                continue;
            }
        }
        passed += 1;
        if passed <= window.skip {
            continue;
        }
        let score = score(bytes, &hit.span)
            .ok_or_else(|| MergeError::bad(node, "a hit has no `_rankingScore`"))?;
        if similar
            .ranking_score_threshold
            .is_some_and(|least| score < least)
        {
            // As milli `similar.rs`: what comes behind is no candidate either.
            candidates = passed as u64 - 1;
            break;
        }
        writer.write(bytes, node, hit.span, &hit.added)?;
    }
    reply.text(b"],\"id\":");
    reply.string(similar.id);
    reply.text(b",\"processingTimeMs\":");
    reply.number(spec.processing_time_ms);
    super::write_paging(
        &mut reply,
        spec.paging,
        candidates.min(spec.max_total_hits as u64),
    );
    reply.text(b"}");
    Ok(reply.finish())
}

/// The documents that answers count together.
///
/// # Errors
/// An answer that is not one of a search.
pub fn count_found(answers: &[Bytes]) -> Result<u64, MergeError> {
    let scanned = scan(answers)?;
    Ok(scanned
        .iter()
        .fold(0, |sum: u64, answer| sum.saturating_add(answer.total)))
}
