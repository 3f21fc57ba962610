//! `GET /_miroir/metrics`: what was counted since the start, in Prometheus's text format.
//!
//! A metric is declared beside the code that counts it (crate `miroir-metrics` says how), and listed here once. What is
//! listed is documented in `docs/metrics.md`, which a test writes.

use miroir_api::Error;
use miroir_metrics::{Metric, Page};
use miroir_net::{Request, Response};

use crate::core::App;
use crate::{noted, scatter, search, shared_answers, shed};

/// What this crate counts, in the order in which it is shown.
const METRICS: [&dyn Metric; 27] = [
    &noted::REQUESTS,
    &search::SEARCHES,
    &search::CHEAP_SEARCHES,
    &search::NARROWED_SEARCHES,
    &search::REVEALING_SEARCHES,
    &search::HYBRID_SEARCHES,
    &search::FREQUENCY_SEARCHES,
    &search::SETTLING_ROUNDS,
    &shared_answers::COALESCED,
    &shared_answers::HITS,
    &shared_answers::MISSES,
    &shared_answers::KEPT,
    &scatter::LEGS,
    &scatter::NODE_REQUESTS,
    &scatter::NODE_FAILURES,
    &scatter::RETRIES,
    &scatter::FAILOVERS,
    &scatter::HEDGES,
    &scatter::REPLACED,
    &scatter::LATENCY,
    &scatter::IN_FLIGHT,
    &scatter::ERRORS,
    &scatter::ABANDONED,
    &shed::IN_PROGRESS,
    &shed::FULL,
    &shed::LATE,
    &shed::BUSY,
];

fn counted() -> impl Iterator<Item = &'static dyn Metric> {
    METRICS
        .into_iter()
        .chain(miroir_net::metrics::METRICS.iter().copied())
}

/// Errors: not the admin key.
pub fn handle(app: &App, request: &Request) -> Result<Response, Error> {
    let control = &app.shared.control;
    control.authorise_admin(request.headers.get_str("authorization"))?;
    let table = control.publisher().current();
    let name = |place: usize| table.nodes.get(place).map(|node| node.id.clone());
    let mut page = Page::default();
    counted().for_each(|metric| metric.write(&mut page, &name));
    control.write_metrics(&mut page);
    Ok(Response {
        content_type: "text/plain; version=0.0.4; charset=utf-8".into(),
        ..Response::json(200, page.into_text())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write;

    use miroir_metrics::{Family, Kind};

    use super::*;

    fn families() -> Vec<Family> {
        let counted = counted().map(|metric| *metric.family());
        counted
            .chain(miroir_control::METRICS.iter().copied())
            .collect()
    }

    #[test]
    fn names_are_prometheuss_and_different() {
        let families = families();
        for Family {
            name, kind, help, ..
        } in &families
        {
            assert!(name.starts_with("miroir_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(
                name.ends_with("_seconds"),
                *kind == Kind::Histogram,
                "{name}"
            );
            assert!(
                help.ends_with('.') && !help.contains('\n'),
                "{name}: {help}"
            );
        }
        let names: BTreeSet<&str> = families.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), families.len());
    }

    /// `MIROIR_WRITE_DOCS=1 cargo test -p miroir metrics` writes the page.
    #[test]
    fn the_page_about_metrics_is_what_is_declared() {
        let mut text = String::from(
            "# Metrics\n\n`GET /_miroir/metrics`, with the admin key, in Prometheus's text format. Counters begin at 0 with \
             each start.\nThis page is written by a test of `proxy/src/metrics.rs` from the declarations.\n\n\
             | name | type | labels | what it says |\n| --- | --- | --- | --- |\n",
        );
        for family in families() {
            let Family {
                name, kind, labels, ..
            } = family;
            let labels = match labels {
                "" => "-".to_owned(),
                labels => labels
                    .split(',')
                    .map(|key| format!("`{key}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            let (kind, help) = (kind.as_str(), family.help);
            writeln!(text, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        if std::env::var_os("MIROIR_WRITE_DOCS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap_or_default(),
            text,
            "write it with MIROIR_WRITE_DOCS=1"
        );
    }
}
