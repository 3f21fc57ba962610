//! Words that may be missing, decided once for the whole cluster (`matchingStrategy: frequency`).
//!
//! A node lets a query's most frequent words be missing, by the frequencies among its own documents. Here they are known for
//! all documents, and nodes are asked for each set of words that may be missing by a search for all the others. Those
//! answers are merged into one list, in which a hit has the rank key that its search gave it and, at the place of the ranking
//! rule `words`, the number of words that were left out. A document that several searches find counts where it is best.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::ops::Range;

use ahash::AHasher;
use bytes::Bytes;

use super::{merge_lists, Spec};
use crate::anew::Level;
use crate::rank::RankKey;
use crate::reply::Merged;
use crate::split::stored_id;
use crate::MergeError;

/// How the searches of one client search are put together.
#[derive(Clone, Copy)]
pub struct Levels<'a> {
    /// So many words each of the searches left out.
    pub missing: &'a [u64],
    /// The most typos that one node counts for the other words, where that is known and no rule `words` is told.
    pub most_typos: &'a [u64],
    /// So many steps of a hit's ranking stand before `words`.
    pub steps_before: usize,
    /// Dotted path of the primary key, which hits carry.
    pub primary_key: &'a str,
    /// Hits with lower scores are none: the last answers count what there is without it.
    pub threshold: Option<f64>,
    /// Scores tell how many words match of so many; `None`: they do not tell it.
    pub words_max: Option<u64>,
}

/// The answers to a client's search by words.
#[derive(Clone, Copy)]
pub struct ByWords<'a> {
    /// To the search itself, or to those for each set of words that may be missing.
    pub searches: &'a [Vec<Bytes>],
    /// Where it is the latter.
    pub levels: Option<Levels<'a>>,
}

impl<'a> ByWords<'a> {
    /// All answers, and what is known of each.
    pub(crate) fn in_a_row(&self) -> (Vec<Bytes>, Option<Marks<'a>>) {
        let answers = self.searches.iter().flatten().cloned().collect();
        (
            answers,
            self.levels.map(|levels| Marks::of(self.searches, &levels)),
        )
    }
}

/// The sets of words, by their positions, that `frequency` lets be missing, the smaller ones first; the last is the union of
/// all. `None`: they are more than `max`. `frequencies`: in how many documents each word is found, at most 16 words. `all`: all of them
/// may be missing, because the query has a phrase, which stays.
///
/// The rules are milli's (`query_graph.rs`, `removal_order_for_terms_matching_strategy_frequency`, and the walk in
/// `graph_based_ranking_rule.rs`): words go by falling frequency, and those in no document first of all; the rarest stay; and when a
/// word is missing, all more frequent words behind it are.
///
/// Only the last of the sets may leave words with which nothing is found: one that is in no document, or two that are `apart`, in no document
/// together.
pub fn missing_words(
    frequencies: &[u64],
    all: bool,
    apart: &[(usize, usize)],
    max: usize,
) -> Option<Vec<Vec<usize>>> {
    let often: Vec<u64> = frequencies
        .iter()
        .map(|&documents| if documents == 0 { u64::MAX } else { documents })
        .collect();
    let rarest = often.iter().min().copied().unwrap_or(0);
    let removable: Vec<usize> = (0..often.len().min(16))
        .filter(|&word| all || often[word] > rarest)
        .collect();
    let subset = |mask: u32| -> Vec<usize> {
        let chosen = removable.iter().enumerate();
        chosen
            .filter(|(bit, _)| mask & (1 << bit) != 0)
            .map(|(_, &word)| word)
            .collect()
    };
    let allowed = |missing: &Vec<usize>| {
        missing.iter().all(|&word| {
            (word + 1..often.len())
                .all(|later| often[later] <= often[word] || missing.contains(&later))
        })
    };
    let finds = |missing: &Vec<usize>| {
        let is_missing = |word: &usize| missing.contains(word);
        let mut absent = removable.iter().filter(|word| frequencies[**word] == 0);
        let mut apart = apart.iter();
        missing.len() == removable.len()
            || absent.all(is_missing)
                && apart.all(|(one, other)| is_missing(one) || is_missing(other))
    };
    let mut sets: Vec<Vec<usize>> = (0..1u32 << removable.len())
        .map(subset)
        .filter(finds)
        .filter(allowed)
        .take(max + 1)
        .collect();
    if sets.len() > max {
        return None;
    }
    sets.sort_by_key(Vec::len);
    Some(sets)
}

