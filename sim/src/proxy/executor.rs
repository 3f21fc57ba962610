//! Carries out what the layout needs, as `control/src/movements.rs` does it.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::join;
use miroir_movement::{work, Command, Event, Fill, Job, Key, Step, Transition, Work};
use miroir_router::{CopyState, Layout, NodeIdx, Shard};

use super::Proxy;
use crate::document::Id;
use crate::lane::Turn;
use crate::node::{Answer, Request, Task};
use crate::runtime::Time;

/// Between looks at the layout.
const EVERY: Time = 25;

/// The executor waits for answers until the connection ends; the network sees to it that each ends some time.
const PATIENT: Time = 100_000;

/// How many fills run at a time.
const FILLS_MAX: usize = 2;

impl Proxy {
    pub(super) async fn execute(self: &Rc<Self>) {
        let shards_max = self.world.random.within(1..5) as usize;
        loop {
            self.world.runtime.sleep(EVERY).await;
            if self.verify_is_due() {
                self.verify().await;
            }
            let layout = self.layout();
            for work in work(&layout, |node| self.state(node), shards_max) {
                self.begin(work).await;
            }
        }
    }

    async fn begin(self: &Rc<Self>, work: Work) {
        let target = match &work {
            Work::Transition(_) => {
                let _turn = self.lane.take(true).await;
                let due = |layout: &Layout| Ok(Transition::due(layout, |node| self.state(node)));
                let _ = self.make(due).await;
                return;
            }
            Work::Fill(job) => job.target,
            Work::Delete { node, .. } => *node,
            Work::Stuck { .. } => return,
        };
        let taken = self.busy.borrow().contains(&target);
        if taken || self.fills.borrow().len() >= FILLS_MAX {
            return;
        }
        self.busy.borrow_mut().insert(target);
        let proxy = Rc::clone(self);
        self.spawn(async move {
            match work {
                Work::Fill(job) => proxy.fill(job).await,
                Work::Delete { node, shards } => proxy.clear(node, shards).await,
                Work::Transition(_) | Work::Stuck { .. } => {}
            }
            proxy.busy.borrow_mut().remove(&target);
        });
    }

