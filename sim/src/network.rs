//! Requests to nodes: slow, lost, answered to nobody, or landing long after they were given up.

use std::rc::Rc;

use futures_util::future::{select, Either};
use miroir_router::NodeIdx;

use crate::node::{Answer, Request, Task};
use crate::runtime::{oneshot, Sender, Time, OUTSIDE};
use crate::world::World;

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// No connection could be made: nothing was sent.
    NotSent,
    /// It may have arrived, and it may still arrive.
    Unknown,
}

/// What the network does to a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Delivered,
    RequestLost,
    AnswerLost,
}

/// A request that a node's process has not read when the connection ends lands at most this much running time later.
pub const LATE_MAX: Time = 50;

impl World {
    /// Whether a connection can be made. A process that stands still accepts it all the same.
    pub fn reachable(&self, node: NodeIdx) -> bool {
        let nodes = self.nodes.borrow();
        let node = &nodes[usize::from(node.0)];
        node.alive && !node.cut_off && !node.gone
    }

    pub async fn call(
        self: &Rc<Self>,
        node: NodeIdx,
        request: Request,
        deadline: Time,
    ) -> Result<Answer, Lost> {
        if !self.reachable(node) {
            self.pause(1..20).await;
            return Err(Lost::NotSent);
        }
        let fate = match self.random.within(0..1000) {
            number if number < self.loss() => Fate::RequestLost,
            number if number < 2 * self.loss() => Fate::AnswerLost,
            _ => Fate::Delivered,
        };
        if let Request::Enqueue(Task::Write { number, .. }) = &request {
            self.history.borrow_mut().sent(*number);
        }
        let (sender, receiver) = oneshot();
        let gave_up = Rc::new(());
        let alive = Rc::downgrade(&gave_up);
        let world = Rc::clone(self);
        let number = match &request {
            Request::Enqueue(Task::Write { number, .. }) => Some(*number),
            _ => None,
        };
        self.runtime.spawn(OUTSIDE, async move {
            world
                .deliver(node, request, fate, sender, || alive.strong_count() > 0)
                .await;
            if let Some(number) = number {
                world.history.borrow_mut().landed(number);
            }
        });
        match select(receiver, self.runtime.sleep(deadline)).await {
            Either::Left((answer, _)) => answer.ok_or(Lost::Unknown),
            Either::Right(_) => {
                drop(gave_up);
                Err(Lost::Unknown)
            }
        }
    }

    async fn deliver(
        self: &Rc<Self>,
        node: NodeIdx,
        request: Request,
        fate: Fate,
        sender: Sender<Answer>,
        wanted: impl Fn() -> bool,
    ) {
        let process = self.process_of(node);
        self.pause(self.way(&request)).await;
        if fate == Fate::RequestLost || !self.until_running(node, process).await {
            return;
        }
        if !wanted() && self.random.chance(500) {
            // The connection was closed before all of it was there.
            return;
        }
        let Some(answer) = self.answer(node, process, request).await else {
            return;
        };
        self.pause(1..8).await;
        if fate == Fate::AnswerLost || !self.until_running(node, process).await {
            return;
        }
        sender.send(answer);
    }

    /// How long a request takes to be read and begun. Now and then one takes long: layouts change meanwhile.
    fn way(&self, request: &Request) -> std::ops::Range<Time> {
        match request {
            _ if !(self.storm.get() && self.random.chance(25)) => 1..8,
            Request::Search(_) => 8..800,
            _ => 8..130,
        }
    }

    /// Waits while the node stands still or is cut off; false: that process is no more.
    async fn until_running(&self, node: NodeIdx, process: u64) -> bool {
        let mut waited = false;
        loop {
            if self.process_of(node) != process {
                return false;
            }
            let waits = {
                let nodes = self.nodes.borrow();
                let node = &nodes[usize::from(node.0)];
                node.paused || node.cut_off
            };
            match waits {
                true => self.runtime.sleep(5).await,
                // What has piled up is read in any order.
                false if waited => self.pause(0..LATE_MAX - 10).await,
                false => return true,
            }
            waited = waits;
        }
    }

    /// Changes with each start of the node's process.
    fn process_of(&self, node: NodeIdx) -> u64 {
        self.processes.borrow()[usize::from(node.0)]
    }

    /// What the node does with it; None: the process died over it.
    async fn answer(
        self: &Rc<Self>,
        idx: NodeIdx,
        process: u64,
        request: Request,
    ) -> Option<Answer> {
        let at = usize::from(idx.0);
        if let Request::AwaitApplied = request {
            let uid = self.nodes.borrow()[at].next_uid;
            while !self.nodes.borrow()[at].has_applied(uid) {
                self.runtime.sleep(3).await;
                if self.process_of(idx) != process {
                    return None;
                }
            }
            return Some(Answer::Applied);
        }
        if let Request::Enqueue(task) = request {
            return Some(Answer::Accepted(self.enqueue(idx, task)));
        }
        let nodes = self.nodes.borrow();
        let node = &nodes[at];
        if let Request::Probe = request {
            return Some(Answer::Alive {
                created: node.created,
                newest_task: node.newest_task(),
            });
        }
        if node.created.is_none() {
            return Some(Answer::NoIndex);
        }
        Some(match request {
            Request::Search(wanted) => Answer::Found(node.found(wanted.as_deref(), self.shards)),
            Request::List { shards, keys } => {
                Answer::Listed(node.list(&shards, keys.as_deref(), self.shards))
            }
            Request::Read(ids) => {
                let read = |id: &u8| Some((*id, node.documents.get(id)?.1));
                Answer::Found(ids.iter().filter_map(read).collect())
            }
            Request::Enqueue(_) | Request::AwaitApplied | Request::Probe => Answer::NoIndex,
        })
    }

    /// Stores a task on a node, and lets the node work if it was idle.
    fn enqueue(self: &Rc<Self>, idx: NodeIdx, task: Task) -> u64 {
        if let Task::Write { number, shards, .. } = &task {
            self.note_accepted(idx, *number, shards);
        }
        let at = usize::from(idx.0);
        let (uid, idle) = {
            let mut nodes = self.nodes.borrow_mut();
            let idle = nodes[at].queue.is_empty();
            (nodes[at].enqueue(task), idle)
        };
        if idle {
            let world = Rc::clone(self);
            self.runtime
                .spawn(OUTSIDE, async move { world.work_off(at).await });
        }
        uid
    }

    /// Applies a node's tasks one after the other until there is none.
    async fn work_off(self: Rc<Self>, at: usize) {
        let wiped = self.wipes.borrow()[at];
        loop {
            let slowness = self.nodes.borrow()[at].slowness;
            self.pause(1..slowness.max(2)).await;
            let mut nodes = self.nodes.borrow_mut();
            let node = &mut nodes[at];
            if self.wipes.borrow()[at] != wiped || node.queue.is_empty() {
                return;
            }
            if node.alive && !node.paused {
                let identity = self.random.next();
                self.trace(|| format!("node {at} applies {:?}", node.queue.front()));
                node.apply_next(self.shards, identity);
                if node.queue.is_empty() {
                    return;
                }
            }
        }
    }
}
