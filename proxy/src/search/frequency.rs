//! `matchingStrategy: frequency`, decided once for the whole cluster.
//!
//! A node would let those of a query's words be missing that are frequent in its own documents. So all nodes are asked first in
//! how many documents each word is found, and then, in one request, for each set of words that may be missing. A missing word
//! is replaced by a negative one that no document has: it keeps the other words' positions and is nothing else. `merge`
//! makes one list of the answers.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use bytes::Bytes;
use miroir_api::SHARD_FIELD;
use miroir_merge::{missing_words, Levels};
use miroir_router::{Index, RoutingTable, SearchSettings};
use serde::Deserialize;
use serde_json::value::to_raw_value;

use super::counting::{bare, Counting};
use super::request::{bytes_for, PlannedSearch, SearchBody};
use crate::core::App;
use crate::scatter::{Ask, Gathered, Leg, Wanted};

/// Searches a client search becomes at most.
const MAX_SETS: usize = 9;
/// milli looks at so many words of a query.
const MAX_WORDS: usize = 10;
/// What may stand behind a word and is no part of it.
const PUNCTUATION: [char; 6] = [':', ',', ';', '!', '?', '.'];
/// Longer words are none to milli.
const MAX_WORD_BYTES: usize = 200;
/// No document holds it, as near as can be. Negative, so that nothing else of the query changes.
const MISSING: &str = "-zqxjkvbwpfzqxjkvbwpf";
/// The same where nodes are to see that a word is missing: they let this one be missing first of all.
const UNKNOWN: &str = "zqxjkvbwpfzqxjkvbwpf";

/// A search whose frequent words may be missing.
pub struct Frequency {
    /// Where the words stand in the query.
    words: Vec<Range<usize>>,
    /// `None`: no rule goes by words, so that all that matches ties there.
    steps_before: Option<usize>,
    /// Scores are shown, which tell how many words are missing of how many that may be.
    tells: bool,
    primary_key: String,
    /// What nodes are asked, and without how many words. Until frequencies are known, and where they cannot be, nothing: then
    /// nodes are asked as the client asks, and each decides for itself.
    searches: Vec<SearchBody>,
    missing: Vec<u64>,
}

/// A search that goes by frequencies, which are not known yet.
pub struct Undecided<'s> {
    pub index: &'s Index,
    pub planned: &'s mut PlannedSearch,
    pub frequency: &'s mut Frequency,
}

/// Asks for frequencies and decides by them what nodes are asked. Where that fails the search itself will tell why.
pub async fn decide(app: &App, table: &RoutingTable, mut searches: Vec<Undecided<'_>>) {
    let questions: Vec<Vec<SearchBody>> = searches
        .iter()
        .map(|search| search.frequency.questions(search.planned, app))
        .collect();
    let legs: Vec<Leg> = searches
        .iter()
        .zip(&questions)
        .flat_map(|(search, questions)| {
            let (index, seed) = (search.index, search.planned.seed());
            questions.iter().map(move |question| Leg {
                wanted: Wanted {
                    index,
                    only: None,
                    seed,
                },
                ask: Ask::Search(Box::new(move |target, _| bytes_for(question, target))),
            })
        })
        .collect();
    if legs.is_empty() {
        return;
    }
    let Ok(gathered) = app.run_legs(table, &legs).await else {
        return;
    };
    drop(legs);
    let mut gathered = gathered.into_iter();
    for (search, questions) in searches.iter_mut().zip(questions) {
        let answers = gathered.by_ref().take(questions.len());
        let values_max = search.index.settings.node_values_per_facet;
        let frequencies: Option<Vec<u64>> =
            answers.map(|answer| count(&answer, values_max)).collect();
        if let Some(frequencies) = frequencies {
            search.frequency.settle(&frequencies, search.planned);
        }
    }
}

