//! Judging one random search: do cluster and node agree, and if not, is it the engine's doing?
//!
//! Some effects of the engine show through any proxy and cannot be kept out by what is drawn (see [`crate::draw`]). Each is written
//! down in [`KNOWN`] as narrowly as the answer allows: which requests can show it, which members it may touch, and what must still hold
//! there. Everything else must agree as ever, the order of hits included. They are counted with their reason, never silent.

use serde_json::{json, Map, Value};

use crate::agree::{agree, Leniency};
use crate::compare::Difference;
use crate::http::{Answer, Call, Target};
use crate::volatile::TaskNames;

/// What came of one search.
#[derive(Debug)]
pub enum Verdict {
    Agree {
        with_hits: bool,
    },
    /// Both refuse the request alike: lawful, but nothing is shown by it.
    Refused,
    /// They differ in a way that only the engine could change; the reason.
    Known(&'static str),
    Differ(Found),
}

/// How two answers differ.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which parts of the answers differ: two failures of one kind are probably one defect.
    pub kind: String,
    pub lines: Vec<String>,
}

/// Asks `node` and `cluster` the same search (or multi-search, where `ask` has `queries`) of an index that both were filled with alike.
pub fn judge(
    index: &str,
    settings: &Map<String, Value>,
    ask: &Value,
    node: &Target,
    cluster: &Target,
) -> Verdict {
    let call = call(index, ask);
    let (left, right) = match (node.call(&call), cluster.call(&call)) {
        (Ok(left), Ok(right)) => (left, right),
        (left, right) => {
            let lines = [left.err(), right.err()].into_iter().flatten().collect();
            return Verdict::Differ(Found {
                kind: "no answer".into(),
                lines,
            });
        }
    };
    if right.status == 501
        && right.code() == Some("miroir_not_implemented")
        && settings.contains_key("displayedAttributes")
    {
        return Verdict::Known("not there yet: ordering by a field that displayedAttributes hides");
    }
    let compare =
        |ignore: &[&str], ties_from: Option<&'static str>| -> Result<Vec<Difference>, String> {
            let ignore = ignore.iter().map(|p| p.to_string()).collect();
            let names = [&mut TaskNames::default(), &mut TaskNames::default()];
            agree(
                &call,
                &left,
                &right,
                &Leniency { ignore, ties_from },
                names,
                node,
            )
        };
    let strict = match compare(&[], None) {
        Ok(found) if found.is_empty() && left.status == 200 => {
            return Verdict::Agree {
                with_hits: any_hits(&left.body),
            }
        }
        Ok(found) if found.is_empty() => return Verdict::Refused,
        Ok(found) => found,
        Err(reason) => {
            return Verdict::Differ(Found {
                kind: "not comparable".into(),
                lines: vec![reason],
            })
        }
    };
    // two effects can meet in one answer: they are tried alone first, then together
    let applying: Vec<&Known> = KNOWN
        .iter()
        .filter(|known| (known.applies)(settings, ask) && (known.holds)(&left.body, &right.body))
        .collect();
    let explained =
        |ignore: &[&str], ties_from| compare(ignore, ties_from).is_ok_and(|found| found.is_empty());
    if let Some(known) = applying
        .iter()
        .find(|known| explained(known.ignoring, known.ties_from))
    {
        return Verdict::Known(known.reason);
    }
    let together: Vec<&str> = applying
        .iter()
        .flat_map(|known| known.ignoring)
        .copied()
        .collect();
    let ties_from = applying.iter().find_map(|known| known.ties_from);
    match applying.first() {
        Some(first) if explained(&together, ties_from) => Verdict::Known(first.reason),
        _ => Verdict::Differ(Found::new(&left, &right, &strict)),
    }
}

impl Found {
    fn new(left: &Answer, right: &Answer, found: &[Difference]) -> Found {
        let part = |d: &Difference| {
            let named = d
                .path
                .split(['.', ' '])
                .find(|s| !matches!(*s, "results" | "body") && s.parse::<usize>().is_err());
            named.unwrap_or_default().to_string()
        };
        let mut parts: Vec<String> = found.iter().map(part).collect();
        parts.sort();
        parts.dedup();
        let kind = format!("{}/{} {}", left.status, right.status, parts.join(" "));
        Found {
            kind,
            lines: found.iter().map(|d| d.to_string()).collect(),
        }
    }
}

