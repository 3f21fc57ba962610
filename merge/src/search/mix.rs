//! Mixing the two lists of a hybrid search, once for the whole cluster.
//!
//! A node makes two decisions while it answers a hybrid search (milli `search/hybrid.rs`): whether the hits found by words
//! are good enough to be the whole answer, and if not, which of the two next hits, the one found by words or the one
//! found by meaning, comes first. Nodes would decide differently, so each is asked for both lists, and here every list is
//! merged over the nodes before the two are mixed by milli's rule.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::ops::Range;

use ahash::AHasher;
use bytes::Bytes;

use super::answer::{Answer, Carried};
use super::distinct::{repeats, Seen};
use super::levels::{ByWords, Documents, Marks};
use super::queue::{Head, Queue};
use super::{anew, finish, scan, sum, HitWriter, Spec, Window};
use crate::cut::Added;
use crate::rank::RankKey;
use crate::reply::{Merged, Reply};
use crate::scan::{Malformed, Scanner};
use crate::split::stored_id;
use crate::MergeError;

/// Weighted scores from here on are good enough to do without the search by meaning (milli `hybrid.rs`).
const GOOD_ENOUGH: f64 = 0.45;

/// How two lists are mixed.
#[derive(Clone, Copy, Debug)]
pub struct Mix<'a> {
    /// The client's `hybrid.semanticRatio`, between 0 and 1.
    pub ratio: f32,
    /// Dotted path of the primary key, which hits carry: a document found in both ways is one hit.
    pub primary_key: &'a str,
    /// By meaning whatever passes the filter is found, as no threshold leaves it out: an empty list says that nobody could tell what the query
    /// means.
    pub finds_all: bool,
    /// Nodes turn the list round then.
    pub turns: bool,
    /// Hits of the mixed list are distinct too, as from Meilisearch 1.16 on; before, those of each list were.
    pub distinct_again: bool,
    /// By what nodes multiplied the scores that they tell on the side: the query's weight in a federated search.
    pub weight: f64,
}

/// Merges the nodes' answers to the two halves of a hybrid search, `words` and `semantic`. Both were asked for `showRankingScore` and
/// `showRankingScoreDetails`, for offset 0 and for as many hits as the page reaches to.
///
/// `semantic` may be answers of a node's own hybrid search with a ratio next to 1: those hits in it that were not found by their
/// meaning are passed over, they are in `words`.
///
/// # Errors
/// As [`merge_search`](super::merge_search); and a hit without an id or a score.
pub fn merge_hybrid(
    words: &ByWords,
    semantic: &[Bytes],
    mix: &Mix,
    spec: &Spec,
) -> Result<Merged, MergeError> {
    let window = Window::of(spec.paging).within(spec.max_total_hits);
    let reach = window
        .skip
        .saturating_add(window.take)
        .min(spec.max_total_hits);
    let (keyword, marks) = words.in_a_row();
    let marks = marks.as_ref();
    let keyword = &anew(&keyword, &[(keyword.len(), marks)], &|_| 1.0);
    let mixture = Mixture::of((keyword, marks), semantic, reach, mix, spec)?;
    let mut reply = Reply::with_capacity(4 * window.take.min(64) + 2, 1024);
    let mut writer = HitWriter::new(spec, &mut reply);
    let mut semantic_hits = 0;
    for hit in mixture.page(window) {
        semantic_hits += u64::from(hit.semantic);
        writer.write(hit.bytes, hit.node, hit.span.clone(), &hit.added)?;
    }
    // Every document that passes the filter is a candidate of a search by meaning, so its totals and facets are those of both.
    let counted = if mixture.counts_by_words {
        &keyword[marks.map_or(0, |marks| marks.counted)..]
    } else {
        semantic
    };
    // Under `distinct` the two lists can show two documents of one group.
    let found = sum(&mixture.counted)
        .saturating_sub(mixture.duplicates)
        .max(mixture.hits.len() as u64);
    finish(
        counted,
        &mixture.counted,
        spec,
        found,
        Some(semantic_hits),
        reply,
    )
}

/// Whether a hybrid search counts what is found by words: these are good enough to be its first `reach` hits, or nobody could tell what the query
/// means.
///
/// # Errors
/// As [`merge_hybrid`].
pub fn counts_by_words(
    words: &ByWords,
    semantic: &[Bytes],
    reach: usize,
    mix: &Mix,
    spec: &Spec,
) -> Result<bool, MergeError> {
    let (keyword, marks) = words.in_a_row();
    let marks = marks.as_ref();
    let keyword = &anew(&keyword, &[(keyword.len(), marks)], &|_| 1.0);
    let mixture = Mixture::of((keyword, marks), semantic, reach, mix, spec)?;
    Ok(mixture.counts_by_words)
}

/// The answers to a search by words, and what is known of each where they are to several.
type Row<'a> = (&'a [Bytes], Option<&'a Marks<'a>>);

