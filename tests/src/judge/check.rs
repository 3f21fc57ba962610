//! What must hold although two answers differ as listed: shown by asking both sides once more, in other words.

use std::collections::{HashMap, HashSet};

use serde_json::{json, Map, Value};

use super::answers;
use super::groups::ranks_of_contents;
use super::known::goes_by_frequency;
use crate::agree::Search;
use crate::ask::{second, Ask, Route};
use crate::compare::canonical;
use crate::http::Target;

/// Two answers to one question.
pub(super) struct Compared<'a> {
    pub index: &'a str,
    pub settings: &'a Map<String, Value>,
    pub ask: &'a Ask,
    /// The node's answer.
    pub left: &'a Value,
    /// The cluster's.
    pub right: &'a Value,
    pub node: &'a Target,
    pub cluster: &'a Target,
}

/// The rules whose word on a document depends on the documents beside it (MEILISEARCH D.21 and D.22).
pub(super) const UNSTEADY: &[&str] = &["proximity", "exactness"];

/// How often a cluster is asked, so that most of the copies answer once.
const COPIES_TRIED: usize = 8;

/// What a search lists of all that it finds.
pub(super) struct Listed {
    pub hits: Vec<Value>,
    pub total: u64,
    /// Whether it lists all.
    pub whole: bool,
}

/// More hits than any index here lists.
pub(super) const ALL: usize = 10_000;
/// `maxTotalHits` where an index has none of its own.
const HITS_MAX: usize = 1000;