impl Frequency {
    /// Of a planned search by words, whose hits show the primary key; `by_scores`: it is these that order them. `None`: nothing is to be
    /// decided, or nodes have to.
    pub fn of(
        index: &Index,
        primary_key: &str,
        planned: &PlannedSearch,
        by_scores: bool,
    ) -> Option<Self> {
        let (settings, body) = (&index.settings, &planned.node_body);
        if !body.goes_by_frequency() || !settings.plain_words {
            return None;
        }
        let words = plain_words(body.q.as_deref()?, &settings.stop_words)?;
        let steps_before = steps_before_words(settings, body.sort.as_deref().unwrap_or_default());
        let tells = by_scores || planned.show_score || planned.show_details;
        // Nodes compare scores with a threshold that are not one node's, and these can be told anew where `words` comes first.
        if body.ranking_score_threshold.is_some() || (tells && steps_before != Some(0)) {
            return None;
        }
        let counts_groups = planned.counting.is_some() || planned.has_no_hits();
        if planned.distinct.is_some() && !counts_groups {
            return None;
        }
        Some(Frequency {
            words,
            steps_before,
            tells,
            primary_key: primary_key.to_owned(),
            searches: Vec::new(),
            missing: Vec::new(),
        })
    }

    /// Searches for each word alone.
    fn questions(&self, planned: &PlannedSearch, app: &App) -> Vec<SearchBody> {
        let body = &planned.node_body;
        // Nodes that cut totals tell them by a facet.
        let facets = super::caps_totals(app.newest().lowest_version())
            .then(|| to_raw_value(&[SHARD_FIELD]).ok())
            .flatten();
        let query = &planned.query;
        self.words
            .iter()
            .map(|word| SearchBody {
                // With what stands behind it, so that only a last word may be the beginning of one.
                q: query
                    .get(word.start..query.len().min(word.end + 1))
                    .map(str::to_owned),
                matching_strategy: to_raw_value("all").ok(),
                facets: facets.clone(),
                filter: None,
                ..bare(body)
            })
            .collect()
    }

    /// Makes the searches for each set of words.
    fn settle(&mut self, frequencies: &[u64], planned: &mut PlannedSearch) {
        let Some(mut sets) = missing_words(frequencies, MAX_SETS) else {
            return;
        };
        let Some(most) = sets.pop() else {
            return;
        };
        if self.steps_before.is_none() {
            sets.clear();
        }
        let asked = |missing: &[usize], with: &str, strategy: &str| SearchBody {
            q: Some(self.replaced(&planned.query, missing, with)),
            matching_strategy: to_raw_value(strategy).ok(),
            ..planned.node_body.clone()
        };
        let mut widest = asked(&most, MISSING, "all");
        if let Some(counting) = &mut planned.counting {
            counting.ask_as(&widest);
        }
        if self.shows_missing(&most) && !planned.has_no_hits() {
            // Then this one only counts.
            (widest.limit, widest.hits_per_page) =
                (widest.limit.map(|_| 0), widest.hits_per_page.map(|_| 0));
            sets.push(most.clone());
        }
        let mut searches: Vec<SearchBody> = sets
            .iter()
            .map(|set| SearchBody {
                facets: None,
                ..match self.shows_missing(set) {
                    true => asked(set, UNKNOWN, "frequency"),
                    false => asked(set, MISSING, "all"),
                }
            })
            .collect();
        searches.push(widest);
        sets.push(most);
        self.missing = sets.iter().map(|set| set.len() as u64).collect();
        self.searches = searches;
    }

    /// Whether nodes must see that words are missing, because it shows in scores, or because of milli's `exactness`: to that no attribute
    /// begins with a query that lacks a word before another, and a negative word is none that lacks. Where nodes decide, the same
    /// search goes on with further words missing: that comes behind where no rule goes before `words`, and
    /// [`miroir_merge::merge_levels`] leaves it out.
    fn shows_missing(&self, missing: &[usize]) -> bool {
        let gap =
            |word: &usize| (word + 1..self.words.len()).any(|later| !missing.contains(&later));
        self.steps_before == Some(0) && (self.tells || missing.iter().any(gap))
    }

    /// The query with something else in the place of some words.
    fn replaced(&self, query: &str, words: &[usize], with: &str) -> String {
        let mut text = query.to_owned();
        for &word in words.iter().rev() {
            if let Some(place) = self.words.get(word) {
                text.replace_range(place.clone(), with);
            }
        }
        text
    }

