//! Which copies a search had better not wait for, and when to ask a second one: what one core has seen of the nodes.
//!
//! A search takes its copies by a hash of the query, so that its pages come from the same ones ([`crate::read_plan`]).
//! Load overrides that only where it must: a node whose expected cost is several times that of the best is *shunned*,
//! left out where another copy can answer, until it costs less again. The cost is the moving average of its latency, times
//! the requests that wait there, over the share of them that it answers (after C3, Suresh et al., NSDI 2015). One search in
//! twenty ignores it: without that, nobody would learn that a node has recovered. Which ones goes by the query's hash, too,
//! and changes slowly, so that all pages of a search do alike.
//!
//! A copy that does not answer when nearly all answers have come is *hedged*: another one is asked as well, and the first
//! good answer counts (Dean and Barroso, "The Tail at Scale", 2013). Hedges are paid out of a budget, so that they cannot
//! double the load of a fleet that is slow as a whole. A node that has answered *nothing* for a while is another matter:
//! it hangs, and what it owes is asked elsewhere at once ([`Replicas::patience`]).
//!
//! Pure: times are arguments, durations since any fixed moment of the core.

use std::time::Duration;

use crate::shard::NodeIdx;

/// How a request to a node ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// A good answer.
    Answered,
    /// No answer, or one that says that the node is in trouble.
    Failed,
    /// Another copy was quicker: it would have taken at least this long.
    Abandoned,
}

/// Never hedged before.
const HEDGE_MIN: Duration = Duration::from_millis(15);
/// Of the 95th percentile.
const HEDGE_FACTOR: f32 = 1.2;
/// Hedged after, where too few answers were seen to know better.
const HEDGE_UNKNOWN: Duration = Duration::from_millis(200);
/// One hedge is paid by so many requests.
const REQUESTS_PER_HEDGE: u32 = 20;
/// The most that is saved up for a bad moment.
const HEDGES_SAVED_MAX: u32 = 10;
/// A search in so many ignores who is shunned; for so long it is the same ones.
const SEARCHES_PER_EXPLORATION: u64 = 20;
const EXPLORATION: Duration = Duration::from_secs(10);
/// Shunned from this many times the cost of the best, and until this many.
const SHUN_FACTOR: f32 = 4.0;
const FORGIVE_FACTOR: f32 = 2.0;
/// A smaller difference in cost is no reason, in microseconds.
const SHUN_MIN_US: f32 = 5_000.0;
/// What was seen longer ago says nothing.
const FORGET: Duration = Duration::from_secs(10);
/// A node that has not answered anybody for so long hangs.
const PATIENCE_MIN: Duration = Duration::from_millis(500);
const PATIENCE_MAX: Duration = Duration::from_secs(5);
/// Weight of the newest observation in the averages.
const NEWEST: f32 = 0.1;

/// What may override the choice of copies that the query's hash makes. A node that fails or hangs is left in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// A late copy is hedged.
    pub hedging: bool,
    /// Slow nodes are shunned.
    pub avoid_slow_nodes: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            hedging: true,
            avoid_slow_nodes: true,
        }
    }
}

/// What one core knows of all nodes.
#[derive(Default, Debug)]
pub struct Replicas {
    policy: Policy,
    nodes: Vec<Seen>,
    /// In requests: see [`REQUESTS_PER_HEDGE`].
    savings: u32,
}

#[derive(Debug, Default)]
struct Seen {
    in_flight: u32,
    /// Moving averages: microseconds, requests in flight, share of failures.
    latency_us: f32,
    queue: f32,
    failures: f32,
    /// Failures since the last answer.
    in_a_row: u32,
    last_answer: Duration,
    last_end: Duration,
    shunned: bool,
    latencies: Latencies,
}

impl Replicas {
    pub fn new(policy: Policy) -> Self {
        Replicas {
            policy,
            ..Replicas::default()
        }
    }

