//! The world: what there is, who does what in it, and one run from the first write to the last look.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use miroir_router::{Layout, LayoutNode, LayoutSpec, NodeIdx, Shard};

use crate::document::{shard, Change, Everywhere, Fields, Id, Write};
use crate::history::History;
use crate::invariants;
use crate::node::Node;
use crate::proxy::{Proxy, Told};
use crate::random::Random;
use crate::runtime::{oneshot, Process, Runtime, Time, OUTSIDE};
use crate::store::{NodeRow, Store};

/// How many different documents there are.
pub const DOCUMENTS: Id = 14;

/// When a fleet that nothing disturbs any more must have come to rest.
const REST_MAX: Time = 40_000;

/// Rules that the simulated proxy keeps. Each can be switched off, to see that the invariants need it.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A fill is told which documents were written whole or deleted.
    pub keys: bool,
    /// A fill is told which documents were changed in part: a copy without them has stubs.
    pub partial: bool,
    /// A fill is told of deletions by filter: what was read before brings the documents back.
    pub unnamed: bool,
    /// A node is not copied from or to while a request that was given up may still land there.
    pub settle: bool,
    /// Copies are compared after a crash, and now and then.
    pub verify: bool,
    /// A node that lost its data is recognised.
    pub identity: bool,
    /// A node that numbers tasks anew went back in time.
    pub counts: bool,
    /// A joining copy gets writes only when no search works on a table without it.
    pub opened: bool,
    /// A search's later rounds go by the newest table, and an answer counts only if the copy serves by it.
    pub newest: bool,
}

impl Rules {
    pub const ALL: Rules = Rules {
        keys: true,
        partial: true,
        unnamed: true,
        settle: true,
        verify: true,
        identity: true,
        counts: true,
        opened: true,
        newest: true,
    };
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub seed: u64,
    /// The first invariant that did not hold.
    pub violation: Option<String>,
    pub writes: usize,
    pub acknowledged: usize,
    pub searches: usize,
    pub crashes: usize,
    pub fills: usize,
    pub plans: usize,
    /// Of the world's clock, in milliseconds.
    pub took: Time,
    /// What happened, if it was asked for.
    pub trace: Vec<String>,
}

pub struct World {
    pub runtime: Runtime,
    pub random: Random,
    pub rules: Rules,
    pub shards: u16,
    pub nodes: RefCell<Vec<Node>>,
    /// Starts of each node's process.
    pub processes: RefCell<Vec<u64>>,
    /// How often each node lost its data.
    pub wipes: RefCell<Vec<u64>>,
    pub history: RefCell<History>,
    pub store: RefCell<Store>,
    /// When the last transaction will be durable.
    store_busy: Cell<Time>,
    pub proxy: RefCell<Option<Rc<Proxy>>>,
    /// How many proxies there have been.
    pub generation: Cell<u64>,
    /// Nodes lose data at any time, not only where they can be spared.
    pub careless: bool,
    /// Shards whose last complete copy was lost, perhaps of some documents only.
    pub lost: RefCell<BTreeSet<Shard>>,
    /// Faults happen.
    pub storm: Cell<bool>,
    /// Since when nothing fails any more.
    pub calm_since: Cell<Time>,
    /// Of 1,000 requests and of 1,000 answers, so many are lost.
    loss: u64,
    crash_chance: u64,
    pub clients: Cell<usize>,
    pub searches: Cell<usize>,
    pub crashes: Cell<usize>,
    pub filled: Cell<usize>,
    pub plans: Cell<usize>,
    violation: RefCell<Option<String>>,
    tracing: bool,
    trace: RefCell<Vec<String>>,
    over: Cell<bool>,
}

