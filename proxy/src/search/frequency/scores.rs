//! What scores say of words that may be missing.
//!
//! A node that is asked for a set of words tells no ranking rule `words`, or how many words match of how many by the frequencies among its
//! own documents. What is missing is the same on all nodes, and so is what may be: so the rule is told anew, and with it
//! the whole score, of which it is the first part (milli `score_details.rs`, `Rank::merge`).

use bytes::Bytes;
use miroir_api::Error;
use miroir_merge::with_ranks;
use serde::{Deserialize, Serialize};

use super::WordsRule;
use crate::search::raw::{change_hits, Object};

/// The ranking rule `words` in the details of a hit.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Words {
    order: u64,
    matching_words: u64,
    max_matching_words: u64,
    score: f64,
}

/// How one node would tell scores.
#[derive(Clone, Copy)]
pub struct Scale {
    /// So many words may match.
    pub max: u64,
    pub rule: WordsRule,
    /// Hits with lower scores are none.
    pub threshold: Option<f64>,
}

impl Scale {
    /// A node's answer to a search without so many words, with scores as one node would tell them.
    pub fn retell(&self, answer: &Bytes, missing: u64) -> Result<Bytes, Error> {
        Ok(change_hits(answer, |hit| self.tell(hit, missing))?.into())
    }

    /// False: its score is too low.
    fn tell(&self, hit: &mut Object, missing: u64) -> bool {
        let Some(mut details) = hit.read::<Object>("_rankingScoreDetails") else {
            return true;
        };
        let told: Option<Words> = details.read("words");
        let told = told.map(|words| (words.matching_words, words.max_matching_words));
        if told.is_some_and(|(matching, max)| max.saturating_sub(matching) != missing) {
            // Another search's hit.
            return true;
        }
        let matching = self.max.saturating_sub(missing);
        let words = Words {
            order: self.rule.steps_before as u64,
            matching_words: matching,
            max_matching_words: self.max,
            score: matching as f64 / self.max as f64,
        };
        match told {
            Some(_) => details.set("words", &words),
            None => put(&mut details, &words),
        }
        hit.set("_rankingScoreDetails", &details);
        let Some(score) = hit.read::<f64>("_rankingScore") else {
            return true;
        };
        // A rule with one rank is none.
        let ranks = (told.unwrap_or((1, 1)), (matching, self.max));
        let score = match told {
            None if self.rule.ends_score => words.score,
            _ => with_ranks(score, &[ranks]).unwrap_or(score),
        };
        hit.set("_rankingScore", &score);
        self.threshold.is_none_or(|threshold| score >= threshold)
    }
}

/// Puts in the rule at its place: the steps behind it are one later.
fn put(details: &mut Object, words: &Words) {
    let mut at = 0;
    for (place, (_, value)) in details.0.iter_mut().enumerate() {
        let Ok(mut step) = serde_json::from_str::<Object>(value.get()) else {
            continue;
        };
        let Some(order) = step.read::<u64>("order") else {
            continue;
        };
        if order < words.order {
            at = place + 1;
            continue;
        }
        step.set("order", &(order + 1));
        if let Ok(step) = serde_json::value::to_raw_value(&step) {
            *value = step;
        }
    }
    if let Ok(words) = serde_json::value::to_raw_value(words) {
        details.0.insert(at, ("words".to_owned(), words));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(hit: &str, missing: u64, steps_before: usize, threshold: Option<f64>) -> String {
        let scale = Scale {
            max: 3,
            rule: WordsRule {
                steps_before,
                ends_score: false,
                before_sort: false,
            },
            threshold,
        };
        let answer = format!(r#"{{"hits":[{hit}],"query":"a b"}}"#);
        let told = scale.retell(&Bytes::from(answer), missing).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        told["hits"][0].to_string()
    }

    #[test]
    fn words_are_told_of_those_that_may_be_missing() {
        let words = |matching: u64, max: u64| {
            let score = matching as f64 / max as f64;
            format!(
                r#""words":{{"order":0,"matchingWords":{matching},"maxMatchingWords":{max},"score":{score:?}}}"#
            )
        };
        let hit = |score: f64, words: String, order: u64| {
            format!(
                r#"{{"id":1,"_rankingScore":{score:?},"_rankingScoreDetails":{{{words}"typo":{{"order":{order},"typoCount":0}}}}}}"#
            )
        };
        let node = hit(0.75, words(2, 2) + ",", 1);
        let expected = hit(2.5 / 3.0, words(3, 3) + ",", 1);
        assert_eq!(told(&node, 0, 0, None), expected);
        // A node that does not tell them.
        let node = hit(0.5, String::new(), 0);
        assert_eq!(told(&node, 0, 0, None), expected);
        assert_eq!(told(&node, 0, 0, Some(2.5 / 3.0)), expected);
        assert_eq!(told(&node, 0, 0, Some(0.84)), "null");
        assert_eq!(
            told(&node, 2, 0, None),
            hit(0.5 / 3.0, words(1, 3) + ",", 1)
        );
    }

    #[test]
    fn words_stand_behind_what_sorts() {
        let sorted = r#"{"_rankingScore":1.0,"_rankingScoreDetails":{"a:asc":{"order":0,"value":1},"typo":{"order":1}}}"#;
        let expected = r#"{"_rankingScore":0.6666666666666666,"_rankingScoreDetails":{"a:asc":{"order":0,"value":1},"words":{"order":1,"matchingWords":2,"maxMatchingWords":3,"score":0.6666666666666666},"typo":{"order":2}}}"#;
        assert_eq!(told(sorted, 1, 1, None), expected);
    }
}
