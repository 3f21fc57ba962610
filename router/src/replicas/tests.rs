//! Single rules first; then a core with two copies of everything, driven by recorded latencies.

use super::*;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const A: NodeIdx = NodeIdx(0);
const B: NodeIdx = NodeIdx(1);

fn answer(replicas: &mut Replicas, node: NodeIdx, now: Duration, took: Duration) {
    replicas.begin(node);
    replicas.end(node, now, took, Ended::Answered);
}

#[test]
fn a_slow_node_is_shunned_and_forgiven() {
    let mut replicas = Replicas::default();
    for i in 0..100 {
        answer(&mut replicas, A, MS * i, 2 * MS);
        answer(&mut replicas, B, MS * i, 3 * MS);
    }
    assert!(!replicas.is_shunned(A) && !replicas.is_shunned(B));
    for i in 100..110 {
        answer(&mut replicas, B, MS * i, 200 * MS);
    }
    assert!(!replicas.is_shunned(A) && replicas.is_shunned(B));
    let mut explored = 0;
    while replicas.is_shunned(B) {
        explored += 1;
        answer(&mut replicas, A, MS * 200, 2 * MS);
        answer(&mut replicas, B, MS * 200, 3 * MS);
    }
    assert!(explored < 60, "{explored}");
}

#[test]
fn when_all_are_slow_nobody_is_shunned() {
    let mut replicas = Replicas::default();
    for i in 0..100 {
        answer(&mut replicas, A, MS * i, 300 * MS);
        answer(&mut replicas, B, MS * i, 350 * MS);
    }
    assert!(!replicas.is_shunned(A) && !replicas.is_shunned(B));
}

#[test]
fn failures_cost_and_old_news_does_not_count() {
    let mut replicas = Replicas::default();
    for i in 0..100 {
        answer(&mut replicas, A, MS * i, 10 * MS);
        answer(&mut replicas, B, MS * i, 10 * MS);
    }
    for i in 0..30 {
        replicas.begin(B);
        replicas.end(B, MS * (100 + i), MS, Ended::Failed);
    }
    assert_eq!(replicas.failures_in_a_row(B), 30);
    assert!(replicas.is_shunned(B));
    answer(&mut replicas, B, FORGET * 2, 12 * MS);
    assert!(!replicas.is_shunned(B));
    assert_eq!(replicas.failures_in_a_row(B), 0);
}

#[test]
fn a_hedge_waits_for_what_is_usual() {
    let mut replicas = Replicas::default();
    let both = |replicas: &Replicas| replicas.hedge_after(A, [B].into_iter());
    assert_eq!(both(&replicas), HEDGE_UNKNOWN);
    for i in 0..200 {
        let took = if i % 50 == 0 { 400 * MS } else { 40 * MS };
        answer(&mut replicas, A, MS * i, took);
    }
    let after = both(&replicas);
    assert!(after >= 48 * MS && after <= 60 * MS, "{after:?}");
    // The other copy would have answered long ago.
    for i in 0..200 {
        answer(&mut replicas, B, MS * i, MS);
    }
    assert_eq!(both(&replicas), HEDGE_MIN);
}

#[test]
fn a_node_that_answers_somebody_is_not_silent() {
    let mut replicas = Replicas::default();
    replicas.begin(A);
    assert_eq!(replicas.patience(A, 100 * MS), 100 * MS + PATIENCE_MIN);
    answer(&mut replicas, A, 400 * MS, 100 * MS);
    assert_eq!(replicas.patience(A, 100 * MS), 400 * MS + PATIENCE_MIN);
    for i in 0..100 {
        answer(&mut replicas, A, MS * i, 3000 * MS);
    }
    assert_eq!(
        replicas.patience(A, 10_000 * MS),
        10_000 * MS + PATIENCE_MAX
    );
}

