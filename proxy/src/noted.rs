//! What is noted of a request once it is answered: how long it took, and a line in the log where it was slow or failed.
//!
//! A client may name its request with `X-Request-Id`; the answer repeats it. A request that ends in the log without one
//! gets a name there, which its answer carries, too: what a user reports can be found.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use miroir_metrics::{Latencies, Page};
use miroir_net::{Request, Response};
use miroir_rt::Instant;

use crate::judge::static_method;
use crate::routes::Route;

const HEADER: &str = "x-request-id";
/// Longer names, and ones with other than visible characters, are not taken.
const ID_BYTES_MAX: usize = 128;

/// Classes of status codes.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
const SERIES: usize = Route::NAMES.len() * CLASSES.len();

pub static REQUESTS: Latencies<SERIES> = Latencies::new(
    "miroir_request_duration_seconds",
    "Time from a request's last byte to its whole answer, writing excluded.",
    "route,status",
    |series| {
        let route = Page::label("route", Route::NAMES[series / CLASSES.len()]);
        let class = Page::label("status", CLASSES[series % CLASSES.len()]);
        format!("{route},{class}")
    },
);

/// A request that is being answered.
pub struct Noted {
    began: Instant,
    id: Option<String>,
    method: &'static str,
    target: String,
    /// [`Route::place`], once it is known.
    pub route: Cell<usize>,
    /// It was refused in an overload, which is not told of each.
    pub shed: Cell<bool>,
}

impl Noted {
    pub fn begin(request: &Request) -> Self {
        let id = request.headers.get_str(HEADER).filter(|id| {
            id.len() <= ID_BYTES_MAX
                && !id.is_empty()
                && id.bytes().all(|byte| byte.is_ascii_graphic())
        });
        Noted {
            began: Instant::now(),
            id: id.map(str::to_owned),
            method: static_method(&request.method),
            target: request.path().to_owned(),
            route: Cell::new(Route::Slow.place()),
            shed: Cell::new(false),
        }
    }

    /// `slow`: searches that took longer are logged.
    pub fn end(self, response: &mut Response, slow: Option<Duration>) {
        let took = self.began.elapsed();
        let class = usize::from(response.status / 100).clamp(2, 5) - 2;
        let route = self.route.get();
        REQUESTS.observe(route * CLASSES.len() + class, took);
        let failed = response.status >= 500 && !self.shed.get();
        let was_slow = Route::SEARCHES.contains(&route) && slow.is_some_and(|limit| took >= limit);
        if !failed && !was_slow {
            if let Some(id) = self.id {
                repeat(response, id);
            }
            return;
        }
        let id = self.id.unwrap_or_else(new_id);
        let (method, path, status) = (self.method, self.target, response.status);
        let took_ms = took.as_micros() as f64 / 1e3;
        if failed {
            tracing::warn!(request = %id, method, path, status, took_ms, "a request failed");
        } else {
            tracing::warn!(request = %id, method, path, status, took_ms, "a slow search");
        }
        repeat(response, id);
    }
}

fn repeat(response: &mut Response, id: String) {
    response
        .headers
        .push((Cow::Borrowed(HEADER), Cow::Owned(id)));
}

/// Different from those of other processes, as far as their ids and starts differ.
fn new_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let since_1970 = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let seconds = since_1970.map_or(0, |since| since.as_secs());
    format!("{seconds:x}-{:x}-{number:x}", std::process::id())
}
