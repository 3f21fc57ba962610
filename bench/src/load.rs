//! The load itself: connections that ask, and a pacer that says when.
//!
//! It runs on one core on the same runtime as Miroir: a client that costs more than the server would measure itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use miroir_net::client::{OutRequest, Pools};
use tokio::sync::Semaphore;

use crate::target::{Answer, Target};

/// What to do.
pub struct Plan {
    pub connections: usize,
    /// Requests started a second; None: closed loop.
    pub rate: Option<f64>,
    pub duration: Duration,
    /// Taken in turn.
    pub requests: Vec<OutRequest>,
    /// Closed loop: each request is sent once, and the end of the last one is the end.
    pub once: bool,
}

/// What came of it.
pub struct Outcome {
    /// Of answers with a status of success, in microseconds.
    pub latency_us: Histogram<u64>,
    pub answers: BTreeMap<Answer, u64>,
    /// Open loop: requests whose time had come, but that no connection was free to send. Each is in `latency_us` with
    /// the time that it had waited at the end, which is less than it would have taken.
    pub unsent: u64,
    /// From the first start to the last answer.
    pub elapsed: Duration,
}

impl Outcome {
    pub fn new() -> Outcome {
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

    /// Answers with a status of success.
    pub fn succeeded(&self) -> u64 {
        let ok = self
            .answers
            .iter()
            .filter(|(answer, _)| matches!(answer, Answer::Ok { .. }));
        ok.map(|(_, count)| count).sum()
    }

    /// Every other answer, and requests that got none.
    pub fn failed(&self) -> u64 {
        self.answers.values().sum::<u64>() - self.succeeded()
    }

    fn record(&mut self, answer: Answer, latency: Duration) {
        if matches!(answer, Answer::Ok { .. }) {
            self.latency_us
                .saturating_record(latency.as_micros() as u64);
        }
        *self.answers.entry(answer).or_default() += 1;
    }

    pub fn add(&mut self, other: Outcome) {
        // Both have the same bounds.
        let _ = self.latency_us.add(&other.latency_us);
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        self.unsent += other.unsent;
        self.elapsed += other.elapsed;
    }
}

/// Runs the plan to its end. Call it on a core.
pub async fn run(target: &Target, plan: &Plan) -> Outcome {
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
    let outcome = RefCell::new(Outcome::new());
    let worker = Worker {
        target,
        connections: &Target::connections(plan.connections),
        schedule: &schedule,
        plan,
        outcome: &outcome,
    };
    join_all((0..plan.connections).map(|_| worker.run())).await;
    let last_answer = Instant::now();
    let mut outcome = outcome.into_inner();
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
    outcome
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

/// One connection at a time of those that all share.
struct Worker<'a> {
    target: &'a Target,
    connections: &'a Pools,
    schedule: &'a Schedule,
    plan: &'a Plan,
    outcome: &'a RefCell<Outcome>,
}

impl Worker<'_> {
    async fn run(&self) {
        let requests = &self.plan.requests;
        while let Some((number, start)) = self.schedule.next().await {
            if self.plan.once && number >= requests.len() as u64 {
                return;
            }
            let request = &requests[(number % requests.len() as u64) as usize];
            let answer = self.target.send(self.connections, request).await;
            self.outcome.borrow_mut().record(answer, start.elapsed());
        }
    }
}

const LATENCY_US_MAX: u64 = 120_000_000;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use miroir_net::{Request, Response};
    use miroir_rt::{block_on, DriverChoice, Shutdown};

    use super::*;
    use crate::target::searches;

    fn plan(rate: Option<f64>) -> Plan {
        let bodies = vec!["{\"q\":\"good\"}".into(), "{\"q\":\"bad\"}".into()];
        Plan {
            connections: 3,
            rate,
            duration: Duration::from_millis(200),
            requests: searches("movies", Some("key"), bodies),
            once: false,
        }
    }

    fn on_a_core<T>(future: impl std::future::Future<Output = T>) -> T {
        block_on(DriverChoice::Auto, future).unwrap()
    }

    #[test]
    fn a_closed_loop_counts_answers_by_their_status() {
        let outcome = on_a_core(async { run(&serve(), &plan(None)).await });
        assert!(outcome.succeeded() > 0);
        assert_eq!(outcome.latency_us.len(), outcome.succeeded());
        assert!(outcome.answers[&Answer::Status(503)] > 0);
        assert_eq!(outcome.unsent, 0);
    }

    #[test]
    fn an_open_loop_accounts_for_every_request_that_was_due() {
        let outcome = on_a_core(async { run(&serve(), &plan(Some(500.0))).await });
        let sent: u64 = outcome.answers.values().sum();
        assert_eq!(sent + outcome.unsent, 100);
        assert_eq!(
            outcome.latency_us.len(),
            outcome.succeeded() + outcome.unsent
        );
    }

    #[test]
    fn what_is_sent_once_is_sent_once() {
        let once = Plan {
            duration: Duration::from_secs(60),
            once: true,
            ..plan(None)
        };
        let outcome = on_a_core(async { run(&serve(), &once).await });
        assert_eq!(outcome.answers.values().sum::<u64>(), 2);
    }

    #[test]
    fn nobody_there_is_an_error_before_the_run() {
        on_a_core(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            drop(listener);
            let requests = plan(None).requests;
            let error = Target::parse(&url).unwrap().check(&requests[0]).await;
            let error = error.unwrap_err().to_string();
            assert!(error.contains("is a server running there"), "{error}");
            let refused = serve().check(&requests[1]).await.unwrap_err();
            assert!(
                refused.to_string().contains("answers 503: down"),
                "{refused}"
            );
        });
    }

    /// Answers 503 to the query `bad`, 200 to any other.
    fn serve() -> Target {
        let listener = miroir_net::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = |request: Request| async move {
            match request.body.ends_with(b"\"bad\"}") {
                true => Response::text(503, "text/plain", "down"),
                false => Response::json(200, "{}"),
            }
        };
        miroir_rt::spawn_background(async move {
            let limits = Rc::default();
            let _ = miroir_net::serve(listener, Rc::new(answer), limits, Shutdown::new()).await;
        });
        Target::parse(&url).unwrap()
    }
}
