//! What must hold of a search whose words may be missing, whichever of them are.

use std::collections::HashSet;

use miroir_router::WordSettings;
use serde_json::{json, Map, Value};

use super::check::{content, facets_within, total, with, Compared, Listed, ALL};
use super::known::{goes_by_frequency, locales_of};
use crate::ask::Route;

/// The engine follows so many words with two typos, and more with one.
const FOLLOWED_MIN: u64 = 50;

impl Compared<'_> {
    /// Whether the cluster finds all that has every word and nothing that has none. What else is asked for in one request must be
    /// counted alike.
    pub fn goes_by_some_words(&self) -> bool {
        if self.ask.route == Route::FacetSearch {
            return self.counts_values_of_some_words();
        }
        let parts = self.parts();
        let others = || {
            let mut pairs = self.ask.searches().into_iter().zip(self.pairs());
            pairs.all(|(search, (left, right))| {
                goes_by_frequency(search) || total(left) == total(right)
            })
        };
        (self.ask.is_federated() || others())
            && parts.iter().all(|(search, hits, count)| {
                !goes_by_frequency(search) || self.has_some_words(search, hits, *count)
            })
    }

    /// Whether two or three neighbouring words of the query, written as one, are found on the node, or may be.
    pub fn knows_joined_words(&self) -> bool {
        let words = WordSettings::of(&Value::Object(self.settings.clone()));
        let finds = |search: &Value, text: String| {
            let body = json!({"q": text, "limit": 1});
            let answer = self.answer(self.node, search, body.as_object()?);
            Some(answer.and_then(|answer| total(&answer)) > Some(0))
        };
        self.ask.searches().into_iter().any(|search| {
            let locales = locales_of(search);
            let query = words.read(search["q"].as_str().unwrap_or_default(), &locales);
            query.is_some_and(|query| {
                query.joinable().any(|terms| {
                    let joined = query.joined(terms, &words, &locales);
                    joined.is_none_or(|text| finds(search, text).unwrap_or(false))
                })
            })
        })
    }

    /// Whether the cluster finds all that the node does, without typos in its order, and beside that only documents with typos, where
    /// the node's list is so long that it may have reached the most words that it follows. Of a document with typos it may see others.
    pub fn finds_more_of_very_many(&self) -> bool {
        if self.ask.is_federated() {
            return self.finds_more_in_union();
        }
        let parts = self.parts();
        let mut pairs = parts.iter().zip(self.pairs());
        pairs.all(|((search, ..), (left, right))| {
            // Of totals that end at `maxTotalHits`, facets tell that there is more.
            let is_cut = total(left) == Some(self.hits_max() as u64);
            let facets = |answer: &Value| answer["facetDistribution"].clone();
            let counts_more = is_cut && facets(left) != facets(right) && facets_within(left, right);
            (total(left) != total(right) || counts_more) && self.finds_more(search)
        })
    }

    /// The same of a federated search, whose total is that of the union.
    fn finds_more_in_union(&self) -> bool {
        let mut most: u64 = 0;
        let bounded = self.parts().into_iter().all(|(search, hits, _)| {
            let body = with(search, json!({"limit": ALL}));
            let list = |target| self.list(target, search, &body);
            let (Some(ours), Some(theirs)) = (list(self.node), list(self.cluster)) else {
                return false;
            };
            if theirs.whole && ours.total == theirs.total {
                return self.keeps_order(search, &hits);
            }
            let more = match theirs.whole {
                true => theirs.total.saturating_sub(ours.total),
                false => u64::MAX,
            };
            most = most.saturating_add(more);
            self.finds_more(search)
        });
        let more = total(self.right).zip(total(self.left));
        let more = more.and_then(|(theirs, ours)| theirs.checked_sub(ours));
        bounded && more > Some(0) && more <= Some(most)
    }

    /// Whether that holds of a search.
    pub fn finds_more(&self, search: &Value) -> bool {
        let counted_otherwise = ["hybrid", "rankingScoreThreshold"]
            .iter()
            .any(|name| !search[*name].is_null());
        if counted_otherwise || goes_by_frequency(search) || self.distinct_of(search).is_some() {
            return false;
        }
        let body = with(
            search,
            json!({"limit": ALL, "showRankingScoreDetails": true}),
        );
        let (Some(ours), Some(theirs)) = (
            self.list(self.node, search, &body),
            self.list(self.cluster, search, &body),
        ) else {
            return false;
        };
        // the engine follows words before it filters
        let unfiltered = with(search, json!({"limit": 0, "filter": null}));
        let Some(found) = self.list(self.node, search, &unfiltered) else {
            return false;
        };
        let known: HashSet<String> = ours.hits.iter().map(content).collect();
        let (mut common, more): (Vec<&Value>, Vec<&Value>) = theirs
            .hits
            .iter()
            .partition(|hit| known.contains(&content(hit)));
        let has_typos = |hit: &&Value| {
            let typos = &hit["_rankingScoreDetails"]["typo"]["typoCount"];
            typos.as_u64().is_none_or(|typos| typos > 0)
        };
        let finds_all = !ours.whole || !theirs.whole || common.len() == ours.hits.len();
        common.retain(|hit| !has_typos(hit));
        found.total > FOLLOWED_MIN
            && ours.total <= theirs.total
            && finds_all
            && self.keeps_order(search, &common)
            && (!ours.whole || more.iter().all(has_typos))
    }

    pub fn has_some_words(&self, search: &Value, hits: &[&Value], count: Option<u64>) -> bool {
        let is_distinct =
            search["distinct"].is_string() || self.settings.contains_key("distinctAttribute");
        if search["hybrid"].is_object() {
            // found by meaning
            return true;
        }
        let asked = |query: &str| {
            let mut body = self.undistinct(
                search,
                json!({"limit": ALL, "q": query, "matchingStrategy": "all"}),
            );
            for name in ["rankingScoreThreshold", "sort"] {
                body.remove(name);
            }
            self.list(self.node, search, &body)
        };
        let query = search["q"].as_str().unwrap_or_default();
        let Some(all_words) = asked(query) else {
            return false;
        };
        let is_cut = is_distinct || search["rankingScoreThreshold"].is_number();
        let is_least = is_cut || count.is_none_or(|count| all_words.total <= count);
        let parts_words = ["separatorTokens", "nonSeparatorTokens", "dictionary"]
            .map(|name| self.settings.get(name));
        let queries = neighbours(query).filter(|_| parts_words.iter().all(Option::is_none));
        if !self.leaves_out_few_first(search) {
            return false;
        }
        let Some(queries) = queries else {
            return is_least;
        };
        let listed: Option<Vec<Listed>> = queries.iter().map(|query| asked(query)).collect();
        let Some(listed) = listed else {
            return false;
        };
        let any: HashSet<String> = listed
            .iter()
            .flat_map(|listed| listed.hits.iter().map(content))
            .collect();
        let is_whole = listed.iter().all(|listed| listed.whole);
        let most: u64 = listed.iter().map(|listed| listed.total).sum();
        let is_most = !is_whole || count.is_none_or(|count| count <= most);
        let is_found = hits.iter().all(|hit| any.contains(&content(hit)));
        is_least && is_most && (is_found || !is_whole)
    }

    /// Whether the cluster lists first what lacks the fewest words, where no rule goes before that.
    fn leaves_out_few_first(&self, search: &Value) -> bool {
        let members = json!({"limit": ALL, "showRankingScoreDetails": true});
        let Some(hits) = self.hits(self.cluster, search, &with(search, members)) else {
            return false;
        };
        let missing = |hit: &Value| {
            let words = &hit["_rankingScoreDetails"]["words"];
            let first = words["order"] == 0;
            let number = |name: &str| words[name].as_u64().filter(|_| first);
            number("maxMatchingWords")?.checked_sub(number("matchingWords")?)
        };
        let missing: Option<Vec<u64>> = hits.iter().map(missing).collect();
        missing.is_none_or(|missing| missing.is_sorted())
    }

    /// Whether each value is counted as often as with every word, at least, and no more often than without words.
    fn counts_values_of_some_words(&self) -> bool {
        let least = self.values_where(|body| {
            body.insert("matchingStrategy".into(), json!("all"));
            body.remove("rankingScoreThreshold");
        });
        let most = self.values_where(|body| {
            body.remove("q");
            body.remove("rankingScoreThreshold");
        });
        let cut = !self.ask.body["rankingScoreThreshold"].is_null();
        least.is_some_and(|least| cut || values_within(&least, self.right))
            && most.is_some_and(|most| values_within(self.right, &most))
    }

    /// Whether a facet search counts each value no more often than without its threshold.
    pub fn counts_values_without_threshold(&self) -> bool {
        let most = self.values_where(|body| {
            body.remove("rankingScoreThreshold");
        });
        most.is_some_and(|most| values_within(self.right, &most))
    }

    /// The node's answer to the facet search, changed so.
    fn values_where(&self, change: fn(&mut Map<String, Value>)) -> Option<Value> {
        let mut ask = self.ask.clone();
        change(ask.body.as_object_mut()?);
        let answer = self.node.call(&ask.call(self.index)).ok()?;
        (answer.status == 200).then_some(answer.body)
    }
}