impl<'a> Compared<'a> {
    /// The answers to each search on both sides.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a Value, &'a Value)> {
        answers(self.left).zip(answers(self.right))
    }

    /// Whether, of all documents that both find, the ranking details differ in this rule, and in none but the two that can.
    pub fn differs_in(&self, rule: &str) -> bool {
        self.rules_that_differ()
            .is_some_and(|rules| rules.contains(&rule))
    }

    /// Whether they differ in none but those two, maxima aside.
    pub fn scores_alone_differ(&self) -> bool {
        self.rules_that_differ().is_some()
    }

    /// Whether the refusals differ in nothing but the place that they name.
    pub fn places_alone_differ(&self) -> bool {
        fn placeless(message: &str) -> Option<(&str, &str)> {
            let (words, place) = message.split_once('\n')?;
            let (numbers, filter) = place.split_once(' ')?;
            let is_place = numbers.split(':').all(|n| n.parse::<usize>().is_ok());
            is_place.then_some((words, filter))
        }
        let [left, right] = [self.left, self.right].map(|answer| answer["message"].as_str());
        let (Some(left), Some(right)) = (left.map(of_query), right.map(of_query)) else {
            return false;
        };
        let is_other_query = left.0.is_some() && right.0.is_some() && left.0 != right.0;
        let is_other_place = || {
            let words = placeless(left.1);
            left.0 == right.0 && words.is_some() && words == placeless(right.1)
        };
        self.left["code"] == self.right["code"] && (is_other_query || is_other_place())
    }

    /// In which of `proximity` and `exactness` they differ; `None`: in others too.
    fn rules_that_differ(&self) -> Option<Vec<&'static str>> {
        let mut differing = Vec::new();
        for search in self.ask.searches() {
            let members = json!({"limit": ALL, "attributesToRetrieve": ["*"], "showRankingScoreDetails": true});
            let mut detailed = self.undistinct(search, members);
            detailed.remove("rankingScoreThreshold");
            // which list a hit of a hybrid search stands for differs with the number of hits
            if detailed.remove("hybrid").is_some() {
                detailed.remove("vector");
            }
            let of_search = self
                .rules_of_search_that_differ(search, &mut detailed)
                .or_else(|| {
                    // where nodes decide which words may be missing; by `last` the query does
                    let by_frequency = json!("frequency");
                    let strategy = detailed.remove("matchingStrategy");
                    let decided = strategy.filter(|strategy| *strategy == by_frequency);
                    decided.and_then(|_| self.rules_of_search_that_differ(search, &mut detailed))
                });
            differing.extend(of_search?);
        }
        Some(differing)
    }

    fn rules_of_search_that_differ(
        &self,
        search: &Value,
        detailed: &mut Map<String, Value>,
    ) -> Option<Vec<&'static str>> {
        let mut differing = Vec::new();
        let left = details(&self.hits(self.node, search, detailed)?);
        for other in 0..COPIES_TRIED {
            // a search that is written in another way goes to other copies
            detailed.insert("cropMarker".into(), json!(other.to_string()));
            let right = details(&self.hits(self.cluster, search, detailed)?);
            differing.extend(differing_rules(&left, &right)?);
        }
        Some(differing)
    }

    /// Whether the cluster counts no fewer documents than pass the threshold, and no more than there are without one; facets too.
    pub fn counts_what_passes(&self) -> bool {
        if self.ask.route == Route::FacetSearch {
            return self.counts_values_without_threshold();
        }
        let searches = self.ask.searches();
        if self.ask.is_federated() {
            let everything = searches.iter().filter_map(|search| {
                let all = self.answer(self.node, search, &without_threshold(search))?;
                total(&all).map(|total| self.uncut(total))
            });
            return total(self.right) <= Some(everything.fold(0, u64::saturating_add));
        }
        searches
            .iter()
            .zip(answers(self.right))
            .all(|(search, theirs)| {
                let passing = self.hits(self.node, search, &with(search, json!({"limit": ALL})));
                passing.is_some_and(|passing| {
                    // how many a hybrid search finds depends on how many are asked for
                    search["hybrid"].is_object() || Some(passing.len() as u64) <= total(theirs)
                }) && self.counts_no_more(search, theirs)
            })
    }

    /// Whether the cluster counts no more than there is without a threshold.
    pub fn counts_no_more_than_without_threshold(&self) -> bool {
        let mut searches = self.ask.searches().into_iter().zip(answers(self.right));
        !self.ask.is_federated()
            && searches.all(|(search, theirs)| self.counts_no_more(search, theirs))
    }

    fn counts_no_more(&self, search: &Value, theirs: &Value) -> bool {
        let everything = without_threshold(search);
        let is_within = |target| {
            let all = self.answer(target, search, &everything);
            all.is_some_and(|all| total(theirs) <= total(&all) && facets_within(theirs, &all))
        };
        // of a word with very many typos a cluster finds more
        let finds_more = || {
            let mut search = search.clone();
            search["rankingScoreThreshold"] = Value::Null;
            self.finds_more(&search)
        };
        is_within(self.node) || (is_within(self.cluster) && finds_more())
    }

    /// What both answer to another question about the same index.
    pub fn both(&self, ask: &Ask) -> Option<[Value; 2]> {
        let call = ask.call(self.index);
        let answers = [self.node, self.cluster].map(|target| target.call(&call).ok());
        let [left, right] = answers.map(|answer| answer.filter(|answer| answer.status == 200));
        Some([left?.body, right?.body])
    }

    /// Whether the cluster's hits are a choice that keeps the order of all that is found, with one hit a group.
    pub fn is_a_choice_of_groups(&self) -> bool {
        self.parts().iter().all(|(search, hits, total)| {
            self.distinct_of(search).is_none()
                || self.keeps_order(search, hits)
                // where nodes also decide which words may be missing
                || (goes_by_frequency(search) && self.has_some_words(search, hits, *total))
        }) && self.has_each_group_once()
    }

    /// The attribute that lets each of its values through only once.
    pub fn distinct_of<'s>(&'s self, search: &'s Value) -> Option<&'s str> {
        let own = self.settings.get("distinctAttribute");
        search["distinct"].as_str().or(own.and_then(Value::as_str))
    }

    /// A search by itself without any distinct attribute: that of the index gives way to one that no document has.
    pub fn undistinct(&self, search: &Value, members: Value) -> Map<String, Value> {
        let mut body = with(search, members);
        body.remove("distinct");
        if self.settings.contains_key("distinctAttribute") {
            body.insert("distinct".into(), json!(self.field_of_none()));
        }
        body
    }

    /// A field below one that may be filtered by, which no document has.
    fn field_of_none(&self) -> String {
        let filterable = self.settings.get("filterableAttributes");
        let mut names = filterable.and_then(Value::as_array).into_iter().flatten();
        let name = names.find_map(|name| name.as_str().filter(|name| !name.starts_with('_')));
        format!("{}.none", name.unwrap_or("kind"))
    }

    /// Whether the cluster's pages under a threshold are parts of what the node lists from the start, of which
    /// the node's own are not; all others are as long as the node's.
    pub fn pages_are_of_the_list_from_the_start(&self) -> bool {
        let parts = self.parts();
        let mut searches = parts.iter().zip(self.pairs());
        let mut contradicts_itself = false;
        !self.ask.is_federated()
            && searches.all(|((search, hits, _), (left, _))| {
                let shown: Vec<String> = listed(left).map(content).collect();
                if !search["rankingScoreThreshold"].is_number() {
                    return shown.len() == hits.len();
                }
                let (skip, take) = page(search);
                let from_start = with(search, json!({"limit": skip + take}));
                let Some(all) = self.hits(self.node, search, &from_start) else {
                    return false;
                };
                let own = all.iter().skip(skip).take(take);
                let own: Vec<String> = own.map(content).collect();
                contradicts_itself |= own != shown;
                own.len() == hits.len() && self.keeps_order(search, hits)
            })
            && contradicts_itself
    }

    /// The cluster's hits of each search, with their count; of a federated search those that stand under each query, uncounted.
    pub fn parts(&self) -> Vec<(&'a Value, Vec<&'a Value>, Option<u64>)> {
        let searches = self.ask.searches().into_iter();
        if self.ask.is_federated() {
            let under = |position: usize| {
                listed(self.right)
                    .filter(|hit| hit["_federation"]["queriesPosition"] == position)
                    .collect()
            };
            let numbered = searches.enumerate();
            return numbered
                .map(|(position, search)| (search, under(position), None))
                .collect();
        }
        searches
            .zip(answers(self.right))
            .map(|(search, answer)| (search, listed(answer).collect(), total(answer)))
            .collect()
    }

    /// Whether hits for a search are among those that the node finds without its `distinct`, and in its order.
    pub fn keeps_order(&self, search: &Value, hits: &[&Value]) -> bool {
        self.keeps_order_before(&[], search, hits)
    }

    /// The same as far as the rules before these tell.
    fn keeps_order_before(&self, rules: &[&str], search: &Value, hits: &[&Value]) -> bool {
        let members = json!({"limit": ALL, "showRankingScoreDetails": true});
        let undistinct = self.undistinct(search, members);
        let Some(all) = self.list(self.node, search, &undistinct) else {
            return false;
        };
        let ranks = ranks_of_contents(&all.hits, rules);
        let mut from = 0;
        for hit in hits {
            let Some(ranks) = ranks.get(&content(hit)) else {
                return !all.whole;
            };
            match ranks.iter().find(|rank| **rank >= from) {
                Some(rank) => from = *rank,
                // which list a hit of a hybrid search stands for differs with the number of hits
                None => return search["hybrid"].is_object(),
            }
        }
        true
    }

    /// Whether no two of the cluster's hits for a search with `distinct` share a value; before 1.16 they may where one was found by
    /// words and the other by meaning.
    pub fn has_each_group_once(&self) -> bool {
        self.ask.searches().into_iter().all(|search| {
            let Some(field) = self.distinct_of(search) else {
                return true;
            };
            let whole = with(search, json!({"limit": ALL, "attributesToRetrieve": ["*"]}));
            let Some(hits) = self.hits(self.cluster, search, &whole) else {
                return false;
            };
            let most = 1 + usize::from(search["hybrid"].is_object());
            is_once(hits.iter(), field, most)
        })
    }

    /// Whether that holds of what the answer itself shows, too, and the cluster finds nothing that the node does not find without
    /// `distinct`, in no other order, and counts no more.
    pub fn is_a_choice_by_query(&self) -> bool {
        let parts = self.parts();
        let chosen = parts.iter().all(|(search, hits, _)| {
            let most = 1 + usize::from(search["hybrid"].is_object());
            let once = match self.distinct_of(search) {
                Some(field) => is_once(hits.iter().copied(), field, most),
                None => true,
            };
            once && self.keeps_order(search, hits)
        });
        let found = |search: &Value| {
            let mut undistinct = self.undistinct(search, json!({"limit": ALL}));
            // what does not pass is counted as far as nobody walked
            undistinct.remove("rankingScoreThreshold");
            self.list(self.node, search, &undistinct)
        };
        let everything: Option<u64> = parts
            .iter()
            .map(|(search, ..)| found(search).map(|listed| self.uncut(listed.total)))
            .try_fold(0, |sum: u64, total| Some(sum.saturating_add(total?)));
        let counted: u64 = match self.ask.is_federated() {
            true => total(self.right).unwrap_or(0),
            false => parts.iter().filter_map(|(.., total)| *total).sum(),
        };
        let bounded = everything.is_some_and(|everything| counted <= everything);
        let shown: usize = parts.iter().map(|(_, hits, _)| hits.len()).sum();
        chosen && bounded && shown as u64 <= counted && self.has_each_group_once()
    }

    /// Whether documents of one group rank equally by words.
    pub fn has_tied_groups(&self) -> bool {
        self.ask.searches().into_iter().any(|search| {
            let members = json!({"limit": ALL, "attributesToRetrieve": ["*"], "showRankingScoreDetails": true});
            let mut by_words = self.undistinct(search, members);
            by_words.remove("hybrid");
            by_words.remove("vector");
            let hits = self.hits(self.node, search, &by_words).unwrap_or_default();
            let mut seen = HashSet::new();
            self.distinct_of(search).is_some_and(|field| {
                hits.iter().any(|hit| {
                    let mut values = Vec::new();
                    leaves(hit, field, &mut values);
                    let rank = hit["_rankingScoreDetails"].to_string();
                    !values.is_empty() && !seen.insert((rank, values))
                })
            })
        })
    }

    /// Whether some document has several vectors for one embedder.
    pub fn has_several_vectors(&self) -> bool {
        let whole =
            json!({"limit": ALL, "retrieveVectors": true, "attributesToRetrieve": ["_vectors"]});
        let several = |hit: &Value| {
            let embedders = hit["_vectors"].as_object().into_iter().flatten();
            let mut counts =
                embedders.map(|(_, vectors)| vectors["embeddings"].as_array().map_or(0, Vec::len));
            counts.any(|count| count > 1)
        };
        self.ask.searches().into_iter().any(|search| {
            let hits = whole
                .as_object()
                .and_then(|body| self.hits(self.node, search, body));
            hits.is_some_and(|hits| hits.iter().any(several))
        })
    }

    /// Whether the hits under each query stand in the node's order for it, and both lists are as long.
    pub fn keeps_order_by_query(&self) -> bool {
        let mut parts = self.parts().into_iter();
        let Some(rules) = self.rules_that_differ() else {
            return false;
        };
        listed(self.left).count() == listed(self.right).count()
            && parts.all(|(search, hits, _)| self.keeps_order_before(&rules, search, &hits))
    }

    /// Whether the cluster counts no facet value more often than the node does without `distinct`.
    pub fn facets_are_of_what_is_found(&self) -> bool {
        if self.ask.route == Route::FacetSearch {
            return true;
        }
        if self.ask.is_federated() {
            return self.federated_facets_are_of_what_is_found();
        }
        let mut pairs = self.ask.searches().into_iter().zip(answers(self.right));
        pairs.all(|(search, theirs)| {
            let mut undistinct =
                self.undistinct(search, json!({"facets": search["facets"], "limit": 0}));
            if undistinct.remove("hybrid").is_some() {
                // by meaning all that passes the filter may be found
                undistinct.retain(|name, _| name != "q" && name != "vector");
            }
            let all = self.answer(self.node, search, &undistinct);
            search["facets"].is_null() || all.is_some_and(|all| facets_within(theirs, &all))
        })
    }

    fn federated_facets_are_of_what_is_found(&self) -> bool {
        let mut ask = self.ask.clone();
        if let Some(federation) = ask.body["federation"].as_object_mut() {
            federation.remove("distinct");
        }
        for query in ask.body["queries"].as_array_mut().into_iter().flatten() {
            if self.settings.contains_key("distinctAttribute") {
                query["distinct"] = json!(self.field_of_none());
            } else if let Some(query) = query.as_object_mut() {
                query.remove("distinct");
            }
        }
        let Ok(all) = self.node.call(&ask.call(self.index)) else {
            return false;
        };
        let part = |answer: &Value, uid: &str| json!({"facetDistribution": answer["facetsByIndex"][uid]["distribution"]});
        let indexes = self.right["facetsByIndex"].as_object();
        let mut uids = indexes.into_iter().flatten().map(|(uid, _)| uid);
        all.status == 200
            && facets_within(self.right, &all.body)
            && uids.all(|uid| facets_within(&part(self.right, uid), &part(&all.body, uid)))
    }

    /// Whether hits that are shown by both are formatted alike but for the marks.
    pub fn only_marks_differ(&self) -> bool {
        let formatted = |answer: &Value, tags: &[String]| -> HashMap<String, Vec<String>> {
            let hits = listed(answer);
            let plain = |hit: &Value| {
                let text = canonical(&hit["_formatted"]);
                tags.iter().fold(text, |text, tag| text.replace(tag, ""))
            };
            let mut texts: HashMap<String, Vec<String>> = HashMap::new();
            for hit in hits {
                texts.entry(content(hit)).or_default().push(plain(hit));
            }
            // what shows alike cannot be told apart
            texts.retain(|_, texts| texts.len() == 1);
            texts
        };
        let mut pairs = self.ask.searches().into_iter().zip(self.pairs());
        self.ask.is_federated()
            || pairs.all(|(search, (left, right))| {
                let tag = |name: &str, default: &str| {
                    let tag = search[name].as_str().unwrap_or(default);
                    Value::from(tag).to_string().trim_matches('"').to_string()
                };
                let tags = [
                    tag("highlightPreTag", "<em>"),
                    tag("highlightPostTag", "</em>"),
                ];
                let theirs = formatted(right, &tags);
                let ours = formatted(left, &tags);
                // what is cropped is cut about the marks
                !search["attributesToCrop"].is_null()
                    || ours.iter().all(|(document, text)| {
                        theirs.get(document).is_none_or(|theirs| theirs == text)
                    })
            })
    }

    /// All hits of `body`, asked of the index that `search` is about.
    pub fn hits(
        &self,
        target: &Target,
        search: &Value,
        body: &Map<String, Value>,
    ) -> Option<Vec<Value>> {
        let answer = self.answer(target, search, body)?;
        answer["hits"].as_array().cloned()
    }

    /// A search lists and counts no more; a federated one does.
    pub(super) fn hits_max(&self) -> usize {
        let own = self.settings.get("pagination");
        let own = own.and_then(|pagination| pagination["maxTotalHits"].as_u64());
        own.map_or(HITS_MAX, |max| max as usize)
    }

    /// What may be counted where a search counts so many.
    fn uncut(&self, total: u64) -> u64 {
        if total < self.hits_max() as u64 {
            total
        } else {
            u64::MAX
        }
    }

    /// The same, and whether that is all.
    pub fn list(
        &self,
        target: &Target,
        search: &Value,
        body: &Map<String, Value>,
    ) -> Option<Listed> {
        let answer = self.answer(target, search, body)?;
        let hits = answer["hits"].as_array().cloned()?;
        Some(Listed {
            // a list that ends at `maxTotalHits` may be longer
            whole: total(&answer) == Some(hits.len() as u64) && hits.len() != self.hits_max(),
            total: total(&answer)?,
            hits,
        })
    }

    pub fn answer(
        &self,
        target: &Target,
        search: &Value,
        body: &Map<String, Value>,
    ) -> Option<Value> {
        let index = match search["indexUid"].as_str() {
            Some("{index2}") => second(self.index),
            _ => self.index.to_string(),
        };
        let call = Search::post(&index, &Value::Object(body.clone())).call();
        let answer = target.call(&call).ok()?;
        (answer.status == 200).then_some(answer.body)
    }
}

