//! What the program counts, and how it is shown.
//!
//! A metric is a `static` beside the code that counts it, and is listed once by its crate. A thread counts in a cache line
//! that no other thread writes, so counting costs no traffic between cores; a sum is taken only when somebody looks. What
//! need not be counted because it can be looked up (the epoch, the state of a node) is written to the [`Page`] when it is
//! asked for.
//!
//! Names follow Prometheus: base units in the name, `_total` for what only grows.
#![forbid(unsafe_code)]

mod page;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::OnceLock;
use std::time::Duration;

pub use page::{Family, Kind, Page};

/// Threads beyond so many share lines, which costs them time and loses nothing.
const LINES: usize = 64;
/// Nodes at later positions are counted at the last.
const NODES_MAX: usize = 1024;

/// Upper ends of the buckets of every latency histogram, in microseconds; the last bucket has none.
pub const LATENCY_BUCKETS_US: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// `N` numbers of one thread, alone on their cache lines.
#[repr(align(64))]
struct Line<const N: usize>([AtomicU64; N]);

/// `N` numbers, counted by many threads.
struct Lines<const N: usize>([Line<N>; LINES]);

impl<const N: usize> Lines<N> {
    const fn new() -> Self {
        Lines([const { Line([const { AtomicU64::new(0) }; N]) }; LINES])
    }

    fn add(&self, place: usize, count: u64) {
        self.0[own_line()].0[place].fetch_add(count, Ordering::Relaxed);
    }

    /// Sums wrap: a gauge may have been raised by one thread and lowered by another.
    fn total(&self, place: usize) -> u64 {
        let lines = self.0.iter();
        lines.fold(0, |sum, line| {
            sum.wrapping_add(line.0[place].load(Ordering::Relaxed))
        })
    }

    /// Of a gauge: never below 0, as it would be where it is lowered and raised while the lines are read.
    fn level(&self) -> u64 {
        (self.total(0) as i64).max(0) as u64
    }
}

/// The line of this thread.
fn own_line() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.get().unwrap_or_else(|| {
        let own = NEXT.fetch_add(1, Ordering::Relaxed) % LINES;
        OWN.set(Some(own));
        own
    })
}

/// Something that a page can show.
pub trait Metric: Sync {
    fn family(&self) -> &Family;

    /// Writes its samples. `node` names the node at a position; what has no name is left out.
    fn write(&self, page: &mut Page, node: &dyn Fn(usize) -> Option<String>);
}

/// Something that only grows.
pub struct Counter {
    family: Family,
    count: Lines<1>,
}

impl Counter {
    /// `name` ends in `_total`.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Counter {
            family: Family::counter(name, help, ""),
            count: Lines::new(),
        }
    }

    pub fn add(&self, count: usize) {
        self.count.add(0, count as u64);
    }

    pub fn total(&self) -> u64 {
        self.count.total(0)
    }
}

impl Metric for Counter {
    fn family(&self) -> &Family {
        &self.family
    }

    fn write(&self, page: &mut Page, _: &dyn Fn(usize) -> Option<String>) {
        page.family(&self.family);
        page.sample("", self.total());
    }
}

/// Something of which there is now more and now less.
pub struct Gauge {
    family: Family,
    level: Lines<1>,
}

impl Gauge {
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Gauge {
            family: Family::gauge(name, help, ""),
            level: Lines::new(),
        }
    }

    pub fn raise(&self) {
        self.level.add(0, 1);
    }

    pub fn lower(&self) {
        self.level.add(0, 1_u64.wrapping_neg());
    }

    pub fn level(&self) -> u64 {
        self.level.level()
    }

    /// Changes by so much, up or down.
    pub fn change(&self, by: isize) {
        self.level.add(0, by as u64);
    }
}

impl Metric for Gauge {
    fn family(&self) -> &Family {
        &self.family
    }

    fn write(&self, page: &mut Page, _: &dyn Fn(usize) -> Option<String>) {
        page.family(&self.family);
        page.sample("", self.level.level());
    }
}

/// Counts for each node, by its position; made when they are first needed.
struct Nodes<const CELLS: usize>([OnceLock<Box<Lines<CELLS>>>; NODES_MAX]);

impl<const CELLS: usize> Nodes<CELLS> {
    const fn new() -> Self {
        Nodes([const { OnceLock::new() }; NODES_MAX])
    }

    fn at(&self, node: u16) -> &Lines<CELLS> {
        let place = usize::from(node).min(NODES_MAX - 1);
        self.0[place].get_or_init(|| Box::new(Lines::new()))
    }

    /// Those that were counted for and have a name, with their label.
    fn named<'a>(
        &'a self,
        node: &'a dyn Fn(usize) -> Option<String>,
    ) -> impl Iterator<Item = (String, &'a Lines<CELLS>)> {
        self.0.iter().enumerate().filter_map(|(place, lines)| {
            let lines: &Lines<CELLS> = lines.get()?;
            Some((Page::label("node", &node(place)?), lines))
        })
    }
}

/// A counter or a gauge for each node, by its position.
pub struct PerNode {
    family: Family,
    nodes: Nodes<1>,
}

impl PerNode {
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::of(Family::counter(name, help, "node"))
    }

    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::of(Family::gauge(name, help, "node"))
    }

    const fn of(family: Family) -> Self {
        PerNode {
            family,
            nodes: Nodes::new(),
        }
    }

    pub fn raise(&self, node: u16) {
        self.nodes.at(node).add(0, 1);
    }

    pub fn lower(&self, node: u16) {
        self.nodes.at(node).add(0, 1_u64.wrapping_neg());
    }
}

