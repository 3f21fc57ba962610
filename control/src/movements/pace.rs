//! How fast data moves: an operator may slow it down or stop it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep_until, Instant};

/// A limit of documents a second that all pieces of work share.
#[derive(Default)]
pub(crate) struct Pace {
    state: Mutex<Gear>,
    resumed: Notify,
}

#[derive(Default)]
struct Gear {
    paused: bool,
    limit: Option<u64>,
    /// When the documents taken so far have had their time.
    free_at: Option<Instant>,
}

impl Pace {
    fn lock(&self) -> MutexGuard<'_, Gear> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pause(&self) {
        self.lock().paused = true;
    }

    pub(super) fn resume(&self) {
        self.lock().paused = false;
        self.resumed.notify_waiters();
    }

    pub(super) fn throttle(&self, limit: Option<u64>) {
        let mut gear = self.lock();
        gear.limit = limit.filter(|limit| *limit > 0);
        gear.free_at = None;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.lock().paused
    }

    pub(super) fn limit(&self) -> Option<u64> {
        self.lock().limit
    }

    /// Waits until so many documents may be read or written.
    pub(super) async fn take(&self, documents: usize) {
        loop {
            let resumed = self.resumed.notified();
            if !self.is_paused() {
                break;
            }
            resumed.await;
        }
        let until = {
            let mut gear = self.lock();
            let Some(limit) = gear.limit else { return };
            let now = Instant::now();
            let begin = gear.free_at.map_or(now, |free_at| free_at.max(now));
            gear.free_at = Some(begin + Duration::from_secs_f64(documents as f64 / limit as f64));
            begin
        };
        sleep_until(until).await;
    }
}
