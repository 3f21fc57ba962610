//! All answers with hits in one row, with one node's scores. Hits are known by the place of their answer in it.

use std::ops::Range;

use bytes::Bytes;

use super::answer::Hit;
use super::{spec_of_mixed, FederatedAnswers, FederatedSpec};
use crate::search::mix::Mixture;
use crate::search::{anew, ByWords, Marks, Mix};
use crate::MergeError;

pub(super) struct Row<'a> {
    pub answers: Vec<Bytes>,
    /// So many of them are lists that are merged as they are; behind stand the halves of hybrid queries.
    pub listed: usize,
    pub levelled: Vec<Marked<'a>>,
    halves: Vec<Halves<'a>>,
}

/// The answers to a query for each set of words that may be missing.
pub(super) struct Marked<'a> {
    pub query: usize,
    pub place: Range<usize>,
    pub marks: Marks<'a>,
}

struct Halves<'a> {
    query: usize,
    words: Range<usize>,
    /// Where the words are asked for in several searches.
    marks: Option<Marks<'a>>,
    meaning: Range<usize>,
    mix: Mix<'a>,
}

/// The first hits of a hybrid query, and how many more repeat their distinct values.
pub(super) struct MixedList<'r> {
    pub query: usize,
    pub hits: Vec<Hit<'r>>,
    pub duplicates: u64,
}

impl<'a> Row<'a> {
    pub fn of(answers: &FederatedAnswers<'a>, spec: &FederatedSpec) -> Self {
        let mut row = Row {
            answers: spec.told_anew(answers.lists, None),
            listed: 0,
            levelled: Vec::new(),
            halves: Vec::new(),
        };
        for one in answers.levelled {
            if let (place, Some(marks)) = row.put(&one.words, spec) {
                row.levelled.push(Marked {
                    query: one.query,
                    place,
                    marks,
                });
            }
        }
        row.listed = row.answers.len();
        for one in answers.mixed {
            let (words, marks) = row.put(&one.words, spec);
            let at = row.answers.len();
            row.answers.extend_from_slice(one.meaning);
            row.halves.push(Halves {
                query: one.query,
                words,
                marks,
                meaning: at..row.answers.len(),
                mix: one.mix,
            });
        }
        row
    }

    fn put(
        &mut self,
        words: &ByWords<'a>,
        spec: &FederatedSpec,
    ) -> (Range<usize>, Option<Marks<'a>>) {
        let at = self.answers.len();
        let (answers, marks) = words.in_a_row();
        let told = spec.told_anew(&answers, marks.as_ref());
        self.answers.extend(told);
        (at..self.answers.len(), marks)
    }

    /// Mixes the hybrid queries.
    pub fn mixed(
        &self,
        reach: usize,
        spec: &FederatedSpec,
    ) -> Result<Vec<MixedList<'_>>, MergeError> {
        let halves = self.halves.iter();
        halves.map(|halves| self.mix(halves, reach, spec)).collect()
    }

    fn mix(
        &self,
        halves: &Halves,
        reach: usize,
        spec: &FederatedSpec,
    ) -> Result<MixedList<'_>, MergeError> {
        let out_of_range = || MergeError::bad(0, "it is to a query that was not asked");
        let query = spec.queries.get(halves.query).ok_or_else(out_of_range)?;
        let words = &self.answers[halves.words.clone()];
        let mixture = Mixture::of(
            (words, halves.marks.as_ref()),
            &self.answers[halves.meaning.clone()],
            reach,
            &halves.mix,
            &spec_of_mixed(query.distinct.or(spec.distinct), halves.mix.primary_key),
        )?;
        let read = |semantic: bool, node: usize, span: Range<usize>| {
            let half = if semantic {
                &halves.meaning
            } else {
                &halves.words
            };
            let node = half.start + node;
            let hit = Hit::read_at(&self.answers[node], span)?;
            Ok(Hit { node, ..hit })
        };
        let hits = mixture.hits.into_iter();
        let hits: Result<_, MergeError> = hits
            .map(|hit| read(hit.semantic, hit.node, hit.span))
            .collect();
        Ok(MixedList {
            query: halves.query,
            hits: hits?,
            duplicates: mixture.duplicates,
        })
    }
}

impl FederatedSpec<'_> {
    /// Answers with one node's scores.
    fn told_anew(&self, answers: &[Bytes], marks: Option<&Marks>) -> Vec<Bytes> {
        let weight = |query: usize| self.queries.get(query).map_or(1.0, |query| query.weight);
        anew(answers, &[(answers.len(), marks)], &weight).into_owned()
    }
}