impl Metric for PerNode {
    fn family(&self) -> &Family {
        &self.family
    }

    fn write(&self, page: &mut Page, node: &dyn Fn(usize) -> Option<String>) {
        page.family(&self.family);
        for (label, lines) in self.nodes.named(node) {
            page.sample(&label, lines.level());
        }
    }
}

/// Buckets, and the sum of what was observed, in microseconds.
const CELLS: usize = LATENCY_BUCKETS_US.len() + 2;
const SUM: usize = CELLS - 1;

fn observe(lines: &Lines<CELLS>, took: Duration) {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let bucket = LATENCY_BUCKETS_US.partition_point(|end| *end < us);
    lines.add(bucket, 1);
    lines.add(SUM, us);
}

fn write_histogram(page: &mut Page, labels: &str, lines: &Lines<CELLS>) {
    let mut below = 0;
    let mut buckets = [(f64::INFINITY, 0); CELLS - 1];
    for (place, bucket) in buckets.iter_mut().enumerate() {
        below += lines.total(place);
        let end = LATENCY_BUCKETS_US.get(place);
        *bucket = (end.map_or(f64::INFINITY, |us| *us as f64 / 1e6), below);
    }
    page.histogram(labels, &buckets, lines.total(SUM) as f64 / 1e6);
}

/// How long something took, for each of `SERIES` values of its labels.
pub struct Latencies<const SERIES: usize> {
    family: Family,
    /// The labels of a series, as they stand in the text.
    labels: fn(usize) -> String,
    series: [OnceLock<Box<Lines<CELLS>>>; SERIES],
}

impl<const SERIES: usize> Latencies<SERIES> {
    /// `name` ends in `_seconds`; `keys` are the names of the labels, separated by commas.
    pub const fn new(
        name: &'static str,
        help: &'static str,
        keys: &'static str,
        labels: fn(usize) -> String,
    ) -> Self {
        Latencies {
            family: Family::histogram(name, help, keys),
            labels,
            series: [const { OnceLock::new() }; SERIES],
        }
    }

    pub fn observe(&self, series: usize, took: Duration) {
        let lines = self.series[series.min(SERIES - 1)].get_or_init(|| Box::new(Lines::new()));
        observe(lines, took);
    }
}

impl<const SERIES: usize> Metric for Latencies<SERIES> {
    fn family(&self) -> &Family {
        &self.family
    }

    fn write(&self, page: &mut Page, _: &dyn Fn(usize) -> Option<String>) {
        page.family(&self.family);
        for (place, lines) in self.series.iter().enumerate() {
            if let Some(lines) = lines.get() {
                write_histogram(page, &(self.labels)(place), lines);
            }
        }
    }
}

/// How long each node took.
pub struct NodeLatencies {
    family: Family,
    nodes: Nodes<CELLS>,
}

impl NodeLatencies {
    /// `name` ends in `_seconds`.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        NodeLatencies {
            family: Family::histogram(name, help, "node"),
            nodes: Nodes::new(),
        }
    }

    pub fn observe(&self, node: u16, took: Duration) {
        observe(self.nodes.at(node), took);
    }
}

impl Metric for NodeLatencies {
    fn family(&self) -> &Family {
        &self.family
    }

    fn write(&self, page: &mut Page, node: &dyn Fn(usize) -> Option<String>) {
        page.family(&self.family);
        for (label, lines) in self.nodes.named(node) {
            write_histogram(page, &label, lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(metric: &dyn Metric) -> String {
        let mut page = Page::default();
        metric.write(&mut page, &|place| (place < 2).then(|| format!("n{place}")));
        page.into_text()
    }

    #[test]
    fn threads_count_together() {
        static COUNTER: Counter = Counter::new("x_total", "Xs.");
        static GAUGE: Gauge = Gauge::new("x", "Xs.");
        std::thread::scope(|scope| {
            for _ in 0..LINES + 6 {
                scope.spawn(|| {
                    COUNTER.add(2);
                    GAUGE.raise();
                });
            }
        });
        GAUGE.lower();
        assert_eq!(
            shown(&COUNTER) + &shown(&GAUGE),
            "# HELP x_total Xs.\n# TYPE x_total counter\nx_total 140\n# HELP x Xs.\n# TYPE x gauge\nx 69\n"
        );
    }

    #[test]
    fn nodes_are_named_and_strangers_left_out() {
        static ERRORS: PerNode = PerNode::counter("e_total", "Es.");
        for node in [1, 1, 0, 7, 5000] {
            ERRORS.raise(node);
        }
        assert_eq!(
            shown(&ERRORS),
            "# HELP e_total Es.\n# TYPE e_total counter\ne_total{node=\"n0\"} 1\ne_total{node=\"n1\"} 2\n"
        );
    }

    #[test]
    fn buckets_add_up() {
        static TOOK: Latencies<2> =
            Latencies::new("t_seconds", "T.", "a", |n| format!("a=\"{n}\""));
        for ms in [0, 1, 1, 700, 60_000] {
            TOOK.observe(1, Duration::from_millis(ms));
        }
        let text = shown(&TOOK);
        for line in [
            "t_seconds_bucket{a=\"1\",le=\"0.00025\"} 1",
            "t_seconds_bucket{a=\"1\",le=\"0.001\"} 3",
            "t_seconds_bucket{a=\"1\",le=\"1\"} 4",
            "t_seconds_bucket{a=\"1\",le=\"+Inf\"} 5",
            "t_seconds_sum{a=\"1\"} 60.702",
            "t_seconds_count{a=\"1\"} 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(!text.contains("a=\"0\""));
    }
}
