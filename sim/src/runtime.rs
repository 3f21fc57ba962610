//! A single-threaded executor with a clock of its own: when nothing can run, time jumps to the next timer.
//!
//! Tasks belong to a process; killing a process drops its tasks wherever they stand, as kill -9 does.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Milliseconds of the world's clock.
pub type Time = u64;

/// What dies together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Process(pub u64);

/// Clients, nodes, the network and whoever breaks them: never killed.
pub const OUTSIDE: Process = Process(0);

type Job = Pin<Box<dyn Future<Output = ()>>>;

/// Clones are the same runtime.
#[derive(Clone, Default)]
pub struct Runtime {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    now: Cell<Time>,
    next: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, (Process, Option<Job>)>>,
    timers: RefCell<BinaryHeap<Reverse<(Time, u64, TimerWaker)>>>,
    ready: Arc<Ready>,
    doomed: Cell<Option<Process>>,
}

#[derive(Default)]
struct Ready {
    queue: Mutex<VecDeque<u64>>,
}

struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.task);
    }
}

impl Ready {
    fn push(&self, task: u64) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(task);
    }

    fn pop(&self) -> Option<u64> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    }
}

/// Timers are ordered by time and number; their wakers are not.
struct TimerWaker(Waker);

impl PartialEq for TimerWaker {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for TimerWaker {}
impl PartialOrd for TimerWaker {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for TimerWaker {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl Runtime {
    pub fn now(&self) -> Time {
        self.inner.now.get()
    }

    fn number(&self) -> u64 {
        self.inner.next.set(self.inner.next.get() + 1);
        self.inner.next.get()
    }

    pub fn spawn(&self, process: Process, job: impl Future<Output = ()> + 'static) {
        let task = self.number();
        let mut tasks = self.inner.tasks.borrow_mut();
        tasks.insert(task, (process, Some(Box::pin(job))));
        self.inner.ready.push(task);
    }

    pub fn sleep(&self, time: Time) -> Sleep {
        Sleep {
            runtime: self.clone(),
            until: self.now() + time,
            registered: false,
        }
    }

    /// Kills a process as soon as the running task yields.
    pub fn doom(&self, process: Process) {
        self.inner.doomed.set(Some(process));
    }

    /// Runs until `done` says so or nothing is left to do.
    pub fn run(&self, done: impl Fn() -> bool) {
        while !done() {
            if let Some(task) = self.inner.ready.pop() {
                self.poll(task);
                if let Some(process) = self.inner.doomed.take() {
                    self.kill(process);
                }
                continue;
            }
            let timer = self.inner.timers.borrow_mut().pop();
            let Some(Reverse((time, _, TimerWaker(waker)))) = timer else {
                return;
            };
            self.inner.now.set(time);
            waker.wake();
        }
    }

    fn poll(&self, task: u64) {
        let job = match self.inner.tasks.borrow_mut().get_mut(&task) {
            Some((_, job)) => job.take(),
            None => None,
        };
        let Some(mut job) = job else { return };
        let ready = Arc::clone(&self.inner.ready);
        let waker = Waker::from(Arc::new(TaskWaker { task, ready }));
        let ended = job
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
        let mut tasks = self.inner.tasks.borrow_mut();
        match ended {
            true => drop(tasks.remove(&task)),
            false => {
                if let Some((_, place)) = tasks.get_mut(&task) {
                    *place = Some(job);
                }
            }
        }
    }

    fn kill(&self, process: Process) {
        let killed = {
            let mut tasks = self.inner.tasks.borrow_mut();
            let of_process = tasks.iter().filter(|(_, (own, _))| *own == process);
            let ids: Vec<u64> = of_process.map(|(id, _)| *id).collect();
            let killed: Vec<_> = ids.iter().filter_map(|id| tasks.remove(id)).collect();
            killed
        };
        // What they held is given back by their destructors.
        drop(killed);
    }

    /// Forgets everything that has not ended: tasks and the world hold each other.
    pub fn clear(&self) {
        let tasks = std::mem::take(&mut *self.inner.tasks.borrow_mut());
        drop(tasks);
        self.inner.timers.borrow_mut().clear();
    }
}

/// Resolves at its time.
pub struct Sleep {
    runtime: Runtime,
    until: Time,
    registered: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.runtime.now() >= self.until {
            return Poll::Ready(());
        }
        if !self.registered {
            self.registered = true;
            let waker = TimerWaker(context.waker().clone());
            let timer = Reverse((self.until, self.runtime.number(), waker));
            self.runtime.inner.timers.borrow_mut().push(timer);
        }
        Poll::Pending
    }
}

/// A value that comes once; None when whoever owed it is gone.
pub struct Receiver<T> {
    slot: Rc<RefCell<Slot<T>>>,
}

pub struct Sender<T> {
    slot: Rc<RefCell<Slot<T>>>,
}

struct Slot<T> {
    value: Option<T>,
    closed: bool,
    waker: Option<Waker>,
}

pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Rc::new(RefCell::new(Slot {
        value: None,
        closed: false,
        waker: None,
    }));
    let sender = Sender {
        slot: Rc::clone(&slot),
    };
    (sender, Receiver { slot })
}

impl<T> Sender<T> {
    pub fn send(self, value: T) {
        self.slot.borrow_mut().value = Some(value);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut slot = self.slot.borrow_mut();
        slot.closed = true;
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.slot.borrow_mut();
        if slot.value.is_some() || slot.closed {
            return Poll::Ready(slot.value.take());
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
