//! What a core takes on at once, and when it says no: a 503 at once is worth more to a client, and to everybody else who
//! waits, than an answer that comes too late.
//!
//! Two things are watched. **How much is in progress**: with slow nodes, requests pile up here although the core has nothing
//! to do. **How late the core is**: with more requests than it can compute, everything waits in line for it. A request's own
//! waiting cannot be seen (the kernel does not say when its bytes came), so a timer stands in line in its place: how much later
//! than due it is served is how long anything waits. As in CoDel (RFC 8289), lateness counts once it has lasted for an
//! interval, because a burst is no overload; and at once where it comes back soon after.
//!
//! Never refused: what tells how the program is (`/health`, `/version`, `/_miroir/`).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use miroir_api::Error;
use miroir_metrics::{Counter, Gauge};
use miroir_rt::{sleep_until, spawn_background, Instant};

use crate::config::CoreLimits;
use crate::routes::Route;

pub static FULL: Counter = Counter::new(
    "miroir_shed_full_total",
    "Requests answered 503 because their core had as many in progress as it may (`limits`).",
);
pub static LATE: Counter = Counter::new(
    "miroir_shed_late_total",
    "Requests answered 503 because their core came to everything too late (`limits.delay_ms`).",
);
pub static BUSY: Counter = Counter::new(
    "miroir_shed_busy_total",
    "Requests to nodes that were not sent because as many waited for one of its connections as may.",
);
pub static IN_PROGRESS: Gauge = Gauge::new(
    "miroir_requests_in_progress",
    "Searches, document reads and writes, and requests to the control plane that are not answered yet.",
);

/// How long a core must have been late before it sheds.
const INTERVAL: Duration = Duration::from_millis(100);
/// A core that shed so short a time ago sheds again as soon as it is late.
const RELAPSE: Duration = Duration::from_secs(1);
/// How often lateness is measured, while much is in progress.
const TICK: Duration = Duration::from_millis(5);
/// With fewer requests in progress a core is not overloaded by them, whatever else keeps it from its work.
const CROWD: usize = 64;
/// Between lines in the log.
const SAID: Duration = Duration::from_secs(10);

/// What limits go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    /// What the control plane answers.
    Other,
}

impl Kind {
    /// `None`: always served.
    fn of(route: &Route, path: &str) -> Option<Kind> {
        match route {
            Route::Metrics => None,
            Route::Slow => {
                let vital = matches!(path, "/" | "/health" | "/version");
                (!vital && !path.starts_with("/_miroir/")).then_some(Kind::Other)
            }
            Route::AddDocuments { .. }
            | Route::DeleteDocument { .. }
            | Route::DeleteBatch { .. }
            | Route::DeleteByFilter { .. }
            | Route::EditDocuments { .. }
            | Route::ClearDocuments { .. } => Some(Kind::Write),
            _ => Some(Kind::Read),
        }
    }
}

/// One core's.
pub struct Shedder {
    limits: CoreLimits,
    in_progress: [Cell<usize>; 3],
    lateness: Cell<Lateness>,
    watched: Cell<bool>,
    said: Cell<Option<Instant>>,
}

/// A request in progress.
pub struct Seat<'a> {
    place: &'a Cell<usize>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.place.set(self.place.get() - 1);
        IN_PROGRESS.lower();
    }
}

impl Shedder {
    pub fn new(limits: CoreLimits) -> Rc<Self> {
        Rc::new(Shedder {
            limits,
            in_progress: Default::default(),
            lateness: Cell::default(),
            watched: Cell::new(false),
            said: Cell::new(None),
        })
    }

    /// Takes a request on, until the seat is dropped; `None` where no limit holds for it. Errors: 503, to be tried again
    /// later; nothing was done.
    pub fn admit(self: &Rc<Self>, route: &Route, path: &str) -> Result<Option<Seat<'_>>, Error> {
        let Some(kind) = Kind::of(route, path) else {
            return Ok(None);
        };
        self.check(kind)?;
        let place = &self.in_progress[kind as usize];
        place.set(place.get() + 1);
        IN_PROGRESS.raise();
        if self.limits.delay.is_some() && !self.watched.get() && self.crowded() {
            self.watched.set(true);
            spawn_background(watch(self.clone()));
        }
        Ok(Some(Seat { place }))
    }

    /// Whether the request would be refused now. For one whose body has still to come.
    pub fn refusal(&self, route: &Route, path: &str) -> Option<Error> {
        self.check(Kind::of(route, path)?).err()
    }

    fn check(&self, kind: Kind) -> Result<(), Error> {
        let (limit, key) = match kind {
            Kind::Read => (self.limits.searches, "searches"),
            Kind::Write => (self.limits.writes, "writes"),
            Kind::Other => (self.limits.others, "others"),
        };
        let now = self.in_progress[kind as usize].get();
        if limit.is_some_and(|limit| now >= limit) {
            FULL.add(1);
            self.say(&format!("limits.{key} are in progress"));
            return Err(refused(kind, now));
        }
        if kind != Kind::Other && self.lateness.get().sheds {
            LATE.add(1);
            self.say("it came to everything later than limits.delay_ms");
            return Err(refused(kind, now));
        }
        Ok(())
    }

    fn crowded(&self) -> bool {
        let [reads, writes, _] = &self.in_progress;
        reads.get() + writes.get() >= CROWD
    }

    /// At thousands of refusals a second, a line for each would be an overload of its own.
    fn say(&self, why: &str) {
        let now = Instant::now();
        if self.said.get().is_none_or(|said| now - said > SAID) {
            self.said.set(Some(now));
            let [reads, writes, others] = &self.in_progress;
            let (reads, writes, others) = (reads.get(), writes.get(), others.get());
            tracing::warn!(why, reads, writes, others, "a core refuses requests");
        }
    }
}

