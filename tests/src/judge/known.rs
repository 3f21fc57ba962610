//! The list of differences that only the engine could undo.

use miroir_router::{Query, WordSettings};
use serde_json::{json, Map, Value};

use super::check::{Compared, UNSTEADY};
use super::{answers, any_search};
use crate::ask::{Ask, Route};

/// An effect of the engine.
pub struct Known {
    /// What may differ, for readers of docs/exactness.md.
    pub what: &'static str,
    /// Why no proxy can undo it.
    pub why: &'static str,
    /// Whether an index with these settings, asked this, can show it.
    pub(super) applies: fn(&Map<String, Value>, &Ask) -> bool,
    /// What it may change.
    pub(super) ignoring: &'static [&'static str],
    /// The rule from which on it may change the order.
    pub(super) ties_from: Option<&'static str>,
    /// What must hold between the node's answer and the cluster's all the same.
    pub(super) holds: fn(&Compared) -> bool,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.what)
    }
}

/// The list in docs/exactness.md is made of this one.
pub const KNOWN: &[Known] = &[
    Known {
        what: "`_rankingScore`, `weightedRankingScore`; `score` and the `maxMatchingWords` of `exactness` in the details",
        why: "ratios to a maximum that depends on the words which a node knows (MEILISEARCH C.5); the order does not rest on them",
        applies: |_, ask| {
            let shows = |s: &Value| ask.is_federated() || s["showRankingScore"] == true || s["showRankingScoreDetails"] == true;
            any_search(ask, |s| s["q"].is_string() && shows(s))
        },
        ignoring: &[
            "**._rankingScore",
            "**._federation.weightedRankingScore",
            "**._rankingScoreDetails.proximity.score",
            "**._rankingScoreDetails.exactness.score",
            "**._rankingScoreDetails.exactness.maxMatchingWords",
        ],
        ties_from: None,
        holds: |compared| compared.scores_alone_differ(),
    },
    Known {
        what: "facets under `distinct`",
        why: "one node counts that document of a group which was stored first of those that tie, by page also of groups behind the page (MEILISEARCH B.6); under a threshold, by sets of words, in hybrid and federated searches, and by an attribute that is not filterable, each node counts its own groups",
        applies: |settings, ask| {
            let has_facets = ask.route == Route::FacetSearch || ask.is_federated() || any_search(ask, |s| s["facets"].is_array());
            is_distinct(settings, ask) && has_facets
        },
        ignoring: FACETS,
        ties_from: None,
        holds: |compared| compared.facets_are_of_what_is_found(),
    },
    Known {
        what: "totals under `distinct`",
        why: "each node counts its own groups, so the sum is an upper bound (MEILISEARCH B.6)",
        applies: is_distinct,
        ignoring: TOTALS,
        ties_from: None,
        holds: |compared| compared.pairs().all(|(a, b)| a["totalHits"].as_u64() <= b["totalHits"].as_u64()),
    },
    Known {
        what: "hits and totals under `distinct` on an attribute with several values in one document",
        why: "which of several documents that tie was stored first decides about those behind them, too; what is left behind the page one node counts in the order of storage; and behind an offset it may pass over documents without ranking them (milli `bucket_sort.rs`)",
        applies: |settings, ask| is_of_several_values(settings, ask) && is_asked_again(settings, ask),
        ignoring: HITS_AND_TOTALS,
        ties_from: None,
        holds: |compared| compared.leaves_what_repeats_no_value(&[]),
    },
    Known {
        what: "everything under `distinct` on such an attribute where it is not filterable, in hybrid and in federated searches",
        why: "each node drops duplicates by itself first, also those of a document that another node's hit then drops, and they cannot be asked for",
        applies: |settings, ask| is_of_several_values(settings, ask) && !is_asked_again(settings, ask),
        ignoring: EVERYTHING,
        ties_from: None,
        holds: |compared| compared.is_a_choice_of_groups(),
    },
    Known {
        what: "totals of a hybrid search under `distinct`, and of one by meaning with a threshold or by an attribute that is not filterable",
        why: "one node counts every document that stands for a group in its list of words or in that of meaning, and which one stands for it while counting is the one stored first (milli `hybrid.rs`, `distinct.rs`); by meaning it counts all groups that begin behind the page as often as they have documents, and each node's page ends elsewhere",
        applies: |settings, ask| is_distinct(settings, ask) && any_search(ask, |s| {
            let by_meaning = s["rankingScoreThreshold"].is_number() || !is_distinct_on_filterable(settings, s);
            s["hybrid"].is_object() && (s["q"].is_string() || by_meaning)
        }),
        ignoring: TOTALS,
        ties_from: None,
        holds: |compared| compared.is_a_choice_by_query(),
    },
    Known {
        what: "hits and totals of a hybrid search under `distinct` where documents of a group rank equally by words",
        why: "before 1.16 a group stands in the mixed list twice unless the document that stands for it is the same by words and by meaning, and which one it is by words is open then",
        applies: |settings, ask| is_distinct(settings, ask) && any_search(ask, |s| s["hybrid"].is_object() && s["q"].is_string()),
        ignoring: EVERYTHING,
        ties_from: None,
        holds: |compared| compared.has_tied_groups() && compared.is_a_choice_by_query(),
    },
    Known {
        what: "hits and totals of a search by meaning under `distinct` where documents have several vectors for one embedder",
        why: "one node looks for as many vectors as the page reaches to among the first ones of all documents, for as many among the second ones, and so on, and looks for more only when it has listed all these: where `distinct` drops some, documents with several vectors stand before nearer ones, and for their groups (milli `vector_sort.rs`)",
        applies: |settings, ask| is_distinct(settings, ask) && any_search(ask, |s| s["hybrid"].is_object()),
        ignoring: EVERYTHING,
        ties_from: None,
        holds: |compared| compared.has_several_vectors() && compared.is_a_choice_by_query(),
    },
    Known {
        what: "everything of federated queries under a `distinct` of their own",
        why: "a document that one query drops as a duplicate may be another query's, which document stands for a group of equal rank is open, and each node counts its own groups",
        applies: |settings, ask| ask.is_federated() && is_distinct(settings, ask) && !ask.body["federation"]["distinct"].is_string(),
        ignoring: EVERYTHING,
        ties_from: None,
        holds: |compared| compared.is_a_choice_by_query(),
    },
    Known {
        what: "how much a word with very many typos or endings finds",
        why: "the engine follows 150 words with one typo, 50 with two and 1,000 endings; each node's dictionary is smaller, so a cluster finds more (MEILISEARCH D.6)",
        applies: |_, ask| {
            matches!(ask.route, Route::Search | Route::MultiSearch) && any_search(ask, |s| s["q"].is_string())
        },
        ignoring: EVERYTHING,
        ties_from: None,
        holds: |compared| compared.finds_more_of_very_many(),
    },
    Known {
        what: "which numbers of a facet are listed, with more of them than `maxValuesPerFacet`",
        why: "with over 3,000 candidates the engine cuts them in the order of numbers, with fewer in that of their texts, and each node has fewer",
        applies: |settings, ask| !settings.contains_key("faceting") && any_search(ask, |s| s["facets"].is_array()),
        ignoring: &["facetDistribution", "results.*.facetDistribution"],
        ties_from: None,
        holds: |compared| compared.pairs().all(|(a, b)| full_lists(a) == full_lists(b)) && compared.pairs().any(|(a, _)| full_lists(a) > 0),
    },
    Known {
        what: "which typos of a word are marked in `_formatted` and `_matchesPosition`",
        why: "depends on the words that a node knows and on how far its rules had to look (milli's derivations)",
        applies: |_, ask| {
            let marks = ["attributesToHighlight", "attributesToCrop", "showMatchesPosition"];
            any_search(ask, |s| s["q"].is_string() && marks.iter().any(|m| !s[*m].is_null()))
        },
        ignoring: &["**._formatted!", "**._matchesPosition"],
        ties_from: None,
        holds: |compared| compared.only_marks_differ(),
    },
    Known {
        what: "order from the `proximity` rule on, with two or more words",
        why: "the engine walks the paths of the rule on from where an earlier bucket ended, so a cost depends on that bucket (MEILISEARCH D.21)",
        applies: |_, ask| any_search(ask, has_words),
        ignoring: SCORES,
        ties_from: Some("proximity"),
        holds: |compared| compared.differs_in("proximity"),
    },
    Known {
        what: "order from the `exactness` rule on, with two or more words",
        why: "a node whose documents do not hold a query's last words passes them over when it looks for attributes that begin with the query (MEILISEARCH D.22)",
        applies: |settings, ask| {
            let rules = settings.get("rankingRules").and_then(Value::as_array);
            rules.is_none_or(|rules| rules.iter().any(|rule| rule == "exactness"))
                && any_search(ask, has_words)
        },
        ignoring: &["**._rankingScoreDetails.exactness", "**._rankingScore", "**._federation.weightedRankingScore"],
        ties_from: Some("exactness"),
        holds: |compared| compared.differs_in("exactness"),
    },
    Known {
        what: "what passes a `rankingScoreThreshold` by its score from the `proximity` or the `exactness` rule",
        why: "the rule's word on a document depends on those beside it, as listed above for the order, and so does the score",
        applies: |_, ask| {
            any_search(ask, |s| s["rankingScoreThreshold"].is_number() && has_words(s))
        },
        ignoring: HITS_AND_ALL_THAT_IS_COUNTED,
        ties_from: None,
        holds: |compared| {
            UNSTEADY.iter().any(|rule| compared.differs_in(rule))
                && compared.counts_no_more_than_without_threshold()
        },
    },
    Known {
        what: "which document stands for a group under `distinct`, where two would but for the `proximity` or the `exactness` rule",
        why: "the rule's word on a document depends on those beside it, as listed above for the order",
        applies: |settings, ask| is_distinct(settings, ask) && !ask.is_federated() && any_search(ask, has_words),
        ignoring: HITS_AND_TOTALS,
        ties_from: None,
        holds: |compared| {
            let differs = |rule: &&&str| compared.differs_in(rule);
            let rules: Vec<&str> = UNSTEADY.iter().filter(differs).copied().collect();
            !rules.is_empty() && compared.leaves_what_repeats_no_value(&rules)
        },
    },
    Known {
        what: "order between hits found by words and hits found by meaning in a hybrid search",
        why: "one node compares them by their scores, and a score by words rests on the `proximity` or the `exactness` rule, whose word on a document depends on those beside it, as listed above for the order",
        applies: |settings, ask| {
            let is_hybrid = |s: &Value| s["hybrid"].is_object() && has_words(s);
            ask.route != Route::FacetSearch && !ask.is_federated() && !is_distinct(settings, ask) && any_search(ask, is_hybrid)
        },
        ignoring: &["hits", "semanticHitCount", "results.*.hits", "results.*.semanticHitCount"],
        ties_from: None,
        holds: |compared| compared.mixes_the_same_lists(),
    },
    Known {
        what: "order between hits of different queries of a federated search",
        why: "one node compares them by their scores, which rest on maxima that depend on the words which a node knows (MEILISEARCH C.5)",
        applies: |_, ask| ask.is_federated() && ask.searches().len() > 1 && any_search(ask, |s| s["q"].is_string()),
        ignoring: &["hits"],
        ties_from: None,
        holds: |compared| compared.keeps_order_by_query(),
    },
    Known {
        what: "order between hits of several queries of one index in a federated search, with an ascending `_geoPoint`",
        why: "within a query the nearest comes first, between queries the engine puts the farthest first: that is no order, and where a node merges the queries, which of them a document stands under rests on the documents beside it",
        applies: |_, ask| {
            let sorts_near = |s: &&Value| s["sort"].as_array().is_some_and(|sort| sort.iter().any(is_nearest_first));
            let near: Vec<&Value> = ask.searches().into_iter().filter(sorts_near).collect();
            ask.is_federated() && near.iter().enumerate().any(|(at, s)| near[..at].iter().any(|other| other["indexUid"] == s["indexUid"]))
        },
        ignoring: &["hits"],
        ties_from: None,
        holds: |compared| compared.keeps_order_by_query(),
    },
    Known {
        what: "everything under `matchingStrategy: frequency` where nodes decide which words may be missing",
        why: "Japanese and Korean words, and words of which the languages of some attributes make others; where `-` parts no words, so that none is negative, and a rule goes before `words`; more than 64 sets of words that may be missing, which takes eight words of which most pairs are in some document together; in federated searches an index's own rule right behind the words, where another query of the index is hybrid or undecided (docs/exactness.md, \"Words that may be missing\")",
        applies: |settings, ask| {
            any_search(ask, |s| goes_by_frequency(s) && !is_decided_for_all(settings, ask, s))
        },
        ignoring: EVERYTHING,
        ties_from: None,
        holds: |compared| compared.goes_by_some_words(),
    },
    Known {
        what: "hits under `matchingStrategy: frequency` where words of the query are also indexed as one",
        why: "the engine lets the joined word go with the rarest of its words: a document that has it is found where the others alone are missing (`hud` for `C.H.U.D.`). Nodes are asked for the words and the joined one besides, which counts as one more exact word to the rules behind `typo`, and ranks by its words what has them apart as well; with a typo, as the beginning of a longer word, as a synonym, twice in one query, and where `-` parts no words, it is counted and not listed",
        applies: |settings, ask| {
            any_search(ask, |s| goes_by_frequency(s) && is_decided_for_all(settings, ask, s))
        },
        ignoring: &["hits", "results.*.hits"],
        ties_from: None,
        holds: |compared| compared.knows_joined_words() && compared.goes_by_some_words(),
    },
    Known {
        what: "counts of a facet search under `matchingStrategy: frequency` where words of the query are also indexed as one",
        why: "values are counted in what is found without the most words, which does not find the joined word (`dela` for `de la`); a facet search has one query",
        applies: |settings, ask| {
            ask.route == Route::FacetSearch
                && any_search(ask, |s| goes_by_frequency(s) && is_decided_for_all(settings, ask, s))
        },
        ignoring: EVERYTHING,
        ties_from: None,
        holds: |compared| compared.knows_joined_words() && compared.goes_by_some_words(),
    },
    Known {
        what: "order from the `exactness` rule on under `matchingStrategy: frequency` where a rule goes before `words`",
        why: "to the engine no attribute begins with a query that lacks a word before another; a negative word stands for it there, which is none that lacks, as nodes that see a word missing would go on with further ones before the next value of the rule that goes first",
        applies: |settings, ask| {
            any_search(ask, |s| goes_by_frequency(s) && !words_come_first(settings, s))
        },
        ignoring: &["**._rankingScoreDetails.exactness", "**._rankingScore", "**._federation.weightedRankingScore"],
        ties_from: Some("exactness"),
        holds: |compared| compared.goes_by_some_words(),
    },
    Known {
        what: "`_rankingScore`, and `score` and `maxTypoCount` of `typo` in the details, under `matchingStrategy: frequency` where a rule goes before `words` and words of the query are also indexed as one",
        why: "nodes are asked for all words of each set, which counts a typo for words that could be written as one, where one node knows not to find any (docs/exactness.md, \"Words that may be missing\"); the order does not rest on it",
        applies: |settings, ask| any_search(ask, |s| goes_by_frequency(s) && !words_come_first(settings, s)),
        ignoring: &[
            "**._rankingScore",
            "**._rankingScoreDetails.typo.score",
            "**._rankingScoreDetails.typo.maxTypoCount",
        ],
        ties_from: None,
        holds: |compared| {
            !compared.ask.is_federated()
                && compared.knows_joined_words()
                && compared.scores_alone_differ()
        },
    },
    Known {
        what: "totals and facets under `rankingScoreThreshold`",
        why: "the engine takes documents below it out of its count only as far as it had to walk for the page, and each node walks for itself",
        applies: |_, ask| any_search(ask, |s| s["rankingScoreThreshold"].is_number()),
        ignoring: TOTALS_AND_FACETS,
        ties_from: None,
        holds: |compared| compared.counts_what_passes(),
    },
    Known {
        what: "hits behind an offset under `rankingScoreThreshold`",
        why: "one node passes over buckets before the page without applying the rules behind, so what those put below the threshold counts towards the offset: its page is no part of its own list from the start (milli `bucket_sort.rs`); the cluster's is",
        applies: |_, ask| any_search(ask, |s| s["rankingScoreThreshold"].is_number() && is_behind_the_first(s)),
        ignoring: HITS_AND_ALL_THAT_IS_COUNTED,
        ties_from: None,
        holds: |compared| compared.pages_are_of_the_list_from_the_start(),
    },
    Known {
        what: "the place in a filter that a refusal names, and which query of several, where several are wrong",
        why: "a node evaluates no further where nothing is left (`a AND b`, where nothing matches `a`), so which wrong part it meets first depends on its documents",
        applies: |_, ask| any_search(ask, |s| !s["filter"].is_null()),
        ignoring: &["message"],
        ties_from: None,
        holds: |compared| compared.places_alone_differ(),
    },
    Known {
        what: "which spelling stands for a facet value that is written in several ways",
        why: "one node shows that of the document stored first, and no cluster knows which that was; values and counts are equal (a facet search by count lists equally frequent values by their spellings, and `mergeFacets` cuts in their order)",
        applies: |_, ask| any_search(ask, |s| s["facets"].is_array()) || ask.is_federated() || ask.route == Route::FacetSearch,
        ignoring: FACETS,
        ties_from: None,
        holds: |compared| {
            spelled_alike(compared.left) == spelled_alike(compared.right) || are_spelled_alike_uncut(compared)
        },
    },
    Known {
        what: "which of several facet values with *equal* counts `maxValuesPerFacet` cuts off",
        why: "depends on the shape of a node's tree of values (MEILISEARCH B.5)",
        applies: |settings, ask| {
            let has_facets = ask.route == Route::FacetSearch || ask.is_federated() || any_search(ask, |s| s["facets"].is_array());
            settings.contains_key("faceting") && has_facets
        },
        ignoring: &["facetDistribution", "facetHits", "facetsByIndex", "results.*.facetDistribution"],
        ties_from: None,
        holds: |compared| {
            let alike = |(a, b): (&Value, &Value)| counts(&a["facetDistribution"]) == counts(&b["facetDistribution"]);
            compared.pairs().all(alike)
                && counts_by_index(compared.left) == counts_by_index(compared.right)
                && values_with_the_last_count_differ(compared.left, compared.right)
        },
    },
];