/// The sets of words that may be missing while these stand as one, which is as frequent to milli as the rarest of them. `None`: they are too many.
pub fn missing_beside(
    frequencies: &[u64],
    joined: Range<usize>,
    all: bool,
    apart: &[(usize, usize)],
    max: usize,
) -> Option<Vec<Vec<usize>>> {
    let mut as_one = frequencies.to_vec();
    let words = as_one.get_mut(joined.clone())?;
    let rarest = words
        .iter()
        .copied()
        .min_by_key(|word| word.wrapping_sub(1))?;
    words.fill(rarest);
    let mut sets = missing_words(&as_one, all, apart, max)?;
    sets.retain(|set| !set.iter().any(|word| joined.contains(word)));
    Some(sets)
}

/// Merges the answers to the searches for each set, in the order of [`missing_words`]; totals and facets are those of the last.
///
/// # Errors
/// As [`merge_search`](super::merge_search); and a hit without an id.
pub fn merge_levels(
    searches: &[Vec<Bytes>],
    levels: &Levels,
    spec: &Spec,
) -> Result<Merged, MergeError> {
    let levels = Some(*levels);
    let (answers, marks) = ByWords { searches, levels }.in_a_row();
    merge_lists(&answers, marks.as_ref(), spec)
}

/// What is known of answers that stand in one row.
pub(crate) struct Marks<'a> {
    /// The place of each answer's search.
    searches: Vec<usize>,
    levels: Levels<'a>,
    /// From here on answers count for totals and facets.
    pub counted: usize,
}

impl<'a> Marks<'a> {
    fn of(searches: &[Vec<Bytes>], levels: &Levels<'a>) -> Self {
        let last = searches.last().map_or(0, Vec::len);
        Marks {
            searches: searches
                .iter()
                .enumerate()
                .flat_map(|(place, answers)| std::iter::repeat_n(place, answers.len()))
                .collect(),
            levels: *levels,
            counted: searches.iter().map(Vec::len).sum::<usize>() - last,
        }
    }

    /// What the scores of an answer are told by.
    pub fn level(&self, answer: usize) -> Option<Level> {
        let search = *self.searches.get(answer)?;
        Some(Level {
            missing: *self.levels.missing.get(search)?,
            max: self.levels.words_max?,
            most_typos: self.levels.most_typos.get(search).copied(),
            steps_before: self.levels.steps_before as u64,
            threshold: self.levels.threshold,
        })
    }

    /// Whether hits were left out because of their scores.
    pub fn has_threshold(&self) -> bool {
        self.levels.threshold.is_some()
    }

    /// Puts the words that are missing into the key of a hit of this answer. False: what lacks another number of words stands there, and
    /// behind it is nothing else: words are what that node goes by first.
    pub fn put_words(&self, answer: usize, key: &mut RankKey) -> bool {
        let missing = self.levels.missing[self.searches[answer]];
        key.put_words(self.levels.steps_before, missing)
    }
}

/// The documents so far.
pub(crate) struct Documents<'a> {
    marks: Option<&'a Marks<'a>>,
    ids: HashSet<Cow<'a, [u8]>, BuildHasherDefault<AHasher>>,
}

impl<'a> Documents<'a> {
    pub fn of(marks: Option<&'a Marks<'a>>) -> Self {
        Documents {
            marks,
            ids: HashSet::default(),
        }
    }