    /// What nodes are asked; nothing: as the client asks. The last one counts.
    pub fn searches(&self) -> &[SearchBody] {
        &self.searches
    }

    /// Those of them that list hits.
    pub fn listing(&self) -> &[SearchBody] {
        match self.searches.split_last() {
            Some((last, others)) if last.has_no_hits() => others,
            _ => &self.searches,
        }
    }

    pub fn levels(&self) -> Levels<'_> {
        Levels {
            missing: &self.missing,
            steps_before: self.steps_before.unwrap_or(0),
            primary_key: &self.primary_key,
        }
    }
}

impl PlannedSearch {
    fn has_no_hits(&self) -> bool {
        self.node_body.has_no_hits()
    }
}

impl SearchBody {
    /// Whether frequent words may be missing.
    pub fn goes_by_frequency(&self) -> bool {
        let strategy = self.matching_strategy.as_ref();
        strategy.is_some_and(|strategy| strategy.get() == "\"frequency\"")
    }

    fn has_no_hits(&self) -> bool {
        self.limit == Some(0)
    }
}

impl Counting {
    /// Counts for another query.
    fn ask_as(&mut self, body: &SearchBody) {
        for search in self.searches_mut() {
            search.q.clone_from(&body.q);
            search.matching_strategy.clone_from(&body.matching_strategy);
        }
    }
}

/// Where the words stand in a query of two or more that only spaces, and punctuation before these, part, and whose words are the same to
/// every tokenizer. Stop words are none, but a last one, which may be the beginning of a word.
fn plain_words(query: &str, stop_words: &[String]) -> Option<Vec<Range<usize>>> {
    // Others would have to be normalised as milli does; a word of a query is one as it is written.
    let is_ascii = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_small =
        |word: &String| is_ascii(word) && !word.bytes().any(|byte| byte.is_ascii_uppercase());
    if !stop_words.iter().all(is_small) {
        return None;
    }
    let mut words = Vec::new();
    let mut start = 0;
    for part in query.split(' ') {
        let word = part.trim_end_matches(PUNCTUATION);
        let end = start + word.len();
        let is_stop_word = || end < query.len() && stop_words.iter().any(|stop| stop == word);
        if !word.is_empty() {
            let same_to_all = is_plain(word) && (stop_words.is_empty() || is_ascii(word));
            if word.len() > MAX_WORD_BYTES || !same_to_all {
                return None;
            }
            if !is_stop_word() {
                words.push(start..end);
            }
        }
        start += part.len() + 1;
    }
    (2..=MAX_WORDS).contains(&words.len()).then_some(words)
}

/// Latin letters and digits, without a capital behind a small letter, which would begin a word.
fn is_plain(word: &str) -> bool {
    let latin = |c: char| c <= '\u{24F}' || ('\u{1E00}'..='\u{1EFF}').contains(&c);
    let mut small = false;
    word.chars().all(|c| {
        let begins = small && c.is_uppercase();
        small = c.is_lowercase();
        c.is_alphanumeric() && latin(c) && !begins
    })
}