    /// Whether a search, by the hash that chooses its copies, ignores at `now` who is shunned.
    pub fn explores(seed: u64, now: Duration) -> bool {
        let period = now.as_secs() / EXPLORATION.as_secs();
        // the golden ratio spreads neighbours (Knuth, TAOCP 3, 6.4)
        let mixed = (seed ^ period).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        mixed.is_multiple_of(SEARCHES_PER_EXPLORATION)
    }

    /// A request is sent.
    pub fn begin(&mut self, node: NodeIdx) {
        let seen = self.seen(node);
        seen.queue += (seen.in_flight as f32 - seen.queue) * NEWEST;
        seen.in_flight += 1;
    }

    /// It pays for hedges: not to be called for hedges themselves.
    pub fn save(&mut self, requests: usize) {
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        let most = HEDGES_SAVED_MAX * REQUESTS_PER_HEDGE;
        self.savings = self.savings.saturating_add(requests).min(most);
    }

    /// Takes the price of `requests` hedges, if it is there.
    pub fn spend(&mut self, requests: usize) -> bool {
        let price = u32::try_from(requests)
            .unwrap_or(u32::MAX)
            .saturating_mul(REQUESTS_PER_HEDGE);
        let affordable = self.policy.hedging && price <= self.savings;
        if affordable {
            self.savings -= price;
        }
        affordable
    }

    /// A request has ended after `took`.
    pub fn end(&mut self, node: NodeIdx, now: Duration, took: Duration, how: Ended) {
        let seen = self.seen(node);
        seen.in_flight = seen.in_flight.saturating_sub(1);
        let mut took_us = took.as_micros() as f32;
        let failed = match how {
            Ended::Answered => {
                seen.last_answer = now;
                seen.in_a_row = 0;
                seen.latencies.note(took);
                0.0
            }
            Ended::Failed => {
                seen.in_a_row = seen.in_a_row.saturating_add(1);
                1.0
            }
            // A shorter wait than the average tells nothing.
            Ended::Abandoned if took_us <= seen.latency_us => return,
            Ended::Abandoned => {
                // Latencies have heavy tails: what has taken so long takes as long again.
                took_us *= 2.0;
                0.0
            }
        };
        if now.saturating_sub(seen.last_end) > FORGET {
            (seen.latency_us, seen.failures) = (took_us, failed);
        } else {
            if how != Ended::Failed {
                seen.latency_us += (took_us - seen.latency_us) * NEWEST;
            }
            seen.failures += (failed - seen.failures) * NEWEST;
        }
        seen.last_end = now;
        self.judge(node, now);
    }

    /// Failures of a node since its last answer.
    pub fn failures_in_a_row(&self, node: NodeIdx) -> u32 {
        self.get(node).map_or(0, |seen| seen.in_a_row)
    }

    /// Requests to a node that have not ended.
    pub fn in_flight(&self, node: NodeIdx) -> u32 {
        self.get(node).map_or(0, |seen| seen.in_flight)
    }

    /// Whether a search is to be spared the node where another copy can answer.
    pub fn is_shunned(&self, node: NodeIdx) -> bool {
        self.policy.avoid_slow_nodes && self.get(node).is_some_and(|seen| seen.shunned)
    }

    /// After how long another copy is asked as well, if `others` can answer instead of `node`: when either the node would
    /// nearly always have answered, or they would have.
    pub fn hedge_after(&self, node: NodeIdx, others: impl Iterator<Item = NodeIdx>) -> Duration {
        let p95 = |node| self.get(node).and_then(|seen| seen.latencies.p95());
        // All of the others are needed, so the slowest of them counts.
        let others = others
            .map(p95)
            .try_fold(Duration::ZERO, |most, p95| Some(most.max(p95?)));
        let others = others.filter(|most| !most.is_zero());
        let usual = match (p95(node), others) {
            (Some(own), Some(others)) => own.min(others),
            (Some(p95), None) | (None, Some(p95)) => p95,
            (None, None) => return HEDGE_UNKNOWN,
        };
        usual.mul_f32(HEDGE_FACTOR).max(HEDGE_MIN)
    }

