//! Searches by meaning, and by words and meaning together.
//!
//! Which of these a search is depends on its query, its vector and its `semanticRatio` (Meilisearch `search_kind`). A search
//! by meaning is one question to every node. For a hybrid search a node would decide by its own documents whether words
//! are enough and how the two lists mix; so it is asked for both lists, in one request, and `merge` decides once.

use miroir_merge::{Mix, Paging};
use miroir_router::{SearchSettings, Version};
use serde::{Deserialize, Serialize};
use serde_json::value::{to_raw_value, RawValue};

use super::counting::Counting;
use super::request::{serialise, Part, PlannedSearch, SearchBody, Unsupported};

/// What the client says of a search by meaning.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hybrid {
    pub embedder: String,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::request::not_null"
    )]
    pub semantic_ratio: Option<Ratio>,
}

/// A share of 1; other numbers are for a node to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "f32")]
pub struct Ratio(f32);

impl Ratio {
    pub fn of(ratio: f32) -> Option<Self> {
        (0.0..=1.0).contains(&ratio).then_some(Ratio(ratio))
    }
}

impl TryFrom<f32> for Ratio {
    type Error = &'static str;

    fn try_from(ratio: f32) -> Result<Self, Self::Error> {
        Self::of(ratio).ok_or("a ratio is between 0 and 1")
    }
}

/// `semanticRatio` where the client gives none.
const DEFAULT_RATIO: Ratio = Ratio(0.5);

/// With this ratio a node's hybrid search lists what it finds by meaning first, never finds words good enough, and still shows
/// matched words, counts what it finds in either way, and does without an embedder that fails.
const NEARLY_ALL_MEANING: Ratio = Ratio(0.999_999);

/// From here on a blank query with a vector is a search by meaning, and what is mixed is distinct once more.
const BLANK_IS_NO_QUERY_SINCE: (u32, u32, u32) = (1, 16, 0);

/// From here on nodes look from the start and cut the page out themselves, so that a list without meaning is not turned round.
const TURNS_BEFORE: (u32, u32, u32) = (1, 47, 0);

/// Of nodes up to here `_rankingScore` is the score of the rules before the first one that sorts, by which hybrid searches are mixed; then it
/// became that of all rules (1.23: "Fix ranking score bug when sort is present"; some 1.22 may have it).
const SCORES_END_AT_A_SORT_BEFORE: (u32, u32, u32) = (1, 22, 0);

/// Whether `_rankingScore` may be another than the score by which a node of this version mixes.
pub fn scores_are_of_all_rules(version: Version) -> bool {
    version >= SCORES_END_AT_A_SORT_BEFORE
}

/// What a search goes by.
#[derive(Debug, PartialEq)]
pub enum Kind {
    Words,
    Meaning,
    /// Both, with the share of the meaning, which is neither 0 nor 1.
    Both(f32),
}

/// The other half of a hybrid search, and how the two are put together.
pub struct Halves {
    /// What nodes are asked to find by meaning.
    pub meaning: PlannedSearch,
    /// The client's `matchingStrategy`.
    strategy: Option<Box<RawValue>>,
    ratio: f32,
    primary_key: String,
}

impl SearchBody {
    /// What the search goes by (Meilisearch `routes/indexes/search.rs`, `search_kind`).
    pub fn kind(&self, node_version: (u32, u32, u32)) -> Kind {
        let blank = self.q.as_deref().is_none_or(|q| q.trim().is_empty());
        let Some(hybrid) = &self.hybrid else {
            return Kind::Words;
        };
        let Ratio(ratio) = hybrid.semantic_ratio.unwrap_or(DEFAULT_RATIO);
        let no_query = self.q.is_none() || (blank && node_version >= BLANK_IS_NO_QUERY_SINCE);
        if ratio == 0.0 || (blank && self.vector.is_none()) {
            Kind::Words
        } else if ratio == 1.0 || no_query {
            Kind::Meaning
        } else {
            Kind::Both(ratio)
        }
    }

    /// A search by meaning ranks even without words.
    pub fn plan_by_meaning(
        mut self,
        settings: &SearchSettings,
    ) -> Result<PlannedSearch, Unsupported> {
        let show_details = self.show_ranking_score_details == Some(true);
        self.show_ranking_score_details = Some(true);
        let mut planned = self.plan(settings)?;
        planned.show_details = show_details;
        let distinct = planned.distinct.as_deref();
        planned.counting =
            Counting::by_meaning(&planned.node_body, distinct, planned.paging, settings);
        Ok(planned)
    }

