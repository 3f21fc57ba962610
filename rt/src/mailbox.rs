//! Work for a core from any other thread.
//!
//! A core's state is `Rc` and `Cell`, so nobody else may touch it; a mailbox carries a closure to where it may. For a
//! stream of messages of one type a `tokio::sync::mpsc` whose receiver lives on the core does as well: the reactors are
//! built so that foreign threads can wake them.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};

use crate::task::{count_panic, panic_text};

/// Jobs that may wait for one core; a core that is this far behind has other problems.
const WAITING_JOBS_MAX: usize = 1024;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A core's letter box. Clone it freely; any thread may post.
#[derive(Clone, Debug)]
pub struct Mailbox {
    core: usize,
    jobs: mpsc::Sender<Job>,
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    #[error("the core's mailbox is full")]
    Full,
    #[error("the core has ended")]
    Ended,
}

impl Mailbox {
    pub(crate) fn new(core: usize) -> (Mailbox, mpsc::Receiver<Job>) {
        let (sender, receiver) = mpsc::channel(WAITING_JOBS_MAX);
        (Mailbox { core, jobs: sender }, receiver)
    }

    /// Which core reads it.
    pub fn core(&self) -> usize {
        self.core
    }

    /// Runs the closure on the core, between two of its tasks. It may [`crate::spawn`]; it must not block.
    ///
    /// # Errors
    /// [`PostError`]; the job was then dropped.
    pub fn post(&self, job: impl FnOnce() + Send + 'static) -> Result<(), PostError> {
        self.jobs
            .try_send(Box::new(job))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => PostError::Full,
                mpsc::error::TrySendError::Closed(_) => PostError::Ended,
            })
    }

    /// Runs the closure on the core and returns what it returned. The future may be awaited on any runtime.
    ///
    /// # Errors
    /// [`PostError`]; [`PostError::Ended`] also when the closure panicked.
    pub async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PostError> {
        let (sender, receiver) = oneshot::channel();
        self.post(move || {
            // A caller that no longer waits does not mind that the answer is lost.
            let _ = sender.send(job());
        })?;
        receiver.await.map_err(|_| PostError::Ended)
    }
}

/// Runs the core's jobs as they come; ends when no mailbox is left.
///
/// The receiver is shared and not owned, because it must outlive a reactor that had to be given up.
pub(crate) async fn run_jobs(jobs: Rc<RefCell<mpsc::Receiver<Job>>>) {
    while let Some(job) = std::future::poll_fn(|cx| jobs.borrow_mut().poll_recv(cx)).await {
        if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(job)) {
            count_panic();
            tracing::error!(
                panic = panic_text(panic.as_ref()),
                "a mailbox job panicked; its core goes on"
            );
        }
    }
}
