//! Scores as one node would tell them, put into the nodes' answers before these are merged.
//!
//! A score is the ranks that a hit has by each rule, one within the other, each out of as many as the rule can give (milli
//! `score_details.rs`, `Rank::merge`). Two of those maxima are a node's own, and told in the details:
//!
//! - how many typos a hit can have. Words of a query that are also written as one count as typos where documents have them so: one
//!   node with all documents knows the most that any of these nodes does, among hits that no rule before `typo` tells apart.
//! - under `matchingStrategy: frequency`, how many words can match: those of them that a node would never let be missing go by the
//!   frequencies among its own documents. What is missing is told, and what may be is known here.
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
    /// So many words may be missing, where nodes were told which.
    pub most_missing: Option<u64>,
    /// The weights of a federated search's queries, by position.
    pub weight: &'t dyn Fn(usize) -> f64,
}

impl Telling<'_> {
    /// Of a search of its own in which nodes decide which words may be missing.
    pub const PLAIN: Telling<'static> = Telling {
        most_missing: None,
        weight: &|_| 1.0,
    };
}

/// The same answers with one node's scores, weighted ones included.
pub(crate) fn told_anew<'a>(answers: &'a [Bytes], telling: &Telling) -> Cow<'a, [Bytes]> {
    if answers.len() < 2 && telling.most_missing.is_none() {
        return Cow::Borrowed(answers);
    }
    let hits: Vec<Vec<Hit>> = answers
        .iter()
        .map(|bytes| read(bytes).unwrap_or_default())
        .collect();
    let mut most_typos = MostTypos::default();
    for hit in hits.iter().flatten() {
        if let Some(typo) = &hit.typo {
            let most = most_typos.entry(&hit.before_typo).or_default();
            *most = typo.max.value.max(*most);
        }
    }
    let mut told = Cow::Borrowed(answers);
    for (node, hits) in hits.iter().enumerate() {
        let mut edits = Edits::default();
        for hit in hits {
            hit.tell(&most_typos, telling, &mut edits);
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
    /// Its query in a federated search.
    query: usize,
    /// `_rankingScore`.
    score: Option<Number<f64>>,
    /// The same times the query's weight: `weightedRankingScore`, and the first of `weightedScoreValues` that is a score.
    weighted: SmallVec<[Number<f64>; 2]>,
    words: Option<Words>,
    typo: Option<Typo>,
    /// Only `words` and `typo` stand so far outside, in this order, that the score can be told anew.
    outermost: SmallVec<[Outer; 2]>,
    /// The query, and what the rules before `typo` say.
    before_typo: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outer {
    Words,
    Typo,
}

#[derive(Debug)]
struct Words {
    matching: Number<u64>,
    max: Number<u64>,
    score: Range<usize>,
}

#[derive(Debug)]
struct Typo {
    count: u64,
    max: Number<u64>,
    score: Range<usize>,
}

/// A rank out of how many.
pub type Rank = (u64, u64);

impl Words {
    fn rank(&self) -> Rank {
        (self.matching.value, self.max.value)
    }

    fn missing(&self) -> u64 {
        self.max.value.saturating_sub(self.matching.value)
    }

    /// The rank where one more than `most` words can match.
    fn rank_of(&self, most_missing: u64) -> Rank {
        let max = most_missing.saturating_add(1);
        (max.saturating_sub(self.missing()), max)
    }
}

impl Typo {
    fn rank_of(&self, most: u64) -> Rank {
        let max = most.saturating_add(1);
        (max.saturating_sub(self.count), max)
    }
}

impl Hit {
    fn tell(&self, most_typos: &MostTypos, telling: &Telling, edits: &mut Edits) {
        let words = self.words.as_ref().map(|words| {
            let most = telling.most_missing;
            (words, most.map_or(words.rank(), |most| words.rank_of(most)))
        });
        let typo = self.typo.as_ref().map(|typo| {
            let most = most_typos.get(self.before_typo.as_slice());
            (typo, most.copied().unwrap_or(typo.max.value))
        });
        if let Some((words, rank)) = words.filter(|(words, rank)| words.rank() != *rank) {
            edits.put(&words.matching.span, rank.0.to_string());
            edits.put(&words.max.span, rank.1.to_string());
            edits.put(&words.score, as_json(rank.0 as f64 / rank.1 as f64));
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
                Outer::Words => words.map(|(words, rank)| (words.rank(), rank)),
                Outer::Typo => {
                    typo.map(|(typo, most)| (typo.rank_of(typo.max.value), typo.rank_of(most)))
                }
            })
            .collect();
        if ranks.iter().all(|(told, anew)| told == anew) {
            return;
        }
        if let Some(score) = &self.score {
            edits.put_score(score, 1.0, &ranks);
        }
        for weighted in &self.weighted {
            edits.put_score(weighted, (telling.weight)(self.query), &ranks);
        }
    }
}

/// A score whose outermost ranks are others, each as it is told and as it is to be; `None`: it does not hold these.
pub fn with_ranks(score: f64, ranks: &[(Rank, Rank)]) -> Option<f64> {
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

    /// The same score, which was multiplied by `weight`, with other ranks.
    fn put_score(&mut self, told: &Number<f64>, weight: f64, ranks: &[(Rank, Rank)]) {
        let score = with_ranks(told.value / weight, ranks).map(|score| score * weight);
        if let Some(score) = score.filter(|score| score.is_finite()) {
            self.put(&told.span, as_json(score));
        }
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
fn read(bytes: &[u8]) -> Result<Vec<Hit>, Malformed> {
    let mut hits = Vec::new();
    Scanner::new(bytes).object(|scanner, name, _| {
        if name.raw == b"hits" && hits.is_empty() && scanner.peek() == Some(b'[') {
            scanner.array(|scanner| {
                hits.push(Hit::read(scanner)?);
                Ok::<(), Malformed>(())
            })
        } else {
            scanner.value().map(drop)
        }
    })?;
    Ok(hits)
}

impl Hit {
    fn read(scanner: &mut Scanner) -> Result<Self, Malformed> {
        let mut hit = Hit::default();
        if scanner.peek() != Some(b'{') {
            scanner.value()?;
            return Ok(hit);
        }
        let mut rules = Vec::new();
        scanner.object(|scanner, name, _| {
            let is_object = scanner.peek() == Some(b'{');
            match name.raw {
                b"_rankingScore" => hit.score = float(scanner)?,
                b"_rankingScoreDetails" if is_object => rules = read_rules(scanner)?,
                b"_federation" if is_object => hit.read_federation(scanner)?,
                _ => {
                    scanner.value()?;
                }
            }
            Ok::<(), Malformed>(())
        })?;
        hit.follow(rules);
        Ok(hit)
    }

    /// Takes what the rules say, in their order.
    fn follow(&mut self, mut rules: Vec<Rule>) {
        rules.sort_by_key(|rule| rule.order);
        self.before_typo = self.query.to_le_bytes().to_vec();
        let (mut begun, mut ended) = (false, false);
        for rule in rules {
            match rule.says {
                Says::Hidden if self.typo.is_none() => {
                    // Which hits such a rule tells apart is not told.
                    return;
                }
                Says::Words(words) => {
                    self.before_typo.push(b'w');
                    let missing = words.missing().to_le_bytes();
                    self.before_typo.extend_from_slice(&missing);
                    self.words = Some(words);
                    if !ended {
                        self.outermost.push(Outer::Words);
                    }
                    begun = true;
                }
                Says::Typo(typo) => {
                    self.typo = Some(typo);
                    if !ended {
                        self.outermost.push(Outer::Typo);
                    }
                    begun = true;
                }
                Says::Value | Says::Hidden => ended |= begun,
                Says::Ratio => ended = true,
            }
            if self.typo.is_none() && !rule.text.is_empty() {
                self.before_typo.extend_from_slice(rule.text);
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
                b"weightedRankingScore" => self.weighted.extend(float(scanner)?),
                b"weightedScoreValues" if scanner.peek() == Some(b'[') => {
                    let mut first = None;
                    scanner.array(|scanner| {
                        if scanner.peek() != Some(b'{') {
                            return scanner.value().map(drop);
                        }
                        scanner.object(|scanner, name, _| {
                            match name.raw {
                                b"weightedScore" if first.is_none() => first = float(scanner)?,
                                _ => {
                                    scanner.value()?;
                                }
                            }
                            Ok::<(), Malformed>(())
                        })
                    })?;
                    self.weighted.extend(first);
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
    order: u64,
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

fn read_rules<'a>(scanner: &mut Scanner<'a>) -> Result<Vec<Rule<'a>>, Malformed> {
    let mut rules = Vec::new();
    scanner.object(|scanner, name, _| {
        if scanner.peek() != Some(b'{') {
            return scanner.value().map(drop);
        }
        let start = scanner.pos();
        let numbers = Numbers::read(scanner)?;
        let text = scanner.slice(start..scanner.pos());
        let order = numbers.order;
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
    order: u64,
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
                b"order" => numbers.order = scanner.unsigned()?.unwrap_or(0),
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
        Some(Words {
            matching: self.matching_words?,
            max: self.max_matching_words?,
            score: self.score?.span,
        })
    }

    fn typo(self) -> Option<Typo> {
        Some(Typo {
            count: self.typo_count?.value,
            max: self.max_typo_count?,
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
mod tests {
    use super::*;

    fn rank(rank: u64, max: u64) -> Rank {
        (rank, max)
    }

    #[test]
    fn a_score_is_another_with_other_ranks() {
        // What stands within is 12,345 of 67,200.
        let of = |ranks: &[Rank]| {
            let (above, below) = ranks
                .iter()
                .rev()
                .fold((12_345, 67_200), |(above, below), rank| {
                    ((rank.0 - 1) * below + above, rank.1 * below)
                });
            above as f64 / below as f64
        };
        for (told, anew) in [
            (vec![(2, 3)], vec![(2, 2)]),
            (vec![(1, 4)], vec![(3, 5)]),
            (vec![(1, 1)], vec![(7, 9)]),
            (vec![(2, 2), (3, 3)], vec![(2, 2), (6, 6)]),
            (vec![(9, 10), (19, 21)], vec![(4, 4), (20, 22)]),
            (vec![(1, 10), (1, 2)], vec![(1, 10), (3, 4)]),
        ] {
            let ranks: Vec<(Rank, Rank)> = told.iter().copied().zip(anew.iter().copied()).collect();
            assert_eq!(with_ranks(of(&told), &ranks), Some(of(&anew)), "{ranks:?}");
        }
        // Nothing stands within.
        let one = |told, anew| [(told, anew)];
        assert_eq!(
            with_ranks(2.0 / 3.0, &one(rank(2, 3), rank(1, 2))),
            Some(0.5)
        );
        for wrong in [f64::NAN, f64::INFINITY, 0.1, 7.0] {
            assert_eq!(
                with_ranks(wrong, &one(rank(2, 3), rank(1, 2))),
                None,
                "{wrong}"
            );
        }
        assert_eq!(with_ranks(0.5, &one(rank(1, 2), rank(1, 0))), None);
    }

    fn told(answers: &[&str], telling: &Telling) -> Vec<String> {
        let answers: Vec<Bytes> = answers
            .iter()
            .map(|answer| Bytes::copy_from_slice(answer.as_bytes()))
            .collect();
        let text = |answer: &Bytes| String::from_utf8(answer.to_vec()).unwrap();
        told_anew(&answers, telling).iter().map(text).collect()
    }

    /// An answer with one hit: two of two words, no typo of so many.
    fn answer(max_typos: u64, sorted: &str) -> String {
        let max = max_typos + 1;
        // What stands within is a half.
        let score = ((max as f64 - 1.0) + 0.5 + max as f64) / (2.0 * max as f64);
        format!(
            r#"{{"hits":[{{"id":1,"_rankingScore":{score:?},"_rankingScoreDetails":{{{sorted}"words":{{"order":1,"matchingWords":2,"maxMatchingWords":2,"score":1.0}},"typo":{{"order":2,"typoCount":0,"maxTypoCount":{max_typos},"score":1.0}},"proximity":{{"order":3,"score":0.5}}}}}}],"query":"a b"}}"#
        )
    }

    #[test]
    fn all_nodes_have_the_most_typos_of_any() {
        let (few, many) = (answer(1, ""), answer(3, ""));
        let both = told(&[&few, &many, "{"], &Telling::PLAIN);
        assert_eq!(both, [many.clone(), many.clone(), "{".to_owned()]);
        // Another bucket has another graph.
        let at = |value: u8| format!(r#""a:asc":{{"order":0,"value":{value}}},"#);
        let apart = [answer(1, &at(1)), answer(3, &at(2))];
        assert_eq!(told(&[&apart[0], &apart[1]], &Telling::PLAIN), apart);
        let hidden = r#""<hidden-rule-0>":{"order":0,"value":"<hidden>"},"#;
        let apart = [answer(1, hidden), answer(3, hidden)];
        assert_eq!(told(&[&apart[0], &apart[1]], &Telling::PLAIN), apart);
    }

    #[test]
    fn words_match_of_as_many_as_may_be_missing_and_one() {
        let telling = Telling {
            most_missing: Some(2),
            ..Telling::PLAIN
        };
        let answer = r#"{"hits":[{"id":1,"_rankingScore":0.75,"_rankingScoreDetails":{"words":{"order":0,"matchingWords":2,"maxMatchingWords":2,"score":1.0}}}]}"#;
        let anew = format!(
            r#"{{"hits":[{{"id":1,"_rankingScore":{:?},"_rankingScoreDetails":{{"words":{{"order":0,"matchingWords":3,"maxMatchingWords":3,"score":1.0}}}}}}]}}"#,
            2.5 / 3.0
        );
        assert_eq!(told(&[answer], &telling), [anew]);
    }

    #[test]
    fn weighted_scores_are_told_too() {
        let hit = |score: f64, words: &str| {
            format!(
                r#"{{"hits":[{{"_federation":{{"queriesPosition":1,"weightedRankingScore":{score:?},"weightedScoreValues":[{{"sort":{{"asc":true,"value":1}}}},{{"weightedScore":{score:?}}}]}},"_rankingScoreDetails":{{"a:asc":{{"order":0,"value":1}},"words":{{"order":1,{words},"score":1.0}}}}}}]}}"#
            )
        };
        let telling = Telling {
            most_missing: Some(1),
            weight: &|query| if query == 1 { 2.0 } else { 1.0 },
        };
        let answer = hit(2.0 * 0.75, r#""matchingWords":1,"maxMatchingWords":1"#);
        let anew = hit(2.0 * 0.875, r#""matchingWords":2,"maxMatchingWords":2"#);
        assert_eq!(told(&[&answer], &telling), [anew]);
    }
}
