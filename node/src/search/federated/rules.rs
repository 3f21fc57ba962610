//! Whether the hits of two queries can be put in one order.
//!
//! Hits are compared rule by rule, so the ranking rules of all queries must be of the same kind at the same place,
//! once they are brought into the form in which the engine really applies them: what a query does not use falls
//! away, neighbouring rules about relevancy are one. Follows `crates/meilisearch/src/search/ranking_rules.rs` at
//! 1.15.1, whose message says what was compared and what had been changed.

use std::collections::HashMap;

use milli_core::{AscDesc, Criterion, Member, TermsMatchingStrategy};
use miroir_api::Error;

use crate::error::coded;

/// What a query looks for, as far as it decides about the rules that apply.
#[derive(Clone, Copy)]
pub enum Looking {
    /// Nothing: every document is found.
    Placeholder,
    Words(TermsMatchingStrategy),
    Meaning,
}

/// The ranking rules of one query.
pub struct Rules {
    /// Where the query stands in the request.
    pub position: usize,
    /// The index that it searches.
    pub uid: String,
    rules: Vec<Criterion>,
    sort: Vec<AscDesc>,
    notes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Relevancy,
    Ascending,
    Descending,
    AscendingGeo,
    DescendingGeo,
}

/// A rule's place among the ranking rules, or in the query's `sort`.
#[derive(Clone, Copy)]
enum Place {
    Rule(usize),
    Rules(usize, usize),
    Sort { rule: usize, entry: usize },
}

#[derive(Clone, Copy)]
struct Step {
    kind: Kind,
    place: Place,
}

impl Rules {
    pub fn new(
        position: usize,
        uid: &str,
        rules: &[Criterion],
        sort: Option<&[AscDesc]>,
        looking: Looking,
    ) -> Rules {
        let mut canonical = Canonical {
            source: rules,
            query_sort: sort,
            looking,
            seen_fields: HashMap::new(),
            seen_sort: None,
            seen_relevancy: Vec::new(),
            words: Words::Unseen,
            rules: Vec::new(),
            sort: Vec::new(),
            notes: Vec::new(),
        };
        canonical.run();
        Rules {
            position,
            uid: uid.to_owned(),
            rules: canonical.rules,
            sort: canonical.sort,
            notes: canonical.notes,
        }
    }

    /// How many comparisons these rules make.
    pub fn len(&self) -> usize {
        self.steps().len()
    }

    /// Errors: 400 `invalid_multi_search_query_ranking_rules` where the hits of the two cannot be compared.
    pub fn check_against(&self, previous: &Rules) -> Result<(), Error> {
        let pairs = self.steps().into_iter().zip(previous.steps());
        match pairs.into_iter().find(|(a, b)| a.kind != b.kind) {
            None => Ok(()),
            Some((step, earlier)) => Err(coded(
                "invalid_multi_search_query_ranking_rules",
                self.conflict(step, previous, earlier),
            )),
        }
    }

    fn conflict(&self, step: Step, previous: &Rules, earlier: Step) -> String {
        let (first, second) = (previous.position, self.position);
        let mut message = format!(
            "The results of queries #{first} and #{second} are incompatible: \n  1. {}\n  2. {}\n  - {}\n",
            previous.describe(earlier),
            self.describe(step),
            reason(earlier.kind, step.kind)
        );
        for rules in [previous, self] {
            if !rules.notes.is_empty() {
                message.push_str(&format!(
                    "  - note: The ranking rules of query #{} were modified during canonicalization:\n{}",
                    rules.position,
                    rules.notes.concat()
                ));
            }
        }
        message
    }

