//! What scores say of words that may be missing.
//!
//! A node tells how many words match of how many, without those that it would never let be missing by the frequencies among its own
//! documents. What is missing is the same on all nodes, and so is what may be: so the ranking rule `words` is told anew, and with it the
//! whole score, of which it is the first part (milli `score_details.rs`, `Rank::merge`).

use miroir_api::Error;
use miroir_merge::Merged;
use serde::{Deserialize, Serialize};

use crate::search::raw::Object;

/// The ranking rule `words` in the details of a hit.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Words {
    order: u64,
    matching_words: u64,
    max_matching_words: u64,
    score: f64,
}

/// What the client asked for. Nodes were asked for details, and for scores where one is to be shown.
#[derive(Clone, Copy)]
pub struct Shown {
    pub score: bool,
    pub details: bool,
}

/// An answer whose hits tell scores as one node would, by which `most` words may be missing.
pub fn retell(answer: Merged, most: u64, shown: Shown) -> Result<Merged, Error> {
    let mut answer: Object = serde_json::from_slice(&answer.to_bytes())
        .map_err(|error| Error::internal(format!("hits: {error}")))?;
    let mut hits: Vec<Object> = answer.read("hits").unwrap_or_default();
    for hit in &mut hits {
        tell(hit, most, shown);
    }
    answer.set("hits", &hits);
    Ok(Merged::from(answer.to_bytes()))
}

fn tell(hit: &mut Object, most: u64, shown: Shown) {
    let details: Option<Object> = hit.read("_rankingScoreDetails");
    let words: Option<Words> = details.as_ref().and_then(|details| details.read("words"));
    if let (Some(mut details), Some(words)) = (details, words) {
        let missing = words
            .max_matching_words
            .saturating_sub(words.matching_words);
        // One more than what may be missing.
        let max = most + 1;
        let matching = max.saturating_sub(missing);
        let score: Option<f64> = hit.read("_rankingScore");
        if let Some(score) = score.filter(|_| shown.score) {
            let score = with_first_rank(
                score,
                (words.matching_words, words.max_matching_words),
                (matching, max),
            );
            hit.set("_rankingScore", &score);
        }
        if shown.details {
            details.set(
                "words",
                &Words {
                    order: words.order,
                    matching_words: matching,
                    max_matching_words: max,
                    score: matching as f64 / max as f64,
                },
            );
            hit.set("_rankingScoreDetails", &details);
        }
    }
    if !shown.score {
        hit.remove("_rankingScore");
    }
    if !shown.details {
        hit.remove("_rankingScoreDetails");
    }
}

/// A score whose first rule ranks otherwise. It is `(rank - 1 + rest) / max`, where the rest is a ratio of small integers, that of the
/// rules behind: found again, the division comes out as one node's, to the last digit.
fn with_first_rank(score: f64, (rank, max): (u64, u64), (new_rank, new_max): (u64, u64)) -> f64 {
    let rest = score * max as f64 - (rank as f64 - 1.0);
    let (above, below) = ratio(rest);
    ((new_rank as f64 - 1.0) * below + above) / (new_max as f64 * below)
}

/// The simplest ratio of two integers that is this number, as nearly as a score can be told (its continued fraction); the
/// number itself where there is none.
fn ratio(number: f64) -> (f64, f64) {
    const NEAR: f64 = 1e-14;
    const BELOW_MAX: f64 = 5e6;
    let (mut above, mut below) = ((0.0, 1.0), (1.0, 0.0));
    let mut left = number;
    loop {
        let whole = left.floor();
        above = (above.1, whole * above.1 + above.0);
        below = (below.1, whole * below.1 + below.0);
        if (number - above.1 / below.1).abs() <= NEAR {
            return (above.1, below.1);
        }
        if below.1 > BELOW_MAX || number.is_nan() {
            return (number, 1.0);
        }
        left = 1.0 / (left - whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_another_with_another_first_rank() {
        // The rest is 12,345 of 67,200.
        let of =
            |rank: u64, max: u64| ((rank - 1) * 67_200 + 12_345) as f64 / (max * 67_200) as f64;
        for (from, to) in [
            ((2, 3), (2, 2)),
            ((1, 4), (3, 5)),
            ((5, 5), (4, 4)),
            ((1, 1), (7, 9)),
        ] {
            let told = with_first_rank(of(from.0, from.1), from, to);
            assert_eq!(told, of(to.0, to.1), "{from:?} {to:?}");
        }
        assert_eq!(with_first_rank(2.0 / 3.0, (2, 3), (1, 2)), 0.5);
        assert_eq!(ratio(0.0), (0.0, 1.0));
        assert!(with_first_rank(f64::NAN, (1, 2), (1, 3)).is_nan());
    }

    #[test]
    fn only_what_is_asked_for_is_shown() {
        let told = |score, details| {
            let answer = r#"{"hits":[{"id":1,"_rankingScore":0.75,"_rankingScoreDetails":{"words":{"order":0,"matchingWords":2,"maxMatchingWords":2,"score":1.0},"typo":{"order":1}}}],"query":"a b"}"#;
            let answer = Merged::from(answer.as_bytes().to_vec());
            let told = retell(answer, 2, Shown { score, details }).unwrap();
            String::from_utf8(told.to_bytes().to_vec()).unwrap()
        };
        assert_eq!(told(false, false), r#"{"hits":[{"id":1}],"query":"a b"}"#);
        let score = told(true, false);
        assert_eq!(
            score,
            format!(
                r#"{{"hits":[{{"id":1,"_rankingScore":{}}}],"query":"a b"}}"#,
                2.5 / 3.0
            )
        );
        assert!(told(false, true).contains(
            r#""words":{"order":0,"matchingWords":3,"maxMatchingWords":3,"score":1.0},"typo""#
        ));
    }
}