/// Whether a facet search counts no value more often than another; a list that is cut may lack one.
fn values_within(few: &Value, many: &Value) -> bool {
    let values = |answer: &Value| answer["facetHits"].as_array().cloned().unwrap_or_default();
    let (few, many) = (values(few), values(many));
    few.iter().all(|hit| {
        let other = many.iter().find(|other| other["value"] == hit["value"]);
        other.map_or(many.len() >= few.len(), |other| {
            hit["count"].as_u64() <= other["count"].as_u64()
        })
    })
}

/// Queries of one, two and three neighbouring words, of which what matches any of a query's words matches one; `None` where words are
/// not what spaces part.
fn neighbours(query: &str) -> Option<Vec<String>> {
    let plain = |c: char| c.is_whitespace() || c == '"' || c == '-' || c.is_ascii_alphanumeric();
    let inner_dash = |word: &str| word.trim_start_matches(['-', '"']).contains('-');
    if !query.chars().all(plain) || query.split_whitespace().any(inner_dash) {
        return None;
    }
    let positive = query
        .split_whitespace()
        .filter(|word| !word.starts_with('-'));
    let words: Vec<String> = positive
        .map(|word| word.replace('"', ""))
        .filter(|word| !word.is_empty())
        .collect();
    let end = if query.ends_with(char::is_whitespace) {
        " "
    } else {
        ""
    };
    let mut queries = Vec::new();
    for size in 1..=3 {
        for (at, window) in words.windows(size).enumerate() {
            let is_last = at + size == words.len();
            queries.push(window.join(" ") + if is_last { end } else { " " });
        }
    }
    Some(queries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_words() {
        assert_eq!(
            neighbours("a \"b c\" -d").unwrap(),
            ["a ", "b ", "c", "a b ", "b c", "a b c"]
        );
        assert_eq!(neighbours("a b ").unwrap(), ["a ", "b ", "a b "]);
        assert_eq!(neighbours("l'an"), None);
        assert_eq!(neighbours("a-b"), None);
    }
}
