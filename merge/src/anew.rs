//! Scores as one node would tell them, put into the nodes' answers before these are merged.
//!
//! A score is the ranks that a hit has by each rule, one within the other, each out of as many as the rule can give (milli
//! `score_details.rs`, `Rank::merge`). Two of those maxima are a node's own, and told in the details:
//!
//! - how many typos a hit can have. Words of a query that are also written as one count as typos where documents have them so: one
//!   node with all documents knows the most that any of these nodes does, among hits that no rule before `typo` tells apart (those
//!   that sort right before it aside).
//! - under `matchingStrategy: frequency`, how many words can match: those of them that a node would never let be missing go by the
//!   frequencies among its own documents, and a node that is asked for all words of a set tells no rule `words` at all. What is missing
//!   and what may be is known here, so that the rule is put in, and hits whose score is below a threshold then are left out.
//!
//! What stands within these ranks is a ratio of small integers that the score still holds. An answer that cannot be read stays as it
//! is: that is for the merge to tell.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;

use ahash::AHasher;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::scan::{Malformed, Scanner};

/// What else is known of the answers.
pub(crate) struct Telling<'t> {
    /// The words that are missing in each answer, where nodes were told which.
    pub levels: &'t dyn Fn(usize) -> Option<Level>,
    /// The weights of a federated search's queries, by position.
    pub weight: &'t dyn Fn(usize) -> f64,
}

/// What one node would tell of words in an answer to a search for a set of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    /// So many words are missing,
    pub missing: u64,
    /// of so many that may match.
    pub max: u64,
    /// The most typos that the others can have, where it is known and no rule `words` is told.
    pub most_typos: Option<u64>,
    /// So many steps of a hit's ranking stand before `words`.
    pub steps_before: u64,
    /// Hits with lower scores are none.
    pub threshold: Option<f64>,
}

/// The same answers with one node's scores, weighted ones included.
pub(crate) fn told_anew<'a>(answers: &'a [Bytes], telling: &Telling) -> Cow<'a, [Bytes]> {
    if answers.len() < 2 && (telling.levels)(0).is_none() {
        return Cow::Borrowed(answers);
    }
    let numbered = answers.iter().enumerate();
    let hits: Vec<Vec<Hit>> = numbered
        .map(|(node, bytes)| read(bytes, (telling.levels)(node)).unwrap_or_default())
        .collect();
    let mut most_typos = MostTypos::default();
    for hit in hits.iter().flatten() {
        if let Some(typo) = &hit.typo {
            let most = most_typos.entry(&hit.before_typo).or_default();
            *most = typo.most.unwrap_or(typo.max.value).max(*most);
        }
    }
    let mut told = Cow::Borrowed(answers);
    for (node, hits) in hits.iter().enumerate() {
        let mut edits = Edits::default();
        let mut first = true;
        for (place, hit) in hits.iter().enumerate() {
            let start = edits.0.len();
            if hit.tell(&most_typos, telling, &mut edits) {
                first = false;
            } else {
                edits.0.truncate(start);
                edits.leave_out(place, hits, first);
            }
        }
        if !edits.0.is_empty() {
            told.to_mut()[node] = edits.apply(&answers[node]);
        }
    }
    told
}

/// By what the rules before `typo` say.
type MostTypos<'h> = HashMap<&'h [u8], u64, BuildHasherDefault<AHasher>>;

/// A number and where it stands.
#[derive(Clone, Debug)]
struct Number<T> {
    value: T,
    span: Range<usize>,
}

/// What one hit's scores rest on.
#[derive(Debug, Default)]
struct Hit {
    place: Range<usize>,
    /// Its query in a federated search.
    query: usize,
    /// `_rankingScore`.
    score: Option<Number<f64>>,
    /// The same times the query's weight: `weightedRankingScore`.
    weighted: Option<Number<f64>>,
    values: Values,
    words: Option<Words>,
    typo: Option<Typo>,
    /// Only `words` and `typo` stand so far outside, in this order, that the score can be told anew.
    outermost: SmallVec<[Outer; 2]>,
    /// The query, and what the rules before `typo` say.
    before_typo: Vec<u8>,
    threshold: Option<f64>,
}