/// The first hits of a hybrid search.
pub(crate) struct Mixture<'a> {
    pub hits: Vec<MixedHit<'a>>,
    /// The search by meaning was not looked at, or there was none.
    counts_by_words: bool,
    /// A page past the end goes on with the beginning.
    is_turned: bool,
    /// The answers that count for totals and facets.
    counted: Vec<Answer>,
    /// Hits of theirs that repeat another's distinct value.
    pub duplicates: u64,
}

/// A hit of a mixed list.
pub(crate) struct MixedHit<'a> {
    bytes: &'a Bytes,
    /// The answer's place in its list.
    pub node: usize,
    pub span: Range<usize>,
    added: Added,
    /// Found by its meaning.
    pub semantic: bool,
}

impl<'a> Mixture<'a> {
    pub fn of(
        keyword: Row<'a>,
        semantic: &'a [Bytes],
        reach: usize,
        mix: &Mix,
        spec: &Spec,
    ) -> Result<Self, MergeError> {
        let mut by_words = scan(keyword.0)?;
        let words = Found::by_words(keyword, &by_words, reach, mix, spec)?;
        let by_words = by_words.split_off(keyword.1.map_or(0, |marks| marks.counted));
        if words.suffice(reach, mix) {
            return Ok(Mixture {
                hits: words.hits.iter().map(Mixable::hit).collect(),
                counts_by_words: true,
                is_turned: false,
                counted: by_words,
                duplicates: words.duplicates,
            });
        }
        let by_meaning = scan(semantic)?;
        // One hit at least, which tells that there is a meaning.
        let meaning = Found::by_meaning(semantic, &by_meaning, reach.max(1), mix, spec)?;
        let weights = (f64::from(mix.ratio), mix.words_weight());
        let mixed = Mixed::new(&meaning.hits, &words.hits, weights, mix, spec);
        let hits: Result<_, _> = mixed.take(reach).map(|hit| hit.map(Mixable::hit)).collect();
        let hits = hits?;
        // Documents without a vector are found, too, and stand last.
        let is_meaningless = mix.finds_all && meaning.hits.is_empty();
        // Nodes that are asked by all words then find no more; with a meaning they find no fewer.
        let counts_by_words = is_meaningless && sum(&by_words) >= sum(&by_meaning);
        let (counted, duplicates) = match counts_by_words {
            true => (by_words, words.duplicates),
            false => (by_meaning, meaning.duplicates),
        };
        Ok(Mixture {
            hits,
            counts_by_words,
            is_turned: is_meaningless && mix.turns,
            counted,
            duplicates,
        })
    }
}

impl Mixture<'_> {
    /// The hits of a page. Where there is no meaning one node (before 1.47) turns the list round, so that a page past its end goes on with its
    /// beginning (milli `search/hybrid.rs`, `return_keyword_results`).
    fn page(&self, window: Window) -> impl Iterator<Item = &MixedHit<'_>> {
        let (before, from) = self.hits.split_at(window.skip.min(self.hits.len()));
        let turned = self.is_turned && !from.is_empty();
        let again = before.iter().filter(move |_| turned);
        from.iter().chain(again).take(window.take)
    }
}

impl Mix<'_> {
    fn words_weight(&self) -> f64 {
        f64::from(1.0 - self.ratio)
    }

    /// What one node mixes by is the score of the first run of rules that give one, before a rule that sorts. Nodes up to 1.22 tell
    /// that as `_rankingScore`; newer ones tell the score of all rules there, and this one on the side, where they are asked to.
    fn mixed_by(&self, score: f64, first_score: Option<f64>) -> f64 {
        let told = first_score.filter(|_| self.weight != 0.0);
        told.map_or(score, |first| first / self.weight)
    }
}

/// The first hits of one list, merged over the nodes.
struct Found<'a> {
    hits: Vec<Mixable<'a>>,
    /// Hits that were passed over because a better one has their distinct value.
    duplicates: u64,
}

/// A hit with all that the mixing must know.
struct Mixable<'a> {
    bytes: &'a Bytes,
    node: usize,
    span: Range<usize>,
    added: Added,
    /// Fields that the hit does not show.
    extra: Option<Range<usize>>,
    key: RankKey<'a>,
    /// Its `_rankingScore`.
    score: f64,
    /// Of the first run of its rules.
    mixed_by: f64,
    id: Cow<'a, [u8]>,
    semantic: bool,
}

impl<'a> Mixable<'a> {
    fn hit(&self) -> MixedHit<'a> {
        MixedHit {
            bytes: self.bytes,
            node: self.node,
            span: self.span.clone(),
            added: self.added.clone(),
            semantic: self.semantic,
        }
    }
}

impl<'a> Found<'a> {
    fn suffice(&self, reach: usize, mix: &Mix) -> bool {
        let good = |hit: &Mixable| hit.score * mix.words_weight() >= GOOD_ENOUGH;
        self.hits.len() >= reach && self.hits.iter().all(good)
    }

    fn by_words(
        row: Row<'a>,
        scanned: &[Answer],
        reach: usize,
        mix: &Mix,
        spec: &Spec,
    ) -> Result<Self, MergeError> {
        let found = Self::take(row, scanned, reach, false, mix, spec)?;
        Ok(Found {
            // Which of its own duplicates a node has counted is another matter in each search.
            duplicates: row.1.map_or(found.duplicates, |_| 0),
            ..found
        })
    }

