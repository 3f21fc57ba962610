//! Merging the answers to one search.
//!
//! Each answer is looked at once for its spans: its totals and facets, then its hits one by one, as far as the page needs them
//! (a node sends a whole page, of which it contributes a part). A hit's details are read into a key when it reaches the
//! front of its node's list, and the hits of the page are looked into once more, to cut out what the client did not ask for. A
//! heap over the nodes' front hits (one entry a node) yields the global order. Each node's own order is kept: it is right by
//! construction, and it knows more than the details tell (geo buckets, words of an exact match).

mod answer;
pub(crate) mod distinct;
pub(crate) mod facets;
mod levels;
pub(crate) mod mix;
mod queue;
mod similar;
mod totals;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::anew::{told_anew, Telling};
use crate::cut::{add, cut_object, Added, Cuts, Ranges};
use crate::rank::RankKey;
use crate::reply::{Merged, Reply};
use crate::scan::Scanner;
use crate::MergeError;
pub(crate) use answer::unreadable;
use answer::{Answer, Carried, Hits};
use distinct::{Met, Seen};
pub use distinct::{Taken, Unsettled};
pub use levels::{merge_levels, missing_beside, missing_words, ByWords, Levels};
pub(crate) use levels::{Documents, Marks};
pub use mix::{counts_by_words, merge_hybrid, Mix};
use queue::{Head, Queue};
pub use similar::{count_found, merge_similar, Similar};
use totals::Walked;
pub use totals::{Counts, DistinctCounts};

/// Which part of the merged list the client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// The nodes were asked for offset 0 and limit `offset + limit`.
    Offset { offset: usize, limit: usize },
    /// The nodes were asked for page 1 and `page * hits_per_page` hits. Pages count from 1; page 0 has no hits.
    Pages { page: usize, hits_per_page: usize },
}

/// The order of a facet's values (`faceting.sortFacetValuesBy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FacetOrder {
    Alpha,
    Count,
}

/// How a search's answers are to be merged and what the client asked for.
pub struct Spec<'a> {
    pub paging: Paging,
    /// The index's `pagination.maxTotalHits`: no page reaches a hit past it, whatever the nodes sent together.
    pub max_total_hits: usize,
    /// Totals are cut at `max_total_hits` too, as Meilisearch did up to 1.46 (MEILISEARCH B.0).
    pub cap_totals: bool,
    /// The client asked for `showRankingScore`; otherwise the score is cut out where a node sent it.
    pub show_score: bool,
    /// The client asked for `showRankingScoreDetails`. Nodes were always asked for it unless `ranked` is false.
    pub show_details: bool,
    /// Whether details order the hits. False: every hit ties (a placeholder search without sort), so that nodes need not send
    /// details.
    pub ranked: bool,
    /// Dotted path of the primary key, where it is known and hits carry it: hits of different nodes that tie come in its order
    /// ([`tie`](crate::tie)), and in that of the nodes where it is not there.
    pub primary_key: Option<&'a str>,
    /// The nodes were asked in the federated form, which tells hidden values (MEILISEARCH C.3): those of ranking rules, and
    /// of the distinct attribute. None of it reaches the client.
    pub federated: bool,
    /// The search goes by meaning alone: the answer says how many of its hits do.
    pub semantic: bool,
    /// Dotted path of the distinct attribute, which hits carry (or their `_federation` does). Duplicates between nodes are dropped and subtracted from the
    /// total, as far as they were met: without `counts` the total stays an upper bound (MEILISEARCH B.6).
    pub distinct: Option<&'a str>,
    /// Answers by which totals become those of one node, where they are there.
    pub counts: Option<Counts<'a>>,
    /// Answers to the same search without what was settled, time after time ([`Merged::unsettled`]).
    pub again: &'a [ByWords<'a>],
    /// Dotted paths that were asked for only on behalf of the merge. The reserved field is always cut out.
    pub strip_fields: &'a [&'a str],
    /// Those of them that `_formatted` would not hold otherwise: neither highlighted nor cropped for the client.
    pub strip_formatted: &'a [&'a str],
    pub facet_order: &'a dyn Fn(&str) -> FacetOrder,
    /// Values kept a facet.
    pub max_values_per_facet: usize,
    /// Echoed.
    pub query: &'a str,
    pub processing_time_ms: u64,
    /// Present in the answer when given: newer Meilisearch versions send one; the caller knows.
    pub request_uid: Option<&'a str>,
}