/// `weightedScoreValues`.
#[derive(Debug, Default)]
struct Values {
    /// The first that is a score.
    score: Option<Number<f64>>,
    /// Where each begins.
    starts: SmallVec<[usize; 4]>,
    /// Where they end; `None`: there are none.
    end: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outer {
    Words,
    Typo,
}

/// The rule `words`, as it is told and as it is to be.
#[derive(Debug)]
struct Words {
    told: WordsTold,
    rank: Rank,
}

#[derive(Debug)]
enum WordsTold {
    As {
        matching: Number<u64>,
        max: Number<u64>,
        score: Range<usize>,
    },
    /// Not at all.
    Not {
        order: u64,
        /// Where it is to stand,
        at: usize,
        /// behind another rule, before another.
        between: (bool, bool),
        /// The orders of the rules behind it.
        shifted: Vec<Number<u64>>,
        /// The score is that of `words` alone.
        ends_score: bool,
    },
}

#[derive(Debug)]
struct Typo {
    count: u64,
    max: Number<u64>,
    /// One node's maximum, where it is known.
    most: Option<u64>,
    score: Range<usize>,
}

/// A rank out of how many.
type Rank = (u64, u64);

impl WordsTold {
    fn rank(&self) -> Rank {
        match self {
            WordsTold::As { matching, max, .. } => (matching.value, max.value),
            // A rule with one rank is none.
            WordsTold::Not { .. } => (1, 1),
        }
    }

    fn missing(&self) -> u64 {
        let (matching, max) = self.rank();
        max.saturating_sub(matching)
    }
}

impl Words {
    fn tell(&self, edits: &mut Edits) {
        let (matching, of) = self.rank;
        let part = as_json(matching as f64 / of as f64);
        match &self.told {
            WordsTold::As { .. } if self.told.rank() == self.rank => {}
            WordsTold::As {
                matching: told,
                max,
                score,
            } => {
                edits.put(&told.span, matching.to_string());
                edits.put(&max.span, of.to_string());
                edits.put(score, part);
            }
            WordsTold::Not {
                order,
                at,
                between: (behind, before),
                shifted,
                ..
            } => {
                for order in shifted {
                    edits.put(&order.span, (order.value + 1).to_string());
                }
                let comma = |there: &bool| if *there { "," } else { "" };
                let text = format!(
                    r#"{}"words":{{"order":{order},"matchingWords":{matching},"maxMatchingWords":{of},"score":{part}}}{}"#,
                    comma(behind),
                    comma(&(*before && !*behind)),
                );
                edits.put(&(*at..*at), text);
            }
        }
    }