    fn by_meaning(
        answers: &'a [Bytes],
        scanned: &[Answer],
        reach: usize,
        mix: &Mix,
        spec: &Spec,
    ) -> Result<Self, MergeError> {
        Self::take((answers, None), scanned, reach, true, mix, spec)
    }

    fn take(
        (answers, marks): Row<'a>,
        scanned: &[Answer],
        reach: usize,
        semantic: bool,
        mix: &Mix,
        spec: &Spec,
    ) -> Result<Self, MergeError> {
        let carried = Carried {
            details: true,
            ..spec.carried()
        };
        let mut queue = match semantic {
            true => Queue::of_meaning(answers, scanned, carried)?,
            false => Queue::marked(answers, scanned, carried, marks)?,
        };
        let mut documents = Documents::of(marks);
        let mut seen = spec.distinct.map(Seen::new);
        let mut found = Found {
            hits: Vec::with_capacity(reach.min(256)),
            duplicates: 0,
        };
        while found.hits.len() < reach {
            let Some(head) = queue.next()? else {
                break;
            };
            // Without a vector a document is found by meaning, too, and stands for its group, if no threshold leaves it out.
            if seen.is_some() && mix.finds_all {
                for other in queue.passed_over_before(&head) {
                    let (bytes, span) = (&answers[other.node], &other.hit.span);
                    let repeats = repeats(&mut seen, bytes, other.node, span, &other.extra)?;
                    found.duplicates += u64::from(repeats);
                }
            }
            let Head {
                key,
                node,
                hit,
                extra,
                first_score,
                ..
            } = head;
            let bytes = &answers[node];
            let span = hit.span;
            if documents.repeats(bytes, node, &span)? {
                continue;
            }
            if repeats(&mut seen, bytes, node, &span, &extra)? {
                found.duplicates += 1;
                continue;
            }
            let score = score(bytes, &span)
                .ok_or_else(|| MergeError::bad(node, "a hit has no `_rankingScore`"))?;
            found.hits.push(Mixable {
                score,
                mixed_by: mix.mixed_by(score, first_score),
                id: stored_id(bytes, span.clone(), mix.primary_key)
                    .ok_or_else(|| MergeError::bad(node, "a hit has no document id"))?,
                bytes,
                node,
                span,
                added: hit.added,
                extra,
                key,
                semantic,
            });
        }
        Ok(found)
    }
}

/// The hit's `_rankingScore`.
pub(super) fn score(bytes: &[u8], hit: &Range<usize>) -> Option<f64> {
    let mut score = None;
    Scanner::within(bytes, hit.clone())
        .object(|scanner, name, _| {
            if name.raw == b"_rankingScore" {
                score = scanner.number()?;
            } else {
                scanner.value()?;
            }
            Ok::<(), Malformed>(())
        })
        .ok()?;
    score
}

/// The mixed list: of the two next hits the better one, a document only once.
struct Mixed<'f, 'a> {
    meaning: std::iter::Peekable<std::slice::Iter<'f, Mixable<'a>>>,
    words: std::iter::Peekable<std::slice::Iter<'f, Mixable<'a>>>,
    /// Of the scores of either list.
    weights: (f64, f64),
    ids: HashSet<&'f [u8], BuildHasherDefault<AHasher>>,
    seen: Option<Seen<'f>>,
}

impl<'f, 'a> Mixed<'f, 'a> {
    fn new(
        meaning: &'f [Mixable<'a>],
        words: &'f [Mixable<'a>],
        weights: (f64, f64),
        mix: &Mix,
        spec: &'f Spec,
    ) -> Self {
        Mixed {
            meaning: meaning.iter().peekable(),
            words: words.iter().peekable(),
            weights,
            ids: HashSet::default(),
            seen: spec.distinct.filter(|_| mix.distinct_again).map(Seen::new),
        }
    }

    /// The one that was found by its meaning where nothing else decides.
    fn better(&mut self) -> Option<&'f Mixable<'a>> {
        let (Some(meaning), Some(words)) = (self.meaning.peek(), self.words.peek()) else {
            return self.meaning.next().or_else(|| self.words.next());
        };
        let order = RankKey::compare_mixed(
            (&meaning.key, meaning.mixed_by, self.weights.0),
            (&words.key, words.mixed_by, self.weights.1),
        );
        match order {
            Ordering::Less => self.words.next(),
            Ordering::Equal | Ordering::Greater => self.meaning.next(),
        }
    }
}

impl<'f, 'a> Iterator for Mixed<'f, 'a> {
    type Item = Result<&'f Mixable<'a>, MergeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let hit = self.better()?;
            if !self.ids.insert(&hit.id) {
                continue;
            }
            match repeats(&mut self.seen, hit.bytes, hit.node, &hit.span, &hit.extra) {
                Ok(true) => {}
                Ok(false) => return Some(Ok(hit)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