/// One run. The same arguments have the same outcome.
pub fn run(seed: u64, rules: Rules, tracing: bool) -> Outcome {
    let world = World::new(seed, rules, tracing);
    world.start_proxy();
    let main = Rc::clone(&world);
    world
        .runtime
        .spawn(OUTSIDE, async move { main.live().await });
    world
        .runtime
        .run(|| world.over.get() || world.violation.borrow().is_some());
    let outcome = Outcome {
        seed,
        violation: world.violation.borrow_mut().take(),
        writes: world.history.borrow().writes(),
        acknowledged: world.history.borrow().acknowledged(),
        searches: world.searches.get(),
        crashes: world.crashes.get(),
        fills: world.filled.get(),
        plans: world.plans.get(),
        took: world.runtime.now(),
        trace: world.trace.take(),
    };
    world.proxy.take();
    world.runtime.clear();
    outcome
}

impl World {
    fn new(seed: u64, rules: Rules, tracing: bool) -> Rc<World> {
        let random = Random::new(seed);
        let groups = random.within(1..3) as u16;
        let replication_factor = random.within(1..4) as u8;
        let shards = random.within(2..6) as u16;
        let spare = random.within(0..3);
        let count = u64::from(groups) * u64::from(replication_factor) + spare;
        let rows: Vec<NodeRow> = (0..count)
            .map(|at| NodeRow {
                node: LayoutNode {
                    id: format!("n{at}"),
                    group: (at % u64::from(groups)) as u16,
                    weight: 1,
                    zone: None,
                },
                gone: false,
                created: Some(random.next()),
                last_uid: 0,
            })
            .collect();
        let nodes = rows.iter().map(|row| Node::new(row.created));
        let nodes: Vec<Node> = nodes.collect();
        let spec = LayoutSpec {
            shards,
            replication_factor,
            replica_groups: groups,
            nodes: rows.iter().map(|row| row.node.clone()).collect(),
        };
        let layout = Layout::plan(&spec, None).expect("a fleet that can hold its copies");
        let store = Store {
            body: Arc::new(layout),
            marks: Vec::new(),
            nodes: rows,
            replication_factor,
            replica_groups: groups,
            clean: true,
        };
        Rc::new(World {
            runtime: Runtime::default(),
            rules,
            shards,
            processes: RefCell::new(vec![0; nodes.len()]),
            wipes: RefCell::new(vec![0; nodes.len()]),
            nodes: RefCell::new(nodes),
            history: RefCell::new(History::new(usize::from(DOCUMENTS))),
            store: RefCell::new(store),
            store_busy: Cell::new(0),
            proxy: RefCell::new(None),
            generation: Cell::new(0),
            careless: random.chance(300),
            lost: RefCell::default(),
            storm: Cell::new(true),
            calm_since: Cell::new(Time::MAX),
            loss: random.pick(&[0, 3, 15]).unwrap_or_default(),
            crash_chance: random.pick(&[0, 0, 1, 4]).unwrap_or_default(),
            clients: Cell::new(0),
            searches: Cell::new(0),
            crashes: Cell::new(0),
            filled: Cell::new(0),
            plans: Cell::new(0),
            violation: RefCell::new(None),
            tracing,
            trace: RefCell::default(),
            over: Cell::new(false),
            random,
        })
    }

    /// Storm, calm, rest, and the last look.
    async fn live(self: Rc<Self>) {
        for _ in 0..self.random.within(1..4) {
            self.spawn_client();
        }
        self.spawn_settling();
        let injector = Rc::clone(&self);
        self.runtime
            .spawn(OUTSIDE, async move { injector.break_things().await });
        self.pause(2_500..5_000).await;
        self.heal();
        self.pause(500..900).await;
        self.clients.set(0);
        let deadline = self.runtime.now() + REST_MAX;
        let mut rests = 0;
        while rests < 3 {
            self.runtime.sleep(50).await;
            rests = if self.is_at_rest() { rests + 1 } else { 0 };
            self.give_up_lost();
            if self.runtime.now() > deadline {
                let layout = self.store.borrow().layout();
                self.check(Err(format!(
                    "the fleet did not come to rest: {}",
                    crate::proxy::shown(&layout)
                )));
                return;
            }
        }
        let wanted = self.store.borrow().layout();
        self.check(invariants::converged(
            &self.history.borrow(),
            &wanted,
            &self.nodes.borrow(),
            DOCUMENTS,
        ));
        self.search().await;
        self.over.set(true);
    }