    /// The score, where nothing else counts in it, and the place of the rule.
    fn whole_score(&self) -> Option<(f64, u64)> {
        match self.told {
            WordsTold::Not {
                ends_score: true,
                order,
                ..
            } => Some((self.rank.0 as f64 / self.rank.1 as f64, order)),
            _ => None,
        }
    }
}

impl Typo {
    fn rank_of(&self, most: u64) -> Rank {
        let max = most.saturating_add(1);
        (max.saturating_sub(self.count), max)
    }
}

impl Hit {
    /// False: its score is too low.
    fn tell(&self, most_typos: &MostTypos, telling: &Telling, edits: &mut Edits) -> bool {
        let typo = self.typo.as_ref().map(|typo| {
            let most = most_typos.get(self.before_typo.as_slice());
            (typo, most.copied().unwrap_or(typo.max.value))
        });
        if let Some(words) = &self.words {
            words.tell(edits);
        }
        if let Some((typo, most)) = typo.filter(|(typo, most)| typo.max.value != *most) {
            let rank = typo.rank_of(most);
            edits.put(&typo.max.span, most.to_string());
            edits.put(&typo.score, as_json(rank.0 as f64 / rank.1 as f64));
        }
        let ranks: SmallVec<[(Rank, Rank); 2]> = self
            .outermost
            .iter()
            .filter_map(|rule| match rule {
                Outer::Words => {
                    let words = self.words.as_ref()?;
                    Some((words.told.rank(), words.rank))
                }
                Outer::Typo => {
                    typo.map(|(typo, most)| (typo.rank_of(typo.max.value), typo.rank_of(most)))
                }
            })
            .collect();
        let whole = self.words.as_ref().and_then(Words::whole_score);
        let is_as_told = whole.is_none() && ranks.iter().all(|(told, anew)| told == anew);
        let anew = |told: f64| match whole {
            _ if is_as_told => Some(told),
            Some((whole, _)) => Some(whole),
            None => with_ranks(told, &ranks),
        };
        let score = self.score.as_ref();
        let score = score.map(|score| (score, anew(score.value).unwrap_or(score.value)));
        if !is_as_told {
            if let Some((told, score)) = score {
                edits.put(&told.span, as_json(score));
            }
            let weight = (telling.weight)(self.query);
            // Scores of rules behind a sort stand for themselves.
            let value = self.values.score.as_ref().filter(|_| whole.is_none());
            for told in self.weighted.iter().chain(value) {
                let score = anew(told.value / weight).map(|score| score * weight);
                if let Some(score) = score.filter(|score| score.is_finite()) {
                    edits.put(&told.span, as_json(score));
                }
            }
            if let Some((whole, order)) = whole {
                self.values.insert(order, whole * weight, edits);
            }
        }
        let least = self.threshold.unwrap_or(0.0);
        score.is_none_or(|(_, score)| score >= least)
    }
}

impl Values {
    /// Puts in a score behind the values of so many rules.
    fn insert(&self, place: u64, score: f64, edits: &mut Edits) {
        let Some(end) = self.end else { return };
        let score = format!(r#"{{"weightedScore":{}}}"#, as_json(score));
        let next = self.starts.get(place as usize);
        let (at, text) = match next {
            Some(next) => (*next, score + ","),
            None if self.starts.is_empty() => (end, score),
            None => (end, format!(",{score}")),
        };
        edits.put(&(at..at), text);
    }
}

/// A score whose outermost ranks are others, each as it is told and as it is to be; `None`: it does not hold these.
fn with_ranks(score: f64, ranks: &[(Rank, Rank)]) -> Option<f64> {
    // An error of the score grows with what it is multiplied by.
    const ERROR: f64 = 4e-16;
    let (mut rest, mut near) = (score, ERROR);
    for ((rank, max), _) in ranks {
        rest = rest * *max as f64 - (*rank as f64 - 1.0);
        near *= *max as f64;
    }
    // milli's numbers have 32 bits: with very many words they wrap.
    if !(-near..=1.0 + near).contains(&rest) {
        return None;
    }
    let (mut above, mut below) = ratio(rest, near);
    for (_, (rank, max)) in ranks.iter().rev() {
        above += (*rank as f64 - 1.0) * below;
        below *= *max as f64;
    }
    Some(above / below).filter(|score| score.is_finite() && *score >= 0.0)
}

/// The simplest ratio of two integers that is this number, as nearly as it is known (its continued fraction); the number itself where
/// there is none. With it a division comes out as one node's, to the last digit.
fn ratio(number: f64, near: f64) -> (f64, f64) {
    const BELOW_MAX: f64 = 5e6;
    let (mut above, mut below) = ((0.0, 1.0), (1.0, 0.0));
    let mut left = number;
    loop {
        let whole = left.floor();
        above = (above.1, whole * above.1 + above.0);
        below = (below.1, whole * below.1 + below.0);
        if (number - above.1 / below.1).abs() <= near {
            return (above.1, below.1);
        }
        if below.1 > BELOW_MAX || number.is_nan() {
            return (number, 1.0);
        }
        left = 1.0 / (left - whole);
    }
}

/// As Meilisearch writes a float: with a point also where it is whole.
fn as_json(number: f64) -> String {
    format!("{number:?}")
}

/// New texts for parts of an answer.
#[derive(Default)]
struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    fn put(&mut self, span: &Range<usize>, text: String) {
        self.0.push((span.clone(), text));
    }

