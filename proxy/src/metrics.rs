//! Counters of the data plane, and how they are shown.
//!
//! A core counts in a cache line that no other core writes: counting costs no traffic between cores, and a sum is taken only
//! when somebody looks. A counter is declared beside the code that counts, and listed here once.

use std::cell::Cell;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use miroir_api::Error;
use miroir_net::{Request, Response};

use crate::core::App;
use crate::{scatter, search};

/// All counters, in the order in which they are shown.
const ALL: [&Counter; 12] = [
    &search::SEARCHES,
    &search::CHEAP_SEARCHES,
    &search::NARROWED_SEARCHES,
    &search::REVEALING_SEARCHES,
    &search::HYBRID_SEARCHES,
    &search::FREQUENCY_SEARCHES,
    &scatter::LEGS,
    &scatter::NODE_REQUESTS,
    &scatter::NODE_FAILURES,
    &scatter::HEDGES,
    &scatter::REPLACED,
    &scatter::FAILOVERS,
];

/// Threads beyond so many share lines, which costs them time and loses nothing.
const LINES: usize = 64;

/// Something that only grows.
pub struct Counter {
    name: &'static str,
    help: &'static str,
    lines: [Line; LINES],
}

#[repr(align(64))]
struct Line(AtomicU64);

impl Counter {
    /// `name` as Prometheus wants it: it ends in `_total`.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Counter {
            name,
            help,
            lines: [const { Line(AtomicU64::new(0)) }; LINES],
        }
    }

    pub fn add(&self, count: usize) {
        self.lines[own_line()]
            .0
            .fetch_add(count as u64, Ordering::Relaxed);
    }

    fn total(&self) -> u64 {
        let lines = self.lines.iter();
        lines.map(|line| line.0.load(Ordering::Relaxed)).sum()
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

/// `GET /_miroir/metrics`: Prometheus's text format. Errors: not the admin key.
pub fn handle(app: &App, request: &Request) -> Result<Response, Error> {
    let authorization = request.headers.get_str("authorization");
    app.shared.control.authorise_admin(authorization)?;
    Ok(Response {
        content_type: "text/plain; version=0.0.4; charset=utf-8".into(),
        ..Response::json(200, render(&ALL))
    })
}

fn render(counters: &[&Counter]) -> String {
    let mut text = String::new();
    for counter in counters {
        let Counter { name, help, .. } = counter;
        // Writing into a string cannot fail.
        let total = counter.total();
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} counter\n{name} {total}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_together() {
        static COUNTER: Counter = Counter::new("x_total", "Xs.");
        std::thread::scope(|scope| {
            for _ in 0..LINES + 6 {
                scope.spawn(|| COUNTER.add(2));
            }
        });
        assert_eq!(
            render(&[&COUNTER]),
            "# HELP x_total Xs.\n# TYPE x_total counter\nx_total 140\n"
        );
    }

    #[test]
    fn names_are_prometheuss_and_different() {
        let mut names: Vec<&str> = ALL.iter().map(|counter| counter.name).collect();
        assert!(names
            .iter()
            .all(|name| name.starts_with("miroir_") && name.ends_with("_total")));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