impl<'a> Spec<'a> {
    /// A ranked search with Meilisearch's defaults, of which the client wants nothing but the hits of this page.
    pub fn of(paging: Paging) -> Spec<'a> {
        Spec {
            paging,
            max_total_hits: 1000,
            cap_totals: false,
            show_score: false,
            show_details: false,
            ranked: true,
            primary_key: None,
            federated: false,
            semantic: false,
            distinct: None,
            counts: None,
            again: &[],
            strip_fields: &[],
            strip_formatted: &[],
            facet_order: &|_| FacetOrder::Alpha,
            max_values_per_facet: 100,
            query: "",
            processing_time_ms: 0,
            request_uid: None,
        }
    }
}

impl Spec<'_> {
    fn carried(&self) -> Carried<'_> {
        Carried {
            details: self.ranked,
            federation: self.federated,
            hides: false,
            primary_key: self.primary_key,
        }
    }

    /// The paging as the answer shows it: where totals are cut, so is the offset.
    fn shown_paging(&self) -> Paging {
        match self.paging {
            Paging::Offset { offset, limit } if self.cap_totals => Paging::Offset {
                offset: offset.min(self.max_total_hits),
                limit,
            },
            paging => paging,
        }
    }
}

/// Merges the bodies of the nodes' answers to `POST /indexes/{uid}/search`, or to a federated search of the one query, into
/// one body with Meilisearch's fields in its order.
///
/// `answers` are in the order of the plan: hits that tie come by their primary key, without one from the lower position first, and
/// always in the node's own order.
/// No answers at all are a search without hits.
///
/// # Errors
/// An answer that is not a search answer, lacks ranking details where they are needed, or hides them.
pub fn merge_search(answers: &[Bytes], spec: &Spec) -> Result<Merged, MergeError> {
    merge_lists(answers, None, spec)
}

fn merge_lists(
    answers: &[Bytes],
    marks: Option<&Marks>,
    spec: &Spec,
) -> Result<Merged, MergeError> {
    let again: Vec<_> = spec.again.iter().map(ByWords::in_a_row).collect();
    let told = match again.as_slice() {
        [] => Cow::Borrowed(answers),
        again => {
            let later = again.iter().flat_map(|(answers, _)| answers);
            answers.iter().chain(later).cloned().collect()
        }
    };
    let retold;
    let threshold = marks.is_some_and(Marks::has_threshold);
    let told = if spec.show_score || spec.show_details || threshold {
        let rounds = again
            .iter()
            .map(|(answers, marks)| (answers.len(), marks.as_ref()));
        let rounds = std::iter::once((answers.len(), marks)).chain(rounds);
        retold = anew(
            &told,
            rounds.collect::<SmallVec<[_; 1]>>().as_slice(),
            &|_| 1.0,
        );
        &retold
    } else {
        &told
    };
    let (answers, mut rest) = told.split_at(answers.len());
    let mut rounds = SmallVec::<[Round; 1]>::new();
    rounds.push(Round::of(answers, marks)?);
    for (answers, marks) in &again {
        let (answers, later) = rest.split_at(answers.len());
        rounds.push(Round::of(answers, marks.as_ref())?);
        rest = later;
    }
    merge_rounds(&rounds, spec)
}

