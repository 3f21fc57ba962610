//! `matchingStrategy: frequency`, decided once for the whole cluster.
//!
//! A node would let those of a query's words be missing that are frequent in its own documents. So all nodes are asked first in
//! how many documents each word is found ([`known`]), and then, in one request, for each set of words that may be missing. A missing word
//! is replaced by a negative one that no document has: it keeps the other words' positions and is nothing else. `merge`
//! makes one list of the answers.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use miroir_merge::{missing_beside, missing_words, Counts, Levels};
use miroir_router::{Index, Query, SearchSettings};
use serde_json::value::to_raw_value;

use super::request::{ask_for_any, PlannedSearch, SearchBody};
use super::rule_kinds::{rule_kinds, RuleKind};
use crate::core::App;
use crate::scatter::Ask;

mod known;

pub use known::decide;
use known::Known;

/// Searches a client search becomes at most. Each costs nodes a few times what one node needs for all of it; so many takes a title of eight words
/// that is searched as it is written (docs/exactness.md, "Words that may be missing").
const MAX_SETS: usize = 64;
/// Scores that nodes compare with a threshold come out of other divisions than the threshold that they are given.
const THRESHOLD_MARGIN: f64 = 1e-9;

/// A search whose frequent words may be missing.
pub struct Frequency {
    settings: Arc<SearchSettings>,
    query: Query,
    /// Those that the request names.
    locales: Vec<String>,
    /// Each word that may be missing, by its place among the terms, and a query for it alone.
    words: Vec<(usize, String)>,
    /// Words that may be written as one.
    joined: Vec<Joined>,
    /// Where words stand among the ranking rules; `None`: no rule goes by them, so that all that matches ties there.
    rule: Option<WordsRule>,
    /// A negative word can stand for one that is missing, so that all others keep their places.
    has_negatives: bool,
    threshold: Option<f64>,
    /// Scores are shown, which tell how many words are missing of how many that may be.
    tells: bool,
    primary_key: String,
    /// What nodes are asked, and without how many words. Until frequencies are known, and where they cannot be, nothing: then
    /// nodes are asked as the client asks, and each decides for itself.
    searches: Vec<SearchBody>,
    missing: Vec<u64>,
    /// The most typos in what each asks for, where no words stand as one.
    most_typos: Vec<u64>,
    /// The last of them only counts.
    last_counts: bool,
    /// It lists hits even so, because what `distinct` leaves can only be counted by these.
    counts_by_list: bool,
    /// What any of these finds counts; the first is the last of the searches.
    counted: Vec<SearchBody>,
    /// Scores tell how many words match of so many.
    max: u64,
}

/// Neighbouring words, by their places among the terms.
struct Joined {
    terms: Range<usize>,
    /// A query for them.
    text: String,
    /// One for documents that have them as one and would not count otherwise; `None`: there may be some.
    alone: Option<String>,
}

/// The place of `words` among the steps of the ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
struct WordsRule {
    steps_before: usize,
    /// No rule that counts in scores stands right behind it: scores end with the first rule that sorts.
    ends_score: bool,
}

/// A search that goes by frequencies, which are not known yet.
pub struct Undecided<'s> {
    pub index: &'s Index,
    pub planned: &'s mut PlannedSearch,
    pub frequency: &'s mut Frequency,
}