const SCORES: &[&str] = &["**._rankingScore", "**._federation.weightedRankingScore"];

const FACETS: &[&str] = &[
    "facetHits",
    "facetsByIndex",
    "facetDistribution",
    "facetStats",
    "results.*.facetDistribution",
    "results.*.facetStats",
];

const TOTALS_AND_FACETS: &[&str] = &[
    "estimatedTotalHits",
    "totalHits",
    "totalPages",
    "results.*.estimatedTotalHits",
    "results.*.totalHits",
    "results.*.totalPages",
    "facetsByIndex",
    "facetDistribution",
    "facetStats",
    "results.*.facetDistribution",
    "results.*.facetStats",
    "facetHits",
];

const HITS_AND_TOTALS: &[&str] = &[
    "hits",
    "estimatedTotalHits",
    "totalHits",
    "totalPages",
    "semanticHitCount",
    "results.*.hits",
    "results.*.estimatedTotalHits",
    "results.*.totalHits",
    "results.*.totalPages",
    "results.*.semanticHitCount",
];

const HITS_AND_ALL_THAT_IS_COUNTED: &[&str] = &[
    "hits",
    "estimatedTotalHits",
    "totalHits",
    "totalPages",
    "facetDistribution",
    "facetStats",
    "semanticHitCount",
    "results.*.hits",
    "results.*.estimatedTotalHits",
    "results.*.totalHits",
    "results.*.totalPages",
    "results.*.facetDistribution",
    "results.*.facetStats",
    "results.*.semanticHitCount",
];

