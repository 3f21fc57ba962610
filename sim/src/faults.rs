//! What goes wrong, and who changes the fleet meanwhile.

use std::rc::Rc;
use std::sync::Arc;

use miroir_router::{CopyState, Layout, LayoutNode, LayoutSpec, NodeIdx, Shard};

use crate::document::{shard, Id};
use crate::invariants::value_of;
use crate::node::Node;
use crate::proxy::Proxy;
use crate::runtime::{Time, OUTSIDE};
use crate::store::{NodeRow, Store};
use crate::world::{World, DOCUMENTS};

const NODES_MAX: usize = 10;

/// What a node's disk loses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    Nothing,
    SinceBackup,
    Everything,
}

impl World {
    /// One fault or change after the other, some at the same time, until the storm is over.
    pub async fn break_things(self: &Rc<Self>) {
        let often = self.random.pick(&[120, 300, 700]).unwrap_or(300);
        while self.storm.get() {
            self.pause(20..often).await;
            if !self.storm.get() {
                return;
            }
            if self.is_fragile() && !self.careless {
                continue;
            }
            let count = self.nodes.borrow().len() as u64;
            let at = self.random.within(0..count) as usize;
            match self.random.within(0..24) {
                0..4 => self.kill(at, Loss::Nothing),
                4..6 => self.kill(at, Loss::Everything),
                20..22 => self.kill(at, Loss::SinceBackup),
                22..24 => self.nodes.borrow_mut()[at].back_up(),
                6..9 => self.for_a_while(at, 100..600, |node, on| node.paused = on),
                9..11 => self.for_a_while(at, 50..500, |node, on| node.cut_off = on),
                11..13 => self.for_a_while(at, 100..900, |node, on| {
                    node.slowness = if on { 150 } else { 10 }
                }),
                13..15 => self.crash(),
                _ => self.change_fleet(),
            }
        }
    }

    /// A node has lost its data, and nobody knows yet. What else fails in this moment can cost what only it and that node
    /// had: one loss at a time is what a replication factor of two is for.
    pub fn is_fragile(&self) -> bool {
        let nodes = self.nodes.borrow();
        nodes.iter().any(|node| node.unnoticed && !node.gone)
    }

    /// Whether every shard of the node has another copy that serves, is to stay and can be reached, and no write is
    /// undecided.
    fn can_be_lost(&self, at: usize) -> bool {
        let Some(proxy) = self.proxy.borrow().clone() else {
            return false;
        };
        let layout = self.store.borrow().layout();
        let nodes = self.nodes.borrow();
        let other = |shard: Shard| {
            let mut copies = layout.copies_of(shard).iter();
            copies.any(|copy| {
                let node = &nodes[usize::from(copy.node.0)];
                usize::from(copy.node.0) != at
                    && copy.state == CopyState::InSync
                    && node.alive
                    && !node.cut_off
                    && !node.paused
            })
        };
        let mine = layout.shards_of(NodeIdx(at as u16));
        proxy.lane.is_free() && proxy.layout() == layout && mine.into_iter().all(other)
    }

    /// A node is about to lose what it has. A document of which no other copy is complete may be anything from now on: no
    /// other that serves on a node with its data has it as this one, or a write of it is being made, which the other may
    /// turn out to have missed.
    fn note_loss(&self, at: usize) {
        let mut layouts = vec![self.store.borrow().layout()];
        if let Some(proxy) = &*self.proxy.borrow() {
            layouts.push(proxy.layout());
        }
        let nodes = self.nodes.borrow();
        let serves = |at: usize, shard: Shard| {
            let serves = |layout: &Arc<Layout>| {
                let mut copies = layout.copies_of(shard).iter();
                copies.any(|copy| usize::from(copy.node.0) == at && copy.state.serves())
            };
            layouts.iter().filter(|layout| serves(layout)).count()
        };
        let documents: Vec<_> = nodes
            .iter()
            .map(|node| node.eventually(self.shards))
            .collect();
        for id in 0..DOCUMENTS {
            let shard = shard(id, self.shards);
            let served_elsewhere = |other: &usize| {
                *other != at && !nodes[*other].unnoticed && serves(*other, shard) == layouts.len()
            };
            if serves(at, shard) == 0 && (0..nodes.len()).any(|other| served_elsewhere(&other)) {
                continue;
            }
            let is_complete = |other: &usize| {
                served_elsewhere(other)
                    && value_of(&documents[*other], id) == value_of(&documents[at], id)
            };
            let mut history = self.history.borrow_mut();
            if history.is_open(id) || !(0..nodes.len()).any(|other| is_complete(&other)) {
                history.lose(id);
                self.lost.borrow_mut().insert(shard);
            }
        }
    }