    /// The rules as comparisons: what `sort` says in its place, and rules about relevancy that stand together as one.
    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let kind = match rule {
                Criterion::Sort => {
                    steps.extend(self.sort.iter().enumerate().map(|(entry, rule)| Step {
                        kind: kind_of_sort(rule),
                        place: Place::Sort { rule: index, entry },
                    }));
                    continue;
                }
                Criterion::Asc(field) if field == "_geo" => Kind::AscendingGeo,
                Criterion::Asc(_) => Kind::Ascending,
                Criterion::Desc(field) if field == "_geo" => Kind::DescendingGeo,
                Criterion::Desc(_) => Kind::Descending,
                _ => Kind::Relevancy,
            };
            let place = match steps.last() {
                Some(last) if kind == Kind::Relevancy && last.kind == Kind::Relevancy => {
                    let first = match last.place {
                        Place::Rule(first) | Place::Rules(first, _) => first,
                        Place::Sort { rule, .. } => rule,
                    };
                    steps.pop();
                    Place::Rules(first, index)
                }
                _ => Place::Rule(index),
            };
            steps.push(Step { kind, place });
        }
        steps
    }

    fn describe(&self, step: Step) -> String {
        let (position, uid) = (self.position, &self.uid);
        let place = match step.place {
            Place::Rule(index) => format!("`queries[{position}]`, `{uid}.rankingRules[{index}]`"),
            Place::Rules(first, last) => {
                format!("`queries[{position}]`, `{uid}.rankingRules[{first}..={last}]`")
            }
            Place::Sort { rule, entry } => {
                format!("`queries[{position}].sort[{entry}]`, `{uid}.rankingRules[{rule}]`")
            }
        };
        let names = match step.place {
            Place::Rule(index) => self.rules[index].to_string(),
            Place::Rules(first, last) => {
                let names: Vec<String> = self.rules[first..=last]
                    .iter()
                    .map(Criterion::to_string)
                    .collect();
                names.join(", ")
            }
            Place::Sort { entry, .. } => match self.sort[entry].member() {
                Member::Field(field) => format!("on field `{field}`"),
                Member::Geo(_) => "default".to_owned(),
            },
        };
        format!("{place}: {} rule(s) {names}", kind_name(step.kind))
    }
}

fn kind_of_sort(rule: &AscDesc) -> Kind {
    match rule {
        AscDesc::Asc(Member::Field(_)) => Kind::Ascending,
        AscDesc::Desc(Member::Field(_)) => Kind::Descending,
        AscDesc::Asc(Member::Geo(_)) => Kind::AscendingGeo,
        AscDesc::Desc(Member::Geo(_)) => Kind::DescendingGeo,
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Relevancy => "relevancy",
        Kind::Ascending => "ascending sort",
        Kind::Descending => "descending sort",
        Kind::AscendingGeo => "ascending geo sort",
        Kind::DescendingGeo => "descending geo sort",
    }
}

/// Why two different kinds cannot be compared.
fn reason(one: Kind, other: Kind) -> &'static str {
    let is_geo = |kind| matches!(kind, Kind::AscendingGeo | Kind::DescendingGeo);
    match (one, other) {
        (Kind::Relevancy, kind) | (kind, Kind::Relevancy) if is_geo(kind) => {
            "cannot compare a relevancy rule with a geosort rule"
        }
        (Kind::Relevancy, _) | (_, Kind::Relevancy) => {
            "cannot compare a relevancy rule with a sort rule"
        }
        (one, other) if is_geo(one) && is_geo(other) => {
            "cannot compare two geosort rules in opposite directions"
        }
        (one, other) if is_geo(one) || is_geo(other) => {
            "cannot compare a sort rule with a geosort rule"
        }
        _ => "cannot compare two sort rules in opposite directions",
    }
}

/// Whether `words`, which the engine puts before any other rule about words, has been met.
#[derive(Clone, Copy)]
enum Words {
    Unseen,
    Prepended,
    At(usize),
}

/// The rules on their way to the form in which they apply.
struct Canonical<'a> {
    source: &'a [Criterion],
    query_sort: Option<&'a [AscDesc]>,
    looking: Looking,
    seen_fields: HashMap<&'a str, Place>,
    seen_sort: Option<usize>,
    /// The rules about relevancy met so far, with their places.
    seen_relevancy: Vec<(&'a Criterion, usize)>,
    words: Words,
    rules: Vec<Criterion>,
    sort: Vec<AscDesc>,
    notes: Vec<String>,
}

impl<'a> Canonical<'a> {
    fn run(&mut self) {
        for (index, rule) in self.source.iter().enumerate() {
            match rule {
                Criterion::Sort => self.sort(index),
                Criterion::Asc(field) | Criterion::Desc(field) => {
                    if self.is_new(field, Place::Rule(index)) {
                        self.rules.push(rule.clone());
                    }
                }
                _ => match self.looking {
                    Looking::Placeholder => {
                        let name = self.name(Place::Rule(index));
                        self.note(format!(
                            "Removed relevancy rule `{name}` at position {} because the query is a placeholder \
                             search (`q`: \"\")",
                            position(Place::Rule(index))
                        ));
                    }
                    Looking::Words(strategy) => self.relevancy(rule, index, strategy),
                    Looking::Meaning => {
                        if !self.vector(rule, index) {
                            return;
                        }
                    }
                },
            }
        }
    }

