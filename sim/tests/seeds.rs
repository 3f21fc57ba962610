//! Seeds hold, and each rule is needed: without it the invariants break.
//!
//! `MIROIR_SIM_SEEDS=200000` for the night.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use miroir_sim::{run, Outcome, Rules};

/// A rule that is needed shows within this many seeds, or not at all.
const CAUGHT_WITHIN: u64 = 3_000;

/// The first of the seeds that violates an invariant, as far as several threads have a first one.
fn first_violation(seeds: u64, rules: Rules) -> Option<Outcome> {
    let next = AtomicU64::new(0);
    let search = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds {
            return None;
        }
        let outcome = run(seed, rules, false);
        if outcome.violation.is_some() {
            next.store(seeds, Ordering::Relaxed);
            return Some(outcome);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let searches: Vec<_> = (0..threads).map(|_| scope.spawn(search)).collect();
        let found = searches
            .into_iter()
            .filter_map(|search| search.join().expect("no seed panics"));
        found.min_by_key(|outcome| outcome.seed)
    })
}

#[cfg(not(feature = "canary_bug"))]
mod shipped {
    use super::*;

    fn seeds() -> u64 {
        let seeds = std::env::var("MIROIR_SIM_SEEDS");
        seeds.map_or(2_000, |seeds| {
            seeds.parse().expect("MIROIR_SIM_SEEDS is a number")
        })
    }

    #[test]
    fn the_invariants_hold() {
        if let Some(Outcome {
            seed, violation, ..
        }) = first_violation(seeds(), Rules::ALL)
        {
            panic!(
                "seed {seed}: {}\nreplay: cargo run -p miroir-sim -- --seed {seed} --trace",
                violation.unwrap_or_default()
            );
        }
    }

    #[test]
    fn a_seed_replays_exactly() {
        for seed in [0, 1, 7, 42] {
            let first = run(seed, Rules::ALL, true);
            assert!(first.trace.len() > 100, "seed {seed} does something");
            assert_eq!(first, run(seed, Rules::ALL, true), "seed {seed}");
        }
    }

    fn is_needed(rule: &str, rules: Rules) {
        let caught = first_violation(CAUGHT_WITHIN, rules);
        let caught = caught
            .unwrap_or_else(|| panic!("without {rule} nothing breaks in {CAUGHT_WITHIN} seeds"));
        println!(
            "without {rule}: seed {}: {}",
            caught.seed,
            caught.violation.unwrap_or_default()
        );
    }

    #[test]
    fn keys_written_during_a_fill_must_be_remembered() {
        is_needed(
            "touched keys",
            Rules {
                keys: false,
                ..Rules::ALL
            },
        );
    }

    #[test]
    fn partial_updates_during_a_fill_make_stubs() {
        is_needed(
            "touched partial updates",
            Rules {
                partial: false,
                ..Rules::ALL
            },
        );
    }

    #[test]
    fn deletions_by_filter_during_a_fill_bring_documents_back() {
        is_needed(
            "touched everything",
            Rules {
                unnamed: false,
                ..Rules::ALL
            },
        );
    }

    #[test]
    fn a_request_that_was_given_up_may_land_after_the_fill() {
        is_needed(
            "settling",
            Rules {
                settle: false,
                ..Rules::ALL
            },
        );
    }

    #[test]
    fn a_crash_leaves_copies_that_differ() {
        is_needed(
            "a comparison after a crash",
            Rules {
                verify: false,
                ..Rules::ALL
            },
        );
    }

    #[test]
    fn a_node_that_goes_back_in_time_must_be_recognised() {
        is_needed(
            "task numbers",
            Rules {
                counts: false,
                ..Rules::ALL
            },
        );
    }

    #[test]
    fn a_joining_copy_must_wait_for_older_searches() {
        is_needed(
            "opening",
            Rules {
                opened: false,
                ..Rules::ALL
            },
        );
    }

    #[test]
    fn what_became_of_copies_during_a_search_counts() {
        is_needed(
            "the newest table",
            Rules {
                newest: false,
                ..Rules::ALL
            },
        );
    }

    #[test]
    fn an_emptied_node_must_be_recognised() {
        is_needed(
            "identity",
            Rules {
                identity: false,
                ..Rules::ALL
            },
        );
    }
}

/// Runs with `--features canary_bug`: a build with a mistake must not pass.
#[cfg(feature = "canary_bug")]
#[test]
fn the_canary_is_caught() {
    let caught =
        first_violation(CAUGHT_WITHIN, Rules::ALL).expect("the canary's mistake goes unnoticed");
    println!(
        "seed {}: {}",
        caught.seed,
        caught.violation.unwrap_or_default()
    );
}
