//! Times two ways of doing the same work, in turns.

use std::time::{Duration, Instant};

/// What one run of the work took.
pub struct Measured {
    pub median_ns: f64,
    pub fastest_ns: f64,
}

impl Measured {
    /// Bytes a nanosecond are gigabytes a second.
    pub fn gigabytes_per_second(&self, bytes: usize) -> f64 {
        bytes as f64 / self.median_ns
    }

    fn of(mut samples: Vec<f64>) -> Measured {
        samples.sort_by(f64::total_cmp);
        Measured {
            median_ns: samples[samples.len() / 2],
            fastest_ns: samples[0],
        }
    }
}

/// Takes samples of both in turns, so that both meet the same disturbances.
pub fn side_by_side(ours: &dyn Fn(), reference: &dyn Fn()) -> (Measured, Measured) {
    let runs = (runs_a_sample(ours), runs_a_sample(reference));
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        samples.0.push(sample(ours, runs.0));
        samples.1.push(sample(reference, runs.1));
    }
    (Measured::of(samples.0), Measured::of(samples.1))
}

/// How many runs fill a sample; warms caches and branch predictors on the way.
fn runs_a_sample(work: &dyn Fn()) -> u32 {
    let mut runs = 1;
    loop {
        let start = Instant::now();
        for _ in 0..runs {
            work();
        }
        if start.elapsed() >= SAMPLE {
            return runs;
        }
        runs *= 2;
    }
}

fn sample(work: &dyn Fn(), runs: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..runs {
        work();
    }
    start.elapsed().as_nanos() as f64 / f64::from(runs)
}

const SAMPLES: usize = 21;
const SAMPLE: Duration = Duration::from_millis(20);
