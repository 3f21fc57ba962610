//! What a document of a sorted list is sorted by.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::rank::directed;
use crate::scan::{Malformed, Scanner};
use crate::weighted::{Value, Weighted};

/// The values of `_federation.weightedScoreValues`, one for each rule of `sort`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SortKey<'a>(SmallVec<[Value<'a>; 2]>);

impl<'a> SortKey<'a> {
    /// Reads the array at the scanner.
    pub fn read(scanner: &mut Scanner<'a>) -> Result<SortKey<'a>, Malformed> {
        let at = scanner.pos();
        match Weighted::read_values(scanner) {
            Ok(values) => Ok(SortKey(values)),
            Err(_) => Err(Malformed { at }),
        }
    }

    /// The same with the values of rules that sort by a place, for a document without one; `rules` ascend.
    pub fn nowhere(mut self, rules: &[usize]) -> Self {
        for rule in rules {
            let nowhere = Value::Geo {
                ascending: true,
                distance: None,
            };
            self.0.insert((*rule).min(self.0.len()), nowhere);
        }
        self
    }

    /// `Less` comes first. Numbers come before strings and both before nothing, in either direction (milli
    /// `documents/sort.rs`). Unlike hits of different queries, documents are ordered by distance as was asked.
    pub fn compare(&self, other: &Self) -> Ordering {
        let pairs = self.0.iter().zip(&other.0);
        pairs.fold(Ordering::Equal, |order, (ours, theirs)| {
            order.then_with(|| compare(ours, theirs))
        })
    }
}

fn compare(ours: &Value, theirs: &Value) -> Ordering {
    match (ours, theirs) {
        (Value::Sort { ascending, value }, Value::Sort { value: other, .. }) => {
            value.compare(other, *ascending)
        }
        (
            Value::Geo {
                ascending,
                distance,
            },
            Value::Geo {
                distance: other, ..
            },
        ) => match (distance, other) {
            (Some(ours), Some(theirs)) => directed(ours.total_cmp(theirs), *ascending),
            (ours, theirs) => theirs.is_some().cmp(&ours.is_some()),
        },
        // Documents are sorted by nothing else, and one rule is of one kind on every node.
        _ => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that each of the keys comes before the next.
    fn descending(list: &[&str]) {
        let key = |text: &&str| {
            let text: &'static str = String::from(*text).leak();
            SortKey::read(&mut Scanner::new(text.as_bytes())).unwrap()
        };
        for (i, a) in list.iter().enumerate() {
            for (j, b) in list.iter().enumerate() {
                assert_eq!(key(a).compare(&key(b)), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn numbers_then_texts_then_nothing() {
        descending(&[
            r#"[{"sort":{"asc":true,"value":1.5}}]"#,
            r#"[{"sort":{"asc":true,"value":2}}]"#,
            r#"[{"sort":{"asc":true,"value":"a"}}]"#,
            r#"[{"sort":{"asc":true,"value":"b"}}]"#,
            r#"[{"sort":{"asc":true,"value":null}}]"#,
        ]);
        descending(&[
            r#"[{"sort":{"asc":false,"value":2}}]"#,
            r#"[{"sort":{"asc":false,"value":1.5}}]"#,
            r#"[{"sort":{"asc":false,"value":"b"}}]"#,
            r#"[{"sort":{"asc":false,"value":"a"}}]"#,
            r#"[{"sort":{"asc":false,"value":null}}]"#,
        ]);
    }

    #[test]
    fn the_next_rule_decides_what_the_first_leaves_open() {
        descending(&[
            r#"[{"geoSort":{"asc":true,"distance":3}},{"sort":{"asc":false,"value":9}}]"#,
            r#"[{"geoSort":{"asc":true,"distance":3}},{"sort":{"asc":false,"value":7}}]"#,
            r#"[{"geoSort":{"asc":true,"distance":4}},{"sort":{"asc":false,"value":9}}]"#,
            r#"[{"geoSort":{"asc":true,"distance":null}},{"sort":{"asc":false,"value":9}}]"#,
        ]);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in [
            "{}",
            "[1]",
            "[{}]",
            r#"[{"sort":{"value":1}}]"#,
            r#"[{"sort":1}]"#,
        ] {
            assert!(
                SortKey::read(&mut Scanner::new(bad.as_bytes())).is_err(),
                "{bad}"
            );
        }
    }
}