    /// Whether the hit's document was found by another search before.
    pub fn repeats(
        &mut self,
        bytes: &'a Bytes,
        node: usize,
        hit: &Range<usize>,
    ) -> Result<bool, MergeError> {
        let Some(marks) = self.marks else {
            return Ok(false);
        };
        let id = stored_id(bytes, hit.clone(), marks.levels.primary_key)
            .ok_or_else(|| MergeError::bad(node, "a hit has no document id"))?;
        Ok(!self.ids.insert(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All walks from the first word to the last: a word is passed over, if its group may go, which bars the words of groups
    /// before its own; or it is taken, unless it is barred.
    fn walk(weights: &[usize], last: usize, path: &mut Vec<bool>, found: &mut Vec<Vec<usize>>) {
        let Some(&weight) = weights.get(path.len()) else {
            let missing = path.iter().enumerate().filter(|(_, missing)| **missing);
            found.push(missing.map(|(word, _)| word).collect());
            return;
        };
        let mut passed = path.iter().zip(weights).filter(|(missing, _)| **missing);
        let barred = passed.any(|(_, earlier)| weight < *earlier);
        for missing in [true, false] {
            if if missing { weight < last } else { !barred } {
                path.push(missing);
                walk(weights, last, path, found);
                path.pop();
            }
        }
    }

    #[test]
    fn missing_words_are_those_of_a_walk() {
        for length in 1..=5u32 {
            for number in 0..5u64.pow(length) {
                let frequencies: Vec<u64> =
                    (0..length).map(|at| number / 5u64.pow(at) % 5).collect();
                let often = |documents: &u64| documents.checked_sub(1).unwrap_or(u64::MAX);
                let mut groups: Vec<u64> = frequencies.iter().map(often).collect();
                groups.sort_by_key(|often| std::cmp::Reverse(*often));
                groups.dedup();
                let weights: Vec<usize> = frequencies
                    .iter()
                    .map(|f| {
                        groups
                            .iter()
                            .position(|often_| *often_ == often(f))
                            .unwrap()
                    })
                    .collect();
                for all in [false, true] {
                    let mut walked = Vec::new();
                    let last = groups.len() - usize::from(!all);
                    walk(&weights, last, &mut Vec::new(), &mut walked);
                    // What has a word that is in no document finds nothing.
                    let absent = |word: &usize| frequencies[*word] == 0 && weights[*word] < last;
                    walked.retain(|set| {
                        (0..frequencies.len())
                            .filter(absent)
                            .all(|word| set.contains(&word))
                    });
                    let mut sets = missing_words(&frequencies, all, &[], 64).unwrap();
                    let most = sets.last().cloned().unwrap();
                    assert!(sets.iter().flatten().all(|word| most.contains(word)));
                    assert!(sets.is_sorted_by_key(Vec::len));
                    sets.sort();
                    walked.sort();
                    assert_eq!(sets, walked, "{frequencies:?}");
                }
            }
        }
    }

    #[test]
    fn words_that_stand_as_one_are_one_of_a_walk() {
        for number in 0..4u64.pow(4) {
            let frequencies: Vec<u64> = (0..4).map(|at| number / 4u64.pow(at) % 4).collect();
            let often = |documents: &u64| documents.wrapping_sub(1);
            let mut groups: Vec<u64> = frequencies.iter().map(often).collect();
            groups.sort_by_key(|often| std::cmp::Reverse(*often));
            groups.dedup();
            let group =
                |documents: &u64| groups.iter().position(|group| *group == often(documents));
            let weights: Vec<usize> = frequencies.iter().map(|f| group(f).unwrap()).collect();
            for joined in [0..2, 1..3, 2..4, 0..3, 1..4] {
                let mut steps = weights.clone();
                let rarest = weights[joined.clone()].iter().max().copied();
                drop(steps.splice(joined.clone(), rarest));
                let mut walked = Vec::new();
                walk(&steps, groups.len() - 1, &mut Vec::new(), &mut walked);
                walked.retain(|missing| !missing.contains(&joined.start));
                let behind = joined.len() - 1;
                for word in walked
                    .iter_mut()
                    .flatten()
                    .filter(|word| **word > joined.start)
                {
                    *word += behind;
                }
                // Words that stand as one somewhere are found there.
                if frequencies[joined.clone()].iter().all(|f| *f == 0) {
                    continue;
                }
                let absent = |word: &usize| {
                    frequencies[*word] == 0
                        && weights[*word] < groups.len() - 1
                        && !joined.contains(word)
                };
                walked.retain(|set| (0..4).filter(absent).all(|word| set.contains(&word)));
                walked.sort();
                let mut sets =
                    missing_beside(&frequencies, joined.clone(), false, &[], 64).unwrap();
                sets.sort();
                assert_eq!(sets, walked, "{frequencies:?} {joined:?}");
            }
        }
        // The rarest word behind what is missing.
        assert_eq!(
            missing_beside(&[4, 3, 7], 1..3, false, &[], 9).unwrap(),
            [vec![], vec![0]]
        );
    }

    #[test]
    fn what_may_be_missing() {
        assert_eq!(
            missing_words(&[7, 7], false, &[], 9).unwrap(),
            [[0usize; 0]]
        );
        assert_eq!(missing_words(&[0, 1], false, &[], 9).unwrap(), [[0]]);
        assert_eq!(
            missing_words(&[0, 0], false, &[], 9).unwrap(),
            [[0usize; 0]]
        );
        assert_eq!(
            missing_words(&[0, 3, 0, 1], false, &[], 9).unwrap(),
            [vec![0, 2], vec![0, 1, 2]]
        );
        assert_eq!(
            missing_words(&[3, 1, 5], false, &[], 9).unwrap(),
            [vec![], vec![2], vec![0, 2]]
        );
        assert_eq!(missing_words(&[5, 3, 1, 4], false, &[], 3), None);
        // The first and the last word are in no document together.
        assert_eq!(
            missing_words(&[5, 3, 1], false, &[(0, 2)], 9).unwrap(),
            [vec![0], vec![0, 1]]
        );
        // With what always stays nothing is found.
        assert_eq!(
            missing_words(&[2, 1, 1], false, &[(1, 2)], 9).unwrap(),
            [[0]]
        );
    }
}