/// The query of a multi-search that a refusal names, and what it says of that.
fn of_query(message: &str) -> (Option<&str>, &str) {
    let inside = message.strip_prefix("Inside `.queries[");
    match inside.and_then(|rest| rest.split_once("]`: ")) {
        Some((query, message)) => (Some(query), message),
        None => (None, message),
    }
}

/// From which hit on a search shows how many.
pub(super) fn page(search: &Value) -> (usize, usize) {
    let number = |name: &str| search[name].as_u64().map(|number| number as usize);
    match (number("page"), number("hitsPerPage")) {
        (None, None) => (number("offset").unwrap_or(0), number("limit").unwrap_or(20)),
        (page, size) => {
            let size = size.unwrap_or(20);
            (page.unwrap_or(1).saturating_sub(1) * size, size)
        }
    }
}

fn listed(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["hits"].as_array().into_iter().flatten()
}

/// A search by itself, unpaged, that shows nothing of its matches, with these members.
pub(super) fn with(search: &Value, members: Value) -> Map<String, Value> {
    let mut body = search.as_object().cloned().unwrap_or_default();
    for name in [
        "indexUid",
        "federationOptions",
        "offset",
        "limit",
        "page",
        "hitsPerPage",
        "facets",
        "attributesToHighlight",
        "attributesToCrop",
        "cropLength",
        "showMatchesPosition",
    ] {
        body.remove(name);
    }
    body.extend(members.as_object().cloned().unwrap_or_default());
    body
}