    /// One rule about words. The first of them brings `words` with it, unless all words are wanted anyway.
    fn relevancy(&mut self, rule: &'a Criterion, index: usize, strategy: TermsMatchingStrategy) {
        let all = strategy == TermsMatchingStrategy::All;
        let here = Place::Rule(index);
        if *rule == Criterion::Words {
            match self.words {
                _ if all => {
                    let reason = "`query.matchingWords` is set to `all`";
                    return self.removed_words(here, reason);
                }
                Words::At(earlier) => return self.duplicate(Place::Rule(earlier), here),
                // As in Meilisearch, the note says "removed" and the rule stays.
                Words::Prepended => self.removed_words(here, "it was previously prepended"),
                Words::Unseen => (),
            }
            self.words = Words::At(index);
            self.rules.push(rule.clone());
            return;
        }
        if !all && matches!(self.words, Words::Unseen) {
            let name = self.name(here);
            self.note(format!(
                "Prepended rule `words` before first relevancy rule `{name}` at position {}",
                position(here)
            ));
            self.rules.push(Criterion::Words);
            self.words = Words::Prepended;
        }
        let earlier = self.seen_relevancy.iter().find(|(seen, _)| *seen == rule);
        match earlier {
            Some(&(_, earlier)) => self.duplicate(Place::Rule(earlier), here),
            None => {
                self.seen_relevancy.push((rule, index));
                self.rules.push(rule.clone());
            }
        }
    }

    /// For a search by meaning the first rule about relevancy stands for the vector; false ends the rules.
    fn vector(&mut self, rule: &'a Criterion, index: usize) -> bool {
        let Some(&(_, vector)) = self.seen_relevancy.first() else {
            self.seen_relevancy.push((rule, index));
            self.rules.push(rule.clone());
            return true;
        };
        let name = self.name(Place::Rule(index));
        let (here, vector) = (position(Place::Rule(index)), position(Place::Rule(vector)));
        if self.seen_fields.is_empty() {
            self.note(format!(
                "Removed relevancy rule `{name}` at position {here} because the query is a vector search and \
                 `vector` was already inserted at position {vector}"
            ));
            return true;
        }
        self.note(format!(
            "Truncated relevancy rule `{name}` at position {here} and later rules because the query is a vector \
             search and `vector` was inserted at position {vector}"
        ));
        false
    }

    fn sort(&mut self, index: usize) {
        let here = Place::Rule(index);
        if let Some(earlier) = self.seen_sort {
            return self.duplicate(Place::Rule(earlier), here);
        }
        let Some(sort) = self.query_sort else {
            // One space less than the other notes have, in Meilisearch too.
            let number = self.notes.len() + 1;
            let here = position(here);
            self.notes.push(format!(
                "   {number}. Removed rule `sort` at position {here} because `query.sort` is empty\n"
            ));
            return;
        };
        self.seen_sort = Some(index);
        self.rules.push(Criterion::Sort);
        let mut seen_point = None;
        for (entry, rule) in sort.iter().enumerate() {
            let here = Place::Sort { rule: index, entry };
            let is_new = match rule.member() {
                Member::Field(field) => self.is_new(field, here),
                Member::Geo(_) => match seen_point {
                    Some(earlier) => {
                        self.duplicate(earlier, here);
                        false
                    }
                    None => {
                        seen_point = Some(here);
                        true
                    }
                },
            };
            if is_new {
                self.sort.push(rule.clone());
            }
        }
    }

    /// Whether nothing has sorted by this field yet.
    fn is_new(&mut self, field: &'a str, here: Place) -> bool {
        match self.seen_fields.get(field) {
            Some(&earlier) => {
                self.duplicate(earlier, here);
                false
            }
            None => {
                self.seen_fields.insert(field, here);
                true
            }
        }
    }

    fn duplicate(&mut self, earlier: Place, here: Place) {
        let name = self.name(earlier);
        self.note(format!(
            "Removed duplicate rule `{name}` at position {} as it already appears at position {}",
            position(here),
            position(earlier)
        ));
    }

    fn removed_words(&mut self, here: Place, reason: &str) {
        let here = position(here);
        self.note(format!(
            "Removed rule `words` at position {here} because {reason}"
        ));
    }

    fn note(&mut self, text: String) {
        let number = self.notes.len() + 1;
        self.notes.push(format!("    {number}. {text}\n"));
    }

    fn name(&self, place: Place) -> String {
        match place {
            Place::Rule(index) | Place::Rules(index, _) => self.source[index].to_string(),
            Place::Sort { entry, .. } => {
                let Some(rule) = self.query_sort.and_then(|sort| sort.get(entry)) else {
                    return "unknown".to_owned();
                };
                let direction = match rule {
                    AscDesc::Asc(_) => "asc",
                    AscDesc::Desc(_) => "desc",
                };
                match rule.member() {
                    Member::Field(field) => format!("{field}:{direction}"),
                    Member::Geo(_) => format!("_geo(..):{direction}"),
                }
            }
        }
    }
}

