//! Documents side by side: batches sent by a few connections, and the time until every task of theirs has ended.

use std::fmt::Write;
use std::time::{Duration, Instant};

use miroir_net::client::Pools;
use serde_json::{json, Value};

use crate::compare::Side;
use crate::load::{self, Outcome, Plan};
use crate::process::cpu_ns;
use crate::target::{additions, Target};
use crate::Error;

/// What each server is sent in each round.
pub struct Delivery {
    pub index: String,
    pub key: Option<String>,
    pub documents: usize,
    /// Documents in one request.
    pub batch: usize,
    pub connections: usize,
    pub rounds: usize,
}

/// What came of one side's rounds.
pub struct Delivered {
    /// Documents a second until the last batch was accepted.
    pub accepted: f64,
    /// And until no task was left to do.
    pub indexed: f64,
    /// Of the server's processes, for one document.
    pub cpu_us: Option<f64>,
    pub outcome: Outcome,
}

/// Delivers in turns. Call it on a core.
///
/// # Errors
/// A server that does not take the first batch, or whose tasks do not end.
pub async fn run(sides: &[Side], delivery: &Delivery) -> Result<Vec<Delivered>, Error> {
    let mut turns: Vec<Turns> = sides.iter().map(|_| Turns::default()).collect();
    for side in sides {
        // Creates the index, with its key and on every node, before the clock runs.
        let first = additions(&delivery.index, delivery.key.as_deref(), vec![document(0)]);
        side.target.check(&first[0]).await?;
        settled(&side.target, delivery).await?;
    }
    for round in 0..delivery.rounds {
        let plan = delivery.plan(round);
        for (side, turns) in sides.iter().zip(&mut turns) {
            let (began, before) = (Instant::now(), cpu_ns(&side.pids));
            let outcome = load::run(&side.target, &plan).await;
            turns.sending += outcome.elapsed;
            settled(&side.target, delivery).await?;
            turns.working += began.elapsed();
            let spent = cpu_ns(&side.pids).zip(before);
            turns
                .cpu_ns
                .push(spent.map(|(after, before)| after.saturating_sub(before)));
            turns.outcome.add(outcome);
        }
    }
    let documents = (delivery.documents * delivery.rounds) as f64;
    let delivered = |turns: Turns| Delivered {
        accepted: documents / turns.sending.as_secs_f64(),
        indexed: documents / turns.working.as_secs_f64(),
        cpu_us: turns
            .cpu_ns
            .into_iter()
            .sum::<Option<u64>>()
            .map(|ns| ns as f64 / 1e3 / documents),
        outcome: turns.outcome,
    };
    Ok(turns.into_iter().map(delivered).collect())
}

struct Turns {
    sending: Duration,
    working: Duration,
    cpu_ns: Vec<Option<u64>>,
    outcome: Outcome,
}

impl Default for Turns {
    fn default() -> Self {
        Turns {
            sending: Duration::ZERO,
            working: Duration::ZERO,
            cpu_ns: Vec::new(),
            outcome: Outcome::new(),
        }
    }
}

impl Delivery {
    /// Ids are new in every round: replacing documents is other work than adding them.
    fn plan(&self, round: usize) -> Plan {
        let begin = round * self.documents;
        let ids: Vec<usize> = (begin..begin + self.documents).collect();
        let payloads = ids.chunks(self.batch).map(|ids| {
            let documents: Vec<String> = ids.iter().map(|id| document(*id)).collect();
            format!("[{}]", documents.join(","))
        });
        Plan {
            connections: self.connections,
            rate: None,
            duration: PATIENCE,
            requests: additions(&self.index, self.key.as_deref(), payloads.collect()),
            once: true,
        }
    }
}

/// Waits until no task is enqueued or processing.
async fn settled(target: &Target, delivery: &Delivery) -> Result<(), Error> {
    let pools: Pools = Target::connections(1);
    let path = format!(
        "/tasks?indexUids={}&statuses=enqueued,processing&limit=1",
        delivery.index
    );
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let tasks = target.get(&pools, &path, delivery.key.as_deref()).await;
        if tasks["total"] == 0 {
            return Ok(());
        }
        miroir_rt::sleep(LOOK).await;
    }
    Err(Error::Argument(format!(
        "the tasks of {} have not ended after {PATIENCE:?}: look at its log",
        target.url
    )))
}

/// About 400 bytes: a title and a text of words of which some are frequent and most are not.
fn document(id: usize) -> String {
    let mut state = id as u64 + 1;
    let mut word = || {
        // Knuth's MMIX generator; the square makes small numbers, and so some words, more frequent.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let drawn = (state >> 33) as f64 / (1_u64 << 31) as f64;
        let mut number = (drawn * drawn * WORDS) as usize;
        let mut word = String::new();
        while number > 0 || word.is_empty() {
            word.push_str(SYLLABLES[number % SYLLABLES.len()]);
            number /= SYLLABLES.len();
        }
        word
    };
    let genre = ["Action", "Comedy", "Drama"][id % 3];
    let mut text = |words: usize| (0..words).map(|_| word()).collect::<Vec<_>>().join(" ");
    json!({
        "id": id, "title": text(4), "text": text(48), "year": 1928 + id % 90, "genre": genre
    })
    .to_string()
}

/// The figures for people; each server beside the first one.
pub fn table(sides: &[Side], delivery: &Delivery, delivered: &[Delivered]) -> String {
    let mut text = format!(
        "{} rounds of {} documents, {} a request, {} connections\n\n{:<16} {:>14} {:>14} {:>7} {:>12} {:>9} {:>8}\n",
        delivery.rounds,
        delivery.documents,
        delivery.batch,
        delivery.connections,
        "server",
        "accepted doc/s",
        "indexed doc/s",
        "ratio",
        "CPU us/doc",
        "p99 ms",
        "errors"
    );
    for (side, figures) in sides.iter().zip(delivered) {
        let _ = writeln!(
            text,
            "{:<16} {:>14.0} {:>14.0} {:>7.3} {:>12} {:>9.1} {:>8}",
            side.target.name,
            figures.accepted,
            figures.indexed,
            figures.indexed / delivered[0].indexed,
            figures
                .cpu_us
                .map_or("-".to_owned(), |cpu| format!("{cpu:.1}")),
            figures.outcome.latency_us.value_at_quantile(0.99) as f64 / 1e3,
            figures.outcome.failed(),
        );
    }
    text
}

/// The figures for programs.
pub fn json(sides: &[Side], delivery: &Delivery, delivered: &[Delivered]) -> Value {
    let figures = sides.iter().zip(delivered).map(|(side, figures)| {
        json!({
            "name": side.target.name, "url": side.target.url, "accepted_per_second": figures.accepted,
            "indexed_per_second": figures.indexed, "cpu_us": figures.cpu_us, "errors": figures.outcome.failed(),
        })
    });
    json!({
        "documents": delivery.documents, "batch": delivery.batch, "connections": delivery.connections,
        "rounds": delivery.rounds, "sides": figures.collect::<Vec<_>>(),
    })
}

const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(2);
const WORDS: f64 = 20_000.0;
const SYLLABLES: [&str; 12] = [
    "ka", "ro", "mi", "te", "su", "no", "la", "ve", "di", "po", "gu", "an",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_alike_in_size_and_not_in_words() {
        let (a, b) = (document(1), document(2));
        assert_eq!(a, document(1));
        assert_ne!(a, b);
        for id in 0..100 {
            assert!((250..600).contains(&document(id).len()), "{}", document(id));
        }
        assert!(serde_json::from_str::<Value>(&a).is_ok());
    }
}
