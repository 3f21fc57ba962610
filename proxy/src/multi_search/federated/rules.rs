//! How what counts for a query whose frequent words may be missing goes with other queries.
//!
//! Nodes refuse queries of which one ranks by a score where another sorts (Meilisearch `search/ranking_rules.rs`, `is_compatible_with`).
//! What counts is asked for by all words that are left, and of such a query the rule `words` is none, so that its rules may be others than the
//! client's query has.

use miroir_router::SearchSettings;

use crate::search::rule_kinds;

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

impl Counted {
    /// Of a query that sorts by this.
    pub fn of(settings: &SearchSettings, sort: &[String]) -> Self {
        let asked = rule_kinds(settings, sort, true);
        let counted = rule_kinds(settings, sort, false);
        if counted == asked {
            Counted::Alike
        } else if asked.starts_with(&counted) {
            Counted::Fewer { sorted: true }
        } else if asked.starts_with(&rule_kinds(settings, &[], false)) {
            Counted::Fewer { sorted: false }
        } else {
            Counted::Apart
        }
    }

    pub fn is_sorted(self) -> bool {
        matches!(self, Counted::Alike | Counted::Fewer { sorted: true })
    }
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
