//! How a core's tasks learn that they should end.
//!
//! Every idle connection waits for this beside its read, so waiting must not touch anything that another core can
//! lock. Each core therefore has its own flag and its own list of wakers; one task a core listens to the signal that
//! crosses threads and raises the flag.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use monoio::time::Instant;

/// A core's shutdown signal. Cheap to clone; stays on its core.
#[derive(Clone, Default)]
pub struct Shutdown {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    deadline: Cell<Option<Instant>>,
    waiters: RefCell<Waiters>,
}

#[derive(Default)]
struct Waiters {
    slots: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Shutdown {
    /// A signal that nobody has given yet: for cores, and for servers that run outside one in tests.
    pub fn new() -> Self {
        Self::default()
    }

    /// True once the core is asked to stop accepting and finish.
    pub fn is_shutting_down(&self) -> bool {
        self.inner.deadline.get().is_some()
    }

    /// When the drain ends and what is left is cut off; `None` before the shutdown.
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline.get()
    }

    /// Resolves when the shutdown begins (at once if it has).
    pub fn wait(&self) -> Wait {
        Wait {
            inner: self.inner.clone(),
            slot: None,
        }
    }

    /// Begins the shutdown on this core; later calls change nothing.
    pub fn begin(&self, deadline: Instant) {
        if self.is_shutting_down() {
            return;
        }
        self.inner.deadline.set(Some(deadline));
        // Take the wakers first: a woken future may be dropped, and unregister itself, at any time.
        let wakers: Vec<Waker> = self
            .inner
            .waiters
            .borrow_mut()
            .slots
            .iter_mut()
            .filter_map(Option::take)
            .collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The future of [`Shutdown::wait`]; dropping it forgets the wait.
pub struct Wait {
    inner: Rc<Inner>,
    slot: Option<usize>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.inner.deadline.get().is_some() {
            return Poll::Ready(());
        }
        let slot = {
            let mut waiters = self.inner.waiters.borrow_mut();
            let slot = match self.slot.or_else(|| waiters.free.pop()) {
                Some(slot) => slot,
                None => {
                    waiters.slots.push(None);
                    waiters.slots.len() - 1
                }
            };
            match &mut waiters.slots[slot] {
                Some(waker) => waker.clone_from(cx.waker()),
                empty => *empty = Some(cx.waker().clone()),
            }
            slot
        };
        self.slot = Some(slot);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let mut waiters = self.inner.waiters.borrow_mut();
            let waker = waiters.slots[slot].take();
            waiters.free.push(slot);
            drop(waiters);
            drop(waker);
        }
    }
}