/// All that a search finds without its threshold, counted as the search counts; of a hybrid one all that passes the filter, as it finds that
/// by meaning.
fn without_threshold(search: &Value) -> Map<String, Value> {
    let mut body = with(search, json!({}));
    for name in ["hitsPerPage", "page", "facets"] {
        if let Some(value) = search.get(name) {
            body.insert(name.to_string(), value.clone());
        }
    }
    for name in ["rankingScoreThreshold", "distinct"] {
        body.remove(name);
    }
    if search["hybrid"].is_object() {
        for name in ["hybrid", "vector", "q"] {
            body.remove(name);
        }
    }
    body
}

pub(super) fn total(answer: &Value) -> Option<u64> {
    let total = &answer["totalHits"];
    total.as_u64().or(answer["estimatedTotalHits"].as_u64())
}

/// Whether no facet value is counted more often than in `all`, where that lists it.
pub(super) fn facets_within(answer: &Value, all: &Value) -> bool {
    let facets = answer["facetDistribution"].as_object();
    facets.into_iter().flatten().all(|(name, values)| {
        let values = values.as_object();
        values.into_iter().flatten().all(|(value, count)| {
            let most = all["facetDistribution"][name][value].as_u64();
            most.is_none_or(|most| count.as_u64() <= Some(most))
        })
    })
}

