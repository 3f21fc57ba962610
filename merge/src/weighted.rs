//! Weighted score values: by what Meilisearch compares hits of different queries in a federated search.
//!
//! They are a hit's ranking-score details, multiplied by the weight of its query, with every run of rules that give ratios folded into
//! one number (milli `score_details.rs`). Hits of *one* query are ordered by their details ([`crate::rank`]), which are
//! absolute where these numbers are ratios; between queries one node itself compares these values, and so does the cluster.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::rank::{read_value, RankError, SortValue};
use crate::scan::Scanner;

/// The values of one hit in the order of the rules, and its weighted ranking score.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Weighted<'a> {
    pub values: SmallVec<[Value<'a>; 2]>,
    pub score: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// `weightedScore`: the fold of one or more rules that give ratios.
    Score(f64),
    /// `vectorSort`: a similarity.
    Vector(f64),
    Sort {
        ascending: bool,
        value: SortValue<'a>,
    },
    /// The distance in metres.
    Geo {
        ascending: bool,
        distance: Option<f64>,
    },
}

impl<'a> Weighted<'a> {
    /// Reads the array `weightedScoreValues` at the scanner.
    pub fn read_values(scanner: &mut Scanner<'a>) -> Result<SmallVec<[Value<'a>; 2]>, RankError> {
        let mut values = SmallVec::new();
        scanner.array(|scanner| {
            let mut value = None;
            scanner.object(|scanner, kind, _| {
                value = match kind.raw {
                    b"weightedScore" => scanner.number()?.map(Value::Score),
                    b"vectorSort" => scanner.number()?.map(Value::Vector),
                    b"sort" | b"geoSort" => Some(read_sort(scanner)?),
                    _ => return Ok(scanner.malformed()?),
                };
                Ok::<(), RankError>(())
            })?;
            values.push(value.ok_or(RankError::Malformed)?);
            Ok::<(), RankError>(())
        })?;
        Ok(values)
    }