/// An effect of the engine.
struct Known {
    reason: &'static str,
    /// Whether an index with these settings, asked this, can show it.
    applies: fn(&Map<String, Value>, &Value) -> bool,
    /// What it may change.
    ignoring: &'static [&'static str],
    /// The rule from which on it may change the order.
    ties_from: Option<&'static str>,
    /// What must hold between the node's answer and the cluster's all the same.
    holds: fn(&Value, &Value) -> bool,
}

const KNOWN: &[Known] = &[
    Known {
        reason: "a score is a ratio to a maximum that depends on the words a node knows (MEILISEARCH C.5)",
        applies: |_, ask| any_search(ask, |s| s["q"].is_string() && (s["showRankingScore"] == true || s["showRankingScoreDetails"] == true)),
        ignoring: &[
            "**._rankingScore",
            "**._rankingScoreDetails.typo.score",
            "**._rankingScoreDetails.typo.maxTypoCount",
            "**._rankingScoreDetails.proximity.score",
        ],
        ties_from: None,
        holds: |_, _| true,
    },
    Known {
        reason: "facets under distinct count one document of a group, the one that was stored first (MEILISEARCH B.6)",
        applies: |settings, ask| is_distinct(settings, ask) && any_search(ask, |s| s["facets"].is_array()),
        ignoring: &["facetDistribution", "facetStats", "results.*.facetDistribution", "results.*.facetStats"],
        ties_from: None,
        holds: |_, _| true,
    },
    Known {
        reason: "totals under distinct are an upper bound: a node counts its own groups (MEILISEARCH B.6)",
        applies: is_distinct,
        ignoring: &[
            "estimatedTotalHits",
            "totalHits",
            "totalPages",
            "results.*.estimatedTotalHits",
            "results.*.totalHits",
            "results.*.totalPages",
        ],
        ties_from: None,
        holds: |node, cluster| answers(node).zip(answers(cluster)).all(|(a, b)| a["totalHits"].as_u64() <= b["totalHits"].as_u64()),
    },
    Known {
        reason: "which typos of a word are marked depends on the words that a node knows and on how far its rules had to look (milli's derivations)",
        applies: |_, ask| {
            let marks = ["attributesToHighlight", "attributesToCrop", "showMatchesPosition"];
            any_search(ask, |s| s["q"].is_string() && marks.iter().any(|m| !s[*m].is_null()))
        },
        ignoring: &["**._formatted!", "**._matchesPosition"],
        ties_from: None,
        holds: |_, _| true,
    },
    Known {
        reason: "milli 1.15 walks the paths of the proximity rule on from where an earlier bucket ended, so a cost depends on that bucket (MEILISEARCH D.21)",
        applies: |_, ask| any_search(ask, |s| s["q"].as_str().is_some_and(|q| q.trim().contains(' '))),
        ignoring: &[],
        ties_from: Some("proximity"),
        holds: |_, _| true,
    },
    Known {
        reason: "of facet values with equal counts, which ones maxValuesPerFacet cuts off depends on a node's tree of values (MEILISEARCH B.5)",
        applies: |settings, ask| settings.contains_key("faceting") && any_search(ask, |s| s["facets"].is_array()),
        ignoring: &["facetDistribution", "results.*.facetDistribution"],
        ties_from: None,
        holds: |node, cluster| answers(node).zip(answers(cluster)).all(|(a, b)| counts(a) == counts(b)),
    },
];

/// How often each facet's values occur, without the values.
fn counts(answer: &Value) -> Vec<(&String, Vec<u64>)> {
    let facets = answer["facetDistribution"].as_object();
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

fn is_distinct(settings: &Map<String, Value>, ask: &Value) -> bool {
    settings.contains_key("distinctAttribute") || any_search(ask, |s| s["distinct"].is_string())
}

fn any_search(ask: &Value, test: impl Fn(&Value) -> bool) -> bool {
    match ask["queries"].as_array() {
        Some(queries) => queries.iter().any(test),
        None => test(ask),
    }
}

/// The answers of a multi-search, or the one of a search.
fn answers(body: &Value) -> impl Iterator<Item = &Value> {
    let several = body["results"].as_array();
    let one = several.is_none().then_some(body);
    several.into_iter().flatten().chain(one)
}

fn any_hits(body: &Value) -> bool {
    answers(body).any(|a| a["hits"].as_array().is_some_and(|hits| !hits.is_empty()))
}

fn call(index: &str, ask: &Value) -> Call {
    let Some(queries) = ask["queries"].as_array() else {
        return Call::json("POST", format!("/indexes/{index}/search"), ask);
    };
    let mut queries = queries.clone();
    for query in &mut queries {
        query["indexUid"] = json!(index);
    }
    Call::json("POST", "/multi-search", &json!({ "queries": queries }))
}