fn position(place: Place) -> String {
    match place {
        Place::Rule(index) => format!("#{index} in ranking rules"),
        Place::Rules(first, last) => format!("#{first} to #{last} in ranking rules"),
        Place::Sort { rule, entry } => {
            format!("#{entry} in `query.sort` (as `sort` is #{rule} in ranking rules)")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn rules(position: usize, rules: &[&str], sort: &[&str], looking: Looking) -> Rules {
        let rules: Vec<Criterion> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let sort: Vec<AscDesc> = sort
            .iter()
            .map(|rule| AscDesc::from_str(rule).unwrap())
            .collect();
        Rules::new(
            position,
            "films",
            &rules,
            (!sort.is_empty()).then_some(&sort[..]),
            looking,
        )
    }

    const LAST: Looking = Looking::Words(TermsMatchingStrategy::Last);
    const DEFAULT: [&str; 6] = [
        "words",
        "typo",
        "proximity",
        "attribute",
        "sort",
        "exactness",
    ];

    #[test]
    fn rules_of_one_kind_agree() {
        let plain = rules(0, &DEFAULT, &[], LAST);
        assert_eq!(plain.len(), 1);
        let sorted = rules(1, &DEFAULT, &["year:asc", "year:desc"], LAST);
        assert_eq!(sorted.len(), 3);
        // What one of the two does not have is no conflict.
        assert!(sorted.check_against(&plain).is_ok());
        assert!(rules(1, &DEFAULT, &[], Looking::Placeholder)
            .check_against(&sorted)
            .is_ok());
        assert!(rules(2, &DEFAULT, &[], Looking::Meaning)
            .check_against(&plain)
            .is_ok());
    }

    // The text is Meilisearch's, from its own test of two queries sorted in opposite directions.
    #[test]
    fn opposite_directions_conflict() {
        let one = rules(0, &["sort", "words"], &["mother:asc"], LAST);
        let other = rules(1, &["sort", "words"], &["mother:desc", "mother:asc"], LAST);
        let error = other.check_against(&one).unwrap_err();
        assert_eq!(error.code, "invalid_multi_search_query_ranking_rules");
        assert_eq!(
            error.message,
            "The results of queries #0 and #1 are incompatible: \n  \
             1. `queries[0].sort[0]`, `films.rankingRules[0]`: ascending sort rule(s) on field `mother`\n  \
             2. `queries[1].sort[0]`, `films.rankingRules[0]`: descending sort rule(s) on field `mother`\n  \
             - cannot compare two sort rules in opposite directions\n  \
             - note: The ranking rules of query #1 were modified during canonicalization:\n    \
             1. Removed duplicate rule `mother:desc` at position #1 in `query.sort` (as `sort` is #0 in ranking \
             rules) as it already appears at position #0 in `query.sort` (as `sort` is #0 in ranking rules)\n"
        );
    }

    #[test]
    fn notes_say_what_was_changed() {
        let one = rules(0, &["typo", "words", "typo", "sort"], &[], LAST);
        let other = rules(1, &["typo", "year:desc"], &[], Looking::Placeholder);
        let error = other.check_against(&one).unwrap_err();
        assert_eq!(
            error.message,
            "The results of queries #0 and #1 are incompatible: \n  \
             1. `queries[0]`, `films.rankingRules[0..=2]`: relevancy rule(s) words, typo, words\n  \
             2. `queries[1]`, `films.rankingRules[0]`: descending sort rule(s) year:desc\n  \
             - cannot compare a relevancy rule with a sort rule\n  \
             - note: The ranking rules of query #0 were modified during canonicalization:\n    \
             1. Prepended rule `words` before first relevancy rule `typo` at position #0 in ranking rules\n    \
             2. Removed rule `words` at position #1 in ranking rules because it was previously prepended\n    \
             3. Removed duplicate rule `typo` at position #2 in ranking rules as it already appears at position #0 \
             in ranking rules\n   \
             4. Removed rule `sort` at position #3 in ranking rules because `query.sort` is empty\n  \
             - note: The ranking rules of query #1 were modified during canonicalization:\n    \
             1. Removed relevancy rule `typo` at position #0 in ranking rules because the query is a placeholder \
             search (`q`: \"\")\n"
        );
    }
}