/// Measures lateness as long as much is in progress.
async fn watch(shedder: Rc<Shedder>) {
    while let Some(target) = shedder.limits.delay.filter(|_| shedder.crowded()) {
        let due = Instant::now() + TICK;
        sleep_until(due).await;
        let now = Instant::now();
        let before = shedder.lateness.get();
        shedder.lateness.set(before.seen(now, now - due > target));
    }
    shedder.watched.set(false);
    let lateness = shedder.lateness.get();
    shedder.lateness.set(lateness.seen(Instant::now(), false));
}

/// How long a core has been late.
#[derive(Clone, Copy, Debug, Default)]
struct Lateness {
    since: Option<Instant>,
    sheds: bool,
    shed_last: Option<Instant>,
}

impl Lateness {
    #[must_use]
    fn seen(self, now: Instant, late: bool) -> Self {
        let since = late.then(|| self.since.unwrap_or(now));
        let relapse = self.shed_last.is_some_and(|last| now - last < RELAPSE);
        let sheds = since.is_some_and(|since| relapse || now - since >= INTERVAL);
        let shed_last = if sheds { Some(now) } else { self.shed_last };
        Lateness {
            since,
            sheds,
            shed_last,
        }
    }
}

fn refused(kind: Kind, in_progress: usize) -> Error {
    match kind {
        Kind::Read => too_many_searches(in_progress as u64),
        Kind::Write | Kind::Other => overloaded("it has more requests than it can answer in time"),
    }
}

/// Meilisearch's 503 of a full queue, in its words.
pub fn too_many_searches(in_progress: u64) -> Error {
    Error::system(
        503,
        TOO_MANY_SEARCHES,
        format!(
            "Too many search requests running at the same time: {in_progress}. Retry after 10s."
        ),
    )
}

/// Also what a node says that cannot take more searches.
pub const TOO_MANY_SEARCHES: &str = "too_many_search_requests";

/// 503 `miroir_overloaded`: nothing was done.
pub fn overloaded(why: &str) -> Error {
    Error::system(
        503,
        "miroir_overloaded",
        format!("The request was refused because the server is overloaded: {why}. Nothing was stored. Retry after 10s."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::classify;

    fn limits() -> CoreLimits {
        CoreLimits {
            searches: Some(2),
            writes: Some(1),
            others: Some(1),
            delay: None,
            ..CoreLimits::default()
        }
    }

    #[test]
    fn a_seat_is_given_back() {
        let shedder = Shedder::new(limits());
        let path = "/indexes/films/search";
        let search = classify("POST", path);
        let first = shedder.admit(&search, path).unwrap();
        let _second = shedder.admit(&search, path).unwrap();
        let error = shedder.admit(&search, path).err().unwrap();
        assert_eq!((error.status, &*error.code), (503, TOO_MANY_SEARCHES));
        assert!(shedder.refusal(&search, path).is_some());
        drop(first);
        assert!(shedder.admit(&search, path).is_ok());
    }

    #[test]
    fn kinds_have_limits_of_their_own_and_what_is_vital_has_none() {
        let shedder = Shedder::new(limits());
        let admit = |method: &str, path: &'static str| {
            let route = classify(method, path);
            // Forgotten seats are never given back.
            shedder.admit(&route, path).map(std::mem::forget)
        };
        let write = "/indexes/films/documents";
        admit("POST", write).unwrap();
        let error = admit("DELETE", write).unwrap_err();
        assert_eq!(&*error.code, "miroir_overloaded");
        admit("GET", write).unwrap();
        admit("GET", "/tasks").unwrap();
        assert_eq!(admit("GET", "/stats").unwrap_err().status, 503);
        for path in [
            "/health",
            "/version",
            "/",
            "/_miroir/topology",
            "/_miroir/metrics",
        ] {
            for _ in 0..3 {
                admit("GET", path).unwrap();
            }
        }
    }

    #[test]
    fn a_burst_is_no_overload_and_a_relapse_is_one_at_once() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut lateness = Lateness::default();
        let mut see = |ms, late| {
            lateness = lateness.seen(at(ms), late);
            lateness.sheds
        };
        assert!(!see(0, true) && !see(50, true) && !see(60, false));
        assert!(!see(70, true) && !see(160, true) && see(170, true));
        assert!(!see(180, false));
        assert!(see(190, true), "late again, soon after");
        assert!(!see(200, false) && !see(1300, true) && see(1400, true));
    }
}