/// Merges the first answers with those of further rounds, which only add hits.
fn merge_rounds(rounds: &[Round], spec: &Spec) -> Result<Merged, MergeError> {
    let Round {
        answers,
        scanned,
        marks,
    } = &rounds[0];
    let threshold = marks.is_some_and(Marks::has_threshold);
    let window = Window::of(spec.paging).within(spec.max_total_hits);
    let mut reply = Reply::for_part_of(answers);
    let mut writer = HitWriter::new(spec, &mut reply);
    let walked = merge_hits(rounds, spec, window, &mut writer)?;
    let semantic_hits = spec.semantic.then_some(writer.written as u64);
    let mut taken = None;
    let (counted, duplicates) = match marks {
        // Which of its own duplicates a node has counted is another matter in each search.
        Some(marks) => (marks.counted, 0),
        None => (0, walked.duplicates),
    };
    let (answers, scanned) = (&answers[counted..], &scanned[counted..]);
    let rest = sum(scanned).saturating_sub(duplicates);
    let mut found = rest.max(walked.passed as u64);
    if threshold && !walked.full && !totals::is_past(found, spec) {
        found = walked.passed as u64;
    }
    match spec.counts {
        Some(Counts::Threshold { universe }) => {
            let all = scan(universe)?;
            let everything = sum(&all);
            if walked.full || totals::is_past(everything, spec) {
                return finish(universe, &all, spec, everything, semantic_hits, reply);
            }
        }
        Some(Counts::Groups { counted }) => {
            let all = scan(counted)?;
            return finish(counted, &all, spec, sum(&all), semantic_hits, reply);
        }
        Some(Counts::Listed { answers }) => {
            let all = [Round::of(answers, None)?];
            let mut unshown = Reply::for_part_of(answers);
            let mut writer = HitWriter::new(spec, &mut unshown);
            let met = merge_hits(&all, spec, window, &mut writer)?.duplicates;
            let (scanned, least) = (&all[0].scanned, walked.passed as u64);
            let found = sum(scanned).saturating_sub(met).max(least);
            return finish(answers, scanned, spec, found, semantic_hits, reply);
        }
        Some(Counts::Distinct(counts)) => {
            let told = totals::distinct(counts, &walked, spec)?;
            let has_facets = scanned.iter().any(|answer| answer.facets.is_some());
            if marks.is_none() && (has_facets || told.is_none()) {
                // Past everything one node drops nothing.
                let drops = walked.full || told == Some(walked.passed as u64);
                let reached = if drops { &walked } else { &Walked::default() };
                // A lone node counts as one does, but where it was asked for hits before the page.
                if scanned.len() > 1 || told.is_some() && !drops {
                    taken = reached.taken(scanned.len(), spec.paging);
                }
            }
            found = told.unwrap_or(found);
        }
        _ => {}
    }
    let mut merged = finish(answers, scanned, spec, found, semantic_hits, reply)?;
    merged.taken = taken;
    merged.unsettled = walked.unsettled.map(Box::new);
    Ok(merged)
}

/// Answers to one question.
struct Round<'a> {
    answers: &'a [Bytes],
    scanned: Vec<Answer>,
    marks: Option<&'a Marks<'a>>,
}

impl<'a> Round<'a> {
    fn of(answers: &'a [Bytes], marks: Option<&'a Marks<'a>>) -> Result<Self, MergeError> {
        Ok(Round {
            answers,
            scanned: scan(answers)?,
            marks,
        })
    }
}

/// Answers with one node's scores, which are those of queries of such weights. `rounds`: so many of them have such marks.
pub(crate) fn anew<'a>(
    answers: &'a [Bytes],
    rounds: &[(usize, Option<&Marks>)],
    weight: &dyn Fn(usize) -> f64,
) -> Cow<'a, [Bytes]> {
    let levels = &|mut answer: usize| {
        for (count, marks) in rounds {
            if answer < *count {
                return marks.and_then(|marks| marks.level(answer));
            }
            answer -= count;
        }
        None
    };
    told_anew(answers, &Telling { levels, weight })
}

