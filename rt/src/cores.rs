//! Starting, supervising and ending the cores.
//!
//! A core is a thread that runs one reactor for life. Its `main` future is supervised in place: when it panics, a new
//! one starts on the same reactor, after a growing pause, and the connections that run as tasks of their own never
//! notice. Only a panic that escapes a bare `monoio::spawn` unwinds the reactor itself; that one is leaked (the kernel
//! may still own its buffers) and a new one built.

use std::cell::RefCell;
use std::future::Future;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use monoio::time::{sleep, sleep_until, Instant};
use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::unistd::Pid;
use tokio::sync::{mpsc, watch};

use crate::driver::{build, probe, Driver, DriverChoice, RingFlags, Runtime};
use crate::limits::{raise_open_files, ResourceLimits};
use crate::mailbox::{run_jobs, Job, Mailbox};
use crate::shutdown::Shutdown;
use crate::task::{self, catch_panic, panic_text, Counters};
use crate::Error;

/// How many cores, on which driver.
#[derive(Clone, Copy, Debug)]
pub struct CoresConfig {
    /// Number of cores; 0 means every CPU that this process may use.
    pub cores: usize,
    pub driver: DriverChoice,
    /// Bind each core's thread to one CPU.
    pub pin: bool,
    pub ring: RingFlags,
}

impl Default for CoresConfig {
    fn default() -> Self {
        CoresConfig {
            cores: 0,
            driver: DriverChoice::Auto,
            pin: true,
            ring: RingFlags::default(),
        }
    }
}

/// What a core's main function is given.
#[derive(Clone)]
pub struct Core {
    /// 0 to number of cores - 1.
    pub id: usize,
    pub shutdown: Shutdown,
}

/// What went wrong and was survived since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Panics caught by [`crate::catch_panic`]: in tasks, in handlers, in mains.
    pub panics: u64,
    /// Times a core's main future, or its whole reactor, was started anew after a panic.
    pub core_restarts: u64,
}

/// The running cores. Dropping it begins a shutdown without a drain and does not wait for it.
pub struct Cores {
    driver: Driver,
    mailboxes: Vec<Mailbox>,
    counters: Arc<Counters>,
    signal: watch::Sender<Option<Instant>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Starts the cores and runs `main` on each, again when it panics. Returns when every core has its reactor.
///
/// `main` runs until it returns by itself; a server returns soon after [`Core::shutdown`] is given.
///
/// # Errors
/// [`Error::NoIoUring`] as [`probe`]; [`Error::Core`] when a thread or reactor cannot be made.
pub fn start<F, Fut>(config: CoresConfig, main: F) -> Result<Cores, Error>
where
    F: Fn(Core) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let (driver, why) = probe(config.driver)?;
    let open_files = raise_open_files();
    let cpus = allowed_cpus();
    let count = if config.cores == 0 {
        default_cores(&cpus)
    } else {
        config.cores
    };
    tracing::info!(
        %driver,
        why,
        cores = count,
        pinned = config.pin,
        open_files,
        locked_memory_bytes = ResourceLimits::read().locked_memory_bytes,
        "starting the cores"
    );

    let main = Arc::new(main);
    let counters = Arc::new(Counters::default());
    let (signal, _) = watch::channel(None);
    let mut cores = Cores {
        driver,
        mailboxes: Vec::with_capacity(count),
        counters: counters.clone(),
        signal,
        threads: Mutex::new(Vec::with_capacity(count)),
    };
    let (ready, reports) = std::sync::mpsc::channel();
    for id in 0..count {
        let (mailbox, jobs) = Mailbox::new(id);
        let seat = Seat {
            id,
            driver,
            ring: config.ring,
            fall_back: config.driver == DriverChoice::Auto,
            cpu: (config.pin && !cpus.is_empty()).then(|| cpus[id % cpus.len()]),
            counters: counters.clone(),
            signal: cores.signal.subscribe(),
        };
        let (main, ready) = (main.clone(), ready.clone());
        let thread = std::thread::Builder::new()
            .name(format!("core-{id}"))
            .spawn(move || seat.run(&*main, jobs, ready))
            .map_err(|source| Error::Core { core: id, source })?;
        cores.mailboxes.push(mailbox);
        cores
            .threads
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
    }
    drop(ready);
    for _ in 0..count {
        // A thread that ended without a report panicked before its reactor stood; its own message is in the log.
        if let Ok((core, Err(source))) = reports.recv() {
            return Err(Error::Core { core, source });
        }
    }
    Ok(cores)
}