const EVERYTHING: &[&str] = &[
    "hits",
    "semanticHitCount",
    "estimatedTotalHits",
    "totalHits",
    "totalPages",
    "facetsByIndex",
    "facetDistribution",
    "facetStats",
    "facetHits",
    "results",
];

const TOTALS: &[&str] = &[
    "estimatedTotalHits",
    "totalHits",
    "totalPages",
    "results.*.estimatedTotalHits",
    "results.*.totalHits",
    "results.*.totalPages",
];

/// Whether both facet searches list values with the same counts, and the same ones but for those with the last count.
fn values_with_the_last_count_differ(left: &Value, right: &Value) -> bool {
    let values = |answer: &Value| -> Vec<(u64, String)> {
        let hits = answer["facetHits"].as_array().into_iter().flatten();
        hits.map(|hit| (hit["count"].as_u64().unwrap_or(0), hit["value"].to_string()))
            .collect()
    };
    let (ours, theirs) = (values(left), values(right));
    let last = ours.last().map_or(0, |(count, _)| *count);
    let alike = |(ours, theirs): (&(u64, String), &(u64, String))| {
        ours.0 == theirs.0 && (ours.0 == last || ours.1 == theirs.1)
    };
    ours.len() == theirs.len() && ours.iter().zip(&theirs).all(alike)
}