    /// What an operator does about shards that no copy serves, once every node is back: the best copy that is left counts.
    pub fn give_up_lost(self: &Rc<Self>) {
        let Some(proxy) = self.proxy.borrow().clone() else {
            return;
        };
        if self.runtime.now() < self.calm_since.get() + 2_000 || proxy.is_relayouting() {
            return;
        }
        let layout = proxy.layout();
        let best = |shard: Shard| {
            let copies = layout.copies_of(shard).iter();
            let there = copies.filter(|copy| !self.nodes.borrow()[usize::from(copy.node.0)].gone);
            let best = there.max_by_key(|copy| self.goodness(copy.node, shard));
            best.map(|copy| (shard, copy.node))
        };
        let unserved = |shard: &Shard| {
            let mut copies = layout.copies_of(*shard).iter();
            !copies.any(|copy| copy.state.serves())
        };
        let copies: Vec<_> = layout
            .all_shards()
            .filter(unserved)
            .filter_map(best)
            .collect();
        if !copies.is_empty() {
            self.trace(|| format!("given up: {copies:?} count from now on"));
            let world = Rc::clone(self);
            self.runtime.spawn(proxy.process, async move {
                if let Err(error) = proxy.trust(copies).await {
                    world.trace(|| format!("not given up: {error}"));
                }
            });
        }
    }

    /// How many documents of a shard are on a node as they may be.
    fn goodness(&self, node: NodeIdx, of: Shard) -> usize {
        let documents = self.nodes.borrow()[usize::from(node.0)].eventually(self.shards);
        let history = self.history.borrow();
        let is_good = |id: &Id| {
            let possible = history.possible_now(*id);
            possible.is_some_and(|possible| possible.contains(&value_of(&documents, *id)))
        };
        let ids = (0..DOCUMENTS).filter(|id| shard(*id, self.shards) == of);
        ids.filter(is_good).count()
    }

    /// kill -9 of a node, perhaps with the loss of its disk or a return to an old one; it is started again later.
    fn kill(self: &Rc<Self>, at: usize, loss: Loss) {
        let mut loss = loss;
        if loss != Loss::Nothing && !self.careless && !self.can_be_lost(at) {
            loss = Loss::Nothing;
        }
        if loss != Loss::Nothing && self.nodes.borrow()[at].alive {
            self.note_loss(at);
        }
        {
            let mut nodes = self.nodes.borrow_mut();
            let node = &mut nodes[at];
            if !node.alive || node.gone {
                return;
            }
            node.alive = false;
            node.paused = false;
            self.processes.borrow_mut()[at] += 1;
            let lost = match loss {
                Loss::Nothing => false,
                Loss::SinceBackup => {
                    let before = node.eventually(self.shards);
                    let restored = node.restore();
                    let after = node.eventually(self.shards);
                    for id in 0..DOCUMENTS {
                        if value_of(&before, id) != value_of(&after, id) {
                            self.history.borrow_mut().doubt(id);
                        }
                    }
                    restored
                }
                Loss::Everything => {
                    node.wipe();
                    true
                }
            };
            if lost {
                self.wipes.borrow_mut()[at] += 1;
            } else {
                loss = Loss::Nothing;
            }
        }
        self.trace(|| {
            let lost = match loss {
                Loss::Nothing => "",
                Loss::SinceBackup => ", it goes back to its backup",
                Loss::Everything => ", its data is lost",
            };
            format!("node {at} killed{lost}")
        });
        let world = Rc::clone(self);
        self.runtime.spawn(OUTSIDE, async move {
            let long = world.random.pick(&[20, 200, 1200]).unwrap_or(200);
            world.pause(5..long).await;
            world.start(at);
        });
    }

    fn start(&self, at: usize) {
        let mut nodes = self.nodes.borrow_mut();
        if !nodes[at].alive && !nodes[at].gone {
            nodes[at].alive = true;
            self.processes.borrow_mut()[at] += 1;
            self.trace(|| format!("node {at} started"));
        }
    }

    fn for_a_while(
        self: &Rc<Self>,
        at: usize,
        time: std::ops::Range<Time>,
        set: fn(&mut Node, bool),
    ) {
        set(&mut self.nodes.borrow_mut()[at], true);
        self.trace(|| {
            let nodes = self.nodes.borrow();
            let node = &nodes[at];
            format!(
                "node {at} paused {} cut off {} slowness {}",
                node.paused, node.cut_off, node.slowness
            )
        });
        let world = Rc::clone(self);
        self.runtime.spawn(OUTSIDE, async move {
            world.pause(time).await;
            set(&mut world.nodes.borrow_mut()[at], false);
            world.trace(|| format!("node {at} goes on"));
        });
    }