    fn is_at_rest(&self) -> bool {
        let idle = self
            .nodes
            .borrow()
            .iter()
            .all(|node| node.gone || node.queue.is_empty());
        let proxy = self.proxy.borrow();
        // A comparison after everything has landed is part of converging.
        let verified = |proxy: &Proxy| {
            !self.rules.verify || proxy.verified.get() > self.calm_since.get() + 1_000
        };
        idle && proxy
            .as_ref()
            .is_some_and(|proxy| proxy.is_idle() && verified(proxy))
    }

    /// Writes and searches, one after the other, until clients are sent home.
    fn spawn_client(self: &Rc<Self>) {
        self.clients.set(self.clients.get() + 1);
        let world = Rc::clone(self);
        self.runtime.spawn(OUTSIDE, async move {
            while world.clients.get() > 0 {
                world.pause(1..60).await;
                match world.random.chance(400) {
                    true => world.search().await,
                    false => world.write().await,
                }
            }
        });
    }

    async fn write(self: &Rc<Self>) {
        let write = self.draw_write();
        let number = self.history.borrow_mut().begin(write.clone());
        let Some(proxy) = self.proxy.borrow().clone() else {
            self.history.borrow_mut().told(number);
            return;
        };
        let (sender, receiver) = oneshot();
        let process = proxy.process;
        self.runtime.spawn(process, async move {
            let told = proxy.write(number, write).await;
            sender.send(told);
        });
        let told: Option<Told> = receiver.await;
        self.history.borrow_mut().told(number);
        self.trace(|| format!("write {number}: client was told {told:?}"));
    }

    fn draw_write(&self) -> Write {
        let fields = |whole: bool| {
            let number = || Some(self.random.within(0..1_000_000) as u32);
            let part = self.random.within(0..3);
            Fields {
                kind: (whole || part == 0).then(|| self.random.within(0..3) as u8),
                x: if whole || part == 1 { number() } else { None },
                y: if whole || part == 2 { number() } else { None },
            }
        };
        let kind = self.random.within(0..3) as u8;
        match self.random.within(0..100) {
            0..6 => Write::Everywhere(Everywhere::DeleteKind(kind)),
            6..11 => Write::Everywhere(Everywhere::Edit(kind)),
            11 => Write::Everywhere(Everywhere::DeleteAll),
            _ => {
                let mut changes: Vec<(Id, Change)> = Vec::new();
                for _ in 0..self.random.within(1..4) {
                    let id = self.random.within(0..u64::from(DOCUMENTS)) as Id;
                    let change = match self.random.within(0..10) {
                        0..5 => Change::Replace(fields(true)),
                        5..8 => Change::Update(fields(false)),
                        _ => Change::Delete,
                    };
                    changes.retain(|(other, _)| *other != id);
                    changes.push((id, change));
                }
                Write::Documents(changes)
            }
        }
    }

    pub async fn search(self: &Rc<Self>) {
        let begun = self.runtime.now();
        let Some(proxy) = self.proxy.borrow().clone() else {
            return;
        };
        let (sender, receiver) = oneshot();
        let seed = self.random.next();
        let misled = self.misleads();
        self.runtime.spawn(proxy.process, async move {
            let found = proxy.search(seed).await;
            sender.send(found);
        });
        let Some(found) = receiver.await else { return };
        self.searches.set(self.searches.get() + 1);
        if misled || self.misleads() {
            return;
        }
        let history = self.history.borrow();
        self.check(invariants::found(
            &history,
            DOCUMENTS,
            self.shards,
            begun,
            &found.hits,
            &found.missing,
        ));
        let calm_since = self.calm_since.get();
        let rests_on_loss = self.clients.get() > 0 || self.runtime.now() < calm_since + 3_000;
        if begun > calm_since.saturating_add(400) {
            // Until an operator gives them up, nobody answers for shards that were lost.
            let lost = self.lost.borrow();
            let searched = |shard: &&Shard| !(rests_on_loss && lost.contains(shard));
            let missing: Vec<Shard> = found.missing.iter().filter(searched).copied().collect();
            self.check(invariants::complete(&missing));
        }
    }

