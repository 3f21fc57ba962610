//! What must hold of a hybrid search whose scores by words are not one node's.

use std::collections::{HashMap, HashSet};

use serde_json::{json, Value};

use super::check::{content, page, with, Compared, ALL, UNSTEADY};
use super::groups::ranks_of_contents;

impl Compared<'_> {
    /// Whether the cluster's lists are mixed of those that the node has by words and by meaning, both in their order and without gaps, while scores
    /// by words differ through rules whose word on a document depends on those beside it.
    pub fn mixes_the_same_lists(&self) -> bool {
        let parts = self.parts();
        let mut pairs = parts.iter().zip(self.pairs());
        self.scores_alone_differ()
            && pairs.all(|((search, hits, _), (left, _))| {
                let as_many = left["hits"].as_array().map(Vec::len) == Some(hits.len());
                match search["hybrid"].is_object() {
                    true => as_many && self.is_mixed(search, hits).unwrap_or(false),
                    false => self.keeps_order(search, hits),
                }
            })
    }

    fn is_mixed(&self, search: &Value, shown: &[&Value]) -> Option<bool> {
        let (skip, take) = page(search);
        let again = self.hits(
            self.cluster,
            search,
            &with(search, json!({"limit": skip + take})),
        )?;
        let whole = |limit: usize| json!({"limit": limit, "attributesToRetrieve": ["*"], "showRankingScoreDetails": true, "showRankingScore": true});
        let mixed = self.hits(self.cluster, search, &with(search, whole(skip + take)))?;
        let mut by_words = with(search, whole(ALL));
        by_words.remove("hybrid");
        by_words.remove("vector");
        let mut by_meaning = with(search, whole(ALL));
        by_meaning.insert(
            "hybrid".into(),
            json!({"embedder": search["hybrid"]["embedder"], "semanticRatio": 1.0}),
        );
        let words = self.hits(self.node, search, &by_words)?;
        let meaning = self.hits(self.node, search, &by_meaning)?;
        let theirs = self.hits(self.cluster, search, &by_words)?;
        let (of_meaning, of_words): (Vec<&Value>, Vec<&Value>) = mixed
            .iter()
            .partition(|hit| hit["_rankingScoreDetails"]["vectorSort"].is_object());
        let listed: HashSet<String> = mixed.iter().map(content).collect();
        let is_shown = again
            .iter()
            .skip(skip)
            .map(content)
            .eq(shown.iter().copied().map(content));
        Some(
            is_shown
                && scores(&words) != scores(&theirs)
                && follows(&of_words, &words, &listed)
                && follows(&of_meaning, &meaning, &listed),
        )
    }
}

/// Documents' scores.
fn scores(hits: &[Value]) -> HashMap<String, String> {
    let scored = |hit: &Value| (content(hit), hit["_rankingScore"].to_string());
    hits.iter().map(scored).collect()
}

/// Whether hits stand in the order of a list, and whatever goes before their last one there is `listed`.
fn follows(hits: &[&Value], list: &[Value], listed: &HashSet<String>) -> bool {
    let ranks = ranks_of_contents(list, UNSTEADY);
    let mut reached = 0;
    let in_order = hits.iter().all(|hit| {
        let places = ranks.get(&content(hit));
        let next = places.and_then(|places| places.iter().find(|rank| **rank >= reached));
        reached = next.copied().unwrap_or(reached);
        next.is_some()
    });
    in_order
        && list[..reached]
            .iter()
            .all(|hit| listed.contains(&content(hit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_follows_its_list_without_gaps() {
        let hit = |id: u8, typos: u8| json!({"id": id, "_rankingScoreDetails": {"typo": {"order": 0, "typoCount": typos}, "proximity": {"order": 1, "score": id}}});
        let list = [hit(1, 0), hit(2, 1), hit(3, 1), hit(4, 2)];
        let follows = |ids: &[usize], others: &[usize]| {
            let hits: Vec<&Value> = ids.iter().map(|id| &list[id - 1]).collect();
            let listed = ids.iter().chain(others).map(|id| content(&list[id - 1]));
            super::follows(&hits, &list, &listed.collect())
        };
        assert!(follows(&[1, 2, 3], &[]));
        assert!(follows(&[1, 3, 2], &[]), "they tie before `proximity`");
        assert!(follows(&[1, 3, 4], &[2]), "found by the other list");
        assert!(!follows(&[2, 1], &[]), "another order");
        assert!(!follows(&[1, 4], &[2]), "a gap");
        assert!(!super::follows(&[&hit(5, 0)], &list, &HashSet::new()));
    }
}