    /// Takes a hit out of its list. `first`: no other is left before it.
    fn leave_out(&mut self, place: usize, hits: &[Hit], first: bool) {
        let end = |hit: &Hit| hit.place.end;
        let hit = &hits[place].place;
        let span = match place.checked_sub(1) {
            Some(before) if !first => end(&hits[before])..hit.end,
            _ => hit.start..hits.get(place + 1).map_or(hit.end, |next| next.place.start),
        };
        self.put(&span, String::new());
    }

    fn apply(mut self, bytes: &[u8]) -> Bytes {
        self.0.sort_unstable_by_key(|(span, _)| span.start);
        let mut told = Vec::with_capacity(bytes.len() + 8 * self.0.len());
        let mut from = 0;
        for (span, text) in self.0 {
            told.extend_from_slice(&bytes[from..span.start]);
            told.extend_from_slice(text.as_bytes());
            from = span.end;
        }
        told.extend_from_slice(&bytes[from..]);
        told.into()
    }
}

/// The hits of a node's answer to a search, or to a federated one.
fn read(bytes: &[u8], level: Option<Level>) -> Result<Vec<Hit>, Malformed> {
    let mut hits = Vec::new();
    Scanner::new(bytes).object(|scanner, name, _| {
        if name.raw == b"hits" && hits.is_empty() && scanner.peek() == Some(b'[') {
            scanner.array(|scanner| {
                hits.push(Hit::read(scanner, level)?);
                Ok::<(), Malformed>(())
            })
        } else {
            scanner.value().map(drop)
        }
    })?;
    Ok(hits)
}

impl Hit {
    fn read(scanner: &mut Scanner, level: Option<Level>) -> Result<Self, Malformed> {
        let mut hit = Hit::default();
        if scanner.peek() != Some(b'{') {
            hit.place = scanner.value()?;
            return Ok(hit);
        }
        let start = scanner.pos();
        let mut details = None;
        scanner.object(|scanner, name, _| {
            let is_object = scanner.peek() == Some(b'{');
            match name.raw {
                b"_rankingScore" => hit.score = float(scanner)?,
                b"_rankingScoreDetails" if is_object => {
                    details = Some((scanner.pos() + 1, read_rules(scanner)?));
                }
                b"_federation" if is_object => hit.read_federation(scanner)?,
                _ => {
                    scanner.value()?;
                }
            }
            Ok::<(), Malformed>(())
        })?;
        hit.place = start..scanner.pos();
        if let Some((at, mut rules)) = details {
            rules.sort_by_key(|rule| rule.order.value);
            match level {
                None => hit.follow(rules, None),
                Some(level) => hit.follow_words(rules, at, level),
            }
        }
        Ok(hit)
    }

    /// Takes what the rules say in an answer to a search for a set of words. `start`: of their object, behind its brace.
    fn follow_words(&mut self, mut rules: Vec<Rule>, start: usize, level: Level) {
        let rank = (level.max.saturating_sub(level.missing), level.max);
        let told = rules.iter_mut().find_map(|rule| match &mut rule.says {
            Says::Words(words) => Some(words),
            _ => None,
        });
        self.threshold = level.threshold;
        if let Some(words) = told {
            if words.told.missing() == level.missing {
                words.rank = rank;
                let level = Level {
                    most_typos: None,
                    ..level
                };
                self.follow(rules, Some(level));
            } else {
                // Another search's hit.
                self.threshold = None;
            }
            return;
        }
        let place = rules.partition_point(|rule| rule.order.value < level.steps_before);
        let (before, behind) = rules.split_at(place);
        let words = Words {
            told: WordsTold::Not {
                order: level.steps_before,
                at: before.iter().map(|rule| rule.end).max().unwrap_or(start),
                between: (!before.is_empty(), !behind.is_empty()),
                shifted: behind.iter().map(|rule| rule.order.clone()).collect(),
                ends_score: behind.first().is_none_or(|rule| rule.says.is_value()),
            },
            rank,
        };
        let order = Number {
            value: level.steps_before,
            span: 0..0,
        };
        let rule = Rule {
            order,
            end: 0,
            says: Says::Words(words),
            text: &[],
        };
        rules.insert(place, rule);
        self.follow(rules, Some(level));
    }