    /// Whether rules that give a score stand on both sides of one that sorts by values.
    fn parts_scores(&self, settings: &SearchSettings) -> bool {
        let no_sort = self.sort.as_ref().is_none_or(Vec::is_empty);
        let rules = settings.ranking_rules.iter();
        let sorts = rules
            .filter(|rule| *rule != "sort" || !no_sort)
            .map(|rule| rule == "sort" || rule.contains(':'));
        // A score, a sort, a score.
        sorts
            .skip_while(|sorts| *sorts)
            .skip_while(|sorts| !sorts)
            .any(|sorts| !sorts)
    }

    /// The half that goes by words, and the other one. `aside`: a score by which one node mixes may be no part of a public answer, and can
    /// be asked for.
    pub fn plan_by_both(
        mut self,
        ratio: f32,
        primary_key: Option<&str>,
        aside: bool,
        settings: &SearchSettings,
    ) -> Result<(PlannedSearch, Halves), Unsupported> {
        // Without a primary key there are no documents yet.
        let primary_key = primary_key.unwrap_or("id");
        let shown = (self.show_ranking_score, self.show_ranking_score_details);
        self.show_ranking_score = Some(true);
        self.show_ranking_score_details = Some(true);
        let needed = self.need(primary_key, settings)?;
        let aside = aside && self.parts_scores(settings);
        let mut meaning = self.clone();
        if let Some(hybrid) = &mut meaning.hybrid {
            hybrid.semantic_ratio = Some(self.ratio_for_meaning(settings));
        }
        if self.goes_by_frequency() && self.ranking_score_threshold.is_none() {
            // What a node finds there by words of its own choice would be passed over, and is not among the others' words.
            meaning.matching_strategy = to_raw_value("all").ok();
        }
        (self.hybrid, self.vector) = (None, None);
        let strategy = self.matching_strategy.clone();
        let plan = |half: SearchBody| {
            let mut planned = half.plan(settings)?;
            planned.strip(&needed);
            if aside {
                planned.reveal.get_or_insert_default();
            }
            planned.show_score = shown.0 == Some(true);
            planned.show_details = shown.1 == Some(true);
            if let Paging::Offset { offset, limit: 0 } = planned.paging {
                // Whether words are good enough depends on the hits up to the page, even if it has none; and any hit tells that there is a meaning.
                planned.node_body.limit = Some(offset.min(settings.max_total_hits).max(1));
            }
            Ok(planned)
        };
        let halves = Halves {
            meaning: plan(meaning)?,
            strategy,
            ratio,
            primary_key: primary_key.to_owned(),
        };
        Ok((plan(self)?, halves))
    }

    /// The cheap way to ask a node for what it finds by meaning is to ask for nothing else. Where the words matter to what is
    /// shown or counted it must search by them too, and an embedder may fail. From Meilisearch 1.50 on a negative word is left out of
    /// what is found by meaning, too.
    fn ratio_for_meaning(&self, settings: &SearchSettings) -> Ratio {
        let words_matter = self.shows_matches()
            || self.q.as_deref().is_some_and(|q| q.contains('-'))
            || self.ranking_score_threshold.is_some()
            || self.distinct.is_some()
            || settings.distinct_attribute.is_some()
            || self.vector.is_none();
        if words_matter {
            NEARLY_ALL_MEANING
        } else {
            Ratio(1.0)
        }
    }
}

impl Halves {
    /// The half that goes by meaning, as a query of a federated search that counts: not by meaning alone, so that nodes see it
    /// go together with queries by words as the client's does.
    pub fn counting_body(&self, part: Part) -> Vec<u8> {
        let mut body = self.meaning.node_body.federated_query(part);
        body.matching_strategy = self.strategy.clone();
        if let Some(hybrid) = &mut body.hybrid {
            hybrid.semantic_ratio = Some(NEARLY_ALL_MEANING);
        }
        serialise(&body)
    }