/// How often each facet's values occur, without the values.
fn counts(distribution: &Value) -> Vec<(&String, Vec<u64>)> {
    let facets = distribution.as_object();
    let mut all: Vec<(&String, Vec<u64>)> = facets
        .into_iter()
        .flatten()
        .map(|(name, values)| {
            (
                name,
                values
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter_map(|(_, n)| n.as_u64())
                    .collect(),
            )
        })
        .collect();
    all.iter_mut().for_each(|(_, counts)| counts.sort());
    all.sort();
    all
}

/// The same for each index of a federated search.
fn counts_by_index(answer: &Value) -> Vec<(&String, Vec<u64>)> {
    let indexes = answer["facetsByIndex"].as_object();
    let parts = indexes.into_iter().flat_map(|indexes| indexes.values());
    parts
        .flat_map(|part| counts(&part["distribution"]))
        .collect()
}

/// How many facets list as many values as a node may list by default.
fn full_lists(answer: &Value) -> usize {
    let facets = answer["facetDistribution"].as_object();
    let lists = facets.into_iter().flat_map(|facets| facets.values());
    lists
        .filter(|values| values.as_object().is_some_and(|values| values.len() == 100))
        .count()
}

/// All facet parts of an answer with every value in one spelling.
fn spelled_alike(body: &Value) -> Value {
    fn alike(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut members: Vec<(String, Value)> = map
                    .iter()
                    .map(|(name, v)| (name.trim().to_lowercase(), alike(v)))
                    .collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Object(members.into_iter().collect())
            }
            Value::Array(items) => {
                let mut items: Vec<Value> = items.iter().map(alike).collect();
                if items.is_sorted_by(|a, b| a["count"].as_u64() >= b["count"].as_u64()) {
                    // hits of a facet search by count: equally frequent values stand by their spellings
                    let ties = items.chunk_by_mut(|a, b| a["count"] == b["count"]);
                    ties.for_each(|ties| ties.sort_by_cached_key(Value::to_string));
                }
                Value::Array(items)
            }
            Value::String(text) => text.trim().to_lowercase().into(),
            other => other.clone(),
        }
    }
    let parts = [
        "facetDistribution",
        "facetStats",
        "facetsByIndex",
        "facetHits",
    ];
    let of = |answer: &Value| -> Value { parts.iter().map(|part| alike(&answer[*part])).collect() };
    answers(body).map(of).collect()
}