/// Whether no value of a field stands in more hits.
fn is_once<'h>(hits: impl Iterator<Item = &'h Value>, field: &str, most: usize) -> bool {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for hit in hits {
        let mut values = Vec::new();
        leaves(hit, field, &mut values);
        values.sort();
        values.dedup();
        for value in values {
            *seen.entry(value).or_default() += 1;
        }
    }
    seen.values().all(|times| *times <= most)
}

/// The rules of documents.
type Details = HashMap<String, Map<String, Value>>;

fn details(hits: &[Value]) -> Details {
    hits.iter()
        .map(|hit| (content(hit), rules(&hit["_rankingScoreDetails"])))
        .collect()
}

/// In which of the unsteady rules documents differ that are in both; `None`: in others too.
fn differing_rules(left: &Details, right: &Details) -> Option<Vec<&'static str>> {
    let mut differing = Vec::new();
    for (document, ours) in left {
        let Some(theirs) = right.get(document).filter(|theirs| *theirs != ours) else {
            continue;
        };
        let others = |rules: &Map<String, Value>| {
            let mut rules = rules.clone();
            rules.retain(|name, _| !UNSTEADY.contains(&name.as_str()));
            rules
        };
        if others(ours) != others(theirs) {
            return None;
        }
        let rules = UNSTEADY.iter().copied();
        differing.extend(rules.filter(|rule| ours.get(*rule) != theirs.get(*rule)));
    }
    Some(differing)
}

