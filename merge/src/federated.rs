//! Merging the answers to one federated search: one list of hits from several queries.
//!
//! Every node has run all queries on its part of the documents and merged them as one Meilisearch does: a document that
//! several queries find stands in the list once, under the query that ranks it best. Here each node's list is taken apart by
//! query, the parts of one query are merged rule by rule as in a plain search, and the queries' lists are merged by their
//! weighted score values as one node merges them ([`crate::weighted`]). No document is on two nodes, so none comes twice.
//!
//! Queries of which a node's list is of no use are asked apart, each in a federated search of its own: a hybrid one, for which nodes
//! would decide each by itself, by words and by meaning ([`Mixed`]), one whose frequent words may be missing ([`Levelled`]), and one
//! whose distinct attribute is hidden. A document that such
//! a query and another find is known by its id, and the sums are told by answers to all queries together.
//!
//! Nodes are asked all queries, also for indexes of which they are to show nothing (their filter then lets nothing pass), so that
//! positions mean the same everywhere. They were asked for offset 0 and as many hits as the page reaches.

pub(crate) mod answer;
mod facets;
mod row;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use bytes::Bytes;

use crate::cut::{cut_object, Cuts, Ranges};
use crate::reply::{Merged, Reply};
use crate::scan::Scanner;
use crate::search::distinct::Seen;
use crate::search::{
    unreadable, write_paging, ByWords, Documents, FacetOrder, Mix, Paging, Spec, Window,
};
use crate::split::stored_id;
use crate::tie::Tie;
use crate::MergeError;
use answer::{Answer, Hit};
use row::{Marked, Row};

/// How a federated search's answers are to be merged and what the client asked for.
pub struct FederatedSpec<'a> {
    pub paging: Paging,
    /// The indexes that are searched, each once.
    pub indexes: &'a [FederatedIndex<'a>],
    /// In the order of the request: nodes name them by position.
    pub queries: &'a [FederatedQuery<'a>],
    /// Whether some query looks for meaning, so that the answer counts the hits that were found so.
    pub semantic: bool,
    /// `federation.distinct`: of all hits together, only the first with a value stays.
    pub distinct: Option<&'a str>,
    /// `federation.mergeFacets`: one distribution over all indexes. Nodes were not asked to merge facets.
    pub merge_facets: Option<MergeFacets>,
    pub processing_time_ms: u64,
    /// Present in the answer when given: newer Meilisearch versions send one; the caller knows.
    pub request_uid: Option<&'a str>,
}

/// An index of a federated search.
pub struct FederatedIndex<'a> {
    pub uid: &'a str,
    /// What nodes call it.
    pub node_uid: &'a str,
    /// Hits that it gives at most: its `maxTotalHits` where nodes keep to it in federated searches (since 1.34).
    pub hits_max: usize,
    /// Dotted path of the primary key, where it is known and hits carry it.
    pub primary_key: Option<&'a str>,
    /// Queries of the index were asked apart, so that a document may come twice. Hits carry the primary key then.
    pub told_apart: bool,
    pub facet_order: &'a dyn Fn(&str) -> FacetOrder,
    /// The order where facets of all indexes are merged.
    pub merged_order: &'a dyn Fn(&str) -> FacetOrder,
    pub max_values_per_facet: usize,
}

/// A query of a federated search.
pub struct FederatedQuery<'a> {
    /// Its index, by position in [`FederatedSpec::indexes`].
    pub index: usize,
    /// `federationOptions.weight`
    pub weight: f64,
    pub show_score: bool,
    /// Nodes were asked for details unless `ranked` is false.
    pub show_details: bool,
    /// Whether details order the hits, as in [`crate::Spec`].
    pub ranked: bool,
    /// The distinct attribute of this query alone, which hits carry.
    pub distinct: Option<&'a str>,
    /// Dotted paths that were asked for only on behalf of the merge.
    pub strip_fields: &'a [&'a str],
    pub strip_formatted: &'a [&'a str],
}

/// How facets of several indexes become one distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeFacets {
    /// Values kept a facet; all when `None`.
    pub max_values_per_facet: Option<usize>,
}

/// The bodies of the nodes' answers to federated `POST /multi-search`es that were sent with `Meili-Proxy-Search: true`.
#[derive(Clone, Copy, Default)]
pub struct FederatedAnswers<'a> {
    /// To queries that nodes were asked together, and to single ones. In the order of the plan, as those of a search.
    pub lists: &'a [Bytes],
    pub levelled: &'a [Levelled<'a>],
    pub mixed: &'a [Mixed<'a>],
    /// To all queries together, where some were asked apart: these tell totals and facets.
    pub counted: Option<&'a [Bytes]>,
}

