//! How the cores see one routing table after another, and how the control plane learns that nobody uses an old one.
//!
//! Read-copy-update with a grace period (DESIGN 4). The control plane builds a whole new [`RoutingTable`] and publishes
//! it; a request works from first to last on the table it started with. Backfill of a moving shard may begin only when
//! no write under the old table is still on its way: that is what [`Publisher::quiesced`] waits for.
//!
//! The protocol:
//! - Each core keeps a copy of the newest table it has seen, and compares one number, the published epoch, with it when
//!   a request starts. Only when the number has changed does it take the lock that guards the newest table. The copy's
//!   reference count belongs to the core, so that cores do not write to a common cache line.
//! - Each core shows the oldest epoch that one of its running requests uses (or [`IDLE`]). Showing is a store followed
//!   by a load of the published epoch; publishing is a store followed by loads of what the cores show. With a
//!   sequentially consistent fence between store and load on both sides (Dekker's pattern), either the publisher sees
//!   that the core is busy, or the core sees that its table is old and takes the new one.
//! - The same pattern joins the end of a request (show, then look for waiters) to a waiter (register, then look).
//!
//! arc-swap would replace the lock in the rare path only, and cannot be model-checked. This protocol is: `tests/loom.rs`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Waker};

use crate::sync::{fence, lock, Arc, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::table::RoutingTable;

/// Where the control plane publishes tables. Clones publish to the same readers.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

impl Publisher {
    /// Publishes the first table, with the epoch that it carries.
    pub fn new(first: RoutingTable) -> Publisher {
        let shared = Shared {
            epoch: AtomicU64::new(first.epoch),
            current: Mutex::new(StdArc::new(first)),
            slots: Mutex::new(Vec::new()),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::new(Waiters {
                next_id: 0,
                wakers: Vec::new(),
            }),
        };
        Publisher {
            shared: Arc::new(shared),
        }
    }

    /// The newest table. Not for requests: nothing waits for the holder of this pointer.
    pub fn current(&self) -> StdArc<RoutingTable> {
        lock(&self.shared.current).clone()
    }

    /// Replaces the table for every request that starts from now on; sets and returns its epoch.
    pub fn publish(&self, mut table: RoutingTable) -> u64 {
        let epoch = {
            let mut current = lock(&self.shared.current);
            table.epoch = current.epoch + 1;
            let epoch = table.epoch;
            *current = StdArc::new(table);
            // Inside the lock, so that the epoch never runs ahead of the table or backwards.
            self.shared.epoch.store(epoch, Ordering::Release);
            epoch
        };
        self.shared.wake_waiters();
        epoch
    }

    /// A reader for one core.
    pub fn reader(&self) -> Reader {
        let slot = Arc::new(Slot {
            oldest: AtomicU64::new(IDLE),
        });
        lock(&self.shared.slots).push(slot.clone());
        let state = CoreState {
            table: Rc::new(Seen(self.current())),
            pins: VecDeque::new(),
        };
        Reader {
            core: Rc::new(Core {
                shared: self.shared.clone(),
                slot,
                state: RefCell::new(state),
            }),
        }
    }

    /// Resolves once `epoch` has been published and no request uses an older table any more. Requests that start later
    /// cannot see an older one.
    pub fn quiesced(&self, epoch: u64) -> Quiesced {
        Quiesced {
            shared: self.shared.clone(),
            epoch,
            id: None,
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("epoch", &self.shared.epoch.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// One core's view of the published tables. Made on the core that uses it: neither it nor its pins leave the thread.
pub struct Reader {
    core: Rc<Core>,
}

impl Reader {
    /// The table to use for one request, from first to last. Costs one atomic load when nothing has changed and another
    /// request is running, a store and a fence more when the core was idle.
    pub fn pin(&self) -> Pinned {
        let mut state = self.core.state.borrow_mut();
        let mut showed_older = false;
        loop {
            let epoch = state.table.0.epoch;
            let was_idle = state.pins.is_empty();
            if was_idle {
                self.core.slot.oldest.store(epoch, Ordering::Release);
                fence(Ordering::SeqCst);
            }
            // Where another request is running, its epoch, which is no newer, has been shown already, and stays shown.
            if self.core.shared.epoch.load(Ordering::Acquire) == epoch {
                break;
            }
            showed_older |= was_idle;
            state.table = Rc::new(Seen(lock(&self.core.shared.current).clone()));
        }
        if showed_older {
            // Who saw the older epoch in between waits for its end, and no request that uses it will ever tell.
            self.core.shared.wake_waiters();
        }
        let epoch = state.table.0.epoch;
        match state.pins.back_mut() {
            Some((newest, count)) if *newest == epoch => *count += 1,
            _ => state.pins.push_back((epoch, 1)),
        }
        Pinned {
            table: state.table.clone(),
            core: self.core.clone(),
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// The table that one running request uses. Dropping it says that the request has ended.
pub struct Pinned {
    table: Rc<Seen>,
    core: Rc<Core>,
}

impl Pinned {
    /// The table, to be kept by those for whom nobody needs to wait.
    pub fn table(&self) -> &StdArc<RoutingTable> {
        &self.table.0
    }
}

impl Deref for Pinned {
    type Target = RoutingTable;

    fn deref(&self) -> &RoutingTable {
        &self.table.0
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.core.unpin(self.table.0.epoch);
    }
}

/// Resolves when no request uses an older table any more; see [`Publisher::quiesced`].
#[must_use = "a grace period is waited for, not declared"]
pub struct Quiesced {
    shared: Arc<Shared>,
    epoch: u64,
    id: Option<u64>,
}

impl Future for Quiesced {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.shared.is_quiesced(self.epoch) {
            return Poll::Ready(());
        }
        let id = self.shared.wait(self.id, context.waker());
        self.id = Some(id);
        // The last old request may have ended before it could see this waiter.
        match self.shared.is_quiesced(self.epoch) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Quiesced {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.forget_waiter(id);
        }
    }
}

impl fmt::Debug for Quiesced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quiesced")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

struct Shared {
    /// The epoch of `current`.
    epoch: AtomicU64,
    current: Mutex<StdArc<RoutingTable>>,
    /// One a living core.
    slots: Mutex<Vec<Arc<Slot>>>,
    /// How many wakers are registered.
    waiting: AtomicUsize,
    waiters: Mutex<Waiters>,
}

/// What a core shows: alone on its cache lines, since its core writes it with each request.
#[repr(align(128))]
struct Slot {
    oldest: AtomicU64,
}

struct Waiters {
    next_id: u64,
    wakers: Vec<(u64, Waker)>,
}

/// A table as one core has seen it: pins count references to this, not to the table that all cores share.
struct Seen(StdArc<RoutingTable>);

/// Shared by a reader and its pins; ends with the last of them.
struct Core {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    state: RefCell<CoreState>,
}

struct CoreState {
    /// The newest table that this core has seen.
    table: Rc<Seen>,
    /// Epoch -> running requests, ascending; the first count is never 0.
    pins: VecDeque<(u64, usize)>,
}

impl Shared {
    fn is_quiesced(&self, epoch: u64) -> bool {
        if self.epoch.load(Ordering::Acquire) < epoch {
            return false;
        }
        fence(Ordering::SeqCst);
        lock(&self.slots)
            .iter()
            .all(|slot| slot.oldest.load(Ordering::Acquire) >= epoch)
    }

    fn wait(&self, id: Option<u64>, waker: &Waker) -> u64 {
        let id = {
            let mut waiters = lock(&self.waiters);
            let id = id.unwrap_or_else(|| {
                waiters.next_id += 1;
                waiters.next_id
            });
            waiters.wakers.retain(|(other, _)| *other != id);
            waiters.wakers.push((id, waker.clone()));
            self.waiting.store(waiters.wakers.len(), Ordering::Relaxed);
            id
        };
        fence(Ordering::SeqCst);
        id
    }

    fn forget_waiter(&self, id: u64) {
        let mut waiters = lock(&self.waiters);
        waiters.wakers.retain(|(other, _)| *other != id);
        self.waiting.store(waiters.wakers.len(), Ordering::Relaxed);
    }

    /// Called after a change that a waiter may be waiting for; they look for themselves and register again.
    fn wake_waiters(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let wakers = {
            let mut waiters = lock(&self.waiters);
            self.waiting.store(0, Ordering::Relaxed);
            std::mem::take(&mut waiters.wakers)
        };
        for (_, waker) in wakers {
            waker.wake();
        }
    }
}

impl Core {
    fn unpin(&self, epoch: u64) {
        let oldest = {
            let mut state = self.state.borrow_mut();
            let before = state.pins.front().map(|(oldest, _)| *oldest);
            if let Some((_, count)) = state.pins.iter_mut().find(|(e, _)| *e == epoch) {
                *count -= 1;
            }
            while state.pins.front().is_some_and(|(_, count)| *count == 0) {
                state.pins.pop_front();
            }
            let after = state.pins.front().map(|(oldest, _)| *oldest);
            if after == before {
                return;
            }
            after.unwrap_or(IDLE)
        };
        self.slot.oldest.store(oldest, Ordering::Release);
        self.shared.wake_waiters();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        lock(&self.shared.slots).retain(|slot| !Arc::ptr_eq(slot, &self.slot));
    }
}

/// Shown by a core on which no request runs.
const IDLE: u64 = u64::MAX;