/// Whether the merged facets of a federated search are spelled alike where they are not cut.
fn are_spelled_alike_uncut(compared: &Compared) -> bool {
    let mut ask = compared.ask.clone();
    let merge = ask.body.pointer_mut("/federation/mergeFacets");
    let Some(cut) = merge.and_then(|merge| merge.get_mut("maxValuesPerFacet")) else {
        return false;
    };
    *cut = 1000.into();
    let both = compared.both(&ask);
    both.is_some_and(|[left, right]| spelled_alike(&left) == spelled_alike(&right))
}

/// Whether the search asks for another page than the first.
fn is_behind_the_first(search: &Value) -> bool {
    search["offset"].as_u64() > Some(0) || search["page"].as_u64() > Some(1)
}

fn is_distinct(settings: &Map<String, Value>, ask: &Ask) -> bool {
    settings.contains_key("distinctAttribute")
        || any_search(ask, |s| s["distinct"].is_string())
        || ask.body["federation"]["distinct"].is_string()
}

/// Whether documents may have several values of the attribute.
fn is_of_several_values(settings: &Map<String, Value>, ask: &Ask) -> bool {
    is_distinct_on(settings, ask, &["tags", "grades", "crew.role"])
}

/// Whether nodes are asked for what their own duplicates hide.
fn is_asked_again(settings: &Map<String, Value>, ask: &Ask) -> bool {
    let plain = ask.route != Route::FacetSearch && !ask.is_federated();
    let again = |search: &Value| {
        !search["hybrid"].is_object() && is_distinct_on_filterable(settings, search)
    };
    plain && ask.searches().into_iter().all(again)
}

