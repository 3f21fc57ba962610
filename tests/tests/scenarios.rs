//! The scenario files, on one node and on clusters of 1, 3 and 5 nodes, which must agree.
//!
//! `MIROIR_SCENARIO=name-or-part` plays only what matches; `MIROIR_CLUSTERS=3` only clusters of these sizes
//! (empty: the node alone, against what the files expect).

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use miroir_tests::fleet::{Fleet, Lone, Plan};
use miroir_tests::http::Target;
use miroir_tests::play::{play, Outcome};
use miroir_tests::scenario::{load, Scenario};

#[test]
fn clusters_agree_with_one_node() {
    let mut scenarios = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios"))
        .unwrap_or_else(|e| panic!("{e}"));
    let released = std::env::var_os("MEILISEARCH_BIN").is_some();
    scenarios.retain(|s| released || !s.released);
    if let Ok(wanted) = std::env::var("MIROIR_SCENARIO") {
        scenarios.retain(|s| s.name.contains(&wanted));
    }
    let sizes = std::env::var("MIROIR_CLUSTERS").unwrap_or("1,3,5".into());
    let sizes: Vec<usize> = sizes
        .split(',')
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().expect("MIROIR_CLUSTERS is a list of numbers"))
        .collect();

    let (lone, fleets) = std::thread::scope(|scope| {
        let fleets: Vec<_> = sizes
            .iter()
            .map(|&nodes| {
                scope.spawn(move || {
                    Fleet::start(Plan {
                        nodes,
                        ..Plan::default()
                    })
                })
            })
            .collect();
        (
            Lone::start(),
            fleets
                .into_iter()
                .map(|f| f.join().expect("the fleet starts"))
                .collect::<Vec<_>>(),
        )
    });
    let node = lone.target();
    let clusters: Vec<Target> = fleets
        .iter()
        .map(|f| f.target(&format!("{} node(s)", f.nodes.len())))
        .collect();

    let (alone, together): (Vec<Scenario>, Vec<Scenario>) =
        scenarios.into_iter().partition(|s| s.alone);
    let mut outcomes: Vec<(String, Outcome)> = alone
        .iter()
        .map(|s| (s.name.clone(), play(s, &node, &clusters)))
        .collect();
    outcomes.extend(play_together(&together, &node, &clusters));

    let compared: usize = outcomes.iter().map(|(_, o)| o.compared).sum();
    for failure in outcomes.iter().flat_map(|(_, o)| &o.failures) {
        println!("{failure}\n");
    }
    let failed: Vec<&str> = outcomes
        .iter()
        .filter(|(_, o)| !o.failures.is_empty())
        .map(|(n, _)| n.as_str())
        .collect();
    println!(
        "scenarios: {} passed, {} failed; {compared} answers of clusters compared",
        outcomes.len() - failed.len(),
        failed.len()
    );
    assert!(
        failed.is_empty(),
        "these scenarios failed: {}",
        failed.join(", ")
    );
}

/// Most of a scenario is waiting for tasks, so several run at once.
fn play_together(
    scenarios: &[Scenario],
    node: &Target,
    clusters: &[Target],
) -> Vec<(String, Outcome)> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = play(scenario, node, clusters);
                    outcomes
                        .lock()
                        .unwrap_or_else(|e| e.into_inner())
                        .push((scenario.name.clone(), outcome));
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_else(|e| e.into_inner())
}