    /// When the node will have been silent for so long that it is to be given up, if a request was sent to it at `sent` and
    /// no answer comes: to nobody on this core.
    pub fn patience(&self, node: NodeIdx, sent: Duration) -> Duration {
        let Some(seen) = self.get(node) else {
            return sent + PATIENCE_MIN;
        };
        let usual = seen.latencies.p95().unwrap_or_default();
        sent.max(seen.last_answer) + (usual * 4).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    fn get(&self, node: NodeIdx) -> Option<&Seen> {
        self.nodes.get(usize::from(node.0))
    }

    fn seen(&mut self, node: NodeIdx) -> &mut Seen {
        let position = usize::from(node.0);
        if position >= self.nodes.len() {
            self.nodes.resize_with(position + 1, Seen::default);
        }
        &mut self.nodes[position]
    }

    /// Compares a node with the best, with hysteresis.
    fn judge(&mut self, node: NodeIdx, now: Duration) {
        let recent =
            |seen: &&Seen| seen.latency_us > 0.0 && now.saturating_sub(seen.last_end) <= FORGET;
        let costs = self.nodes.iter().filter(recent).map(Seen::cost);
        let best = costs.fold(f32::INFINITY, f32::min);
        let seen = &mut self.nodes[usize::from(node.0)];
        let cost = seen.cost();
        let factor = match seen.shunned {
            true => FORGIVE_FACTOR,
            false => SHUN_FACTOR,
        };
        seen.shunned = cost > best * factor && cost - best > SHUN_MIN_US;
    }
}

impl Seen {
    /// In microseconds.
    fn cost(&self) -> f32 {
        self.latency_us * (1.0 + self.queue) / (1.0 - self.failures.min(0.95))
    }
}

/// How long answers took, newer ones counting more: four buckets an octave, so that a quantile is at most a fifth too high.
#[derive(Debug)]
struct Latencies {
    counts: [u16; BUCKETS],
    total: u32,
    /// Of when it was last looked at.
    p95: Option<Duration>,
}

/// Up to 2^26 microseconds, a minute.
const BUCKETS: usize = 26 * 4;
/// Counts are halved when so many answers are in.
const LATENCIES_MAX: u32 = 1024;
/// Fewer answers say nothing of a percentile; it is looked up anew after so many more.
const LATENCIES_MIN: u32 = 32;

impl Default for Latencies {
    fn default() -> Self {
        Latencies {
            counts: [0; BUCKETS],
            total: 0,
            p95: None,
        }
    }
}

impl Latencies {
    fn note(&mut self, took: Duration) {
        self.counts[bucket(took)] += 1;
        self.total += 1;
        if self.total.is_multiple_of(LATENCIES_MIN) {
            self.p95 = Some(self.quantile(0.95));
        }
        if self.total >= LATENCIES_MAX {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
    }

    fn p95(&self) -> Option<Duration> {
        self.p95
    }

    /// The upper end of the bucket that holds it.
    fn quantile(&self, share: f32) -> Duration {
        let wanted = (self.total as f32 * share).ceil() as u32;
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += u32::from(*count);
            if below >= wanted {
                return upper_end(bucket);
            }
        }
        upper_end(BUCKETS - 1)
    }
}

fn bucket(took: Duration) -> usize {
    let us = (took.as_micros() as u64).max(4);
    let octave = us.ilog2() as usize;
    let quarter = (us >> (octave - 2)) as usize & 3;
    (octave * 4 + quarter).min(BUCKETS - 1)
}

fn upper_end(bucket: usize) -> Duration {
    let (octave, quarter) = (bucket / 4, bucket as u64 % 4);
    let quarters = (5 + quarter) << octave.saturating_sub(2);
    Duration::from_micros(quarters)
}

#[cfg(test)]
#[path = "replicas/tests.rs"]
mod tests;
