//! One pinned core, one reactor: start, mailboxes, supervision, shutdown, driver probe.
//!
//! The data plane is N threads that share nothing (DESIGN 2 and 3). Each is pinned to a CPU and owns a reactor: real
//! io_uring where the kernel allows it, epoll where it does not (containers whose seccomp profile forbids the ring).
//! Which of the two runs is decided once, by building a ring, and is logged with the reason.
//!
//! What this crate adds to monoio is what a server needs and monoio leaves out:
//!
//! - [`spawn`] keeps a panic inside its task. In bare monoio a panicking task takes its whole core with it.
//! - A core whose main future panics gets a new one on the same reactor, so that its other connections live on.
//! - [`Mailbox`] hands work to a core from any thread.
//! - [`Shutdown`] tells a core's tasks to finish; [`Cores::shutdown`] drains them up to a deadline. A reactor that still
//!   has operations in flight then is leaked, never dropped: the kernel may still write into its buffers.
#![forbid(unsafe_code)]

mod cores;
mod driver;
mod limits;
mod mailbox;
mod shutdown;
mod task;

pub use cores::{block_on, start, Core, Cores, CoresConfig, Stats};
pub use driver::{probe, usable_drivers, Driver, DriverChoice, RingFlags};
pub use limits::{raise_open_files, ResourceLimits};
pub use mailbox::{Mailbox, PostError};
pub use monoio::time::{sleep, sleep_until, Instant};
pub use shutdown::{Shutdown, Wait};
pub use task::{catch_panic, spawn, spawn_background, yield_now};

/// Why cores could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value of `MIROIR_DRIVER` or of the option is not a driver's name.
    #[error("unknown driver {0:?}: use auto, io_uring or epoll")]
    UnknownDriver(String),
    /// io_uring was demanded and cannot be had.
    #[error("io_uring is not available: {0}; set MIROIR_DRIVER=auto or epoll to run without it")]
    NoIoUring(String),
    /// A core's thread or reactor could not be made.
    #[error("core {core} did not start: {source}")]
    Core { core: usize, source: std::io::Error },
}