/// A hit without what depends on the words that a node knows.
pub(super) fn content(hit: &Value) -> String {
    let mut hit = hit.clone();
    if let Some(members) = hit.as_object_mut() {
        for name in [
            "_rankingScore",
            "_rankingScoreDetails",
            "_formatted",
            "_matchesPosition",
            "_federation",
            "_geoDistance",
        ] {
            members.remove(name);
        }
    }
    canonical(&hit)
}

/// The rules of a hit's details, without the numbers that rest on maxima.
fn rules(details: &Value) -> Map<String, Value> {
    let mut rules = details.as_object().cloned().unwrap_or_default();
    // a node shows the place that began a document's bucket, less than a metre nearer or farther
    rules.retain(|name, _| !name.starts_with("_geoPoint("));
    if let Some(typo) = rules.get_mut("typo") {
        *typo = typo["typoCount"].clone();
    }
    if let Some(exactness) = rules.get_mut("exactness").and_then(Value::as_object_mut) {
        exactness.retain(|name, _| matches!(name.as_str(), "matchType" | "matchingWords"));
    }
    rules
}

/// The values at a dotted path, as facets compare them.
pub(super) fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves(item, path, found)),
        Value::Object(members) if !path.is_empty() => {
            let (name, rest) = path.split_once('.').unwrap_or((path, ""));
            if let Some(value) = members.get(name) {
                leaves(value, rest, found);
            }
        }
        Value::Null | Value::Object(_) => {}
        Value::String(text) if text.is_empty() => {}
        Value::String(text) if path.is_empty() => found.push(text.trim().to_lowercase()),
        Value::Number(number) if path.is_empty() => found.push(format!("#{number}")),
        Value::Bool(flag) if path.is_empty() => found.push(flag.to_string()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_through_arrays() {
        let mut found = Vec::new();
        let hit = json!({"crew": [{"role": " Old"}, {"role": ["new", 3, null, ""]}, {"x": 1}]});
        leaves(&hit, "crew.role", &mut found);
        assert_eq!(found, ["old", "new", "#3"]);
    }
}