fn is_distinct_on(settings: &Map<String, Value>, ask: &Ask, fields: &[&str]) -> bool {
    let names = |value: Option<&Value>| {
        value
            .and_then(Value::as_str)
            .is_some_and(|name| fields.contains(&name))
    };
    names(settings.get("distinctAttribute")) || any_search(ask, |s| names(s.get("distinct")))
}

/// Whether a search by `frequency` is one in which nodes need not decide: docs/exactness.md, "Words that may be missing".
fn is_decided_for_all(settings: &Map<String, Value>, ask: &Ask, search: &Value) -> bool {
    let words = WordSettings::of(&Value::Object(settings.clone()));
    let Some(query) = read_replaceable(&words, search) else {
        return false;
    };
    // With a phrase all words may be missing, else the rarest stays.
    let is_few = query.words().count() + usize::from(query.words_in_phrases() > 0) <= 7;
    let of_index = |other: &&Value| other["indexUid"] == search["indexUid"];
    let others: Vec<&Value> = ask.searches().into_iter().filter(of_index).collect();
    let by_words =
        |other: &&Value| other["hybrid"].is_null() && read_replaceable(&words, other).is_some();
    let may_decide = !ask.is_federated()
        || counts_beside_others(settings, search)
        || others.len() == 1
        || others.iter().all(by_words);
    let locales = locales_of(search);
    let stay_in_place = words.has_negatives(&query, &locales) || words_come_first(settings, search);
    is_few && may_decide && stay_in_place
}