    async fn fill(self: &Rc<Self>, job: Job) {
        self.world.trace(|| format!("fill {job:?}"));
        let fill = Rc::new(RefCell::new(Fill::new(job.clone())));
        self.fills.borrow_mut().push(Rc::clone(&fill));
        let losses = self.losses(&job);
        self.open(&job).await;
        let mut turn = None;
        let mut earlier: Option<(Step, Event)> = None;
        loop {
            let next = fill
                .borrow()
                .command()
                .map(|(step, command)| (step, command.clone()));
            let Some((step, command)) = next else { break };
            let event = self.carry_out(&job, &command, &mut turn, losses).await;
            self.world.may_crash().await;
            let mut fill = fill.borrow_mut();
            if let Some((step, event)) = earlier.filter(|_| self.world.random.chance(50)) {
                fill.on(step, event);
            }
            fill.on(step, event.clone());
            if self.world.random.chance(50) {
                fill.on(step, event.clone());
            }
            earlier = Some((step, event));
        }
        self.fills
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, &fill));
        self.close(&job);
        self.world.trace(|| {
            format!(
                "fill of {} ended: {:?}",
                job.target,
                fill.borrow().failure()
            )
        });
        drop(turn);
        if fill.borrow().failure().is_some() {
            self.world.pause(20..100).await;
        } else {
            self.world.filled.set(self.world.filled.get() + 1);
        }
    }

    async fn carry_out(
        self: &Rc<Self>,
        job: &Job,
        command: &Command,
        turn: &mut Option<Turn>,
        losses: u64,
    ) -> Event {
        match command {
            Command::AwaitGracePeriod => {
                if self.layout().version != job.layout_version {
                    return Event::Failed("another layout is published".into());
                }
                self.grace_period().await;
                Event::Done
            }
            Command::AwaitApplied => {
                let ask = |node| self.world.call(node, Request::AwaitApplied, PATIENT);
                match join(ask(job.source), ask(job.target)).await {
                    (Ok(Answer::Applied), Ok(Answer::Applied)) => Event::Done,
                    _ => Event::Failed("a node did not answer".into()),
                }
            }
            Command::TakeLane => {
                *turn = Some(self.lane.take(true).await);
                Event::Done
            }
            Command::List { keys } => {
                let keys = keys.as_deref().map(ids);
                let ask = |node| {
                    let (shards, keys) = (job.shards.clone(), keys.clone());
                    self.world
                        .call(node, Request::List { shards, keys }, PATIENT)
                };
                match join(ask(job.source), ask(job.target)).await {
                    (Ok(Answer::Listed(source)), Ok(Answer::Listed(target))) => {
                        Event::Listed { source, target }
                    }
                    _ => Event::Failed("a node did not answer".into()),
                }
            }
            Command::Mend { copy, delete } => self.mend(job, &ids(copy), &ids(delete)).await,
            Command::Switch => {
                for node in [job.source, job.target] {
                    if !self.look(node).await {
                        return Event::Failed("a node did not answer".into());
                    }
                }
                let switch = |layout: &Layout| match self.losses(job) == losses {
                    true => Transition::switch(layout, job),
                    false => Err("a node was emptied meanwhile".into()),
                };
                match self.make(switch).await {
                    Ok(()) => Event::Done,
                    Err(reason) => Event::Failed(reason),
                }
            }
        }
    }

    /// How often source and target were found to have lost data.
    fn losses(&self, job: &Job) -> u64 {
        let nodes = self.nodes.borrow();
        let of = |node: NodeIdx| nodes[usize::from(node.0)].losses;
        of(job.source) + of(job.target)
    }

    /// Joining copies get writes from here on (`Filling::open` of the control plane).
    async fn open(&self, job: &Job) {
        let layout = self.layout();
        let joining = |shard: &Shard| {
            let mut copies = layout.copies_of(*shard).iter();
            copies.any(|copy| copy.node == job.target && copy.state == CopyState::Joining)
        };
        if job.shards.iter().any(joining) {
            self.grace_period().await;
            let copies = job.shards.iter().map(|shard| (*shard, job.target));
            self.layouts.borrow_mut().opened.extend(copies);
            self.publish();
        }
    }

    /// Undoes [`Proxy::open`]; of copies that are in sync by now nothing changes.
    fn close(&self, job: &Job) {
        let mut removed = false;
        for shard in &job.shards {
            let opened = &mut self.layouts.borrow_mut().opened;
            removed |= opened.remove(&(*shard, job.target));
        }
        if removed {
            self.publish();
        }
    }

    /// In pieces, since writes go on in between.
    async fn mend(self: &Rc<Self>, job: &Job, copy: &[Id], delete: &[Id]) -> Event {
        let size = self.world.random.within(1..6) as usize;
        let mut pieces: Vec<(&[Id], &[Id])> =
            copy.chunks(size).map(|piece| (piece, &[][..])).collect();
        pieces.extend(delete.chunks(size).map(|piece| (&[][..], piece)));
        for (copy, delete) in pieces {
            let mut found = Vec::new();
            if !copy.is_empty() {
                let read = Request::Read(copy.to_vec());
                let Ok(Answer::Found(read)) = self.world.call(job.source, read, PATIENT).await
                else {
                    return Event::Failed("the source did not answer".into());
                };
                found = read;
            }
            let task = Task::Mend {
                copy: found,
                delete: delete.to_vec(),
            };
            if let Err(reason) = self.order(job.target, task).await {
                return Event::Failed(reason);
            }
        }
        Event::Done
    }

    /// Makes a node accept a task of our own.
    async fn order(self: &Rc<Self>, node: NodeIdx, task: Task) -> Result<(), String> {
        match self.enqueue(node, task, PATIENT).await {
            Ok((goes_on, _)) => {
                if !goes_on {
                    self.nodes.borrow_mut()[usize::from(node.0)].lost();
                }
                Ok(())
            }
            Err(_) => {
                self.unsure_of(node);
                Err("the node did not answer".into())
            }
        }
    }

    /// Deletes what is left over on a node.
    async fn clear(self: &Rc<Self>, node: NodeIdx, shards: Vec<Shard>) {
        self.grace_period().await;
        // What made them left over is durable when this is.
        self.commit(|_| ()).await;
        let still = Transition::deleted(&self.layout(), node, &shards);
        let shards: Vec<Shard> = still.moves.iter().map(|(shard, _, _)| *shard).collect();
        if shards.is_empty() || self.order(node, Task::Clear(shards.clone())).await.is_err() {
            return;
        }
        let applied = self.world.call(node, Request::AwaitApplied, PATIENT).await;
        if let Ok(Answer::Applied) = applied {
            let _ = self
                .make(|layout| Ok(Transition::deleted(layout, node, &shards)))
                .await;
        }
    }
}

fn ids(keys: &[Key]) -> Vec<Id> {
    keys.iter().filter_map(|key| key.parse().ok()).collect()
}
