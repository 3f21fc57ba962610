//! Moving data between nodes: repair, new copies, copies that go (DESIGN 9).
//!
//! What is to be done is never stored: the layouts say it (crate `movement`), and after a crash one looks again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use miroir_movement::{Fill, Touched};

/// What is being moved just now.
#[derive(Default)]
pub(crate) struct Movements {
    /// By a number of their own.
    fills: Mutex<BTreeMap<u64, RunningFill>>,
}

struct RunningFill {
    /// The nodes' name.
    index: String,
    fill: Fill,
}

impl Movements {
    fn fills(&self) -> MutexGuard<'_, BTreeMap<u64, RunningFill>> {
        // A fill changes in one call; a panic elsewhere leaves none half-changed.
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write of the index, which still holds its turn, has touched these documents on some node or may have.
    pub(crate) fn touch(&self, node_uid: &str, touched: &Touched) {
        for running in self.fills().values_mut() {
            if running.index == node_uid {
                running.fill.touch(touched);
            }
        }
    }
}