proptest! {
    #[test]
    fn a_quantile_is_at_most_a_fourth_too_high(mut took_us in proptest::collection::vec(4u64..10_000_000, 32..33)) {
        let mut latencies = Latencies::default();
        took_us.iter().for_each(|us| latencies.note(Duration::from_micros(*us)));
        took_us.sort_unstable();
        let exact = Duration::from_micros(took_us[(32.0_f32 * 0.95).ceil() as usize - 1]);
        let found = latencies.p95().unwrap();
        prop_assert!(found >= exact && found <= exact.mul_f32(1.26), "{found:?} for {exact:?}");
    }

    /// Whatever the order of requests and hedges: never more than one hedge for twenty requests.
    #[test]
    fn the_budget_holds_at_every_moment(events in proptest::collection::vec((proptest::bool::ANY, 1usize..4), 0..2000)) {
        let mut replicas = Replicas::default();
        let (mut requests, mut hedges) = (0, 0);
        for (hedge, count) in events {
            if !hedge {
                replicas.save(count);
                requests += count;
            } else if replicas.spend(count) {
                hedges += count;
            }
            prop_assert!(hedges * 20 <= requests);
        }
    }

    /// A core's life with recorded latencies: one search after another, each for one copy, hedged as the proxy does.
    #[test]
    fn slow_spells_cost_little_and_spread_no_load(seed in 0u64..1000, slow_ms in 100u32..800) {
        let fast = Recorded(seed);
        let mut core = Core::default();
        core.run(500, |_, i| fast.latency(i));
        let calm = core.take();
        // One of two nodes is slow for a while.
        core.run(2000, |node, i| if node == B { fast.latency(i) + MS * slow_ms } else { fast.latency(i) });
        let slow = core.take();
        core.run(4000, |_, i| fast.latency(i));
        let after = core.take();
        prop_assert!(calm.hedges * 20 <= calm.searches && slow.hedges * 20 <= slow.searches + 200);
        // The first ones, and those that explore, met it.
        prop_assert!(slow.asked_b * 10 <= slow.searches, "{slow:?}");
        prop_assert!(slow.p90 <= 60 * MS, "{slow:?}");
        // Forgiven after some forty explorations.
        prop_assert!(after.asked_b * 5 >= after.searches, "{after:?}");
    }
}

/// Latencies as a node gave them, shuffled: 5 ms for most, 15 ms for one in ten, 40 ms for one in a hundred.
struct Recorded(u64);

impl Recorded {
    fn latency(&self, i: u64) -> Duration {
        match xxhash_rust::xxh3::xxh3_64_with_seed(&i.to_le_bytes(), self.0) % 100 {
            0 => 40 * MS,
            n if n % 10 == 3 => 15 * MS,
            n => MS * 4 + Duration::from_micros(n * 20),
        }
    }
}

#[derive(Default)]
struct Core {
    replicas: Replicas,
    now: Duration,
    took: Vec<Duration>,
    asked_b: usize,
    hedges: usize,
}

#[derive(Debug)]
struct Figures {
    searches: usize,
    hedges: usize,
    asked_b: usize,
    p90: Duration,
}

impl Core {
    fn run(&mut self, searches: u64, latency: impl Fn(NodeIdx, u64) -> Duration) {
        for i in 0..searches {
            let explores = Replicas::explores(i, self.now);
            let preferred = if i % 2 == 0 { A } else { B };
            let other = if preferred == A { B } else { A };
            let (first, second) = match self.replicas.is_shunned(preferred) && !explores {
                true => (other, preferred),
                false => (preferred, other),
            };
            self.asked_b += usize::from(first == B);
            self.replicas.begin(first);
            self.replicas.save(1);
            let alone = latency(first, i);
            let hedge_at = self.replicas.hedge_after(first, [second].into_iter());
            let mut took = alone;
            if alone > hedge_at && self.replicas.spend(1) {
                self.hedges += 1;
                self.replicas.begin(second);
                let hedged = hedge_at + latency(second, i);
                took = alone.min(hedged);
                self.now += took;
                let how = |won| {
                    if won {
                        Ended::Answered
                    } else {
                        Ended::Abandoned
                    }
                };
                self.replicas
                    .end(first, self.now, took, how(alone <= hedged));
                self.replicas
                    .end(second, self.now, took - hedge_at, how(hedged < alone));
            } else {
                self.now += took;
                self.replicas.end(first, self.now, took, Ended::Answered);
            }
            self.took.push(took);
        }
    }

    fn take(&mut self) -> Figures {
        self.took.sort_unstable();
        let figures = Figures {
            searches: self.took.len(),
            hedges: self.hedges,
            asked_b: self.asked_b,
            p90: self.took[self.took.len() * 9 / 10],
        };
        self.took.clear();
        (self.asked_b, self.hedges) = (0, 0);
        figures
    }
}
