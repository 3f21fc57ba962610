//! Random searches of random and of real corpora, on one node and on clusters, which must agree.
//!
//! Three corpora: *drawn* ones (documents, settings and searches are random), the *films* and the *cities* of data/ (searches are
//! random). A run makes 2,000 searches; `MIROIR_RANDOM_CASES=10000`, for the night, makes more and asks the real corpora on every
//! cluster of 1, 3 and 8 nodes with one copy and with two. `MIROIR_RANDOM_SEED` moves to other cases; every case is drawn from the seed
//! printed with it alone, so `MIROIR_RANDOM_SEED=<that> MIROIR_RANDOM_CASES=1 MIROIR_RANDOM_CORPUS=<its corpus>` repeats it.
//! A long run can be made in parts: each of its parts has a corpus and a seed of its own, `MIROIR_RANDOM_NIGHT=1` for the night's
//! clusters, and `MIROIR_RANDOM_TALLY=FILE`, where the parts add up (`MIROIR_RANDOM_CASES=0` only writes). `MIROIR_RANDOM_SHOW=1` prints the answers that differ as listed, `MIROIR_WRITE_DOCS=1` puts what was
//! counted into docs/exactness.md, with `MIROIR_RANDOM_BUILD` for what was measured.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

use miroir_tests::ask::second;
use miroir_tests::draw::{corpus, needs_no_ties, real, Corpus, NO_TIES};
use miroir_tests::figures::{check_page, Tally};
use miroir_tests::fleet::{Fleet, Lone, Plan};
use miroir_tests::http::Target;
use miroir_tests::judge::{judge, walk, Found, Verdict, Walk};
use miroir_tests::shrink::{as_scenario, shrink, shrink_ask, Case};
use serde_json::{json, Map, Value};

/// Shrinking takes up to a minute, so only the first failures of a kind are shrunk.
const SHRUNK_MAX: usize = 4;
/// From so many cases on it is night: the real corpora are asked on every cluster.
const NIGHTLY: u64 = 10_000;

#[test]
fn random_searches_agree_with_one_node() {
    let run = Run::from_env();
    let lone = Lone::start();
    let node = lone.target();
    let fleets = run.start_fleets();
    let cluster = |shape: &(usize, u8)| fleets[shape].target(&name_of(*shape));

    let tally = Mutex::new(Tally::default());
    for (corpus, cases) in run.corpora() {
        let clusters: Vec<Target> = run.clusters_for(corpus).iter().map(cluster).collect();
        if cases == 0 {
            continue;
        }
        let seeds = run.seed..run.seed + cases.div_ceil(corpus.asks_per_seed());
        let bench = Bench {
            corpus,
            node: &node,
            clusters: &clusters,
            tally: &tally,
            show: std::env::var_os("MIROIR_RANDOM_SHOW").is_some(),
        };
        bench.play_all(seeds);
    }
    let mut tally = tally.into_inner().unwrap_or_else(|e| e.into_inner());
    if let Some(file) = std::env::var_os("MIROIR_RANDOM_TALLY") {
        tally
            .add_up(file.as_ref())
            .unwrap_or_else(|e| panic!("{e}"));
    }
    tally.print();
    if std::env::var("MIROIR_WRITE_DOCS").is_ok_and(|v| v == "1") {
        let how = run.how(tally.searches());
        tally.write(&how).unwrap_or_else(|e| panic!("{e}"));
    }
    let whole = tally.whole();
    assert!(
        whole.refused * 10 < whole.compared,
        "too many of the drawn searches are refused to show anything"
    );
    assert!(
        whole.failed.is_empty(),
        "random searches disagree, the first ones are these (all are above):\n{}",
        tally.notes().join("\n")
    );
    assert!(
        tally.most_walks_join(),
        "pages come from the same copies, so walks should join even inside ties"
    );
}

/// One place for the texts: the page lists what the code lists.
#[test]
fn the_page_lists_these_exceptions() {
    if std::env::var_os("MIROIR_WRITE_DOCS").is_none() {
        check_page().unwrap_or_else(|e| panic!("{e}"));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Drawn,
    Films,
    Cities,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Drawn => "drawn",
            Kind::Films => "films",
            Kind::Cities => "cities",
        }
    }

    /// More where storing a corpus takes longer than asking it.
    fn asks_per_seed(self) -> u64 {
        match self {
            Kind::Films => 100,
            Kind::Drawn | Kind::Cities => 40,
        }
    }
}