/// The answers to a query for each set of words that may be missing.
#[derive(Clone, Copy)]
pub struct Levelled<'a> {
    /// Its position among the queries.
    pub query: usize,
    pub words: ByWords<'a>,
}

/// The answers to a hybrid query.
#[derive(Clone, Copy)]
pub struct Mixed<'a> {
    /// Its position among the queries.
    pub query: usize,
    pub words: ByWords<'a>,
    pub meaning: &'a [Bytes],
    pub mix: Mix<'a>,
}

/// Merges the answers of nodes to a federated search.
///
/// # Errors
/// An answer that is not one to a federated search with that header, or lacks ranking details where they are needed.
pub fn merge_federated(
    answers: &FederatedAnswers,
    spec: &FederatedSpec,
) -> Result<Merged, MergeError> {
    let row = Row::of(answers, spec);
    let mut listed = read(&row.answers[..row.listed], spec)?;
    let window = Window::of(spec.paging);
    let reach = window.skip.saturating_add(window.take);
    let mixed = row.mixed(reach, spec)?;
    let mut lists = Lists::new(&row.answers, spec, reach);
    let mut by_query = lists.of_queries(&mut listed, &row.levelled)?;
    for mixed in mixed {
        by_query[mixed.query] = mixed.hits;
        if spec.is_alone(mixed.query) {
            lists.duplicates += mixed.duplicates;
        }
    }
    let hits = lists.of_all(by_query)?;
    let mut duplicates = lists.duplicates;
    let mut levelled = answers.levelled.iter();
    let levels_are_distinct = levelled.any(|levelled| {
        let query = spec.queries.get(levelled.query);
        query.is_some_and(|query| query.distinct.is_some())
    });
    let (counting, counted) = match answers.counted {
        Some(answers) => {
            let mut counted = read(answers, spec)?;
            if spec.distinct.is_some() || levels_are_distinct {
                // Nodes know the duplicates between their own hits of different queries, and of different sets of words, wherever they were
                // asked for these.
                let mut lists = Lists::new(answers, spec, reach);
                let by_query = lists.of_queries(&mut counted, &[])?;
                lists.of_all(by_query)?;
                duplicates = lists.duplicates;
            }
            (answers, counted)
        }
        None => (&row.answers[..row.listed], listed),
    };
    let total = counted
        .iter()
        .map(|answer| answer.total)
        .fold(0, u64::saturating_add);
    let semantic = spec.semantic || counted.iter().any(|answer| answer.semantic);
    let page: Vec<&Hit> = hits.iter().skip(window.skip).take(window.take).collect();

    let mut reply = Reply::with_capacity(4 * page.len() + 2, 1024);
    reply.text(b"{\"hits\":[");
    write_hits(&row.answers, spec, &page, &mut reply)?;
    reply.text(b"],\"processingTimeMs\":");
    reply.number(spec.processing_time_ms);
    let found = total.saturating_sub(duplicates);
    write_paging(&mut reply, spec.paging, found);
    if semantic {
        let count = page.iter().filter(|hit| hit.weighted.is_semantic()).count();
        reply.text(b",\"semanticHitCount\":");
        reply.number(count as u64);
    }
    facets::write(counting, &counted, spec, total, &mut reply)?;
    write_query_vectors(counting, &counted, &mut reply);
    if let Some(uid) = spec.request_uid {
        reply.text(b",\"requestUid\":");
        reply.string(uid);
    }
    reply.text(b"}");
    Ok(reply.finish())
}

impl FederatedSpec<'_> {
    /// Whether no other query of the index can have found a duplicate too.
    fn is_alone(&self, query: usize) -> bool {
        let mut others = self.queries.iter().enumerate();
        let index = self.queries.get(query).map(|query| query.index);
        !others.any(|(place, other)| place != query && Some(other.index) == index)
    }
}

fn read<'a>(answers: &'a [Bytes], spec: &FederatedSpec) -> Result<Vec<Answer<'a>>, MergeError> {
    let ranked = |query: usize| spec.queries.get(query).map(|query| query.ranked);
    let numbered = answers.iter().enumerate();
    numbered
        .map(|(node, bytes)| Answer::read(bytes, node, &ranked))
        .collect()
}

