//! By what a query's ranking rules tell hits apart.

use std::collections::HashSet;
use std::slice;

use miroir_router::SearchSettings;

/// A rule that sorts, or a run of rules that give a score.
#[derive(Debug, PartialEq)]
pub enum RuleKind {
    Score,
    Sort { place: bool, ascending: bool },
}

/// The kinds of the rules of a query that sorts by this; a field that sorts twice is the first time alone. `words`: the rule `words` is one of them,
/// which it is not where all words must match.
pub fn rule_kinds(settings: &SearchSettings, sort: &[String], words: bool) -> Vec<RuleKind> {
    let (mut kinds, mut fields) = (Vec::new(), HashSet::new());
    let rules = settings.ranking_rules.iter();
    for rule in rules.filter(|rule| words || *rule != "words") {
        let criteria = match rule.as_str() {
            "sort" => sort,
            _ => slice::from_ref(rule),
        };
        for criterion in criteria {
            let Some((field, order)) = criterion.rsplit_once(':') else {
                if kinds.last() != Some(&RuleKind::Score) {
                    kinds.push(RuleKind::Score);
                }
                continue;
            };
            let place = field.starts_with("_geo");
            if fields.insert(if place { "_geo" } else { field }) {
                let ascending = order == "asc";
                kinds.push(RuleKind::Sort { place, ascending });
            }
        }
    }
    kinds
}
