//! `miroir-sim`: runs seeds, and replays one.

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use miroir_sim::{run, Outcome, Rules};

/// runs the simulator: a world in which everything fails
#[derive(argh::FromArgs)]
struct Arguments {
    /// run this seed only
    #[argh(option)]
    seed: Option<u64>,
    /// print what happens, with --seed
    #[argh(switch)]
    trace: bool,
    /// the first seed (default 0)
    #[argh(option, default = "0")]
    from: u64,
    /// how many seeds (default 2000)
    #[argh(option, default = "2000")]
    seeds: u64,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    if let Some(seed) = arguments.seed {
        let outcome = run(seed, Rules::ALL, arguments.trace);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        return report(&[outcome], 1);
    }
    let begun = Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let (from, to) = (arguments.from, arguments.from + arguments.seeds);
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let part = |part: u64| {
            scope.spawn(move || -> Vec<Outcome> {
                let seeds = (from..to).filter(|seed| seed % threads == part);
                seeds.map(|seed| run(seed, Rules::ALL, false)).collect()
            })
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        let ended = parts.into_iter().filter_map(|part| part.join().ok());
        ended.flatten().collect()
    });
    println!("took {} s", begun.elapsed().as_secs());
    report(&outcomes, arguments.seeds)
}

fn report(outcomes: &[Outcome], seeds: u64) -> ExitCode {
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    println!(
        "{} seeds: {} writes, {} acknowledged, {} searches, {} crashes of the proxy, {} fills, {} layout changes",
        outcomes.len(),
        sum(|outcome| outcome.writes),
        sum(|outcome| outcome.acknowledged),
        sum(|outcome| outcome.searches),
        sum(|outcome| outcome.crashes),
        sum(|outcome| outcome.fills),
        sum(|outcome| outcome.plans),
    );
    let failed: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| outcome.violation.is_some())
        .collect();
    for outcome in failed.iter().take(5) {
        let violation = outcome.violation.as_deref().unwrap_or_default();
        println!(
            "seed {}: {violation}\n  replay: miroir-sim --seed {} --trace",
            outcome.seed, outcome.seed
        );
    }
    println!("{} failed", failed.len());
    // A seed that panicked has no outcome.
    match failed.is_empty() && outcomes.len() as u64 == seeds {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
