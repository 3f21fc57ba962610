//! In how many documents a query's words are found, which nodes are asked before it is decided which may be missing.
//!
//! All nodes are asked first for each word alone. A document in which neighbouring words stand as one (`dela` for `de la`) counts for each of them:
//! where such documents are found at all, they are counted in a round of its own. Where many sets of words may be missing, they are asked for each
//! pair of words, too: no search that keeps two words which no document has together finds anything, and of long queries few others are left.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use miroir_api::SHARD_FIELD;
use miroir_router::RoutingTable;
use serde::Deserialize;
use serde_json::value::to_raw_value;

use super::{Frequency, Joined, Undecided};
use crate::core::App;
use crate::scatter::{Gathered, Leg, Wanted};
use crate::search::counting::bare;
use crate::search::request::{ask_for_any, PlannedSearch, SearchBody};

/// With more sets of words pairs of them are worth a round.
const FEW_SETS: usize = 4;

/// What the documents of all nodes tell of a query's words.
pub(super) struct Known {
    /// In how many documents each of those is that may be missing.
    pub frequencies: Vec<u64>,
    /// What stands as one in some document, by places among the terms.
    pub joined: Vec<Range<usize>>,
    /// Of those that may be missing, pairs that no document has together.
    pub apart: Vec<Pair>,
}

/// Two words, by their places among those that may be missing.
type Pair = (usize, usize);

/// How many documents does any of these searches find?
type Question = Vec<SearchBody>;

/// Asks for frequencies and decides by them what nodes are asked. Where that fails the search itself will tell why.
pub async fn decide(app: &App, table: &RoutingTable, mut searches: Vec<Undecided<'_>>) {
    let questions = searches
        .iter()
        .map(|search| search.frequency.questions(search.planned, app))
        .collect();
    let counts = count(app, table, &searches, questions).await;
    let questions = searches
        .iter()
        .zip(&counts)
        .map(|(search, counts)| search.frequency.joint_questions(counts, search.planned))
        .collect();
    let joint = count(app, table, &searches, questions).await;
    let counts = searches.iter().zip(counts.iter().zip(&joint));
    let mut known: Vec<Option<Known>> = counts
        .map(|(search, (counts, joint))| search.frequency.known(counts, joint))
        .collect();
    let pairs_of = |(search, known): (&Undecided, &Option<Known>)| {
        let pairs = known.as_ref().map(|known| search.frequency.pairs(known));
        pairs.unwrap_or_default()
    };
    let pairs: Vec<Vec<Pair>> = searches.iter().zip(&known).map(pairs_of).collect();
    let questions = searches
        .iter()
        .zip(&pairs)
        .map(|(search, pairs)| search.frequency.pair_questions(pairs, search.planned))
        .collect();
    let together = count(app, table, &searches, questions).await;
    let counted = pairs.into_iter().zip(together);
    for ((search, known), (pairs, together)) in searches.iter_mut().zip(&mut known).zip(counted) {
        if let Some(known) = known {
            let pairs = pairs.into_iter().zip(together);
            let apart = pairs.filter(|(_, count)| *count == Some(0));
            known.apart = apart.map(|(pair, _)| pair).collect();
            search.frequency.settle(known, search.planned);
        }
    }
}