    /// Takes what the rules say, in their order.
    fn follow(&mut self, rules: Vec<Rule>, level: Option<Level>) {
        self.before_typo = self.query.to_le_bytes().to_vec();
        let (mut begun, mut ended, mut hidden) = (false, false, false);
        let most_typos = level.and_then(|level| level.most_typos);
        // A rule that sorts leaves the graph as it is: what it tells apart counts where another that looks for words is behind it.
        let (mut sorted, mut is_sort_hidden) = (Vec::new(), false);
        for rule in rules {
            if matches!(rule.says, Says::Words(_) | Says::Ratio) {
                self.before_typo.append(&mut sorted);
                hidden |= is_sort_hidden;
            }
            match rule.says {
                Says::Words(words) => {
                    self.before_typo.push(b'w');
                    let missing = level.map_or(words.told.missing(), |level| level.missing);
                    self.before_typo.extend_from_slice(&missing.to_le_bytes());
                    self.words = Some(words);
                    if !ended {
                        self.outermost.push(Outer::Words);
                    }
                    begun = true;
                }
                // Which hits a hidden rule tells apart is not told.
                Says::Typo(_) if hidden && most_typos.is_none() => ended = true,
                Says::Typo(typo) => {
                    self.typo = Some(Typo {
                        most: most_typos.filter(|most| *most >= typo.count),
                        ..typo
                    });
                    if !ended {
                        self.outermost.push(Outer::Typo);
                    }
                    begun = true;
                }
                Says::Value | Says::Hidden => {
                    is_sort_hidden |= matches!(rule.says, Says::Hidden);
                    sorted.extend_from_slice(rule.text);
                    ended |= begun;
                }
                Says::Ratio => {
                    self.before_typo.extend_from_slice(rule.text);
                    ended = true;
                }
            }
            if self.typo.is_some() {
                break;
            }
        }
    }

    fn read_federation(&mut self, scanner: &mut Scanner) -> Result<(), Malformed> {
        scanner.object(|scanner, name, _| {
            match name.raw {
                b"queriesPosition" => {
                    let query = scanner.unsigned()?.unwrap_or(0);
                    self.query = usize::try_from(query).unwrap_or(0);
                }
                b"weightedRankingScore" => self.weighted = float(scanner)?,
                b"weightedScoreValues" if scanner.peek() == Some(b'[') => {
                    let Values { score, starts, .. } = &mut self.values;
                    scanner.array(|scanner| {
                        starts.push(scanner.pos());
                        if scanner.peek() != Some(b'{') {
                            return scanner.value().map(drop);
                        }
                        scanner.object(|scanner, name, _| {
                            match name.raw {
                                b"weightedScore" if score.is_none() => *score = float(scanner)?,
                                _ => {
                                    scanner.value()?;
                                }
                            }
                            Ok::<(), Malformed>(())
                        })
                    })?;
                    self.values.end = Some(scanner.pos() - 1);
                }
                _ => {
                    scanner.value()?;
                }
            }
            Ok::<(), Malformed>(())
        })
    }
}

/// What a ranking rule says of a hit.
struct Rule<'a> {
    order: Number<u64>,
    /// Where it ends.
    end: usize,
    says: Says,
    /// All of it, where hits are told apart by it.
    text: &'a [u8],
}

