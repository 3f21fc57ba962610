//! A document write, as `proxy/src/documents/write.rs` and `control/src/writes.rs` do it.

use std::rc::Rc;

use futures_util::future::join_all;
use miroir_movement::Touched;
use miroir_router::{diverged, judge, write_plan, Fate, NodeIdx, Shard, Verdict};

use super::Proxy;
use crate::document::{shard, text, Change, Everywhere, Write};
use crate::network::Lost;
use crate::node::Task;
use crate::runtime::Time;

/// How long nodes may take to accept a write.
const DEADLINE: Time = 150;

/// What the client is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// 202
    Accepted,
    /// 503
    Refused,
}

impl Proxy {
    pub async fn write(self: &Rc<Self>, number: usize, write: Write) -> Told {
        let pinned = self.pin();
        let may_share = self.shown().writes_once();
        let mut turn = self.lane.take(!may_share).await;
        if may_share && !self.shown().writes_once() {
            drop(turn);
            turn = self.lane.take(true).await;
        }
        self.open.set(self.open.get() + 1);
        if self.world.store.borrow().clean {
            self.commit(|store| store.clean = false).await;
        }
        let told = self.perform(number, &write).await;
        self.open.set(self.open.get() - 1);
        drop(turn);
        drop(pinned);
        told
    }

    async fn perform(self: &Rc<Self>, number: usize, write: &Write) -> Told {
        let layout = self.shown();
        let shards: Vec<Shard> = match write {
            Write::Documents(changes) => changes
                .iter()
                .map(|(id, _)| shard(*id, layout.shards))
                .collect(),
            Write::Everywhere(_) => layout.all_shards().collect(),
        };
        let Ok(targets) = write_plan(&layout, &shards) else {
            return Told::Refused;
        };
        let reachable: Vec<bool> = targets
            .iter()
            .map(|target| self.world.reachable(target.node))
            .collect();
        if let Verdict::NoQuorum { .. } = judge(&layout, &targets, &reachable) {
            return Told::Refused;
        }
        let parts = targets.iter().zip(&reachable).map(|(target, reachable)| {
            let task = Task::Write {
                number,
                write: write.clone(),
                shards: target.shards.to_vec(),
            };
            let node = target.node;
            async move {
                match reachable {
                    true => self.send(node, task).await,
                    false => (Fate::Unreachable, 0),
                }
            }
        });
        let sent: Vec<(Fate, u64)> = join_all(parts).await;
        self.world.may_crash().await;
        let fates: Vec<Fate> = sent.iter().map(|(fate, _)| *fate).collect();
        self.touch(write);
        // What became of copies meanwhile counts: one that lost its data has not taken the write.
        let layout = self.shown();
        let took: Vec<bool> = fates.iter().map(|fate| *fate == Fate::Taken).collect();
        let verdict = judge(&layout, &targets, &took);
        self.world
            .trace(|| format!("write {number} {write:?}: {fates:?} {verdict:?}"));
        match verdict {
            Verdict::NoQuorum { .. } => {
                let diverged = diverged(&layout, &targets, &fates);
                diverged.iter().for_each(|(_, node)| self.unsure_of(*node));
                self.out_of_sync(&diverged).await;
                Told::Refused
            }
            Verdict::Accepted { missed } => {
                missed.iter().for_each(|(_, node)| self.unsure_of(*node));
                let marks = self.distrust(&missed);
                let parts: Vec<(NodeIdx, u64)> = targets
                    .iter()
                    .zip(&sent)
                    .filter(|(_, (fate, _))| *fate == Fate::Taken)
                    .map(|(target, (_, uid))| (target.node, *uid))
                    .collect();
                let rows = parts.clone();
                self.commit(move |store| {
                    store.marks.extend(marks);
                    for (node, uid) in rows {
                        let row = &mut store.nodes[usize::from(node.0)];
                        row.last_uid = row.last_uid.max(uid);
                    }
                })
                .await;
                self.world.acknowledged(number, parts);
                Told::Accepted
            }
        }
    }

    async fn send(self: &Rc<Self>, node: NodeIdx, task: Task) -> (Fate, u64) {
        match self.enqueue(node, task, DEADLINE).await {
            Ok((false, _)) => {
                self.counts_anew(node).await;
                (Fate::Unreachable, 0)
            }
            Ok((true, uid)) => (Fate::Taken, uid),
            Err(Lost::NotSent) => (Fate::Unreachable, 0),
            Err(Lost::Unknown) => {
                self.unsure_of(node);
                (Fate::Unknown, 0)
            }
        }
    }

    /// Tells running fills what a write may have changed.
    fn touch(&self, write: &Write) {
        let shards = self.world.shards;
        let rules = &self.world.rules;
        let touched = match write {
            Write::Everywhere(Everywhere::Edit(_)) if !rules.partial => return,
            Write::Everywhere(_) if !rules.unnamed => return,
            Write::Everywhere(_) => Touched::Everything,
            Write::Documents(changes) => {
                let kept = changes.iter().filter(|(_, change)| match change {
                    Change::Update(_) => rules.partial,
                    _ => rules.keys,
                });
                kept.map(|(id, _)| (shard(*id, shards), text(*id)))
                    .collect()
            }
        };
        for fill in self.fills.borrow().iter() {
            fill.borrow_mut().touch(&touched);
        }
    }
}
