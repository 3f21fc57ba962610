//! Random corpora, settings and searches, on one node and on two clusters, which must agree.
//!
//! `MIROIR_RANDOM_SEED` moves to other cases, `MIROIR_RANDOM_CASES` sets how many searches are made (2,000 unless set). Every case is
//! drawn from the seed printed with it alone, so `MIROIR_RANDOM_SEED=<that> MIROIR_RANDOM_CASES=40` repeats it.

use std::collections::BTreeMap;

use miroir_tests::agree::agree;
use miroir_tests::compare::Difference;
use miroir_tests::draw::{corpus, needs_no_ties, NO_TIES};
use miroir_tests::fleet::{Fleet, Lone, Plan};
use miroir_tests::http::{Call, Target};
use miroir_tests::shrink::{as_scenario, shrink, Case};
use miroir_tests::volatile::TaskNames;
use serde_json::{json, Map, Value};

const ASKS_PER_CORPUS: usize = 40;
const SHRUNK_MAX: usize = 3;

#[test]
fn random_searches_agree_with_one_node() {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|v| v.parse().ok())
            .unwrap_or(default)
    };
    let (seed, cases) = (
        number("MIROIR_RANDOM_SEED", 20_261_121),
        number("MIROIR_RANDOM_CASES", 2000),
    );

    let lone = Lone::start();
    let single = Fleet::start(Plan::default());
    let double = Fleet::start(Plan {
        replication_factor: 2,
        ..Plan::default()
    });
    let node = lone.target();
    let clusters = [
        single.target("3 nodes, one copy"),
        double.target("3 nodes, two copies"),
    ];

    let mut tally = Tally::default();
    for seed in seed..seed + cases.div_ceil(ASKS_PER_CORPUS as u64) {
        play(seed, &node, &clusters, &mut tally);
    }
    println!(
        "random: {} answers compared, {} equal up to ties ({} of them with hits), {} failed",
        tally.compared, tally.agreed, tally.with_hits, tally.failed
    );
    if tally.refused > 0 {
        println!("  {} refused alike", tally.refused);
    }
    for (reason, count) in &tally.known {
        println!("  {count} differ as engines do: {reason}");
    }
    assert_eq!(tally.failed, 0, "random searches disagree, see above");
}

#[derive(Default)]
struct Tally {
    compared: usize,
    agreed: usize,
    with_hits: usize,
    failed: usize,
    refused: usize,
    shrunk: usize,
    known: BTreeMap<&'static str, usize>,
}

fn play(seed: u64, node: &Target, clusters: &[Target], tally: &mut Tally) {
    let corpus = corpus(seed, ASKS_PER_CORPUS);
    let index = format!("random-{seed}");
    let everybody: Vec<&Target> = clusters.iter().chain([node]).collect();
    std::thread::scope(|scope| {
        for target in &everybody {
            scope.spawn(|| {
                fill(target, &index, &corpus.settings, &corpus.documents)
                    .unwrap_or_else(|e| panic!("seed {seed}: {e}"))
            });
        }
    });
    for (nth, ask) in corpus.asks.iter().enumerate() {
        for cluster in clusters {
            tally.compared += 1;
            match judge(&index, &corpus.settings, ask, node, cluster) {
                Verdict::Agree { with_hits } => {
                    tally.agreed += 1;
                    tally.with_hits += usize::from(with_hits);
                }
                Verdict::Refused => tally.refused += 1,
                Verdict::Known(reason) => *tally.known.entry(reason).or_default() += 1,
                Verdict::Differ(found) => {
                    tally.failed += 1;
                    let case = Case {
                        documents: corpus.documents.clone(),
                        settings: corpus.settings.clone(),
                        ask: ask.clone(),
                    };
                    println!("FAILED seed {seed}, search {nth}, {}: {ask}", cluster.name);
                    if tally.shrunk < SHRUNK_MAX {
                        tally.shrunk += 1;
                        report(case, found, node, cluster);
                    }
                }
            }
        }
    }
    for target in everybody {
        target
            .write("DELETE", &format!("/indexes/{index}"), &Value::Null)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}

fn fill(
    target: &Target,
    index: &str,
    settings: &Map<String, Value>,
    documents: &[Value],
) -> Result<(), String> {
    let steps = [
        target.write(
            "PATCH",
            &format!("/indexes/{index}/settings"),
            &Value::Object(settings.clone()),
        )?,
        target.write(
            "POST",
            &format!("/indexes/{index}/documents?primaryKey=id"),
            &json!(documents),
        )?,
    ];
    match steps.iter().find(|task| task["status"] != "succeeded") {
        Some(task) => Err(format!("on {}: {task}", target.name)),
        None => Ok(()),
    }
}

enum Verdict {
    Agree {
        with_hits: bool,
    },
    /// Both refuse the request alike: lawful, but nothing is shown by it.
    Refused,
    /// They differ in a way that only the engine could change.
    Known(&'static str),
    Differ(Vec<String>),
}

fn judge(
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
            return Verdict::Differ([left.err(), right.err()].into_iter().flatten().collect())
        }
    };
    let compare = |ignore: &[&str]| -> Result<Vec<Difference>, String> {
        let ignore: Vec<String> = ignore.iter().map(|p| p.to_string()).collect();
        let names = [&mut TaskNames::default(), &mut TaskNames::default()];
        agree(&call, &left, &right, &ignore, names, node)
    };
    let strict: Vec<String> = match compare(&[]) {
        Ok(found) if found.is_empty() && left.status == 200 => {
            return Verdict::Agree {
                with_hits: any_hits(&left.body),
            }
        }
        Ok(found) if found.is_empty() => return Verdict::Refused,
        Ok(found) => found.iter().map(|d| d.to_string()).collect(),
        Err(reason) => return Verdict::Differ(vec![reason]),
    };
    let applying = KNOWN.iter().filter(|known| (known.applies)(settings, ask));
    let mut ignoring = Vec::new();
    let mut reasons = Vec::new();
    // two effects can meet in one answer: they are tried alone first, then together
    for known in applying {
        if compare(known.ignoring).is_ok_and(|found| found.is_empty()) {
            return Verdict::Known(known.reason);
        }
        ignoring.extend(known.ignoring);
        reasons.push(known.reason);
        if reasons.len() > 1 && compare(&ignoring).is_ok_and(|found| found.is_empty()) {
            return Verdict::Known(reasons[0]);
        }
    }
    Verdict::Differ(strict)
}