    /// Whether a node answers with an index that is not the one of before, and has not been recognised: a moment that
    /// docs/reliability.md promises nothing for.
    fn misleads(&self) -> bool {
        let nodes = self.nodes.borrow();
        nodes
            .iter()
            .any(|node| node.alive && node.unnoticed && node.created.is_some())
    }

    /// Now and then decides what became of writes that clients do not know about.
    fn spawn_settling(self: &Rc<Self>) {
        let world = Rc::clone(self);
        self.runtime.spawn(OUTSIDE, async move {
            loop {
                world.runtime.sleep(40).await;
                for id in 0..DOCUMENTS {
                    if world.history.borrow().may_settle(id) {
                        world.settle(id);
                    }
                }
            }
        });
    }

    fn settle(&self, id: Id) {
        let store = self.store.borrow();
        let nodes = self.nodes.borrow();
        let layout = store.layout();
        let copies = layout.copies_of(shard(id, self.shards)).iter();
        let mut values = Vec::new();
        for copy in copies.filter(|copy| copy.state.serves()) {
            let node = &nodes[usize::from(copy.node.0)];
            let row = &store.nodes[usize::from(copy.node.0)];
            if !node.queue.is_empty() || node.created != row.created || node.unnoticed || node.gone
            {
                return;
            }
            values.push(invariants::value_of(&node.documents, id));
        }
        if let Some(value) = values
            .first()
            .copied()
            .filter(|one| values.iter().all(|other| other == one))
        {
            let possible = self.history.borrow().possible_now(id);
            if possible.is_none_or(|possible| possible.contains(&value)) {
                self.history
                    .borrow_mut()
                    .settle(id, value, self.runtime.now());
            }
        }
    }

    pub fn check(&self, held: Result<(), String>) {
        if let Err(violation) = held {
            self.trace(|| violation.clone());
            self.violation.borrow_mut().get_or_insert(violation);
        }
    }

    pub fn trace(&self, line: impl FnOnce() -> String) {
        if self.tracing {
            self.trace
                .borrow_mut()
                .push(format!("{:>6} {}", self.runtime.now(), line()));
        }
    }

    pub async fn pause(&self, time: Range<Time>) {
        self.runtime.sleep(self.random.within(time)).await;
    }

    /// Of 1,000 requests and of 1,000 answers, so many are lost now.
    pub fn loss(&self) -> u64 {
        if self.storm.get() && (self.careless || !self.is_fragile()) {
            self.loss
        } else {
            0
        }
    }

    pub fn start_proxy(self: &Rc<Self>) {
        self.generation.set(self.generation.get() + 1);
        let proxy = Proxy::start(self, Process(self.generation.get()));
        *self.proxy.borrow_mut() = Some(proxy);
    }

    /// A step at which the proxy can die.
    pub async fn may_crash(self: &Rc<Self>) {
        if self.storm.get() && self.crash_chance > 0 && self.random.chance(self.crash_chance) {
            self.crash();
            std::future::pending::<()>().await;
        }
    }

    /// kill -9 of the proxy; it is started again a little later.
    pub fn crash(self: &Rc<Self>) {
        let Some(proxy) = self.proxy.take() else {
            return;
        };
        self.crashes.set(self.crashes.get() + 1);
        self.trace(|| "proxy killed".into());
        self.runtime.doom(proxy.process);
        let world = Rc::clone(self);
        self.runtime.spawn(OUTSIDE, async move {
            world.pause(20..300).await;
            world.trace(|| "proxy started".into());
            world.start_proxy();
        });
    }