/// What is to be done.
struct Run {
    seed: u64,
    cases: u64,
    only: Option<String>,
    /// Ask the real corpora on every cluster.
    night: bool,
}

impl Run {
    fn from_env() -> Run {
        let number = |name: &str, default: u64| {
            let text = std::env::var(name).ok();
            text.and_then(|v| v.parse().ok()).unwrap_or(default)
        };
        let cases = number("MIROIR_RANDOM_CASES", 2000);
        Run {
            seed: number("MIROIR_RANDOM_SEED", 20_261_121),
            cases,
            only: std::env::var("MIROIR_RANDOM_CORPUS").ok(),
            night: cases >= NIGHTLY || std::env::var_os("MIROIR_RANDOM_NIGHT").is_some(),
        }
    }

    /// Three searches in five are of drawn corpora, one of films, one of cities.
    fn corpora(&self) -> Vec<(Kind, u64)> {
        let parts = [(Kind::Drawn, 3), (Kind::Films, 1), (Kind::Cities, 1)];
        let wanted = |kind: &Kind| self.only.as_deref().is_none_or(|only| only == kind.name());
        match self.only {
            None => parts
                .map(|(kind, part)| (kind, self.cases * part / 5))
                .to_vec(),
            Some(_) => {
                let kinds = parts.into_iter().map(|(kind, _)| (kind, self.cases));
                kinds.filter(|(kind, _)| wanted(kind)).collect()
            }
        }
    }

    /// (nodes, replication factor)
    fn clusters_for(&self, kind: Kind) -> Vec<(usize, u8)> {
        match kind {
            Kind::Drawn => vec![(3, 1), (3, 2)],
            _ if self.night => vec![(1, 1), (3, 1), (3, 2), (8, 1), (8, 2)],
            Kind::Films => vec![(1, 1), (3, 2)],
            Kind::Cities => vec![(3, 1), (8, 2)],
        }
    }

    fn start_fleets(&self) -> BTreeMap<(usize, u8), Fleet> {
        let corpora = self.corpora();
        let mut shapes: Vec<(usize, u8)> = corpora
            .iter()
            .flat_map(|(kind, _)| self.clusters_for(*kind))
            .collect();
        shapes.sort();
        shapes.dedup();
        std::thread::scope(|scope| {
            let start = |(nodes, replication_factor)| {
                scope.spawn(move || {
                    Fleet::start(Plan {
                        nodes,
                        replication_factor,
                        extra: STEADY.into(),
                        ..Plan::default()
                    })
                })
            };
            let started: Vec<_> = shapes.into_iter().map(|s| (s, start(s))).collect();
            let joined = started
                .into_iter()
                .map(|(shape, fleet)| (shape, fleet.join().expect("the fleet starts")));
            joined.collect()
        })
    }

    fn how(&self, searches: usize) -> String {
        let nodes = match std::env::var("MIROIR_RANDOM_BUILD") {
            Ok(build) => build,
            Err(_) if std::env::var_os("MEILISEARCH_BIN").is_some() => {
                "released Meilisearch".to_string()
            }
            Err(_) => "the embedded node".to_string(),
        };
        let parts = match std::env::var_os("MIROIR_RANDOM_TALLY") {
            Some(_) => "in parts, each from a seed of its own (`MIROIR_RANDOM_TALLY`)".to_string(),
            None => format!(
                "from seed {} (`MIROIR_RANDOM_CASES={}`)",
                self.seed, self.cases
            ),
        };
        format!("{searches} searches {parts}, nodes: {nodes}.")
    }
}

fn name_of((nodes, copies): (usize, u8)) -> String {
    format!(
        "{nodes} node{}, RF {copies}",
        if nodes == 1 { "" } else { "s" }
    )
}

/// Where the searches of one corpus are compared.
struct Bench<'a> {
    corpus: Kind,
    node: &'a Target,
    clusters: &'a [Target],
    tally: &'a Mutex<Tally>,
    /// Print what differs as listed, too.
    show: bool,
}