/// An effect of the engine that shows through any proxy, as narrow as it can be told from the answer: everything but `ignoring` must
/// still agree, the order of hits included.
struct Known {
    reason: &'static str,
    applies: fn(&Map<String, Value>, &Value) -> bool,
    ignoring: &'static [&'static str],
}

/// Where a score shows how much worse the worst match on that node was.
const RATIOS: &[&str] = &[
    "**._rankingScore",
    "**._rankingScoreDetails.typo.score",
    "**._rankingScoreDetails.typo.maxTypoCount",
    "**._rankingScoreDetails.proximity.score",
];

const KNOWN: &[Known] = &[
    Known {
        reason: "a score is a ratio to a maximum that depends on the words a node knows (MEILISEARCH C.5)",
        applies: |_, ask| {
            any_search(ask, |s| s["q"].is_string() && (s["showRankingScore"] == true || s["showRankingScoreDetails"] == true))
        },
        ignoring: RATIOS,
    },
    Known {
        reason: "facets under distinct count one document of a group, the one that was stored first (MEILISEARCH B.6)",
        applies: |settings, ask| is_distinct(settings, ask) && any_search(ask, |s| s["facets"].is_array()),
        ignoring: &["facetDistribution", "facetStats", "results.*.facetDistribution", "results.*.facetStats"],
    },
    Known {
        reason: "the estimated total under distinct leaves out only the duplicates that were met (MEILISEARCH B.6)",
        applies: is_distinct,
        ignoring: &["estimatedTotalHits", "results.*.estimatedTotalHits"],
    },
];

fn is_distinct(settings: &Map<String, Value>, ask: &Value) -> bool {
    settings.contains_key("distinctAttribute") || any_search(ask, |s| s["distinct"].is_string())
}

fn any_search(ask: &Value, test: impl Fn(&Value) -> bool) -> bool {
    match ask["queries"].as_array() {
        Some(queries) => queries.iter().any(test),
        None => test(ask),
    }
}

fn any_hits(answer: &Value) -> bool {
    let some = |a: &Value| a["hits"].as_array().is_some_and(|hits| !hits.is_empty());
    some(answer)
        || answer["results"]
            .as_array()
            .is_some_and(|results| results.iter().any(some))
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

/// Shrinks a failing case and prints what is left of it as a scenario.
fn report(case: Case, found: Vec<String>, node: &Target, cluster: &Target) {
    let mut last = found;
    let mut nth = 0;
    let small = shrink(case, 250, |case| {
        if !is_fair(case) {
            return false;
        }
        nth += 1;
        let index = format!("shrink-{nth}");
        let filled = [node, cluster]
            .iter()
            .all(|t| fill(t, &index, &case.settings, &case.documents).is_ok());
        // a case that cannot be set up is another failure than the one looked for
        let failed = filled
            && match judge(&index, &case.settings, &case.ask, node, cluster) {
                Verdict::Differ(found) => {
                    last = found;
                    true
                }
                _ => false,
            };
        for target in [node, cluster] {
            let _ = target.write("DELETE", &format!("/indexes/{index}"), &Value::Null);
        }
        failed
    });
    println!(
        "one node | {}:\n  {}\n\n{}",
        cluster.name,
        last.join("\n  "),
        as_scenario(&small, "random")
    );
}

/// Whether a smaller case still keeps out what a cluster cannot know.
fn is_fair(case: &Case) -> bool {
    let rules = case.settings.get("rankingRules").and_then(Value::as_array);
    let has_rule = rules.is_some_and(|rules| rules.iter().any(|r| r == NO_TIES));
    let unique = case.documents.iter().all(|d| d.get("uniq").is_some());
    !needs_no_ties(&case.settings) || (has_rule && unique)
}