    /// Makes a transaction durable in its turn, if the process lives that long; if not, perhaps.
    pub async fn commit(
        self: &Rc<Self>,
        process: Process,
        change: impl FnOnce(&mut Store) + 'static,
    ) {
        let now = self.runtime.now();
        let durable = self.store_busy.get().max(now) + self.random.within(1..5);
        self.store_busy.set(durable);
        let (sender, receiver) = oneshot();
        let world = Rc::clone(self);
        self.runtime.spawn(OUTSIDE, async move {
            world.runtime.sleep(durable - now).await;
            let lives = world.generation.get() == process.0 && world.proxy.borrow().is_some();
            if lives {
                change(&mut world.store.borrow_mut());
                sender.send(());
            }
        });
        receiver.await;
    }

    /// What the node lost is out of service, durably.
    pub fn noticed(&self, node: NodeIdx) {
        self.nodes.borrow_mut()[usize::from(node.0)].unnoticed = false;
    }

    /// Called with each layout that requests see from now on.
    pub fn published(&self, layout: &Layout) {
        self.check(invariants::published(layout, &self.lost.borrow()));
        // What still serves has lost its data, and will be found out.
        let nodes = self.nodes.borrow();
        let holds = |node: NodeIdx| !nodes[usize::from(node.0)].unnoticed;
        let lost = layout.all_shards().filter(|shard| {
            let mut copies = layout.copies_of(*shard).iter();
            !copies.any(|copy| copy.state.serves() && holds(copy.node))
        });
        for lost in lost {
            self.lost.borrow_mut().insert(lost);
            // One that went back in time goes on serving what it has.
            let mut copies = layout.copies_of(lost).iter();
            let older = |node: NodeIdx| nodes[usize::from(node.0)].created.is_some();
            if copies.any(|copy| copy.state.serves() && older(copy.node)) {
                let ids = (0..DOCUMENTS).filter(|id| shard(*id, self.shards) == lost);
                ids.for_each(|id| self.history.borrow_mut().lose(id));
            }
        }
    }

    /// What the node list in the store asks for.
    pub fn spec(&self) -> LayoutSpec {
        let store = self.store.borrow();
        LayoutSpec {
            shards: self.shards,
            replication_factor: store.replication_factor,
            replica_groups: store.replica_groups,
            nodes: store.nodes.iter().map(|row| row.node.clone()).collect(),
        }
    }

    /// A node took a write of these shards. What counts is whether a search may ask the copy, by any table.
    pub fn note_accepted(&self, node: NodeIdx, number: usize, shards: &[Shard]) {
        let mut layouts = vec![self.store.borrow().layout()];
        if let Some(proxy) = &*self.proxy.borrow() {
            layouts.extend(proxy.searched());
        }
        let serves = |shard: Shard| {
            let mut copies = layouts.iter().flat_map(|layout| layout.copies_of(shard));
            shards.contains(&shard) && copies.any(|copy| copy.node == node && copy.state.serves())
        };
        self.trace(|| format!("node {node} accepts write {number}"));
        for id in (0..DOCUMENTS).filter(|id| serves(shard(*id, self.shards))) {
            self.history.borrow_mut().accepted(number, id);
        }
    }

    /// The client is told so; later, once all that took the write have applied it, that it was applied.
    pub fn acknowledged(self: &Rc<Self>, number: usize, parts: Vec<(NodeIdx, u64)>) {
        self.history.borrow_mut().acknowledge(number);
        let wipes = self.wipes.borrow().clone();
        let world = Rc::clone(self);
        self.runtime.spawn(OUTSIDE, async move {
            let applied = |(node, uid): &(NodeIdx, u64)| {
                let at = usize::from(node.0);
                let nodes = world.nodes.borrow();
                nodes[at].has_applied(*uid)
                    || nodes[at].gone
                    || world.wipes.borrow()[at] != wipes[at]
            };
            while !parts.iter().all(applied) {
                world.runtime.sleep(10).await;
            }
            world.history.borrow_mut().done(number, world.runtime.now());
        });
    }
}
