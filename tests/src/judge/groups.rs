//! What `distinct` leaves of all that is found, worked out from the node's list without it.

use std::collections::{HashMap, HashSet};

use serde_json::{json, Map, Value};

use super::answers;
use super::check::{content, leaves, page, total, with, Compared, ALL};

/// A document that a search finds.
struct Found {
    /// The place of the first document that ties with it.
    rank: usize,
    values: Vec<String>,
}

impl Compared<'_> {
    /// Whether the cluster's hits are one node's up to the order in which documents were stored: all that shares no value with a better one that
    /// stays, from the start of the list, with what ties in any order. What the rules from these on say does not count.
    pub fn leaves_what_repeats_no_value(&self, ties_from: &[&str]) -> bool {
        let mut pairs = self.ask.searches().into_iter().zip(answers(self.right));
        pairs.all(|(search, theirs)| {
            let Some(field) = self.distinct_of(search) else {
                return true;
            };
            match self.worked_out(search, field, theirs, ties_from) {
                Some(agrees) => agrees,
                // not all that is found can be seen
                None => self.is_a_choice_of_groups(),
            }
        })
    }

    fn worked_out(
        &self,
        search: &Value,
        field: &str,
        theirs: &Value,
        ties_from: &[&str],
    ) -> Option<bool> {
        let displayed = self.settings.get("displayedAttributes");
        if displayed.is_some() {
            return None;
        }
        let members = |limit: usize| json!({"limit": limit, "attributesToRetrieve": ["*"], "showRankingScoreDetails": true});
        let all = self.list(self.node, search, &self.undistinct(search, members(ALL)))?;
        let (skip, take) = page(search);
        let reach = (skip + take).min(self.hits_max());
        let stay = self.hits(self.cluster, search, &with(search, members(reach)))?;
        if !all.whole {
            return None;
        }
        let mut found: HashMap<String, Found> = HashMap::new();
        for (rank, hit) in ranks(&all.hits, ties_from).zip(&all.hits) {
            let mut values = Vec::new();
            leaves(hit, field, &mut values);
            if found.insert(content(hit), Found { rank, values }).is_some() {
                return None;
            }
        }
        let stay: Option<Vec<Found>> = stay.iter().map(|hit| found.remove(&content(hit))).collect();
        // found twice, or by the cluster alone
        let Some(stay) = stay else {
            return Some(false);
        };
        let shown = theirs["hits"].as_array().map_or(0, Vec::len);
        let is_full = stay.len() == reach;
        let end = stay
            .last()
            .filter(|_| is_full)
            .map_or(usize::MAX, |last| last.rank);
        let mut best: HashMap<&str, usize> = HashMap::new();
        for document in &stay {
            let values: HashSet<&str> = document.values.iter().map(String::as_str).collect();
            for value in values {
                if best.insert(value, document.rank).is_some() {
                    return Some(false);
                }
            }
        }
        let is_dropped = |document: &Found| {
            let mut values = document.values.iter();
            values.any(|value| {
                best.get(value.as_str())
                    .is_some_and(|rank| *rank <= document.rank)
            })
        };
        Some(
            shown == stay.len().saturating_sub(skip)
                && total(theirs) <= Some(all.total)
                && stay.is_sorted_by_key(|document| document.rank)
                && found
                    .values()
                    .all(|document| document.rank >= end || is_dropped(document)),
        )
    }
}

/// The places of each content of a list, of which what shows alike has several.
pub(super) fn ranks_of_contents(list: &[Value], ties_from: &[&str]) -> HashMap<String, Vec<usize>> {
    let mut all: HashMap<String, Vec<usize>> = HashMap::new();
    for (rank, hit) in ranks(list, ties_from).zip(list) {
        all.entry(content(hit)).or_default().push(rank);
    }
    all
}

/// The place of each hit of a list; what ties by the rules before these has that of its first.
fn ranks<'a>(list: &'a [Value], ties_from: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    let mut first = (0, Vec::new());
    list.iter().enumerate().map(move |(place, hit)| {
        let key = rules_before(&hit["_rankingScoreDetails"], ties_from);
        if key != first.1 {
            first = (place, key);
        }
        first.0
    })
}

/// What the rules before these say.
fn rules_before(details: &Value, ties_from: &[&str]) -> Vec<(String, Value)> {
    let rules: Option<&Map<String, Value>> = details.as_object();
    let mut rules: Vec<(&String, &Value)> = rules.into_iter().flatten().collect();
    rules.sort_by_key(|(_, rule)| rule["order"].as_u64());
    let before = rules
        .into_iter()
        .take_while(|(name, _)| !ties_from.contains(&name.as_str()));
    before
        .map(|(name, rule)| (name.clone(), rule.clone()))
        .collect()
}