/// The answers to each search's questions. `None`: not all nodes answered.
async fn count(
    app: &App,
    table: &RoutingTable,
    searches: &[Undecided<'_>],
    questions: Vec<Vec<Question>>,
) -> Vec<Vec<Option<u64>>> {
    let legs: Vec<Leg> = searches
        .iter()
        .zip(&questions)
        .flat_map(|(search, questions)| {
            let (index, seed) = (search.index, search.planned.seed());
            questions.iter().map(move |question| Leg {
                wanted: Wanted {
                    index,
                    only: None,
                    seed,
                },
                ask: ask_for_any(question.into(), app, index),
            })
        })
        .collect();
    let gathered = match legs.is_empty() {
        true => Vec::new(),
        false => app.run_legs(table, &legs).await.unwrap_or_default(),
    };
    drop(legs);
    let mut gathered = gathered.into_iter();
    let of_search = |(search, questions): (&Undecided, &Vec<Question>)| {
        let values_max = search.index.settings.node_values_per_facet;
        let answers = questions.iter().map(|_| gathered.next());
        answers.map(|answer| found(&answer?, values_max)).collect()
    };
    searches.iter().zip(&questions).map(of_search).collect()
}

impl Frequency {
    /// For each word alone, and for what may be several as one.
    fn questions(&self, planned: &PlannedSearch, app: &App) -> Vec<Question> {
        // Nodes that cut totals tell them by a facet.
        let facets = crate::search::caps_totals(app.newest().lowest_version())
            .then(|| to_raw_value(&[SHARD_FIELD]).ok())
            .flatten();
        let words = self.words.iter().map(|(_, word)| word);
        let joined = self.joined.iter().filter_map(|words| words.alone.as_ref());
        let question = |text: &String| {
            vec![SearchBody {
                facets: facets.clone(),
                ..question(text, planned)
            }]
        };
        words.chain(joined).map(question).collect()
    }

    /// What stands as one in some document, by the answers to [`Frequency::questions`].
    fn known_joined(&self, counts: &[Option<u64>]) -> Vec<&Joined> {
        let mut counts = counts.iter().skip(self.words.len());
        let is_known = |words: &&Joined| {
            words.alone.is_none() || counts.next().is_none_or(|count| *count != Some(0))
        };
        self.joined.iter().filter(is_known).collect()
    }

    /// For each word that is part of such: what finds it alone or with its neighbours. The latter also finds documents that have both apart,
    /// which have this word too, and nothing else.
    fn joint_questions(&self, counts: &[Option<u64>], planned: &PlannedSearch) -> Vec<Question> {
        let joined = self.known_joined(counts);
        let of_word = |(term, alone): &(usize, String)| {
            let with = joined.iter().filter(|words| words.terms.contains(term));
            let mut texts: Vec<&str> = with.map(|words| words.text.as_str()).collect();
            texts.insert(0, alone);
            let several = texts.len() > 1;
            several.then(|| texts.iter().map(|text| question(text, planned)).collect())
        };
        self.words.iter().filter_map(of_word).collect()
    }

    /// What the answers tell; `None`: not all nodes answered.
    fn known(&self, counts: &[Option<u64>], joint: &[Option<u64>]) -> Option<Known> {
        let joined = self.known_joined(counts);
        let mut joint = joint.iter();
        let of_word = |((term, _), alone): (&(usize, String), &Option<u64>)| {
            let is_part = joined.iter().any(|words| words.terms.contains(term));
            if is_part {
                *joint.next()?
            } else {
                *alone
            }
        };
        let frequencies = self.words.iter().zip(counts).map(of_word);
        Some(Known {
            frequencies: frequencies.collect::<Option<_>>()?,
            joined: joined.iter().map(|words| words.terms.clone()).collect(),
            apart: Vec::new(),
        })
    }

    /// Pairs of words, where it is worth knowing whether any document has both: where none has, no search with both finds anything. What stands
    /// as one in some document is found there, whether its words are or not.
    fn pairs(&self, known: &Known) -> Vec<Pair> {
        if self.sets(known, FEW_SETS).is_some() {
            return Vec::new();
        }
        let stands_alone = |word: &usize| {
            let term = self.words[*word].0;
            known.frequencies[*word] > 0 && !known.joined.iter().any(|terms| terms.contains(&term))
        };
        let words = || (0..self.words.len()).filter(stands_alone);
        let with_later = |one| {
            words()
                .filter(move |other| *other > one)
                .map(move |other| (one, other))
        };
        words().flat_map(with_later).collect()
    }

    /// For each of them: the query without all other words.
    fn pair_questions(&self, pairs: &[Pair], planned: &PlannedSearch) -> Vec<Question> {
        let question = |(one, other): &Pair| {
            let others = (0..self.words.len()).filter(|word| word != one && word != other);
            let others: Vec<usize> = others.collect();
            Some(vec![bare(&self.asked(&others, planned)?)])
        };
        let questions: Option<_> = pairs.iter().map(question).collect();
        questions.unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    estimated_total_hits: u64,
    #[serde(default)]
    facet_distribution: BTreeMap<String, BTreeMap<String, u64>>,
}

/// A search for the documents that have some words.
fn question(text: &str, planned: &PlannedSearch) -> SearchBody {
    SearchBody {
        q: Some(text.to_owned()),
        matching_strategy: to_raw_value("all").ok(),
        filter: None,
        ..bare(&planned.node_body)
    }
}

/// The documents of all nodes; `None` where some shard is missing.
fn found(gathered: &Gathered, values_max: usize) -> Option<u64> {
    if !gathered.missing.is_empty() {
        return None;
    }
    let of_node = |body: &Bytes| -> Option<u64> {
        let counted: Counted = serde_json::from_slice(body).ok()?;
        let shards = counted.facet_distribution.get(SHARD_FIELD);
        let shards = shards.filter(|shards| shards.len() < values_max);
        Some(shards.map_or(counted.estimated_total_hits, |shards| shards.values().sum()))
    };
    gathered.answers.iter().map(|(_, body)| of_node(body)).sum()
}