/// Runs one future on a reactor of its own on this thread: for tests, examples and tools.
///
/// # Errors
/// As [`start`].
pub fn block_on<F: Future>(choice: DriverChoice, future: F) -> Result<F::Output, Error> {
    let (driver, _) = probe(choice)?;
    let mut runtime =
        build(driver, RingFlags::default()).map_err(|source| Error::Core { core: 0, source })?;
    let output = runtime.block_on(async {
        let output = future.await;
        sleep(SETTLE).await;
        output
    });
    // Tasks may still have operations in flight.
    std::mem::forget(runtime);
    Ok(output)
}

impl Cores {
    /// The driver that the probe chose.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// Number of cores.
    pub fn count(&self) -> usize {
        self.mailboxes.len()
    }

    /// One core's mailbox; `None` when there is no such core.
    pub fn mailbox(&self, core: usize) -> Option<Mailbox> {
        self.mailboxes.get(core).cloned()
    }

    /// Every core's mailbox, in order.
    pub fn mailboxes(&self) -> &[Mailbox] {
        &self.mailboxes
    }

    pub fn stats(&self) -> Stats {
        Stats {
            panics: self.counters.panics.load(Ordering::Relaxed),
            core_restarts: self.counters.core_restarts.load(Ordering::Relaxed),
        }
    }

    /// Tells every core to stop accepting and to finish within `drain`; returns at once.
    pub fn begin_shutdown(&self, drain: Duration) {
        let deadline = Instant::now() + drain;
        self.signal.send_if_modified(|signal| {
            let first = signal.is_none();
            signal.get_or_insert(deadline);
            first
        });
    }

    /// [`Cores::begin_shutdown`] and [`Cores::join`]. What has not finished after `drain` is cut off.
    pub fn shutdown(&self, drain: Duration) {
        self.begin_shutdown(drain);
        self.join();
    }

    /// Waits until every core has ended: after a shutdown, or because every main returned and its tasks ended.
    pub fn join(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic in the thread was logged where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.begin_shutdown(Duration::ZERO);
    }
}

/// Pause after the last task, so that cancelled operations complete and sockets are closed.
const SETTLE: Duration = Duration::from_millis(2);
/// First pause before a panicked main starts again; doubles up to [`RESTART_PAUSE_MAX`].
const RESTART_PAUSE: Duration = Duration::from_millis(10);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);

type Jobs = Rc<RefCell<mpsc::Receiver<Job>>>;
type Ready = std::sync::mpsc::Sender<(usize, std::io::Result<()>)>;

/// What a core's thread brings to its work.
struct Seat {
    id: usize,
    driver: Driver,
    ring: RingFlags,
    fall_back: bool,
    cpu: Option<usize>,
    counters: Arc<Counters>,
    signal: watch::Receiver<Option<Instant>>,
}

impl Seat {
    fn run<F, Fut>(self, main: &F, jobs: mpsc::Receiver<Job>, ready: Ready)
    where
        F: Fn(Core) -> Fut,
        Fut: Future<Output = ()> + 'static,
    {
        if let Some(cpu) = self.cpu {
            pin(self.id, cpu);
        }
        task::install_counters(self.counters.clone());
        let jobs = Rc::new(RefCell::new(jobs));
        self.serve(main, &jobs, ready);
        // From here on nobody reads: tell those who post, and drop what waits so that callers get their answer.
        let mut jobs = jobs.borrow_mut();
        jobs.close();
        while jobs.try_recv().is_ok() {}
    }