/// The sum of the answers' totals.
fn sum(scanned: &[Answer]) -> u64 {
    let totals = scanned.iter().map(|answer| answer.total);
    totals.fold(0, u64::saturating_add)
}

/// Looks at each answer for its spans.
fn scan(answers: &[Bytes]) -> Result<Vec<Answer>, MergeError> {
    let scanned = answers.iter().enumerate();
    scanned
        .map(|(node, bytes)| Answer::scan(bytes, node))
        .collect()
}

/// Writes what stands behind the hits: the total `found`, and the facets of `answers`.
fn finish(
    answers: &[Bytes],
    scanned: &[Answer],
    spec: &Spec,
    found: u64,
    semantic_hits: Option<u64>,
    mut reply: Reply,
) -> Result<Merged, MergeError> {
    reply.text(b"],\"query\":");
    reply.string(spec.query);
    if let Some((node, vector)) = query_vector(scanned) {
        reply.text(b",\"queryVector\":");
        reply.span(&answers[node], vector);
    }
    reply.text(b",\"processingTimeMs\":");
    reply.number(spec.processing_time_ms);
    let shown = if spec.cap_totals {
        found.min(spec.max_total_hits as u64)
    } else {
        found
    };
    write_paging(&mut reply, spec.shown_paging(), shown);
    facets::merge_facets(answers, scanned, spec, sum(scanned), &mut reply)?;
    if let Some(uid) = spec.request_uid {
        reply.text(b",\"requestUid\":");
        reply.string(uid);
    }
    if let Some(count) = semantic_hits {
        reply.text(b",\"semanticHitCount\":");
        reply.number(count);
    }
    reply.text(b"}");
    Ok(reply.finish())
}

/// The vector that the query became, where nodes tell it: the same on all of them.
fn query_vector(scanned: &[Answer]) -> Option<(usize, Range<usize>)> {
    let mut told = scanned.iter().enumerate();
    told.find_map(|(node, answer)| Some((node, answer.query_vector.clone()?)))
}

/// The wanted part of the merged list, whatever kind of paging described it.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub skip: usize,
    pub take: usize,
}

impl Window {
    pub fn of(paging: Paging) -> Self {
        match paging {
            Paging::Offset { offset, limit } => Window {
                skip: offset,
                take: limit,
            },
            Paging::Pages { page: 0, .. } => Window { skip: 0, take: 0 },
            Paging::Pages {
                page,
                hits_per_page,
            } => Window {
                skip: (page - 1).saturating_mul(hits_per_page),
                take: hits_per_page,
            },
        }
    }

    /// The same window, without what lies past the `max`th hit.
    fn within(self, max: usize) -> Self {
        Window {
            skip: self.skip,
            take: self.take.min(max.saturating_sub(self.skip)),
        }
    }
}

/// Writes the window's hits.
fn merge_hits<'s>(
    rounds: &[Round],
    spec: &'s Spec,
    window: Window,
    writer: &mut HitWriter,
) -> Result<Walked<'s>, MergeError> {
    if window.take == 0 {
        return Ok(Walked {
            full: true,
            ..Walked::default()
        });
    }
    if let [Round {
        answers: [bytes],
        scanned,
        marks: None,
    }] = rounds
    {
        if !spec.ranked && !spec.federated && spec.distinct.is_none() {
            return write_list(bytes, &scanned[0], spec, window, writer);
        }
    }
    let mut walked = Walked {
        met: spec.distinct.map(Seen::new),
        ..Walked::default()
    };
    for (position, round) in rounds.iter().enumerate() {
        let is_last = position + 1 == rounds.len();
        walked.unsettled = None;
        walk(round, is_last, &mut walked, spec, window, writer)?;
    }
    Ok(walked)
}