    /// Ends every fault.
    pub fn heal(self: &Rc<Self>) {
        self.storm.set(false);
        self.calm_since.set(self.runtime.now());
        self.trace(|| "the storm is over".into());
        let count = self.nodes.borrow().len();
        for at in 0..count {
            {
                let mut nodes = self.nodes.borrow_mut();
                nodes[at].paused = false;
                nodes[at].cut_off = false;
                nodes[at].slowness = 10;
            }
            self.start(at);
        }
    }

    /// What an operator does: add, drain, replace, another replication factor, another group, remove. The node list and the
    /// layout that is planned for it are one transaction, as in the program (`Store::change_layouts` of the control plane).
    fn change_fleet(self: &Rc<Self>) {
        let Some(proxy) = self.proxy.borrow().clone() else {
            return;
        };
        let nodes = self.nodes.borrow().len();
        let at = self.random.within(0..nodes as u64) as usize;
        let groups = self.store.borrow().replica_groups;
        let group = self.random.within(0..u64::from(groups)) as u16;
        let replication_factor = self.random.within(1..4) as u8;
        let change: Box<dyn FnOnce(&mut LayoutSpec)> = match self.random.within(0..10) {
            0..3 => Box::new(move |spec| add_node(spec, group)),
            3..5 => Box::new(move |spec| spec.nodes[at].weight = 0),
            5 if self.nodes.borrow()[at].gone => return,
            5 => Box::new(move |spec| spec.nodes[at].weight = 1),
            6 => Box::new(move |spec| {
                // Replaced: a new node takes its place, whether the old one still runs or not.
                add_node(spec, spec.nodes[at].group);
                spec.nodes[at].weight = 0;
            }),
            7 => Box::new(move |spec| spec.replication_factor = replication_factor),
            8 if groups == 1 => Box::new(|spec| {
                for _ in 0..spec.replication_factor {
                    add_node(spec, 1);
                }
                spec.replica_groups = 2;
            }),
            8 => Box::new(|spec| {
                spec.replica_groups = 1;
                for node in spec.nodes.iter_mut().filter(|node| node.group == 1) {
                    node.group = 0;
                    node.weight = 0;
                }
            }),
            _ => return self.remove(&proxy, at),
        };
        let world = Rc::clone(self);
        self.runtime.spawn(proxy.process, async move {
            match proxy.change_fleet(change).await {
                Ok(()) => world.plans.set(world.plans.get() + 1),
                Err(error) => world.trace(|| format!("not planned: {error}")),
            }
        });
    }

    /// A node list is durable: the nodes that are new in it exist.
    pub fn fleet_stored(&self, store: &mut Store, spec: LayoutSpec) {
        store.replication_factor = spec.replication_factor;
        store.replica_groups = spec.replica_groups;
        for (at, node) in spec.nodes.into_iter().enumerate() {
            if let Some(row) = store.nodes.get_mut(at) {
                row.node = node;
                continue;
            }
            let created = Some(self.random.next());
            store.nodes.push(NodeRow {
                node,
                gone: false,
                created,
                last_uid: 0,
            });
            self.nodes.borrow_mut().push(Node::new(created));
            self.processes.borrow_mut().push(0);
            self.wipes.borrow_mut().push(0);
        }
    }

    /// Takes a drained node away for good, once it holds nothing, or sooner if nothing is lost by it.
    fn remove(&self, proxy: &Proxy, at: usize) {
        let idx = NodeIdx(at as u16);
        let drained = self.store.borrow().nodes[at].node.weight == 0;
        if !drained || proxy.is_relayouting() || !self.can_be_lost(at) {
            return;
        }
        self.trace(|| format!("node {idx} removed"));
        self.store.borrow_mut().nodes[at].gone = true;
        let mut nodes = self.nodes.borrow_mut();
        nodes[at].wipe();
        nodes[at].gone = true;
        nodes[at].alive = false;
        self.processes.borrow_mut()[at] += 1;
        self.wipes.borrow_mut()[at] += 1;
    }
}

fn add_node(spec: &mut LayoutSpec, group: u16) {
    if spec.nodes.len() < NODES_MAX {
        spec.nodes.push(LayoutNode {
            id: format!("n{}", spec.nodes.len()),
            group,
            weight: 1,
            zone: None,
        });
    }
}