    /// `Less` comes first. This is Meilisearch's order (`federated/weighted_scores.rs`) with all its oddities, because one node's
    /// answer shows them: between queries, the *larger* distance comes first even in an ascending geo sort.
    pub fn compare(&self, other: &Self) -> Ordering {
        let greater_first = |a: f64, b: f64| b.partial_cmp(&a).unwrap_or(Ordering::Equal);
        let by_score = || greater_first(self.score, other.score);
        for (place, (ours, theirs)) in self.values.iter().zip(&other.values).enumerate() {
            let order = match (ours, theirs) {
                (Value::Score(a) | Value::Vector(a), Value::Score(b) | Value::Vector(b)) => {
                    if near(*a, *b) {
                        Ordering::Equal
                    } else {
                        greater_first(*a, *b)
                    }
                }
                (
                    Value::Sort { ascending, value },
                    Value::Sort {
                        ascending: b_ascending,
                        value: b,
                    },
                ) => {
                    if ascending != b_ascending {
                        return by_score();
                    }
                    value.compare(b, *ascending)
                }
                (
                    Value::Geo {
                        ascending,
                        distance,
                    },
                    Value::Geo {
                        ascending: b_ascending,
                        distance: b,
                    },
                ) => match (distance, b) {
                    _ if ascending != b_ascending => Ordering::Equal,
                    (Some(a), Some(b)) if near(*a, *b) => Ordering::Equal,
                    (Some(a), Some(b)) => greater_first(*a, *b),
                    (a, b) => b.is_some().cmp(&a.is_some()),
                },
                _ => {
                    // Kinds that do not correspond: who has more rules left comes first.
                    let left = |values: &[Value]| values.len() - place;
                    return left(&other.values)
                        .cmp(&left(&self.values))
                        .then_with(by_score);
                }
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        other.values.len().cmp(&self.values.len())
    }

    /// Whether the hit was found by its vector.
    pub fn is_semantic(&self) -> bool {
        self.values
            .iter()
            .any(|value| matches!(value, Value::Vector(_)))
    }
}

/// Meilisearch takes products of ratios that lie so close together for equal.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= f64::EPSILON
}

/// The object of a `sort` or a `geoSort`; only the latter has a distance.
fn read_sort<'a>(scanner: &mut Scanner<'a>) -> Result<Value<'a>, RankError> {
    let (mut ascending, mut value, mut distance) = (None, None, None);
    scanner.object(|scanner, key, _| {
        match key.raw {
            b"asc" => {
                let span = scanner.value()?;
                ascending = match scanner.slice(span) {
                    b"true" => Some(true),
                    b"false" => Some(false),
                    _ => None,
                };
            }
            b"value" => value = Some(read_value(scanner)?),
            b"distance" => distance = Some(scanner.number()?),
            _ => {
                scanner.value()?;
            }
        }
        Ok::<(), RankError>(())
    })?;
    match (ascending, value, distance) {
        (Some(ascending), Some(value), None) => Ok(Value::Sort { ascending, value }),
        (Some(ascending), None, Some(distance)) => Ok(Value::Geo {
            ascending,
            distance,
        }),
        _ => Err(RankError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighted(values: &str, score: f64) -> Weighted<'_> {
        let values = Weighted::read_values(&mut Scanner::new(values.as_bytes())).unwrap();
        Weighted { values, score }
    }

    /// The order of two lists, the first of score 0.5 and the second of `score`.
    fn order(a: &str, b: &str, score: f64) -> Ordering {
        let (a, b) = (weighted(a, 0.5), weighted(b, score));
        assert_eq!(a.compare(&b), b.compare(&a).reverse());
        a.compare(&b)
    }

    #[test]
    fn numbers_of_both_kinds_compare_and_close_ones_are_equal() {
        use Ordering::*;
        let score = |x: f64| format!(r#"[{{"weightedScore":{x}}}]"#);
        assert_eq!(order(&score(0.9), &score(0.8), 0.5), Less);
        assert_eq!(order(&score(0.9), r#"[{"vectorSort":0.95}]"#, 0.5), Greater);
        assert_eq!(order(&score(0.1 + 0.2), &score(0.3), 0.5), Equal);
        assert_eq!(order("[]", &score(0.0), 0.5), Greater);
        assert_eq!(order("[]", "[]", 0.9), Equal);
    }

    #[test]
    fn sorts_have_numbers_first_and_null_last() {
        let sort =
            |asc: bool, value: &str| format!(r#"[{{"sort":{{"asc":{asc},"value":{value}}}}}]"#);
        for asc in [true, false] {
            assert_eq!(
                order(&sort(asc, "5"), &sort(asc, r#""a""#), 0.5),
                Ordering::Less
            );
            assert_eq!(
                order(&sort(asc, r#""a""#), &sort(asc, "null"), 0.5),
                Ordering::Less
            );
        }
        assert_eq!(
            order(&sort(true, "1"), &sort(true, "2"), 0.5),
            Ordering::Less
        );
        assert_eq!(
            order(&sort(false, "1"), &sort(false, "2"), 0.5),
            Ordering::Greater
        );
        // Two directions: the score decides.
        assert_eq!(
            order(&sort(true, "1"), &sort(false, "1"), 0.6),
            Ordering::Greater
        );
    }

    #[test]
    fn geo_sorts_are_as_meilisearch_has_them() {
        let geo = |asc: bool, distance: &str| {
            format!(
                r#"[{{"geoSort":{{"asc":{asc},"distance":{distance}}}}},{{"weightedScore":0.5}}]"#
            )
        };
        for asc in [true, false] {
            assert_eq!(order(&geo(asc, "2"), &geo(asc, "1"), 0.5), Ordering::Less);
            assert_eq!(
                order(&geo(asc, "1"), &geo(asc, "null"), 0.5),
                Ordering::Less
            );
        }
        assert_eq!(
            order(&geo(true, "1"), &geo(false, "9"), 0.9),
            Ordering::Equal
        );
    }

    #[test]
    fn of_kinds_that_differ_the_longer_list_comes_first() {
        let score = r#"[{"weightedScore":0.5}]"#;
        let sort = r#"[{"sort":{"asc":true,"value":1}}]"#;
        let longer = r#"[{"sort":{"asc":true,"value":1}},{"weightedScore":0.1}]"#;
        assert_eq!(order(score, longer, 0.1), Ordering::Greater);
        assert_eq!(order(score, sort, 0.4), Ordering::Less);
    }

    #[test]
    fn what_is_not_a_value_is_refused() {
        for text in [
            "{}",
            "[1]",
            r#"[{}]"#,
            r#"[{"x":1}]"#,
            r#"[{"sort":{"asc":1,"value":1}}]"#,
            r#"[{"sort":{"asc":true}}]"#,
        ] {
            assert!(
                Weighted::read_values(&mut Scanner::new(text.as_bytes())).is_err(),
                "{text}"
            );
        }
    }
}
