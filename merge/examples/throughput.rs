//! How fast answers are scanned and merged and payloads are split, beside serde_json on the same bytes in the same run.
//!
//! `cargo run --release -p miroir-merge --example throughput`. Figures are gigabytes (1e9) of input a second of CPU time on
//! one core.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use miroir_merge::{
    count_documents, merge_documents, merge_search, split, DocumentsPage, Format, Paging, Route,
    Spec,
};
use serde_json::value::RawValue;

const NODES: usize = 4;
const WORDS: [&str; 16] = [
    "the",
    "of",
    "night",
    "river",
    "Amélie",
    "a \\\"quoted\\\" word",
    "star",
    "war",
    "love",
    "in",
    "Paris",
    "return",
    "shadow",
    "Größe",
    "to",
    "house",
];

fn main() {
    println!("{:<40}{:>8}{:>12}{:>8}", "", "GB/s", "serde_json", "ratio");
    for (name, hits) in [
        ("merge 4 x 20 hits, page of 20", 20),
        ("merge 4 x 1000 hits, page of 1000", 1000),
    ] {
        let answers = search_answers(hits);
        let merge = || merge_search(black_box(&answers), &spec(hits)).map(|merged| merged.len());
        row(
            name,
            total(&answers),
            || merge().unwrap_or(0),
            || values(&answers),
        );
    }
    let pages = document_answers(1000);
    let page = DocumentsPage {
        limit: 4000,
        ..DocumentsPage::default()
    };
    let merge = || merge_documents(black_box(&pages), &page).map(|merged| merged.len());
    row(
        "merge 4 x 1000 documents",
        total(&pages),
        || merge().unwrap_or(0),
        || values(&pages),
    );

    let json = payload(20_000, true);
    let lines = payload(20_000, false);
    let tree = || {
        serde_json::from_slice::<Vec<serde_json::Value>>(black_box(&json)).map_or(0, |l| l.len())
    };
    let raw = || serde_json::from_slice::<Vec<&RawValue>>(black_box(&json)).map_or(0, |l| l.len());
    let count = || count_documents(black_box(&json), Format::Json).unwrap_or(0);
    row(
        "split 20000 documents, JSON",
        json.len(),
        || split_all(&json, Format::Json),
        tree,
    );
    row(
        "split 20000 documents, NDJSON",
        lines.len(),
        || split_all(&lines, Format::Ndjson),
        tree,
    );
    row("count 20000 documents, JSON", json.len(), count, tree);
    row("count, serde_json with raw values", json.len(), count, raw);
}

fn total(answers: &[Bytes]) -> usize {
    answers.iter().map(Bytes::len).sum()
}

/// Measures both and prints a line; only rows whose name holds the program's first argument.
fn row(name: &str, bytes: usize, ours: impl FnMut() -> usize, theirs: impl FnMut() -> usize) {
    if std::env::args()
        .nth(1)
        .is_some_and(|part| !name.contains(&part))
    {
        return;
    }
    let ours = rate(bytes, ours);
    // A second argument leaves the comparison out, for a profiler.
    let theirs = if std::env::args().len() > 2 {
        f64::NAN
    } else {
        rate(bytes, theirs)
    };
    println!("{name:<40}{ours:>8.2}{theirs:>12.2}{:>8.1}", ours / theirs);
}

/// Time that this thread has been running, so that neighbours on a busy machine do not count; wall time where there is no `/proc`.
fn cpu_time(started: Instant) -> Duration {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .map_or_else(|| started.elapsed(), Duration::from_nanos)
}

/// Bytes a nanosecond, in the best of several rounds: noise only ever slows down. The kernel counts a thread's time by its
/// tick, so a round lasts many of them.
fn rate(bytes: usize, mut work: impl FnMut() -> usize) -> f64 {
    const ROUND: Duration = Duration::from_millis(100);
    let started = Instant::now();
    black_box(work());
    let runs = (ROUND.as_nanos() / started.elapsed().as_nanos().max(1)).clamp(1, 100_000) as u32;
    let mut best = Duration::MAX;
    for _ in 0..9 {
        let started = Instant::now();
        let before = cpu_time(started);
        for _ in 0..runs {
            black_box(work());
        }
        best = best.min((cpu_time(started) - before) / runs);
    }
    bytes as f64 / best.as_nanos() as f64
}