    /// Runs reactors until one ends by itself.
    fn serve<F, Fut>(&self, main: &F, jobs: &Jobs, ready: Ready)
    where
        F: Fn(Core) -> Fut,
        Fut: Future<Output = ()> + 'static,
    {
        let mut ready = Some(ready);
        let mut pause = RESTART_PAUSE;
        loop {
            let mut runtime = match self.build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let Some(ready) = ready.take() else {
                        tracing::error!(core = self.id, %error, "the core cannot get a new reactor");
                        return;
                    };
                    let _ = ready.send((self.id, Err(error)));
                    return;
                }
            };
            if let Some(ready) = ready.take() {
                let _ = ready.send((self.id, Ok(())));
            }
            match catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(self.live(main, jobs.clone()))
            })) {
                Ok(Ended::Drained) => return drop(runtime),
                Ok(Ended::CutOff) => return std::mem::forget(runtime),
                Err(panic) => {
                    std::mem::forget(runtime);
                    self.counters.core_restarts.fetch_add(1, Ordering::Relaxed);
                    let panic = panic_text(panic.as_ref());
                    tracing::error!(
                        core = self.id,
                        panic,
                        "a reactor was unwound; starting a new one"
                    );
                }
            }
            if self.is_shutting_down() {
                return;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(RESTART_PAUSE_MAX);
        }
    }

    fn build(&self) -> std::io::Result<Runtime> {
        let error = match build(self.driver, self.ring) {
            Err(error) if self.driver == Driver::IoUring && self.fall_back => error,
            result => return result,
        };
        tracing::warn!(core = self.id, %error, "no ring for this core; it runs on epoll");
        build(Driver::Epoll, self.ring)
    }

    fn is_shutting_down(&self) -> bool {
        self.signal.borrow().is_some()
    }

    /// The core's life on one reactor.
    async fn live<F, Fut>(&self, main: &F, jobs: Jobs) -> Ended
    where
        F: Fn(Core) -> Fut,
        Fut: Future<Output = ()> + 'static,
    {
        let core = Core {
            id: self.id,
            shutdown: Shutdown::new(),
        };
        task::spawn_background(relay_signal(self.signal.clone(), core.shutdown.clone()));
        task::spawn_background(run_jobs(jobs));
        let work = async {
            self.supervise(main, &core).await;
            task::drained().await;
            Ended::Drained
        };
        let cut_off = async {
            core.shutdown.wait().await;
            sleep_until(core.shutdown.deadline().unwrap_or_else(Instant::now)).await;
            tracing::warn!(
                core = self.id,
                tasks = task::live(),
                "the drain deadline has passed; cutting off"
            );
            Ended::CutOff
        };
        let ended = first_of(work, cut_off).await;
        sleep(SETTLE).await;
        ended
    }

    async fn supervise<F, Fut>(&self, main: &F, core: &Core)
    where
        F: Fn(Core) -> Fut,
        Fut: Future<Output = ()> + 'static,
    {
        let mut pause = RESTART_PAUSE;
        while let Err(panic) = catch_panic(async { main(core.clone()).await }).await {
            self.counters.core_restarts.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                core = self.id,
                panic,
                "the core's main panicked; starting it again"
            );
            if core.shutdown.is_shutting_down() {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(RESTART_PAUSE_MAX);
        }
    }
}

#[derive(Clone, Copy)]
enum Ended {
    /// Nothing is in flight any more: the reactor may be dropped.
    Drained,
    /// The deadline passed with work left: the reactor must be leaked.
    CutOff,
}

/// Carries the signal that crosses threads to the core's own flag.
async fn relay_signal(mut signal: watch::Receiver<Option<Instant>>, shutdown: Shutdown) {
    let deadline = match signal.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_else(Instant::now),
        // Nobody is left who could give the signal.
        Err(_) => Instant::now(),
    };
    shutdown.begin(deadline);
}

async fn first_of<T>(left: impl Future<Output = T>, right: impl Future<Output = T>) -> T {
    let mut left = std::pin::pin!(left);
    let mut right = std::pin::pin!(right);
    std::future::poll_fn(move |cx| match left.as_mut().poll(cx) {
        std::task::Poll::Pending => right.as_mut().poll(cx),
        ready => ready,
    })
    .await
}

fn pin(core: usize, cpu: usize) {
    let mut set = CpuSet::new();
    if let Err(error) = set
        .set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
    {
        tracing::warn!(core, cpu, %error, "could not pin the core to its cpu");
    }
}

/// CPUs that this process may run on, ascending; empty when the kernel does not say.
fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .collect()
}

/// As many as CPUs, but not more than the container's CPU quota pays for.
fn default_cores(cpus: &[usize]) -> usize {
    let quota = std::thread::available_parallelism().map_or(1, usize::from);
    if cpus.is_empty() {
        quota
    } else {
        quota.min(cpus.len())
    }
}
