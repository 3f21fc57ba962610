//! The load itself: connections that ask, and a pacer that says when.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;

use crate::target::{Answer, Target};
use crate::Error;

/// What to do.
pub struct Plan {
    pub connections: usize,
    /// Requests started a second; None: closed loop.
    pub rate: Option<f64>,
    pub duration: Duration,
    /// Search bodies, taken in turn.
    pub bodies: Vec<String>,
}

/// What came of it.
pub struct Outcome {
    /// Of answers with status 200, in microseconds.
    pub latency_us: Histogram<u64>,
    pub answers: BTreeMap<Answer, u64>,
    /// Open loop: requests whose time had come, but that no connection was free to send. Each is in `latency_us` with
    /// the time that it had waited at the end, which is less than it would have taken.
    pub unsent: u64,
    /// From the first start to the last answer.
    pub elapsed: Duration,
}

impl Outcome {
    fn new() -> Outcome {
        // Bounds that are constants within what the histogram supports.
        let latency_us =
            Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).unwrap_or_else(|_| unreachable!());
        Outcome {
            latency_us,
            answers: BTreeMap::new(),
            unsent: 0,
            elapsed: Duration::ZERO,
        }
    }

    /// Answers with status 200.
    pub fn succeeded(&self) -> u64 {
        let ok = self
            .answers
            .iter()
            .filter(|(answer, _)| matches!(answer, Answer::Ok { .. }));
        ok.map(|(_, count)| count).sum()
    }

    fn record(&mut self, answer: Answer, latency: Duration) {
        if matches!(answer, Answer::Ok { .. }) {
            self.latency_us
                .saturating_record(latency.as_micros() as u64);
        }
        *self.answers.entry(answer).or_default() += 1;
    }

    fn add(&mut self, other: Outcome) {
        // Both have the same bounds.
        let _ = self.latency_us.add(&other.latency_us);
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
    }
}

/// Runs the plan to its end.
pub async fn run(target: &Target, plan: &Plan) -> Result<Outcome, Error> {
    let start = Instant::now();
    let schedule = Arc::new(Schedule {
        start,
        end: start + plan.duration,
        interval: plan.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
        tickets: Semaphore::new(0),
        taken: AtomicU64::new(0),
    });
    let pacer = schedule.interval.map(|interval| {
        let schedule = schedule.clone();
        std::thread::spawn(move || schedule.pace(interval))
    });
    let bodies: Arc<[String]> = plan.bodies.clone().into();
    let mut workers = Vec::new();
    for _ in 0..plan.connections {
        let worker = Worker {
            target: target.clone(),
            connection: target.connection()?,
            schedule: schedule.clone(),
            bodies: bodies.clone(),
        };
        workers.push(tokio::spawn(worker.run()));
    }
    let mut outcome = Outcome::new();
    for worker in workers {
        // A worker that panicked has nothing to add.
        if let Ok(part) = worker.await {
            outcome.add(part);
        }
    }
    let last_answer = Instant::now();
    outcome.elapsed = last_answer - start;
    if let (Some(pacer), Some(interval)) = (pacer, schedule.interval) {
        let due = pacer.join().unwrap_or(0);
        let sent = schedule.taken.load(Ordering::Relaxed).min(due);
        outcome.unsent = due - sent;
        for number in sent..due {
            let waited = last_answer
                .saturating_duration_since(schedule.start + interval.mul_f64(number as f64));
            outcome
                .latency_us
                .saturating_record(waited.as_micros() as u64);
        }
    }
    Ok(outcome)
}

/// When requests start.
struct Schedule {
    start: Instant,
    end: Instant,
    /// Open loop: time between starts.
    interval: Option<Duration>,
    /// Open loop: requests whose time has come; closed at the end.
    tickets: Semaphore,
    /// Requests begun.
    taken: AtomicU64,
}

impl Schedule {
    /// Hands out tickets at their time, from a thread of its own: the runtime's timers tick in milliseconds, which
    /// would show in every latency. Returns how many there were.
    fn pace(&self, interval: Duration) -> u64 {
        for number in 0.. {
            let due = self.start + interval.mul_f64(number as f64);
            if due >= self.end {
                self.tickets.close();
                return number;
            }
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            self.tickets.add_permits(1);
        }
        0
    }

    /// The next request: its number, and when it starts for the purpose of its latency. None at the end.
    async fn next(&self) -> Option<(u64, Instant)> {
        let Some(interval) = self.interval else {
            let now = Instant::now();
            return (now < self.end).then(|| (self.taken.fetch_add(1, Ordering::Relaxed), now));
        };
        self.tickets.acquire().await.ok()?.forget();
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        Some((number, self.start + interval.mul_f64(number as f64)))
    }
}

/// One connection.
struct Worker {
    target: Target,
    connection: reqwest::Client,
    schedule: Arc<Schedule>,
    bodies: Arc<[String]>,
}

impl Worker {
    async fn run(self) -> Outcome {
        let mut outcome = Outcome::new();
        while let Some((number, start)) = self.schedule.next().await {
            let body = self.bodies[(number % self.bodies.len() as u64) as usize].clone();
            let answer = self.target.search(&self.connection, body).await;
            outcome.record(answer, start.elapsed());
        }
        outcome
    }
}

const LATENCY_US_MAX: u64 = 120_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn plan(rate: Option<f64>) -> Plan {
        let bodies = vec!["{\"q\":\"good\"}".into(), "{\"q\":\"bad\"}".into()];
        Plan {
            connections: 3,
            rate,
            duration: Duration::from_millis(200),
            bodies,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_closed_loop_counts_answers_by_their_status() {
        let target = Target::new(&serve().await, "movies", Some("key".into()));
        let outcome = run(&target, &plan(None)).await.unwrap();
        assert!(outcome.succeeded() > 0);
        assert_eq!(outcome.latency_us.len(), outcome.succeeded());
        assert!(outcome.answers[&Answer::Status(503)] > 0);
        assert_eq!(outcome.unsent, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_open_loop_accounts_for_every_request_that_was_due() {
        let target = Target::new(&serve().await, "movies", None);
        let outcome = run(&target, &plan(Some(500.0))).await.unwrap();
        let sent: u64 = outcome.answers.values().sum();
        assert_eq!(sent + outcome.unsent, 100);
        assert_eq!(
            outcome.latency_us.len(),
            outcome.succeeded() + outcome.unsent
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_there_is_an_error_before_the_run() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Target::new(&url, "movies", None)
            .check("{}")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("is a server running there"), "{error}");
        let refused = Target::new(&serve().await, "movies", None)
            .check("{\"q\":\"bad\"}")
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("answers 503: down"),
            "{refused}"
        );
    }

    /// Answers 503 to the query `bad`, 200 to any other.
    async fn serve() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while stream
                        .read_buf(&mut request)
                        .await
                        .is_ok_and(|read| read > 0)
                    {
                        let text = String::from_utf8_lossy(&request);
                        // Both bodies end the request; the rest of it is of no interest.
                        let answer = match (text.ends_with("\"bad\"}"), text.ends_with('}')) {
                            (true, _) => {
                                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\ndown"
                            }
                            (_, true) => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
                            _ => continue,
                        };
                        request.clear();
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        url
    }
}