/// How the two lists of a hybrid query are read.
pub fn spec_of_mixed<'a>(distinct: Option<&'a str>, primary_key: &'a str) -> Spec<'a> {
    Spec {
        federated: true,
        distinct,
        primary_key: Some(primary_key),
        ..Spec::of(Paging::Offset {
            offset: 0,
            limit: 0,
        })
    }
}

/// Merges lists, and drops what a distinct attribute lets through only once.
struct Lists<'a> {
    answers: &'a [Bytes],
    spec: &'a FederatedSpec<'a>,
    /// As far as one node would walk each list.
    reach: usize,
    /// Hits dropped that the nodes' totals count.
    duplicates: u64,
}

impl<'a> Lists<'a> {
    fn new(answers: &'a [Bytes], spec: &'a FederatedSpec<'a>, reach: usize) -> Self {
        Lists {
            answers,
            spec,
            reach,
            duplicates: 0,
        }
    }

    /// One list a query, over all nodes; `levelled` are those of the answers that are to one for each set of words.
    fn of_queries<'h>(
        &mut self,
        read: &mut [Answer<'h>],
        levelled: &[Marked],
    ) -> Result<Vec<Vec<Hit<'h>>>, MergeError> {
        let mut parts: Vec<Vec<Vec<(Hit, Tie)>>> = Vec::new();
        parts.resize_with(self.spec.queries.len(), || {
            read.iter().map(|_| Vec::new()).collect()
        });
        for (node, answer) in read.iter_mut().enumerate() {
            let marked = levelled.iter().find(|marked| marked.place.contains(&node));
            for mut hit in answer.hits.drain(..) {
                let put = |marked: &Marked| {
                    let answer = node - marked.place.start;
                    marked.marks.put_words(answer, &mut hit.key)
                };
                if !marked.is_none_or(put) {
                    break;
                }
                let index = self.spec.indexes.get(self.spec.queries[hit.query].index);
                let primary_key = index.and_then(|index| index.primary_key);
                let tie = Tie::of(&self.answers[hit.node], hit.span.clone(), primary_key);
                parts[hit.query][node].push((hit, tie));
            }
        }
        let mut lists = Vec::with_capacity(parts.len());
        for (query, parts) in self.spec.queries.iter().zip(parts) {
            let in_order = interleave(parts, |(a, a_tie), (b, b_tie)| {
                let order = a.key.compare(&b.key);
                order.then_with(|| a_tie.cmp(b_tie)).is_lt()
            });
            let mut list = Vec::new();
            let mut seen = query.distinct.or(self.spec.distinct).map(Seen::new);
            let position = lists.len();
            let alone = self.spec.is_alone(position);
            let marked = levelled.iter().find(|marked| marked.query == position);
            let mut documents = Documents::of(marked.map(|marked| &marked.marks));
            for (hit, _) in in_order {
                if list.len() == self.reach {
                    break;
                }
                if documents.repeats(&self.answers[hit.node], hit.node, &hit.span)? {
                    continue;
                }
                if self.repeats(&mut seen, &hit)? {
                    self.duplicates += u64::from(alone);
                } else {
                    list.push(hit);
                }
            }
            lists.push(list);
        }
        Ok(lists)
    }

    /// One list of all queries.
    fn of_all<'h>(&mut self, by_query: Vec<Vec<Hit<'h>>>) -> Result<Vec<Hit<'h>>, MergeError> {
        let mut left: Vec<usize> = self
            .spec
            .indexes
            .iter()
            .map(|index| index.hits_max)
            .collect();
        let mut seen = self.spec.distinct.map(Seen::new);
        let mut documents: HashSet<(usize, Vec<u8>)> = HashSet::new();
        let mut list = Vec::new();
        // Of equal hits that of the earlier query comes first, as the lists stand.
        for hit in interleave(by_query, |a, b| a.weighted.compare(&b.weighted).is_lt()) {
            let index = self.spec.queries[hit.query].index;
            if let Some(primary_key) = self.told_apart_by(index) {
                let id = stored_id(&self.answers[hit.node], hit.span.clone(), primary_key)
                    .ok_or_else(|| MergeError::bad(hit.node, "a hit has no document id"))?;
                if !documents.insert((index, id.into_owned())) {
                    continue;
                }
            }
            match left.get_mut(index) {
                Some(0) => continue,
                Some(left) => *left -= 1,
                None => {}
            }
            // Under `distinct` one node walks to the end, to count what it drops.
            if seen.is_none() && list.len() == self.reach {
                break;
            }
            if self.repeats(&mut seen, &hit)? {
                self.duplicates += 1;
            } else {
                list.push(hit);
            }
        }
        Ok(list)
    }

    fn told_apart_by(&self, index: usize) -> Option<&'a str> {
        let index = self.spec.indexes.get(index)?;
        index.primary_key.filter(|_| index.told_apart)
    }

    fn repeats(&self, seen: &mut Option<Seen>, hit: &Hit) -> Result<bool, MergeError> {
        let Some(seen) = seen else { return Ok(false) };
        let objects = std::iter::once(hit.span.clone()).chain(hit.extra.clone());
        seen.repeats_in(&self.answers[hit.node], objects)
            .map_err(|error| unreadable(hit.node, error))
    }
}