impl Frequency {
    /// Of a planned search by words, whose hits show the primary key; `by_scores`: it is these that order them, as nodes tell them. `None`:
    /// nothing is to be decided, or nodes have to.
    pub fn of(
        index: &Index,
        primary_key: &str,
        planned: &PlannedSearch,
        by_scores: bool,
    ) -> Option<Self> {
        let (settings, body) = (&index.settings, &planned.node_body);
        if !body.goes_by_frequency() {
            return None;
        }
        let (query, locales) = body.read_words(settings)?;
        let part = |terms| query.part(terms, &settings.words, &locales);
        let alone = |at| Some((at, part(at..at + 1)?));
        let words: Vec<(usize, String)> = query.words().map(alone).collect::<Option<_>>()?;
        let joined = |terms: Range<usize>| {
            Some(Joined {
                text: part(terms.clone())?,
                alone: query.joined(terms.clone(), &settings.words, &locales),
                terms,
            })
        };
        let joined: Vec<Joined> = query.joinable().map(joined).collect::<Option<_>>()?;
        // The last one stays, where nothing else does.
        if words.is_empty() || query.terms.len() < 2 {
            return None;
        }
        let threshold = match &body.ranking_score_threshold {
            Some(threshold) => Some(serde_json::from_str(threshold.get()).ok()?),
            None => None,
        };
        // Another one is for nodes to refuse.
        if threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
            return None;
        }
        let rule = words_rule(settings, body.sort.as_deref().unwrap_or_default());
        let has_negatives = settings.words.has_negatives(&query, &locales);
        // What is behind a word that is left out would rank by another place.
        if !has_negatives && rule.is_some_and(|rule| rule.steps_before > 0) {
            return None;
        }
        // Scores order what is counted by itself.
        let counts_by_list = planned.distinct.is_some()
            && planned.counting.is_none()
            && !planned.has_no_hits()
            && threshold.is_none()
            && !by_scores;
        Some(Frequency {
            settings: Arc::clone(settings),
            query,
            locales,
            words,
            joined,
            rule,
            has_negatives,
            threshold,
            tells: by_scores || planned.show_score || planned.show_details,
            primary_key: primary_key.to_owned(),
            searches: Vec::new(),
            missing: Vec::new(),
            most_typos: Vec::new(),
            last_counts: false,
            counts_by_list,
            counted: Vec::new(),
            max: 0,
        })
    }

    /// The sets of words that may be missing; `None`: they are more than `max`.
    fn sets(&self, known: &Known, max: usize) -> Option<Vec<Vec<usize>>> {
        missing_words(
            &known.frequencies,
            self.query.has_phrases(),
            &known.apart,
            max,
        )
    }

    /// Makes the searches for each set of words.
    fn settle(&mut self, known: &Known, planned: &mut PlannedSearch) {
        let Some(mut sets) = self.sets(known, MAX_SETS) else {
            return;
        };
        let most = sets.last().map_or(0, Vec::len);
        // As milli counts: the words of phrases, and those that may be missing; one counts where all others may.
        self.max = (most + self.query.words_in_phrases().max(1)) as u64;
        if self.rule.is_none() {
            sets.drain(..sets.len() - 1);
        }
        let Some(counted) = self.counted_for(&sets, &known.joined, planned) else {
            return;
        };
        let most = sets.last().map_or(&[][..], Vec::as_slice);
        self.last_counts =
            self.threshold.is_some() || self.shows_missing(most) || counted.len() > 1;
        let beside = match self.rule {
            _ if planned.has_no_hits() => Vec::new(),
            Some(_) if !self.has_negatives => Vec::new(),
            Some(_) => self.searches_beside(known, &sets, planned),
            // All that counts ties.
            None => counted[1..]
                .iter()
                .map(|search| (most.to_vec(), for_hits(search.clone())))
                .collect(),
        };
        let Some(searches) = self.searches_for(&sets, beside, &counted, planned) else {
            return;
        };
        match &mut planned.counting {
            Some(_) if self.threshold.is_some() => planned.counting = None,
            Some(counting) => counting.ask_as(&counted),
            None => {}
        }
        self.missing = searches.iter().map(|(set, _)| set.len() as u64).collect();
        if known.joined.is_empty() {
            let most = searches.iter().map(|(set, _)| self.most_typos(set));
            self.most_typos = most.collect();
        }
        self.searches = searches.into_iter().map(|(_, search)| search).collect();
        self.counted = counted;
    }

    /// The most typos that one node counts without these words.
    fn most_typos(&self, missing: &[usize]) -> u64 {
        let words = self.words.iter().enumerate();
        let left = words.filter(|(word, _)| !missing.contains(word));
        left.map(|(_, (term, _))| self.query.most_typos(*term, &self.settings.words))
            .sum()
    }

    /// The search without the most words, which finds what any other does, but for documents in which words stand as one that are not all
    /// missing: milli lets those go with their rarest word, so they are looked for besides (`query_graph.rs`,
    /// `removal_order_for_terms_matching_strategy`).
    fn counted_for(
        &self,
        sets: &[Vec<usize>],
        joined: &[Range<usize>],
        planned: &PlannedSearch,
    ) -> Option<Vec<SearchBody>> {
        let most = sets.last()?;
        let mut counted = vec![most.clone()];
        for terms in joined {
            let apart = most.iter().copied();
            let apart: Vec<usize> = apart
                .filter(|word| !terms.contains(&self.words[*word].0))
                .collect();
            let are_all_missing = most.len() - apart.len() == terms.len();
            if !are_all_missing && !counted.contains(&apart) {
                counted.push(apart);
            }
        }
        let search = |set: &Vec<usize>| self.asked(set, planned);
        counted.iter().map(search).collect()
    }

    /// The searches for documents in which words stand as one where further words would be missing if they did not: milli lets words that stand
    /// as one go with the rarest of them. They are looked for as one, too, as they are written, for documents that have them apart do lack
    /// further words.
    fn searches_beside(
        &self,
        known: &Known,
        sets: &[Vec<usize>],
        planned: &PlannedSearch,
    ) -> Vec<(Vec<usize>, SearchBody)> {
        let words = &self.settings.words;
        let mut beside = Vec::new();
        for terms in &known.joined {
            let of_words = |end: usize| self.words.partition_point(|(term, _)| *term < end);
            let places = of_words(terms.start)..of_words(terms.end);
            let (often, apart) = (&known.frequencies, &known.apart);
            let sets_beside =
                missing_beside(often, places, self.query.has_phrases(), apart, MAX_SETS);
            for missing in sets_beside.unwrap_or_default() {
                let search = || {
                    let threshold = self.threshold_without(missing.len())?;
                    let search = self.asked(&missing, planned)?;
                    let read = words.read(search.q.as_deref()?, &self.locales)?;
                    let q = read.beside_joined(&self.query, terms.clone(), words, &self.locales);
                    Some(SearchBody {
                        q: Some(q?),
                        ..with_threshold(search, threshold)
                    })
                };
                if !sets.contains(&missing) {
                    beside.extend(search().map(|search| (missing, for_hits(search))));
                }
            }
        }
        beside.sort_by_key(|(missing, _)| missing.len());
        beside.truncate(MAX_SETS);
        beside
    }

    /// The searches for the hits of each set and `beside` them, and at last the one that counts: that of the last set, if it does not only count.
    /// `None`: in this query no other word can stand.
    fn searches_for(
        &self,
        sets: &[Vec<usize>],
        beside: Vec<(Vec<usize>, SearchBody)>,
        counted: &[SearchBody],
        planned: &PlannedSearch,
    ) -> Option<Vec<(Vec<usize>, SearchBody)>> {
        let (most, fewer) = sets.split_last()?;
        let listed = match self.last_counts {
            _ if planned.has_no_hits() => &[],
            true => sets,
            false => fewer,
        };
        let mut searches = Vec::with_capacity(sets.len() + 1);
        for set in listed {
            let Some(threshold) = self.threshold_without(set.len()) else {
                continue;
            };
            let search = match self.shows_missing(set) {
                true => self.asked_showing(set, planned)?,
                false => with_threshold(self.asked(set, planned)?, threshold),
            };
            searches.push((set.clone(), for_hits(search)));
        }
        searches.extend(beside);
        let mut last = counted.first()?.clone();
        if self.last_counts && !self.counts_by_list {
            (last.limit, last.hits_per_page) =
                (last.limit.map(|_| 0), last.hits_per_page.map(|_| 0));
        }
        searches.push((most.clone(), last));
        Some(searches)
    }

    /// A search without some of the words, and without a threshold.
    fn asked(&self, missing: &[usize], planned: &PlannedSearch) -> Option<SearchBody> {
        let words = &self.settings.words;
        let text = words.leave_out(&self.query, &self.terms(missing), &self.locales)?;
        Some(self.asked_as(text, "all", planned))
    }

    /// The same where nodes see that words are missing, and let further ones be.
    fn asked_showing(&self, missing: &[usize], planned: &PlannedSearch) -> Option<SearchBody> {
        let words = &self.settings.words;
        let text = words.make_unknown(&self.query, &self.terms(missing), &self.locales)?;
        Some(self.asked_as(text, "frequency", planned))
    }

    fn asked_as(&self, text: String, strategy: &str, planned: &PlannedSearch) -> SearchBody {
        let body = planned.node_body.clone();
        SearchBody {
            q: Some(text),
            matching_strategy: to_raw_value(strategy).ok(),
            ranking_score_threshold: None,
            show_ranking_score: body.show_ranking_score.or(self.retells().then_some(true)),
            ..body
        }
    }

    /// The words' places among the terms.
    fn terms(&self, words: &[usize]) -> Vec<usize> {
        let terms = words
            .iter()
            .filter_map(|word| Some(self.words.get(*word)?.0));
        terms.collect()
    }

    /// The threshold for a search without so many words, which nodes compare with what the rules behind `words` leave of a score;
    /// `None`: no hit passes it. A score is `(rank - 1 + rest) / max` (milli `score_details.rs`, `Rank::merge`).
    fn threshold_without(&self, missing: usize) -> Option<f64> {
        let (Some(threshold), Some(rule)) = (self.threshold, self.rule) else {
            return Some(0.0);
        };
        let max = self.max as f64;
        let rest = threshold * max - (max - missing as f64 - 1.0);
        if rest > 1.0 + THRESHOLD_MARGIN {
            return None;
        }
        let counts = !rule.ends_score && rest > THRESHOLD_MARGIN;
        Some(if counts { rest - THRESHOLD_MARGIN } else { 0.0 })
    }

    /// Whether nodes must see that words are missing: because scores are told, which rest on what `words` has left of a query; or because of
    /// milli's `exactness`: to that no attribute begins with a query that lacks a word before another, and a negative word is none
    /// that lacks. Where nodes decide, the same search goes on with further words missing: that comes behind where no rule goes
    /// before `words`, and [`miroir_merge::merge_levels`] leaves it out.
    fn shows_missing(&self, missing: &[usize]) -> bool {
        let last = (0..self.query.terms.len()).rev().find(|at| {
            let word = self.words.iter().position(|(term, _)| term == at);
            word.is_none_or(|word| !missing.contains(&word))
        });
        let mut terms = self.terms(missing).into_iter();
        let comes_first = self.rule.is_some_and(|rule| rule.steps_before == 0);
        comes_first && (self.retells() || terms.any(|term| Some(term) < last))
    }

    /// Whether nodes do not tell scores as one node would.
    fn retells(&self) -> bool {
        self.rule.is_some() && (self.tells || self.threshold.is_some())
    }

    /// What nodes are asked; nothing: as the client asks.
    pub fn searches(&self) -> &[SearchBody] {
        &self.searches
    }

    /// How nodes are asked.
    pub fn asks<'a>(
        &'a self,
        planned: &'a PlannedSearch,
        app: &'a App,
        index: &'a Index,
    ) -> impl Iterator<Item = Ask<'a>> {
        let joint = self.counted.len() > 1;
        let listing = if joint {
            self.listing()
        } else {
            &self.searches
        };
        let asks = listing
            .iter()
            .map(move |body| planned.ask_as(body, app, index));
        asks.chain(joint.then(|| ask_for_any(self.counted().into(), app, index)))
    }

    /// Searches of which any finds what counts.
    pub fn counted(&self) -> &[SearchBody] {
        &self.counted
    }

    /// Those of them that list hits.
    pub fn listing(&self) -> &[SearchBody] {
        match self.searches.split_last() {
            Some((_, others)) if self.last_counts => others,
            _ => &self.searches,
        }
    }

    /// Of the answers to [`Frequency::searches`], those that make one list.
    pub fn merged<'a>(&self, answers: &'a [Vec<Bytes>]) -> &'a [Vec<Bytes>] {
        match answers.split_last() {
            Some((_, others)) if self.last_counts && self.counts_by_list => others,
            _ => answers,
        }
    }

    /// And what they count, where it takes another list.
    pub fn counts<'a>(&self, answers: &'a [Vec<Bytes>]) -> Option<Counts<'a>> {
        let answers = answers.get(self.searches.len().checked_sub(1)?)?;
        self.counts_by_list.then_some(Counts::Listed { answers })
    }

    pub fn levels(&self) -> Levels<'_> {
        Levels {
            missing: &self.missing,
            most_typos: &self.most_typos,
            steps_before: self.rule.map_or(0, |rule| rule.steps_before),
            primary_key: &self.primary_key,
            threshold: self.threshold,
            words_max: self.rule.map(|_| self.max),
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

/// Where `words` stands: milli has it before the first rule that goes by words (`search/new/mod.rs`,
/// `get_ranking_rules_for_query_graph_search`). `None`: no rule does.
fn words_rule(settings: &SearchSettings, sort: &[String]) -> Option<WordsRule> {
    let gives_score = |kind: &RuleKind| *kind == RuleKind::Score;
    let kinds = rule_kinds(settings, sort, true);
    let steps_before = kinds.iter().position(gives_score)?;
    let others = rule_kinds(settings, sort, false);
    Some(WordsRule {
        steps_before,
        ends_score: !others.get(steps_before).is_some_and(gives_score),
    })
}

/// A search whose hits alone matter.
fn for_hits(search: SearchBody) -> SearchBody {
    SearchBody {
        facets: None,
        ..search
    }
}

fn with_threshold(search: SearchBody, threshold: f64) -> SearchBody {
    let threshold = Some(threshold).filter(|threshold| *threshold > 0.0);
    SearchBody {
        ranking_score_threshold: threshold.and_then(|threshold| to_raw_value(&threshold).ok()),
        ..search
    }
}

#[cfg(test)]
mod tests {
    use miroir_router::{MISSING, UNKNOWN};

    use super::*;

    fn frequency(query: &str, threshold: Option<f64>, ranking: &[&str]) -> Frequency {
        let settings = SearchSettings {
            ranking_rules: ranking.iter().map(|rule| rule.to_string()).collect(),
            ..SearchSettings::default()
        };
        let query = settings.words.read(query, &[]).unwrap();
        let words = query.words().map(|at| (at, String::new())).collect();
        Frequency {
            rule: words_rule(&settings, &[]),
            settings: Arc::new(settings),
            query,
            locales: Vec::new(),
            words,
            joined: Vec::new(),
            has_negatives: true,
            threshold,
            tells: false,
            primary_key: "id".into(),
            searches: Vec::new(),
            missing: Vec::new(),
            most_typos: Vec::new(),
            last_counts: false,
            counts_by_list: false,
            counted: Vec::new(),
            max: 0,
        }
    }

    /// Query, strategy and threshold of each search.
    fn settled(
        mut frequency: Frequency,
        frequencies: &[u64],
    ) -> Vec<(String, String, Option<f64>)> {
        let body = SearchBody {
            q: Some("any".into()),
            ..SearchBody::default()
        };
        let planned = body.plan(&SearchSettings::default());
        let mut planned = planned.map_err(|unsupported| unsupported.0).unwrap();
        let known = Known {
            frequencies: frequencies.to_vec(),
            joined: Vec::new(),
            apart: Vec::new(),
        };
        frequency.settle(&known, &mut planned);
        let told = |search: &SearchBody| {
            let threshold = search.ranking_score_threshold.as_ref();
            (
                search.q.clone().unwrap(),
                search.matching_strategy.as_ref().unwrap().get().to_owned(),
                threshold.map(|threshold| threshold.get().parse().unwrap()),
            )
        };
        frequency.searches.iter().map(told).collect()
    }

    #[test]
    fn a_search_for_each_set_of_words() {
        let all = "\"all\"".to_owned();
        let gap = "\"frequency\"".to_owned();
        assert_eq!(
            settled(frequency("fox the", None, &["words"]), &[1, 2]),
            [
                ("fox the".into(), all.clone(), None),
                (format!("fox {MISSING}"), all.clone(), None),
            ]
        );
        // The last one only counts.
        assert_eq!(
            settled(frequency("the fox", None, &["words"]), &[2, 1]),
            [
                ("the fox".into(), all.clone(), None),
                (format!("{UNKNOWN} fox"), gap.clone(), None),
                (format!("{MISSING} fox"), all.clone(), None),
            ]
        );
        assert_eq!(
            settled(frequency("the fox", None, &["a:asc", "words"]), &[2, 1]).len(),
            2
        );
        assert_eq!(
            settled(frequency("the fox", None, &["a:asc"]), &[2, 1]).len(),
            1
        );
        let with_phrase = settled(frequency("fox \"a b\"", None, &["words"]), &[1]);
        assert_eq!(with_phrase[1].0, format!("{UNKNOWN} \"a b\""));
    }

    #[test]
    fn a_threshold_is_for_what_words_leave_of_a_score() {
        let rules = &["a:asc", "words", "typo"];
        let searches = settled(frequency("fox the", Some(0.6), rules), &[1, 2]);
        let near = |told: Option<f64>, threshold: f64| (told.unwrap() - threshold).abs() < 1e-6;
        // 1 and what is left of 2; no score without a word reaches it. The last one counts.
        assert!(near(searches[0].2, 0.2));
        assert_eq!((searches.len(), searches[1].2), (2, None));
        let searches = settled(frequency("fox the", Some(0.25), rules), &[1, 2]);
        assert_eq!((searches.len(), searches[0].2), (3, None));
        assert!(near(searches[1].2, 0.5));
        // Scores end with the words.
        let rules = &["a:asc", "words", "b:asc", "typo"];
        let searches = settled(frequency("fox the", Some(0.5), rules), &[1, 2]);
        assert_eq!((searches.len(), searches[1].2), (3, None));
        // Scores are told by nodes.
        let searches = settled(frequency("fox the", Some(0.6), &["words"]), &[1, 2]);
        assert_eq!((searches.len(), searches[0].2), (2, None));
        assert_eq!(searches[0].1, "\"frequency\"");
    }

    #[test]
    fn words_stand_before_the_first_rule_that_goes_by_them() {
        let rule = |rules: &[&str], sort: &[&str]| {
            let settings = SearchSettings {
                ranking_rules: rules.iter().map(|rule| rule.to_string()).collect(),
                ..SearchSettings::default()
            };
            let sort: Vec<String> = sort.iter().map(|rule| rule.to_string()).collect();
            let rule = words_rule(&settings, &sort)?;
            Some((rule.steps_before, rule.ends_score))
        };
        assert_eq!(rule(&["words", "sort"], &["a:asc"]), Some((0, true)));
        let rules = ["a:desc", "sort", "b:asc", "typo", "words"];
        assert_eq!(
            rule(&rules, &["a:asc", "c:asc", "_geoPoint(1,2):asc"]),
            Some((4, false))
        );
        assert_eq!(rule(&["sort", "a:asc"], &[]), None);
        let rules = ["sort", "words", "a:asc", "typo"];
        assert_eq!(rule(&rules, &["a:desc"]), Some((1, false)));
        assert_eq!(rule(&rules, &[]), Some((0, true)));
        assert_eq!(rule(&["words"], &[]), Some((0, true)));
    }
}