/// Walks on through the answers of a round: in the last one to the end, before as far as they settle the list.
fn walk(
    round: &Round,
    is_last: bool,
    walked: &mut Walked,
    spec: &Spec,
    window: Window,
    writer: &mut HitWriter,
) -> Result<(), MergeError> {
    let mut queue = Queue::marked(round.answers, &round.scanned, spec.carried(), round.marks)?;
    let mut documents = Documents::of(round.marks);
    let counting = matches!(spec.counts, Some(Counts::Distinct(_)));
    let mut last = RankKey::default();
    let drops = walked.met.is_some() && round.answers.len() > 1;
    let nodes = if drops { round.answers.len() } else { 0 };
    let mut ends = Ends::of(nodes, window.skip + window.take - walked.settled());
    // Those of earlier rounds without a value come again.
    let mut again = walked.valueless;
    while writer.written < window.take {
        if ends.is_beyond_one {
            walked.unsettle();
        }
        if !is_last && walked.unsettled.is_some() {
            return Ok(());
        }
        let Some(Head {
            key,
            node,
            hit,
            extra,
            ..
        }) = queue.next()?
        else {
            break;
        };
        if counting {
            last = key;
        }
        ends.take(node);
        let bytes = &round.answers[node];
        if documents.repeats(bytes, node, &hit.span)? {
            continue;
        }
        let met = distinct::meet(&mut walked.met, bytes, node, &hit.span, &extra)?;
        if met.repeats() {
            walked.duplicates += 1;
            if met == Met::InPart && drops {
                walked.unsettle();
            }
            continue;
        }
        if met == Met::Nothing {
            if again > 0 {
                again -= 1;
                continue;
            }
            walked.valueless += 1;
        }
        walked.passed += 1;
        walked.take(node);
        if walked.passed > window.skip {
            writer.write(bytes, node, hit.span, &hit.added)?;
        }
    }
    walked.full = writer.written == window.take;
    // Without rules one node stops at the last hit, with any behind its bucket; found by its similarity, each hit is a bucket of its own.
    if walked.full && counting && last.is_ranked() && !last.has_similarity() {
        while let Some(head) = queue.next_tie(&last)? {
            let bytes = &round.answers[head.node];
            distinct::repeats(
                &mut walked.met,
                bytes,
                head.node,
                &head.hit.span,
                &head.extra,
            )?;
        }
    }
    Ok(())
}

/// Where nodes' lists end because no more was asked for. A page that is not full there has lost more hits to the distinct rule than it got
/// from others, which takes a hit whose values stand for several.
struct Ends {
    taken: SmallVec<[usize; 16]>,
    asked: usize,
    is_beyond_one: bool,
}

impl Ends {
    fn of(nodes: usize, asked: usize) -> Self {
        Ends {
            taken: SmallVec::from_elem(0, nodes),
            asked,
            is_beyond_one: false,
        }
    }

    fn take(&mut self, node: usize) {
        if let Some(taken) = self.taken.get_mut(node) {
            *taken += 1;
            self.is_beyond_one |= *taken == self.asked;
        }
    }
}

/// A lone node's list is the list: nothing is compared, and of its text only what is cut out is missing.
fn write_list<'s>(
    bytes: &Bytes,
    answer: &Answer,
    spec: &'s Spec,
    window: Window,
    writer: &mut HitWriter,
) -> Result<Walked<'s>, MergeError> {
    let (mut hits, mut passed, mut end) = (Hits::of(answer), 0, 0);
    writer.ranges.clear();
    // Whether the hit is in the window: then with the comma before it.
    let mut takes = |writer: &mut HitWriter, hit: &Range<usize>| {
        passed += 1;
        if passed > window.skip && writer.written > 0 {
            add(&mut writer.ranges, end..hit.start);
        }
        end = hit.end;
        passed > window.skip
    };
    while writer.written < window.take {
        let bare = spec.strip_fields.is_empty();
        if let Some((hit, cut)) = bare.then(|| hits.next_bare(bytes)).flatten() {
            if takes(writer, &hit) {
                add(&mut writer.ranges, hit.start..cut.start);
                add(&mut writer.ranges, cut.end..hit.end);
                writer.written += 1;
            }
        } else if let Some((hit, _)) = hits.next(bytes, 0, spec.carried())? {
            if takes(writer, &hit.span) {
                writer.list(bytes, 0, hit.span, &hit.added)?;
            }
        } else {
            break;
        }
    }
    writer.put(bytes);
    Ok(Walked {
        full: writer.written == window.take,
        passed,
        ..Walked::default()
    })
}