enum Says {
    Words(Words),
    Typo(Typo),
    /// A rank whose maximum is not told.
    Ratio,
    /// A value that is no part of a score.
    Value,
    /// The same, not shown.
    Hidden,
}

impl Says {
    fn is_value(&self) -> bool {
        matches!(self, Says::Value | Says::Hidden)
    }
}

fn read_rules<'a>(scanner: &mut Scanner<'a>) -> Result<Vec<Rule<'a>>, Malformed> {
    let mut rules = Vec::new();
    scanner.object(|scanner, name, _| {
        if scanner.peek() != Some(b'{') {
            return scanner.value().map(drop);
        }
        let start = scanner.pos();
        let numbers = Numbers::read(scanner)?;
        let text = scanner.slice(start..scanner.pos());
        // Of what has none, nothing is known.
        let order = numbers.order.clone().unwrap_or(Number {
            value: 0,
            span: start..start,
        });
        let says = match name.raw {
            b"words" => numbers.words().map(Says::Words),
            b"typo" => numbers.typo().map(Says::Typo),
            b"vectorSort" => Some(Says::Value),
            hidden if hidden.starts_with(b"<hidden-rule-") => Some(Says::Hidden),
            sort if sort.ends_with(b":asc") || sort.ends_with(b":desc") => Some(Says::Value),
            _ => Some(Says::Ratio),
        };
        let is_told = matches!(says, Some(Says::Ratio | Says::Value));
        rules.push(Rule {
            order,
            end: scanner.pos(),
            says: says.unwrap_or(Says::Ratio),
            text: if is_told { text } else { &[] },
        });
        Ok::<(), Malformed>(())
    })?;
    Ok(rules)
}

/// The numbers of a rule's object that matter here.
#[derive(Default)]
struct Numbers {
    order: Option<Number<u64>>,
    matching_words: Option<Number<u64>>,
    max_matching_words: Option<Number<u64>>,
    typo_count: Option<Number<u64>>,
    max_typo_count: Option<Number<u64>>,
    score: Option<Number<f64>>,
}

impl Numbers {
    fn read(scanner: &mut Scanner) -> Result<Self, Malformed> {
        let mut numbers = Numbers::default();
        scanner.object(|scanner, name, _| {
            match name.raw {
                b"order" => numbers.order = whole(scanner)?,
                b"matchingWords" => numbers.matching_words = whole(scanner)?,
                b"maxMatchingWords" => numbers.max_matching_words = whole(scanner)?,
                b"typoCount" => numbers.typo_count = whole(scanner)?,
                b"maxTypoCount" => numbers.max_typo_count = whole(scanner)?,
                b"score" => numbers.score = float(scanner)?,
                _ => {
                    scanner.value()?;
                }
            }
            Ok::<(), Malformed>(())
        })?;
        Ok(numbers)
    }

    fn words(self) -> Option<Words> {
        let told = WordsTold::As {
            matching: self.matching_words?,
            max: self.max_matching_words?,
            score: self.score?.span,
        };
        Some(Words {
            rank: told.rank(),
            told,
        })
    }

    fn typo(self) -> Option<Typo> {
        Some(Typo {
            count: self.typo_count?.value,
            max: self.max_typo_count?,
            most: None,
            score: self.score?.span,
        })
    }
}

fn whole(scanner: &mut Scanner) -> Result<Option<Number<u64>>, Malformed> {
    placed(scanner, Scanner::unsigned)
}

fn float(scanner: &mut Scanner) -> Result<Option<Number<f64>>, Malformed> {
    placed(scanner, Scanner::number)
}

fn placed<'a, T>(
    scanner: &mut Scanner<'a>,
    read: fn(&mut Scanner<'a>) -> Result<Option<T>, Malformed>,
) -> Result<Option<Number<T>>, Malformed> {
    scanner.peek();
    let start = scanner.pos();
    let value = read(scanner)?;
    let span = start..scanner.pos();
    Ok(value.map(|value| Number { value, span }))
}

#[cfg(test)]
mod tests;