/// The languages that a search names.
pub(super) fn locales_of(search: &Value) -> Vec<String> {
    serde_json::from_value(search["locales"].clone()).unwrap_or_default()
}

/// The search's query, where each of its words can be left out.
fn read_replaceable(words: &WordSettings, search: &Value) -> Option<Query> {
    let locales = locales_of(search);
    let query = words.read(search["q"].as_str().unwrap_or_default(), &locales)?;
    let all: Vec<usize> = query.words().collect();
    words.leave_out(&query, &all, &locales)?;
    Some(query)
}

/// Whether the search's distinct attribute may be filtered by, if it has one.
fn is_distinct_on_filterable(settings: &Map<String, Value>, search: &Value) -> bool {
    let own = settings.get("distinctAttribute").and_then(Value::as_str);
    let Some(field) = search["distinct"].as_str().or(own) else {
        return true;
    };
    let filterable = settings
        .get("filterableAttributes")
        .and_then(Value::as_array);
    let lets =
        |rule: &Value| rule == field || rule == "*" || rule["attributePatterns"] == json!(["*"]);
    filterable.is_some_and(|rules| rules.iter().any(lets))
}

/// The rules of a search, and where the first is that goes by words.
fn rules_of<'a>(settings: &'a Map<String, Value>, search: &Value) -> Option<(Vec<&'a str>, usize)> {
    let rules = settings.get("rankingRules")?.as_array()?;
    let rules: Vec<&str> = rules
        .iter()
        .filter_map(Value::as_str)
        .filter(|rule| *rule != "sort" || !search["sort"].is_null())
        .collect();
    let first = rules.iter().position(|rule| !sorts(rule));
    let first = first.unwrap_or(rules.len());
    Some((rules, first))
}

