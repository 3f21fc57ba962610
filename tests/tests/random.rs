//! Random corpora, settings and searches, on one node and on two clusters, which must agree.
//!
//! `MIROIR_RANDOM_SEED` moves to other cases, `MIROIR_RANDOM_CASES` sets how many searches are made (2,000 unless set). Every case is
//! drawn from the seed printed with it alone, so `MIROIR_RANDOM_SEED=<that> MIROIR_RANDOM_CASES=40` repeats it.

use std::collections::BTreeMap;

use miroir_tests::draw::{corpus, needs_no_ties, NO_TIES};
use miroir_tests::fleet::{Fleet, Lone, Plan};
use miroir_tests::http::Target;
use miroir_tests::judge::{judge, Found, Verdict};
use miroir_tests::shrink::{as_scenario, shrink, Case};
use serde_json::{json, Map, Value};

const ASKS_PER_CORPUS: usize = 40;
/// Shrinking takes up to a minute, so only the first failures of a kind are shrunk.
const SHRUNK_MAX: usize = 4;

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
    tally.print();
    assert!(
        tally.refused * 50 < tally.compared,
        "too many of the drawn searches are refused to show anything"
    );
    assert!(
        tally.failed.is_empty(),
        "random searches disagree, see above"
    );
}

#[derive(Default)]
struct Tally {
    compared: usize,
    agreed: usize,
    with_hits: usize,
    refused: usize,
    known: BTreeMap<&'static str, usize>,
    /// By kind.
    failed: BTreeMap<String, usize>,
}

impl Tally {
    fn print(&self) {
        println!(
            "random: {} answers compared, {} equal up to ties ({} of them with hits), {} failed",
            self.compared,
            self.agreed,
            self.with_hits,
            self.failed.values().sum::<usize>()
        );
        if self.refused > 0 {
            println!("  {} refused alike", self.refused);
        }
        for (reason, count) in &self.known {
            println!("  {count} differ as engines do: {reason}");
        }
        for (kind, count) in &self.failed {
            println!("  {count} failed in {kind}");
        }
    }
}

fn play(seed: u64, node: &Target, clusters: &[Target], tally: &mut Tally) {
    let corpus = corpus(seed, ASKS_PER_CORPUS);
    let index = format!("random-{seed}");
    let everybody: Vec<&Target> = clusters.iter().chain([node]).collect();
    let fill_one = |target: &Target| fill(target, &index, &corpus.settings, &corpus.documents);
    std::thread::scope(|scope| {
        for target in &everybody {
            scope.spawn(|| fill_one(target).unwrap_or_else(|e| panic!("seed {seed}: {e}")));
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
                    println!(
                        "FAILED seed {seed}, search {nth}, {}: {} in {ask}",
                        cluster.name, found.kind
                    );
                    let new = !tally.failed.contains_key(&found.kind);
                    *tally.failed.entry(found.kind.clone()).or_default() += 1;
                    if new && tally.failed.len() <= SHRUNK_MAX {
                        let case = Case {
                            documents: corpus.documents.clone(),
                            settings: corpus.settings.clone(),
                            ask: ask.clone(),
                        };
                        report(case, found, node, cluster);
                    }
                }
            }
        }
    }
    for target in everybody {
        remove(target, &index).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
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

fn remove(target: &Target, index: &str) -> Result<(), String> {
    target
        .write("DELETE", &format!("/indexes/{index}"), &Value::Null)
        .map(drop)
}

/// Shrinks a failing case and prints what is left of it as a scenario.
fn report(case: Case, found: Found, node: &Target, cluster: &Target) {
    let kind = found.kind.clone();
    let mut last = found;
    let mut nth = 0;
    let original = case.clone();
    let small = shrink(case, 250, |case| {
        if !is_fair(case, &original) {
            return false;
        }
        nth += 1;
        let index = format!("shrink-{nth}");
        let filled = [node, cluster]
            .iter()
            .all(|t| fill(t, &index, &case.settings, &case.documents).is_ok());
        // a case that cannot be set up, or fails in another way, is another failure than the one looked for
        let failed = filled
            && match judge(&index, &case.settings, &case.ask, node, cluster) {
                Verdict::Differ(found) if found.kind == kind => {
                    last = found;
                    true
                }
                _ => false,
            };
        for target in [node, cluster] {
            let _ = remove(target, &index);
        }
        failed
    });
    println!(
        "one node | {}:\n  {}\n\n{}",
        cluster.name,
        last.lines.join("\n  "),
        as_scenario(&small, "random")
    );
}

/// Whether a smaller case still keeps out what a cluster cannot know.
fn is_fair(case: &Case, original: &Case) -> bool {
    let rules = case.settings.get("rankingRules").and_then(Value::as_array);
    let has = |rule: &str| rules.is_some_and(|rules| rules.iter().any(|r| r == rule));
    let unique = case.documents.iter().all(|d| d.get("uniq").is_some());
    let no_ties = !needs_no_ties(&case.settings) || (has(NO_TIES) && unique);
    let exactness = rules.is_none() || has("exactness");
    no_ties && (!exactness || vocabularies(case) == vocabularies(original))
}

/// Documents that are there for every node to know every word.
fn vocabularies(case: &Case) -> usize {
    let is_one = |d: &&Value| {
        d["title"]
            .as_str()
            .is_some_and(|t| t.split(' ').count() > 10)
    };
    case.documents.iter().filter(is_one).count()
}
