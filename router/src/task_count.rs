//! Does a node still have the disk that it had?
//!
//! A node numbers its tasks upwards, for ever. When it gives a task a number that is not above one that it had given
//! before the task was sent, it counts anew: it was emptied, replaced, or restored from a backup, and lost what it had
//! taken since, however healthy it looks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is known of a node's task numbers.
#[derive(Debug, Default)]
pub struct TaskCount {
    /// The newest number plus one; 0: none is known.
    next: AtomicU64,
    anew: AtomicBool,
}

/// How far a node had counted when a task was sent to it.
#[derive(Clone, Copy, Debug)]
pub struct Counted(u64);

impl TaskCount {
    /// To be asked before a task is sent: answers come in any order.
    pub fn so_far(&self) -> Counted {
        Counted(self.next.load(Ordering::Acquire))
    }

    /// The newest number that is known.
    pub fn newest(&self) -> Option<u32> {
        let next = self.next.load(Ordering::Acquire);
        next.checked_sub(1).and_then(|uid| u32::try_from(uid).ok())
    }

    /// The node gave a task that was sent after `before` this number. False: it counts anew, and whatever is sent to it
    /// from here on is measured by this number.
    pub fn note(&self, uid: u32, before: Counted) -> bool {
        let next = u64::from(uid) + 1;
        if next > before.0 {
            self.next.fetch_max(next, Ordering::AcqRel);
            return true;
        }
        self.anew.store(true, Ordering::Release);
        self.next.store(next, Ordering::Release);
        false
    }

    /// Whether the node counts anew; it was asked for its newest task after `before`.
    pub fn is_behind(&self, newest: Option<u32>, before: Counted) -> bool {
        let next = newest.map_or(0, |uid| u64::from(uid) + 1);
        self.anew.load(Ordering::Acquire) || next < before.0
    }

    /// What the node lost is out of service; it counts on from here.
    pub fn restart(&self, newest: Option<u32>) {
        let next = newest.map_or(0, |uid| u64::from(uid) + 1);
        self.next.store(next, Ordering::Release);
        self.anew.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_was_passed_before_the_task_was_sent_gives_the_node_away() {
        let count = TaskCount::default();
        let start = count.so_far();
        assert!(count.note(7, start));
        // Sent at the same time, answered later.
        assert!(count.note(6, start));
        assert_eq!(count.newest(), Some(7));
        let now = count.so_far();
        assert!(!count.is_behind(Some(7), now) && !count.is_behind(Some(9), now));
        assert!(count.is_behind(Some(6), now) && count.is_behind(None, now));
        assert!(!count.is_behind(None, start), "it was asked before");
        assert!(!count.note(7, count.so_far()), "it had given 7 already");
        // It is known until it was dealt with, whatever it counts up to meanwhile.
        assert!(count.note(8, count.so_far()));
        assert!(count.is_behind(Some(100), count.so_far()));
        count.restart(Some(8));
        assert!(!count.is_behind(Some(8), count.so_far()));
        assert!(count.note(9, count.so_far()));
    }
}
