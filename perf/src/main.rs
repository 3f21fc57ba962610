//! Micro-benchmarks of what a request costs before and after the network: heads, plan, scan and merge, split.
//!
//! Each case does its work twice, by our code and by a plain reference doing the equal work, in turns within one run: a
//! ratio measured side by side survives a busy machine, a time alone does not. For a gate that no noise can fool there
//! is `--one CASE --iterations N`, which does nothing else; `perf/gate` counts its instructions with callgrind.
//!
//! Recorded figures are in `perf/results`, explained in `docs/performance.md`.

mod cases;
mod corpus;
mod machine;
mod measure;

use std::process::ExitCode;

use argh::FromArgs;
use serde_json::json;

use cases::Case;
use measure::Measured;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Micro-benchmarks: heads, plan, scan and merge, document split, each beside a plain reference.
#[derive(FromArgs)]
struct Arguments {
    /// print JSON rather than a table
    #[argh(switch)]
    json: bool,
    /// run one case only, our side only, without measuring (for callgrind)
    #[argh(option, arg_name = "case")]
    one: Option<String>,
    /// how often to run the case of --one (default 1)
    #[argh(option, default = "1")]
    iterations: u64,
    /// run the reference rather than our side of --one
    #[argh(switch)]
    reference: bool,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let cases = cases::all();
    if let Some(name) = &arguments.one {
        return run_one(&cases, name, &arguments);
    }
    let rows: Vec<(&Case, Measured, Measured)> = cases
        .iter()
        .map(|case| {
            let (ours, reference) = measure::side_by_side(&case.ours, &case.reference);
            (case, ours, reference)
        })
        .collect();
    match arguments.json {
        true => println!("{:#}", as_json(&rows)),
        false => print_table(&rows),
    }
    ExitCode::SUCCESS
}

fn run_one(cases: &[Case], name: &str, arguments: &Arguments) -> ExitCode {
    let Some(case) = cases.iter().find(|case| case.name == name) else {
        let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
        eprintln!(
            "miroir-perf: no case `{name}`; there are: {}",
            names.join(", ")
        );
        return ExitCode::FAILURE;
    };
    let work = if arguments.reference {
        &case.reference
    } else {
        &case.ours
    };
    // Caches of the allocator and lazily chosen functions are no part of what is counted.
    work();
    for _ in 0..arguments.iterations {
        counted(work);
    }
    ExitCode::SUCCESS
}

/// What callgrind counts: `perf/gate` switches it on for this function by its name.
#[inline(never)]
fn counted(work: &dyn Fn()) {
    work();
}

fn print_table(rows: &[(&Case, Measured, Measured)]) {
    println!("{}", machine::describe());
    println!(
        "{:<14} {:>10} {:>12} {:>8} {:>12} {:>8}  {:>6}  reference",
        "case", "bytes", "ours", "GB/s", "reference", "GB/s", "ratio"
    );
    for (case, ours, reference) in rows {
        println!(
            "{:<14} {:>10} {:>9.1} us {:>8.3} {:>9.1} us {:>8.3}  {:>5.1}x  {}",
            case.name,
            case.bytes,
            ours.median_ns / 1e3,
            ours.gigabytes_per_second(case.bytes),
            reference.median_ns / 1e3,
            reference.gigabytes_per_second(case.bytes),
            reference.median_ns / ours.median_ns,
            case.reference_is,
        );
    }
}

fn as_json(rows: &[(&Case, Measured, Measured)]) -> serde_json::Value {
    let side = |measured: &Measured, bytes: usize| {
        json!({
            "median_ns": measured.median_ns.round(),
            "fastest_ns": measured.fastest_ns.round(),
            "gigabytes_per_second": (measured.gigabytes_per_second(bytes) * 1e3).round() / 1e3,
        })
    };
    let cases: Vec<serde_json::Value> = rows
        .iter()
        .map(|(case, ours, reference)| {
            json!({
                "case": case.name,
                "bytes": case.bytes,
                "ours": side(ours, case.bytes),
                "reference": side(reference, case.bytes),
                "reference_is": case.reference_is,
                "ratio": (reference.median_ns / ours.median_ns * 10.0).round() / 10.0,
            })
        })
        .collect();
    json!({ "machine": machine::describe(), "cases": cases })
}