impl Bench<'_> {
    /// Two seeds at a time: most of a case is waiting.
    fn play_all(&self, seeds: std::ops::Range<u64>) {
        // the cities are too many to be stored for every seed
        let shared = (self.corpus == Kind::Cities).then(|| {
            let corpus = real::cities();
            self.fill_all("cities", &corpus);
            corpus
        });
        let next = AtomicU64::new(seeds.start);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    self.play(seed, shared.as_ref());
                });
            }
        });
        if shared.is_some() {
            self.remove_all("cities");
        }
    }

    fn everybody(&self) -> impl Iterator<Item = &Target> {
        self.clusters.iter().chain([self.node])
    }

    fn fill_all(&self, index: &str, corpus: &Corpus) {
        std::thread::scope(|scope| {
            for target in self.everybody() {
                scope.spawn(|| {
                    let Corpus {
                        documents,
                        others,
                        settings,
                        ..
                    } = corpus;
                    fill(target, index, settings, documents, others)
                        .unwrap_or_else(|e| panic!("{index}: {e}"));
                });
            }
        });
    }

    fn remove_all(&self, index: &str) {
        for target in self.everybody() {
            remove(target, index);
        }
    }

    fn play(&self, seed: u64, shared: Option<&Corpus>) {
        let asks = self.corpus.asks_per_seed() as usize;
        let drawn = match self.corpus {
            Kind::Drawn => corpus(seed, asks),
            Kind::Films => real::films(seed, asks),
            Kind::Cities => Corpus {
                asks: shared
                    .map(|c| real::ask_cities(seed, asks, c))
                    .unwrap_or_default(),
                ..Corpus::default()
            },
        };
        let corpus = shared.unwrap_or(&drawn);
        let index = match shared {
            Some(_) => "cities".to_string(),
            None => format!("{}-{seed}", self.corpus.name()),
        };
        if shared.is_none() {
            self.fill_all(&index, corpus);
        }
        for (nth, ask) in drawn.asks.iter().enumerate() {
            for cluster in self.clusters {
                let verdict = judge(&index, &corpus.settings, ask, self.node, cluster);
                let (new, kinds) = {
                    let mut tally = self.lock();
                    let new = tally.count(self.corpus.name(), &cluster.name, &verdict);
                    (new, tally.kinds())
                };
                if let (Verdict::Known(known), true) = (&verdict, self.show) {
                    println!(
                        "LISTED {} seed {seed}, {}: {} in {ask}",
                        self.corpus.name(),
                        cluster.name,
                        known.what
                    );
                }
                let Verdict::Differ(found) = verdict else {
                    continue;
                };
                let what = format!(
                    "FAILED {} seed {seed}, search {nth}, {}: {} in {ask}\n  settings {}\n  one node | {}:\n  {}",
                    self.corpus.name(),
                    cluster.name,
                    found.kind,
                    Value::Object(corpus.settings.clone()),
                    cluster.name,
                    found.lines.join("\n  ")
                );
                println!("{what}");
                self.lock().note(&what);
                if new && kinds <= SHRUNK_MAX {
                    let case = Case {
                        documents: corpus.documents.clone(),
                        others: corpus.others.clone(),
                        settings: corpus.settings.clone(),
                        ask: ask.clone(),
                    };
                    report(&index, case, found, self.node, cluster);
                }
            }
        }
        for cluster in self.clusters {
            for ask in drawn.asks.iter().step_by(WALK_EVERY) {
                match walk(&index, &corpus.settings, ask, self.node, cluster) {
                    Walk::None => {}
                    Walk::Joined => self.lock().walked(true),
                    Walk::Disturbed => self.lock().walked(false),
                    Walk::Torn(found) => {
                        let what = format!(
                            "FAILED {} seed {seed}, {}: pages do not join in {ask}\n  {}",
                            self.corpus.name(),
                            cluster.name,
                            found.lines.join("\n  ")
                        );
                        println!("{what}");
                        let mut tally = self.lock();
                        tally.fail(self.corpus.name(), &cluster.name, found);
                        tally.note(&what);
                    }
                }
            }
        }
        if shared.is_none() {
            self.remove_all(&index);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Pages of one search join inside ties only as long as the same copies answer (docs/exactness.md, "Ties"). What overrides their
/// choice is shown by tests/hedging.rs and tests/faults.rs.
const STEADY: &str = "reads: { hedging: false, avoid_slow_nodes: false }";
/// Every so many searches one is walked through page by page.
const WALK_EVERY: usize = 13;

/// Documents in one request; the tasks of more take longer than anybody waits.
const BATCH: usize = 20_000;

fn fill(
    target: &Target,
    index: &str,
    settings: &Map<String, Value>,
    documents: &[Value],
    others: &[Value],
) -> Result<(), String> {
    let second = second(index);
    for (index, documents) in [(index, documents), (second.as_str(), others)] {
        if documents.is_empty() {
            continue;
        }
        let mut steps = vec![target.write(
            "PATCH",
            &format!("/indexes/{index}/settings"),
            &Value::Object(settings.clone()),
        )?];
        for batch in documents.chunks(BATCH) {
            let path = format!("/indexes/{index}/documents?primaryKey=id");
            steps.push(target.write("POST", &path, &json!(batch))?);
        }
        if let Some(task) = steps.iter().find(|task| task["status"] != "succeeded") {
            return Err(format!("on {}: {task}", target.name));
        }
    }
    Ok(())
}

/// Removes both indexes; one that is not there is none to worry about.
fn remove(target: &Target, index: &str) {
    for index in [index, &second(index)] {
        let _ = target.write("DELETE", &format!("/indexes/{index}"), &Value::Null);
    }
}

/// Shrinks a failing case and prints what is left of it as a scenario.
fn report(index: &str, case: Case, found: Found, node: &Target, cluster: &Target) {
    let kind = found.kind.clone();
    let mut last = found;
    // a case that cannot be set up, or fails in another way, is another failure than the one looked for
    let mut still =
        |index: &str, case: &Case| match judge(index, &case.settings, &case.ask, node, cluster) {
            Verdict::Differ(found) if found.kind == kind => {
                last = found;
                true
            }
            _ => false,
        };
    let original = case.clone();
    let mut small = shrink_ask(case, 120, |case| still(index, case));
    if !small.ask.body.to_string().contains("{index2}") {
        small.others.clear();
    }
    if small.documents.len() <= SHRINKABLE {
        let mut nth = 0;
        small = shrink(small, 250, |case| {
            if !is_fair(case, &original) {
                return false;
            }
            nth += 1;
            let index = format!("shrink-{index}-{nth}");
            let filled = [node, cluster]
                .iter()
                .all(|t| fill(t, &index, &case.settings, &case.documents, &case.others).is_ok());
            let failed = filled && still(&index, case);
            for target in [node, cluster] {
                remove(target, &index);
            }
            failed
        });
    }
    println!(
        "one node | {}:\n  {}\n",
        cluster.name,
        last.lines.join("\n  ")
    );
    if small.documents.len() <= SHRINKABLE {
        println!("{}", as_scenario(&small, "random"));
    } else {
        println!("{}", small.ask);
    }
}

/// Larger corpora cannot be stored again for every try.
const SHRINKABLE: usize = 500;

/// Whether a smaller case still keeps out what a cluster cannot know.
fn is_fair(case: &Case, original: &Case) -> bool {
    let rules = case.settings.get("rankingRules").and_then(Value::as_array);
    let has = |rule: &str| rules.is_some_and(|rules| rules.iter().any(|r| r == rule));
    let unique = case.documents.iter().all(|d| d.get("uniq").is_some());
    let no_ties = !needs_no_ties(&original.settings) || (has(NO_TIES) && unique);
    let exactness = rules.is_none() || has("exactness");
    let unequal = original.ask.body.to_string().contains("!=");
    no_ties
        && (!exactness || vocabularies(case) == vocabularies(original))
        && (!unequal || fields(case) == fields(original))
}

/// Fields of any document: `!=` on one that none has is another case.
fn fields(case: &Case) -> BTreeSet<&String> {
    let objects = case.documents.iter().filter_map(Value::as_object);
    objects.flat_map(|d| d.keys()).collect()
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