fn values(answers: &[Bytes]) -> usize {
    answers
        .iter()
        .filter(|answer| serde_json::from_slice::<serde_json::Value>(black_box(answer)).is_ok())
        .count()
}

fn split_all(body: &[u8], format: Format) -> usize {
    let sinks = [0, 1, 2, 3];
    let mut next = 0;
    split(black_box(body), format, "id", NODES, &mut |_| {
        next = (next + 1) % NODES;
        Route {
            sinks: &sinks[next..=next],
            code: "⸀⸁",
        }
    })
    .map(|parts| parts.sinks.iter().map(|sink| sink.body.len()).sum())
    .unwrap_or(0)
}

fn spec(limit: usize) -> Spec<'static> {
    Spec {
        cap_totals: true,
        query: "night",
        processing_time_ms: 1,
        ..Spec::of(Paging::Offset { offset: 0, limit })
    }
}

/// Members of a document of about 400 bytes, without braces.
fn members(id: usize) -> String {
    let words = |from: usize, count: usize| -> String {
        (0..count)
            .map(|i| WORDS[(id * 7 + from * 3 + i * i) % WORDS.len()])
            .collect::<Vec<_>>()
            .join(" ")
    };
    format!(
        r#""id":{id},"title":"{}","overview":"{}","genres":["{}","{}"],"release_date":{},"rating":{}.{},"cast":[{{"name":"{}","order":0}},{{"name":"{}","order":1}}],"poster":"https://image.example/w500/{id:020}.jpg""#,
        words(1, 4),
        words(2, 36),
        words(3, 1),
        words(4, 1),
        900_000_000 + id * 86_400,
        id % 10,
        id % 7,
        words(5, 2),
        words(6, 2),
    )
}

fn search_answers(hits: usize) -> Vec<Bytes> {
    (0..NODES)
        .map(|node| {
            let hits: Vec<String> = (0..hits)
                .map(|place| {
                    format!(
                        r#"{{"_miroir_shard":"⸀⸁",{},"_rankingScore":0.9,"_rankingScoreDetails":{{"words":{{"order":0,"matchingWords":2,"maxMatchingWords":2,"score":1.0}},"typo":{{"order":1,"typoCount":{},"maxTypoCount":4,"score":0.75}},"proximity":{{"order":2,"score":0.8571428571428571}},"attribute":{{"order":3,"attributeRankingOrderScore":1.0,"queryWordDistanceScore":0.9,"score":0.9}},"exactness":{{"order":4,"matchType":"noExactMatch","matchingWords":1,"maxMatchingWords":2,"score":0.3}}}}}}"#,
                        members(place * NODES + node), place * 4 / hits
                    )
                })
                .collect();
            let answer = format!(
                r#"{{"hits":[{}],"query":"night","processingTimeMs":1,"limit":{},"offset":0,"estimatedTotalHits":3000,"facetDistribution":{{"genres":{{"love":30,"star":20,"war":10}}}},"facetStats":{{}}}}"#,
                hits.join(","), hits.len()
            );
            Bytes::from(answer)
        })
        .collect()
}

fn document_answers(documents: usize) -> Vec<Bytes> {
    let list: Vec<String> = (0..documents)
        .map(|id| format!("{{\"_miroir_shard\":\"⸀⸁\",{}}}", members(id)))
        .collect();
    let answer = format!(
        r#"{{"results":[{}],"offset":0,"limit":{documents},"total":{documents}}}"#,
        list.join(",")
    );
    vec![Bytes::from(answer); NODES]
}

fn payload(documents: usize, array: bool) -> Vec<u8> {
    let list: Vec<String> = (0..documents)
        .map(|id| format!("{{{}}}", members(id)))
        .collect();
    if array {
        format!("[{}]", list.join(","))
    } else {
        list.join("\n")
    }
    .into_bytes()
}
