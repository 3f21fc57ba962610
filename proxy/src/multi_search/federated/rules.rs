//! How what counts for a query whose frequent words may be missing goes with other queries.
//!
//! Nodes refuse queries of which one ranks by a score where another sorts (Meilisearch `search/ranking_rules.rs`, `is_compatible_with`).
//! What counts is asked for by all words that are left, and of such a query the rule `words` is none, so that its rules may be others than the
//! client's query has.

use std::collections::HashSet;
use std::slice;

use miroir_router::SearchSettings;

/// The rules of what counts, beside those of the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// They are of the same kinds.
    Alike,
    /// They are of the kinds of its first rules, so that it goes with every query that the client's goes with, and with others.
    /// `sorted`: as the query sorts. Counting can do without.
    Fewer { sorted: bool },
    /// They are others: it goes with its like.
    Apart,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Score,
    Sort { place: bool, ascending: bool },
}

impl Counted {
    /// Of a query that sorts by this.
    pub fn of(settings: &SearchSettings, sort: &[String]) -> Self {
        let asked = kinds(settings, sort, false);
        let counted = kinds(settings, sort, true);
        if counted == asked {
            Counted::Alike
        } else if asked.starts_with(&counted) {
            Counted::Fewer { sorted: true }
        } else if asked.starts_with(&kinds(settings, &[], true)) {
            Counted::Fewer { sorted: false }
        } else {
            Counted::Apart
        }
    }

    pub fn is_sorted(self) -> bool {
        matches!(self, Counted::Alike | Counted::Fewer { sorted: true })
    }
}

/// The kinds of a query's rules, a run of those that give a score as one.
fn kinds(settings: &SearchSettings, sort: &[String], all_words: bool) -> Vec<Kind> {
    let (mut kinds, mut fields) = (Vec::new(), HashSet::new());
    let rules = settings.ranking_rules.iter();
    for rule in rules.filter(|rule| !(all_words && *rule == "words")) {
        let criteria = match rule.as_str() {
            "sort" => sort,
            _ => slice::from_ref(rule),
        };
        for criterion in criteria {
            let Some((field, order)) = criterion.rsplit_once(':') else {
                if kinds.last() != Some(&Kind::Score) {
                    kinds.push(Kind::Score);
                }
                continue;
            };
            let place = field.starts_with("_geo");
            if fields.insert(if place { "_geo" } else { field }) {
                let ascending = order == "asc";
                kinds.push(Kind::Sort { place, ascending });
            }
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_lacks_the_rule_words() {
        let of = |rules: &[&str], sort: &[&str]| {
            let settings = SearchSettings {
                ranking_rules: rules.iter().map(|rule| rule.to_string()).collect(),
                ..SearchSettings::default()
            };
            let sort: Vec<String> = sort.iter().map(|rule| rule.to_string()).collect();
            Counted::of(&settings, &sort)
        };
        let by = &["a:asc"];
        assert_eq!(of(&["words", "typo", "sort"], by), Counted::Alike);
        assert_eq!(of(&["words", "sort", "typo"], &[]), Counted::Alike);
        assert_eq!(of(&["b:asc", "attribute"], by), Counted::Alike);
        let sorted = |sorted: bool| Counted::Fewer { sorted };
        assert_eq!(of(&["words"], by), sorted(true));
        assert_eq!(of(&["sort", "words"], by), sorted(true));
        assert_eq!(of(&["words", "sort", "typo"], by), sorted(false));
        assert_eq!(of(&["words", "sort"], by), sorted(false));
        assert_eq!(of(&["words", "b:asc", "typo"], by), Counted::Apart);
        assert_eq!(of(&["sort", "words", "b:desc"], by), Counted::Apart);
        let parted = ["words", "sort", "typo", "b:desc"];
        assert_eq!(of(&parted, by), Counted::Apart);
        assert_eq!(of(&parted, &["b:desc"]), sorted(false));
    }
}