fn is_nearest_first(criterion: &Value) -> bool {
    let criterion = criterion.as_str().unwrap_or_default();
    criterion.starts_with("_geoPoint") && criterion.ends_with(":asc")
}

fn sorts(rule: &str) -> bool {
    rule == "sort" || rule.contains(':')
}

/// Whether no rule that sorts goes before the words.
fn words_come_first(settings: &Map<String, Value>, search: &Value) -> bool {
    rules_of(settings, search).is_none_or(|(rules, first)| first == 0 && !rules.is_empty())
}

/// Whether what counts for the search, of which the rule `words` is none, goes with all queries that the search goes with: to nodes a federated
/// search's queries have the same kinds of rules, as far as they have any.
fn counts_beside_others(settings: &Map<String, Value>, search: &Value) -> bool {
    let asked = kinds_of_rules(settings, &search["sort"], true);
    let sorts = [&search["sort"], &Value::Null];
    let mut counted = sorts
        .map(|sort| kinds_of_rules(settings, sort, false))
        .into_iter();
    counted.any(|counted| asked.starts_with(&counted))
}

/// `None` for a run of rules that give a score; how a rule sorts.
fn kinds_of_rules(settings: &Map<String, Value>, sort: &Value, words: bool) -> Vec<Option<String>> {
    let rules = settings.get("rankingRules").and_then(Value::as_array);
    let rules = rules.into_iter().flatten().filter_map(Value::as_str);
    let sort = sort
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let sort: Vec<&str> = sort.collect();
    let mut fields = Vec::new();
    let mut kinds = rules
        .filter(|rule| words || *rule != "words")
        .flat_map(|rule| {
            if rule == "sort" {
                sort.clone()
            } else {
                vec![rule]
            }
        })
        .filter_map(|rule| {
            let Some((field, order)) = rule.rsplit_once(':') else {
                return Some(None);
            };
            let field = if field.starts_with("_geo") {
                "_geo"
            } else {
                field
            };
            let is_first = !fields.contains(&field);
            fields.push(field);
            is_first.then(|| Some(format!("{} {order}", field == "_geo")))
        })
        .collect::<Vec<_>>();
    kinds.dedup_by(|a, b| a.is_none() && b.is_none());
    kinds
}

/// Whether words of the search may be missing by their frequency.
pub(super) fn goes_by_frequency(search: &Value) -> bool {
    search["matchingStrategy"] == "frequency" && has_words(search)
}

/// Whether something parts words in the query.
fn has_words(search: &Value) -> bool {
    let query = search["q"].as_str().unwrap_or_default();
    query.trim().contains(|c: char| !c.is_alphanumeric())
}
