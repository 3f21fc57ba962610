//! One ordered lane an index (DESIGN 8).
//!
//! All copies must apply writes in one order, so a write of a replicated index takes its lane alone. With one copy there
//! is no second order to agree with and writes share the lane; what changes the index or its settings always takes it
//! alone. Turns are granted first come, first served: a stream of shared turns cannot starve an exclusive one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// A held turn; dropping it passes the lane on.
#[allow(dead_code)] // guards are held, never read
pub(crate) enum Guard {
    Shared(OwnedRwLockReadGuard<()>),
    Exclusive(OwnedRwLockWriteGuard<()>),
}

impl Guard {
    pub(crate) fn is_exclusive(&self) -> bool {
        matches!(self, Guard::Exclusive(_))
    }
}

/// The lanes of this process. A second process over the same fleet would forward to the holder of the index's write
/// lease (DESIGN 12); the lane is what that holder orders by.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: Mutex<HashMap<String, Arc<RwLock<()>>>>,
}

impl Lanes {
    pub(crate) async fn shared(&self, index: &str) -> Guard {
        Guard::Shared(self.lane(index).read_owned().await)
    }

    pub(crate) async fn exclusive(&self, index: &str) -> Guard {
        Guard::Exclusive(self.lane(index).write_owned().await)
    }

    fn lane(&self, index: &str) -> Arc<RwLock<()>> {
        /// Past this many lanes, those that nobody holds are forgotten.
        const KEPT: usize = 1024;
        // A panic elsewhere leaves the map whole: nothing in here can fail half-way.
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() > KEPT {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        Arc::clone(lanes.entry(index.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn shared_turns_run_together_and_wait_for_an_exclusive_one_in_order() {
        let lanes = Lanes::default();
        let first = lanes.shared("a").now_or_never().unwrap();
        let second = lanes.shared("a").now_or_never().unwrap();
        let mut exclusive = Box::pin(lanes.exclusive("a"));
        assert!(exclusive.as_mut().now_or_never().is_none());
        // Behind the exclusive one, although the lane is shared just now.
        let mut third = Box::pin(lanes.shared("a"));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(exclusive.as_mut().now_or_never().is_none());
        drop(second);
        let held = exclusive.now_or_never().unwrap();
        assert!(held.is_exclusive());
        assert!(third.as_mut().now_or_never().is_none());
        drop(held);
        assert!(third.now_or_never().is_some());
    }

    #[test]
    fn lanes_are_apart_and_a_given_up_wait_leaves_no_trace() {
        let lanes = Lanes::default();
        let held = lanes.exclusive("a").now_or_never().unwrap();
        assert!(lanes.exclusive("b").now_or_never().is_some());
        {
            let mut waiting = Box::pin(lanes.exclusive("a"));
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        drop(held);
        assert!(lanes.exclusive("a").now_or_never().is_some());
    }
}