/// Writes hits one behind the other, without what the client did not ask for.
struct HitWriter<'s, 'r> {
    spec: &'s Spec<'s>,
    /// Members of a hit that are cut out.
    members: SmallVec<[&'static str; 4]>,
    ranges: Ranges,
    written: usize,
    reply: &'r mut Reply,
}

impl<'s, 'r> HitWriter<'s, 'r> {
    fn new(spec: &'s Spec<'s>, reply: &'r mut Reply) -> Self {
        reply.text(b"{\"hits\":[");
        let mut members = SmallVec::from_slice(&[miroir_api::SHARD_FIELD]);
        if !spec.show_score {
            members.push("_rankingScore");
        }
        if !spec.show_details {
            members.push("_rankingScoreDetails");
        }
        if spec.federated {
            members.push("_federation");
        }
        HitWriter {
            spec,
            members,
            ranges: Ranges::new(),
            written: 0,
            reply,
        }
    }

    /// `added`: what is known of the members that its node added.
    fn write(
        &mut self,
        bytes: &Bytes,
        node: usize,
        hit: Range<usize>,
        added: &Added,
    ) -> Result<(), MergeError> {
        if self.written > 0 {
            self.reply.text(b",");
        }
        self.ranges.clear();
        self.list(bytes, node, hit, added)?;
        self.put(bytes);
        Ok(())
    }

    /// Lists what remains of a hit.
    fn list(
        &mut self,
        bytes: &Bytes,
        node: usize,
        hit: Range<usize>,
        added: &Added,
    ) -> Result<(), MergeError> {
        let cuts = Cuts {
            members: &self.members,
            paths: self.spec.strip_fields,
            formatted_paths: self.spec.strip_formatted,
            hit: true,
        };
        if !added.cut(hit.clone(), &cuts, &mut self.ranges) {
            cut_object(&mut Scanner::within(bytes, hit), &cuts, &mut self.ranges)
                .map_err(|error| answer::unreadable(node, error))?;
        }
        self.written += 1;
        Ok(())
    }

    /// Writes what was listed.
    fn put(&mut self, bytes: &Bytes) {
        for range in &self.ranges {
            self.reply.span(bytes, range.clone());
        }
    }
}

pub(crate) fn write_paging(reply: &mut Reply, paging: Paging, total: u64) {
    let fields: [(&[u8], u64); 4] = match paging {
        Paging::Offset { offset, limit } => [
            (b"limit", limit as u64),
            (b"offset", offset as u64),
            (b"estimatedTotalHits", total),
            (b"", 0),
        ],
        Paging::Pages {
            page,
            hits_per_page,
        } => {
            // As Meilisearch: no pages where a page has no hits.
            let pages = if hits_per_page == 0 {
                0
            } else {
                total.div_ceil(hits_per_page as u64)
            };
            let hits_per_page = hits_per_page as u64;
            [
                (b"hitsPerPage", hits_per_page),
                (b"page", page as u64),
                (b"totalPages", pages),
                (b"totalHits", total),
            ]
        }
    };
    for (name, value) in fields.iter().filter(|(name, _)| !name.is_empty()) {
        reply.text(b",\"");
        reply.text(name);
        reply.text(b"\":");
        reply.number(*value);
    }
}

#[cfg(test)]
mod tests;