    /// `weight` is that of the query in a federated search.
    pub fn mix(&self, version: Version, weight: f64) -> Mix<'_> {
        Mix {
            ratio: self.ratio,
            primary_key: &self.primary_key,
            finds_all: self.meaning.node_body.ranking_score_threshold.is_none(),
            turns: version < TURNS_BEFORE,
            distinct_again: version >= BLANK_IS_NO_QUERY_SINCE,
            weight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    fn body(body: Value) -> SearchBody {
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn kinds_are_meilisearchs() {
        let (old, new) = ((1, 15, 1), (1, 50, 0));
        let hybrid = |ratio: f32| json!({"embedder": "e", "semanticRatio": ratio});
        for (search, kinds) in [
            (json!({"q": "a"}), [Kind::Words, Kind::Words]),
            (
                json!({"q": "a", "hybrid": hybrid(0.0), "vector": [1]}),
                [Kind::Words, Kind::Words],
            ),
            (
                json!({"q": " ", "hybrid": hybrid(1.0)}),
                [Kind::Words, Kind::Words],
            ),
            (
                json!({"hybrid": hybrid(0.5), "vector": null}),
                [Kind::Words, Kind::Words],
            ),
            (
                json!({"q": "a", "hybrid": hybrid(1.0)}),
                [Kind::Meaning, Kind::Meaning],
            ),
            (
                json!({"hybrid": hybrid(0.5), "vector": [1]}),
                [Kind::Meaning, Kind::Meaning],
            ),
            (
                json!({"q": "", "hybrid": hybrid(0.5), "vector": [1]}),
                [Kind::Both(0.5), Kind::Meaning],
            ),
            (
                json!({"q": "a", "hybrid": {"embedder": "e"}}),
                [Kind::Both(0.5), Kind::Both(0.5)],
            ),
            (
                json!({"q": "a", "hybrid": hybrid(0.25), "vector": [1]}),
                [Kind::Both(0.25), Kind::Both(0.25)],
            ),
        ] {
            let body = body(search.clone());
            assert_eq!([body.kind(old), body.kind(new)], kinds, "{search}");
        }
        for odd in [json!(1.5), json!(-0.1), json!(null), json!("1")] {
            let search = json!({"hybrid": {"embedder": "e", "semanticRatio": odd}});
            assert!(serde_json::from_value::<SearchBody>(search).is_err());
        }
    }

    #[test]
    fn a_score_that_is_not_shown_is_asked_for() {
        let asked_aside = |rules: &[&str], sort: Value, aside: bool| {
            let search =
                body(json!({"q": "a", "vector": [1], "hybrid": {"embedder": "e"}, "sort": sort}));
            let settings = SearchSettings {
                ranking_rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
                ..SearchSettings::default()
            };
            let planned = search.plan_by_both(0.5, Some("id"), aside, &settings);
            let (words, halves) = planned.map_err(|unsupported| unsupported.0).unwrap();
            let reveals = words.reveal.is_some();
            assert_eq!(reveals, halves.meaning.reveal.is_some());
            reveals
        };
        let by_price = || json!(["price:asc"]);
        assert!(asked_aside(&["words", "sort", "typo"], by_price(), true));
        assert!(asked_aside(&["words", "a:asc", "typo"], json!(null), true));
        assert!(!asked_aside(&["words", "sort", "typo"], by_price(), false));
        assert!(!asked_aside(&["words", "sort", "typo"], json!([]), true));
        assert!(!asked_aside(&["sort", "words", "typo"], by_price(), true));
        assert!(!asked_aside(
            &["words", "typo", "sort", "a:desc"],
            by_price(),
            true
        ));
    }

    #[test]
    fn a_hybrid_search_is_asked_as_two() {
        let search = body(
            json!({"q": "a", "vector": [1], "hybrid": {"embedder": "e"}, "offset": 5, "limit": 0,
            "attributesToRetrieve": ["title"]}),
        );
        let (words, halves) = search
            .plan_by_both(0.5, Some("sku"), false, &SearchSettings::default())
            .map_err(|unsupported| unsupported.0)
            .unwrap();
        assert_eq!(words.strip_fields, ["sku"]);
        assert!(!words.show_score && !words.show_details);
        let asked = |planned: &PlannedSearch| serde_json::to_value(&planned.node_body).unwrap();
        let both = json!({"q": "a", "limit": 5, "attributesToRetrieve": ["title", "sku"],
            "showRankingScore": true, "showRankingScoreDetails": true});
        assert_eq!(asked(&words), both);
        let meaning = asked(&halves.meaning);
        assert_eq!(
            meaning["hybrid"],
            json!({"embedder": "e", "semanticRatio": 1.0})
        );
        assert_eq!(meaning["limit"], 5);
    }
}
