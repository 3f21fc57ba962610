//! Tasks that cannot take their core with them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Counted over all cores of one [`crate::start`]; read through [`crate::Cores::stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub panics: AtomicU64,
    pub core_restarts: AtomicU64,
}

thread_local! {
    static COUNTERS: RefCell<Option<Arc<Counters>>> = const { RefCell::new(None) };
    /// Tasks of this core that a graceful shutdown waits for.
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static DRAIN_WAITER: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

pub(crate) fn install_counters(counters: Arc<Counters>) {
    COUNTERS.with(|slot| *slot.borrow_mut() = Some(counters));
}

/// Runs a future on the current core. A panic in it is caught, logged and counted; the core lives on.
///
/// A graceful shutdown waits for the task, up to the drain deadline. Call it on a core only.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    drop(monoio::spawn(Task {
        future: catch_panic(future),
        _live: Some(Live::enter()),
    }));
}

/// Like [`spawn`], but a shutdown does not wait for the task: housekeeping without an end of its own.
pub fn spawn_background(future: impl Future<Output = ()> + 'static) {
    drop(monoio::spawn(Task {
        future: catch_panic(future),
        _live: None,
    }));
}

/// Resolves to the future's output, or to what the panic said when polling it panicked.
///
/// The future must not be polled again after a panic. On a core the panic is counted.
pub fn catch_panic<F: Future>(future: F) -> CatchPanic<F> {
    CatchPanic { future }
}

pin_project_lite::pin_project! {
    /// The future of [`catch_panic`].
    pub struct CatchPanic<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for CatchPanic<F> {
    type Output = Result<F::Output, String>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        // Whatever the future left half done is dropped with it; shared state behind it is `RefCell`s and channels,
        // which release their borrows while unwinding.
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => {
                count_panic();
                Poll::Ready(Err(panic_text(panic.as_ref())))
            }
        }
    }
}

pin_project_lite::pin_project! {
    /// A task as the reactor holds it. Written out because nested async functions hold their arguments twice each: an
    /// idle connection of the example server took 20.5 KiB and now takes 8.4.
    struct Task<F> {
        #[pin]
        future: CatchPanic<F>,
        _live: Option<Live>,
    }
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().future.poll(cx).map(|outcome| {
            if let Err(panic) = outcome {
                tracing::error!(panic, "a task panicked; its core goes on");
            }
        })
    }
}

/// Lets the core's other tasks run before going on. Long merges and splits call it: there is no task budget.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Resolves when no task of [`spawn`] is left on this core.
pub(crate) async fn drained() {
    std::future::poll_fn(|cx| {
        if LIVE.get() == 0 {
            return Poll::Ready(());
        }
        DRAIN_WAITER.with(|slot| *slot.borrow_mut() = Some(cx.waker().clone()));
        Poll::Pending
    })
    .await;
}

pub(crate) fn live() -> usize {
    LIVE.get()
}

pub(crate) fn count_panic() {
    COUNTERS.with(|slot| {
        if let Some(counters) = slot.borrow().as_ref() {
            counters.panics.fetch_add(1, Ordering::Relaxed);
        }
    });
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without a text".to_owned(),
    }
}

/// Counts a task as long as its future exists, however it ends.
struct Live;

impl Live {
    fn enter() -> Self {
        LIVE.set(LIVE.get() + 1);
        Live
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // A leaked reactor's tasks may be freed on another thread at exit, where the count was never raised.
        let left = LIVE.get().saturating_sub(1);
        LIVE.set(left);
        if left == 0 {
            if let Some(waker) = DRAIN_WAITER.with(|slot| slot.borrow_mut().take()) {
                waker.wake();
            }
        }
    }
}
