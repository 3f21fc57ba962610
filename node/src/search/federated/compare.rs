//! Which of two hits of a federated search comes first.
//!
//! Hits may come from different indexes, so what is compared are not the engine's buckets but the weighted values of
//! the ranking rules. Follows `crates/meilisearch/src/search/federated/weighted_scores.rs` at 1.15.1, also in that the
//! larger of two distances wins in both directions.

use std::cmp::Ordering;

use milli_core::score_details::{compare_sort_values, ScoreDetails, WeightedScoreValue};

/// A hit's place in the order.
pub struct Rank {
    pub values: Vec<WeightedScoreValue>,
    /// The ranking score of the whole, weighted.
    pub score: f64,
    /// The query that found it.
    pub position: usize,
}

impl Rank {
    pub fn new(details: &[ScoreDetails], weight: f64, position: usize) -> Rank {
        Rank {
            values: ScoreDetails::weighted_score_values(details.iter(), weight).collect(),
            score: ScoreDetails::global_score(details.iter()) * weight,
            position,
        }
    }

    /// Whether this one comes first; of equal hits the one of the earlier query.
    pub fn precedes(&self, other: &Rank) -> bool {
        match compare(self, other) {
            Ordering::Greater => true,
            Ordering::Equal => self.position < other.position,
            Ordering::Less => false,
        }
    }

    /// Whether a vector had a part in it.
    pub fn is_semantic(&self) -> bool {
        let vector =
            |value: &WeightedScoreValue| matches!(value, WeightedScoreValue::VectorSort(_));
        self.values.iter().any(vector)
    }
}

/// `Greater` is better. The first value that differs decides.
fn compare(left: &Rank, right: &Rank) -> Ordering {
    use WeightedScoreValue::{GeoSort, Sort, VectorSort, WeightedScore};
    let by_score = || order(left.score, right.score);
    for (index, pair) in left.values.iter().zip(&right.values).enumerate() {
        let decided = match pair {
            (WeightedScore(a) | VectorSort(a), WeightedScore(b) | VectorSort(b)) => near(*a, *b),
            (
                Sort { asc, value: a },
                Sort {
                    asc: other,
                    value: b,
                },
            ) => {
                if asc != other {
                    return by_score();
                }
                compare_sort_values(*asc, a, b)
            }
            (GeoSort { asc, .. }, GeoSort { asc: other, .. }) if asc != other => Ordering::Equal,
            (GeoSort { distance: a, .. }, GeoSort { distance: b, .. }) => match (a, b) {
                (Some(a), Some(b)) => near(*a, *b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            },
            // Not of one kind: the one with more rules behind this one wins, then the score of the whole.
            _ => {
                let rest = |rank: &Rank| rank.values.len() - index;
                return rest(left).cmp(&rest(right)).then_with(by_score);
            }
        };
        if decided != Ordering::Equal {
            return decided;
        }
    }
    left.values.len().cmp(&right.values.len())
}

fn near(left: f64, right: f64) -> Ordering {
    if (left - right).abs() <= f64::EPSILON {
        Ordering::Equal
    } else {
        order(left, right)
    }
}

fn order(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rank(values: serde_json::Value, score: f64, position: usize) -> Rank {
        Rank {
            values: serde_json::from_value(values).unwrap(),
            score,
            position,
        }
    }

    #[test]
    fn the_first_difference_decides() {
        let best_first = [
            rank(
                json!([{"weightedScore": 1.0}, {"sort": {"asc": true, "value": 1}}]),
                1.0,
                3,
            ),
            rank(
                json!([{"weightedScore": 1.0}, {"sort": {"asc": true, "value": 2}}]),
                1.0,
                2,
            ),
            rank(
                json!([{"weightedScore": 1.0}, {"sort": {"asc": true, "value": "a"}}]),
                1.0,
                2,
            ),
            rank(
                json!([{"weightedScore": 1.0}, {"sort": {"asc": true, "value": null}}]),
                1.0,
                1,
            ),
            rank(json!([{"weightedScore": 1.0}]), 1.0, 0),
            rank(json!([{"weightedScore": 0.5}]), 0.5, 0),
            rank(json!([{"weightedScore": 0.5}]), 0.5, 1),
            rank(json!([{"vectorSort": 0.25}]), 0.25, 0),
        ];
        for pair in best_first.windows(2) {
            assert!(pair[0].precedes(&pair[1]) && !pair[1].precedes(&pair[0]));
        }
        let far = rank(json!([{"geoSort": {"asc": true, "distance": 9.0}}]), 1.0, 0);
        let near = rank(json!([{"geoSort": {"asc": true, "distance": 1.0}}]), 1.0, 0);
        let nowhere = rank(
            json!([{"geoSort": {"asc": true, "distance": null}}]),
            1.0,
            0,
        );
        assert!(far.precedes(&near) && near.precedes(&nowhere));
        let sorted = rank(json!([{"sort": {"asc": true, "value": 1}}]), 0.9, 0);
        assert!(near.precedes(&sorted) && !sorted.precedes(&near));
    }
}