/// How many steps of the ranking stand before `words`: milli has it before the first rule that goes by words (`search/new/mod.rs`,
/// `get_ranking_rules_for_query_graph_search`). `None`: no rule does.
fn steps_before_words(settings: &SearchSettings, sort: &[String]) -> Option<usize> {
    let rules = &settings.ranking_rules;
    let first = rules
        .iter()
        .position(|rule| rule != "sort" && !rule.contains(':'))?;
    let mut fields = HashSet::new();
    for rule in &rules[..first] {
        let criteria = if rule == "sort" {
            sort
        } else {
            std::slice::from_ref(rule)
        };
        fields.extend(criteria.iter().map(|criterion| {
            let (field, _) = criterion.rsplit_once(':').unwrap_or((criterion, ""));
            if field.starts_with("_geo") {
                "_geo"
            } else {
                field
            }
        }));
    }
    Some(fields.len())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    estimated_total_hits: u64,
    #[serde(default)]
    facet_distribution: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The documents of all nodes; `None` where some shard is missing.
fn count(gathered: &Gathered, values_max: usize) -> Option<u64> {
    if !gathered.missing.is_empty() {
        return None;
    }
    let of_node = |body: &Bytes| -> Option<u64> {
        let counted: Counted = serde_json::from_slice(body).ok()?;
        let shards = counted.facet_distribution.get(SHARD_FIELD);
        let shards = shards.filter(|shards| shards.len() < values_max);
        Some(shards.map_or(counted.estimated_total_hits, |shards| shards.values().sum()))
    };
    gathered.answers.iter().map(|(_, body)| of_node(body)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_queries_have_words_parted_by_spaces() {
        let plain = |query: &str| plain_words(query, &[]);
        assert_eq!(plain("Red  fox "), Some(vec![0..3, 5..8]));
        assert_eq!(plain(" été NASA"), Some(vec![1..6, 7..11]));
        assert_eq!(
            plain("Spirit: fox, ... b!"),
            Some(vec![0..6, 8..11, 17..18])
        );
        for other in [
            "",
            "one",
            "a/ b",
            "a -b",
            "U.S. b",
            "\"a b\" c",
            "l'an deux",
            "東 京",
            "DragonBall z",
        ] {
            assert_eq!(plain(other), None, "{other}");
        }
        assert_eq!(plain(&"a ".repeat(MAX_WORDS + 1)), None);
    }

    #[test]
    fn stop_words_are_none_but_at_the_end() {
        let words = |query: &str, stop: &[&str]| {
            let stop: Vec<String> = stop.iter().map(|word| word.to_string()).collect();
            plain_words(query, &stop)
        };
        let the = ["the", "of"];
        assert_eq!(words("the end of time", &the), Some(vec![4..7, 11..15]));
        assert_eq!(words("The end", &the), Some(vec![0..3, 4..7]));
        assert_eq!(words("end time the", &the), Some(vec![0..3, 4..8, 9..12]));
        assert_eq!(words("end time the ", &the), Some(vec![0..3, 4..8]));
        assert_eq!(words("end the ", &the), None);
        assert_eq!(words("été red", &the), None);
        assert_eq!(words("end red", &["été"]), None);
        assert_eq!(words("end red", &["The"]), None);
    }

    #[test]
    fn missing_words_keep_their_place() {
        let query = "the red fox";
        let frequency = Frequency {
            words: plain_words(query, &[]).unwrap(),
            steps_before: Some(0),
            tells: false,
            primary_key: "id".into(),
            searches: Vec::new(),
            missing: Vec::new(),
        };
        assert_eq!(frequency.replaced(query, &[], MISSING), query);
        let expected = format!("{MISSING} red {MISSING}");
        assert_eq!(frequency.replaced(query, &[0, 2], MISSING), expected);
        for (missing, shows) in [
            (&[][..], false),
            (&[2], false),
            (&[1, 2], false),
            (&[0], true),
            (&[1], true),
            (&[0, 2], true),
        ] {
            assert_eq!(frequency.shows_missing(missing), shows, "{missing:?}");
        }
    }

    #[test]
    fn words_stand_before_the_first_rule_that_goes_by_them() {
        let steps = |rules: &[&str], sort: &[&str]| {
            let settings = SearchSettings {
                ranking_rules: rules.iter().map(|rule| rule.to_string()).collect(),
                ..SearchSettings::default()
            };
            let sort: Vec<String> = sort.iter().map(|rule| rule.to_string()).collect();
            steps_before_words(&settings, &sort)
        };
        assert_eq!(steps(&["words", "sort"], &["a:asc"]), Some(0));
        let rules = ["a:desc", "sort", "b:asc", "typo", "words"];
        assert_eq!(
            steps(&rules, &["a:asc", "c:asc", "_geoPoint(1,2):asc"]),
            Some(4)
        );
        assert_eq!(steps(&["sort", "a:asc"], &[]), None);
    }
}