/// Merges lists that are in order into one; of hits that tie, that of the earlier list comes first.
fn interleave<T>(lists: Vec<Vec<T>>, before: impl Fn(&T, &T) -> bool) -> impl Iterator<Item = T> {
    let mut lists: Vec<_> = lists
        .into_iter()
        .map(|list| list.into_iter().peekable())
        .collect();
    std::iter::from_fn(move || {
        let mut first: Option<(usize, &T)> = None;
        for (place, list) in lists.iter_mut().enumerate() {
            if let Some(head) = list.peek() {
                if first.is_none_or(|(_, best)| before(head, best)) {
                    first = Some((place, head));
                }
            }
        }
        let (place, _) = first?;
        lists[place].next()
    })
}

/// What nodes say of a hit on behalf of the merge only.
const HIDDEN: [&str; 2] = [
    "_federation.weightedScoreValues",
    "_federation.extra_document",
];

fn write_hits(
    answers: &[Bytes],
    spec: &FederatedSpec,
    page: &[&Hit],
    reply: &mut Reply,
) -> Result<(), MergeError> {
    let mut ranges = Ranges::new();
    for (place, hit) in page.iter().enumerate() {
        if place > 0 {
            reply.text(b",");
        }
        let bytes = &answers[hit.node];
        let query = &spec.queries[hit.query];
        ranges.clear();
        cut_hit(bytes, query, hit, &mut ranges).map_err(|error| unreadable(hit.node, error))?;
        let index = spec.indexes.get(query.index);
        let renamed = index.filter(|index| index.uid != index.node_uid);
        for range in &ranges {
            match renamed.filter(|_| holds(range, &hit.index_uid)) {
                Some(index) => {
                    reply.span(bytes, range.start..hit.index_uid.start);
                    reply.string(index.uid);
                    reply.span(bytes, hit.index_uid.end..range.end);
                }
                None => reply.span(bytes, range.clone()),
            }
        }
    }
    Ok(())
}

fn cut_hit(
    bytes: &[u8],
    query: &FederatedQuery,
    hit: &Hit,
    ranges: &mut Ranges,
) -> Result<(), crate::scan::Malformed> {
    let mut members: Vec<&str> = vec![miroir_api::SHARD_FIELD];
    if !query.show_score {
        members.push("_rankingScore");
    }
    if !query.show_details {
        members.push("_rankingScoreDetails");
    }
    let paths: Vec<&str> = HIDDEN.iter().chain(query.strip_fields).copied().collect();
    let cuts = Cuts {
        members: &members,
        paths: &paths,
        formatted_paths: query.strip_formatted,
        hit: true,
    };
    cut_object(&mut Scanner::within(bytes, hit.span.clone()), &cuts, ranges)
}

fn holds(range: &Range<usize>, inner: &Range<usize>) -> bool {
    range.start <= inner.start && inner.end <= range.end
}

/// The vectors of queries, each as the first node that has it says it.
fn write_query_vectors(answers: &[Bytes], read: &[Answer], reply: &mut Reply) {
    let mut vectors: BTreeMap<Cow<[u8]>, (usize, Range<usize>)> = BTreeMap::new();
    for (node, answer) in read.iter().enumerate() {
        for (position, vector) in answer.query_vectors.iter().flatten() {
            let position = Cow::Borrowed(&answers[node][position.clone()]);
            vectors.entry(position).or_insert((node, vector.clone()));
        }
    }
    if read.iter().all(|answer| answer.query_vectors.is_none()) {
        return;
    }
    reply.text(b",\"queryVectors\":{");
    for (place, (position, (node, vector))) in vectors.into_iter().enumerate() {
        reply.text(if place > 0 { b",\"" } else { b"\"" });
        reply.text(&position);
        reply.text(b"\":");
        reply.span(&answers[node], vector);
    }
    reply.text(b"}");
}

#[cfg(test)]
mod tests;
