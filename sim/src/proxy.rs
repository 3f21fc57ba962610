//! The proxy: what of it has decisions to make is the shipped code; the rest is as little as can carry them.

mod executor;
mod health;
mod read;
mod verify;
mod write;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use miroir_movement::{Fill, Layouts, Mark, NodeState, Transition};
use miroir_router::{CopyState, Layout, LayoutSpec, NodeIdx, Shard, TaskCount};

use crate::lane::Lane;
use crate::runtime::{Process, Time};
use crate::store::Store;
use crate::world::World;

use crate::network::Lost;
use crate::node::{Answer, Request, Task};

pub use write::Told;

/// How long a node must have been answering, without a request whose outcome is unknown, before it is copied from or to:
/// what was given up has landed by then.
const SETTLE: Time = crate::network::LATE_MAX + 60;

/// What a crash loses.
pub struct Proxy {
    pub world: Rc<World>,
    pub process: Process,
    layouts: RefCell<Layouts>,
    /// Held by the one change of layouts that is on its way.
    relayout: Rc<Lane>,
    table: RefCell<Table>,
    /// Epoch -> requests that work on it, and its layout.
    pins: RefCell<BTreeMap<u64, (usize, Arc<Layout>)>>,
    pub lane: Rc<Lane>,
    nodes: RefCell<Vec<Seen>>,
    /// By node.
    tasks: RefCell<Vec<Rc<TaskCount>>>,
    fills: RefCell<Vec<Rc<RefCell<Fill>>>>,
    /// Nodes whose copies a piece of work is about.
    busy: RefCell<BTreeSet<NodeIdx>>,
    /// Writes that have begun and not ended.
    open: Cell<usize>,
    pub verifying: Cell<bool>,
    pub verified: Cell<Time>,
}

#[derive(Clone)]
struct Table {
    epoch: u64,
    layout: Arc<Layout>,
}

/// A node as this process has seen it.
#[derive(Clone, Copy, Default)]
struct Seen {
    up: bool,
    /// Since when it answers, and nothing sent to it may still be on its way.
    steady_since: Option<Time>,
    /// How often it was found to have lost what it was given.
    losses: u64,
}

impl Seen {
    fn lost(&mut self) {
        self.up = false;
        self.steady_since = None;
        self.losses += 1;
    }
}

/// The table that a request works on.
pub struct Pinned {
    proxy: Weak<Proxy>,
    epoch: u64,
    layout: Arc<Layout>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let Some(proxy) = self.proxy.upgrade() else {
            return;
        };
        let mut pins = proxy.pins.borrow_mut();
        if let Some(count) = pins.get_mut(&self.epoch) {
            count.0 -= 1;
        }
        pins.retain(|_, (count, _)| *count > 0);
    }
}

impl Proxy {
    /// Starts a process on what is in the store.
    pub fn start(world: &Rc<World>, process: Process) -> Rc<Proxy> {
        let store = world.store.borrow().clone();
        let layout = store.layout();
        let proxy = Rc::new(Proxy {
            world: Rc::clone(world),
            process,
            layouts: RefCell::new(Layouts::new(layout)),
            relayout: Rc::default(),
            table: RefCell::new(Table {
                epoch: 0,
                layout: store.body,
            }),
            pins: RefCell::default(),
            lane: Rc::default(),
            nodes: RefCell::default(),
            tasks: RefCell::default(),
            fills: RefCell::default(),
            busy: RefCell::default(),
            open: Cell::new(0),
            verifying: Cell::new(!store.clean && world.rules.verify),
            verified: Cell::new(world.runtime.now()),
        });
        proxy.publish();
        for node in 0..store.nodes.len() {
            proxy.watch(NodeIdx(node as u16));
        }
        let executor = Rc::clone(&proxy);
        proxy.spawn(async move { executor.execute().await });
        proxy
    }

    pub fn spawn(&self, job: impl std::future::Future<Output = ()> + 'static) {
        self.world.runtime.spawn(self.process, job);
    }

    pub fn pin(self: &Rc<Self>) -> Pinned {
        let table = self.table.borrow().clone();
        let mut pins = self.pins.borrow_mut();
        let pinned = pins
            .entry(table.epoch)
            .or_insert_with(|| (0, Arc::clone(&table.layout)));
        pinned.0 += 1;
        Pinned {
            proxy: Rc::downgrade(self),
            epoch: table.epoch,
            layout: table.layout,
        }
    }

    /// Waits until no request works on an older table than the one published now.
    async fn grace_period(&self) {
        let epoch = self.table.borrow().epoch;
        while self.pins.borrow().keys().any(|older| *older < epoch) {
            self.world.runtime.sleep(2).await;
        }
    }

    /// A transaction. What it does is decided now and durable when this resolves; transactions keep their order.
    async fn commit(&self, change: impl FnOnce(&mut Store) + 'static) {
        self.world.may_crash().await;
        self.world.commit(self.process, change).await;
        self.world.may_crash().await;
    }

    /// Changes the layout: on disk first, then for requests (`control/src/layouts.rs`).
    async fn change(
        &self,
        make: impl FnOnce(&Layout) -> Result<Layout, String>,
    ) -> Result<(), String> {
        let _one_at_a_time = self.relayout.take(true).await;
        let published = Arc::clone(&self.layouts.borrow().published);
        let next = Arc::new(make(&published)?);
        if next != published {
            self.replace_layout(next, |_| ()).await;
        }
        Ok(())
    }

    /// Stages a layout, stores it with what else is to be stored, and shows it. The caller holds `relayout`.
    async fn replace_layout(&self, next: Arc<Layout>, also: impl FnOnce(&mut Store) + 'static) {
        self.world.trace(|| format!("layout {}", shown(&next)));
        self.layouts.borrow_mut().stage(Arc::clone(&next));
        let counted: Vec<Option<u32>> = {
            let tasks = self.tasks.borrow();
            tasks.iter().map(|tasks| tasks.newest()).collect()
        };
        self.commit(move |store| {
            // What fills and deletions had nodes do is in no acknowledged write.
            for (row, counted) in store.nodes.iter_mut().zip(counted) {
                row.last_uid = counted.map_or(row.last_uid, u64::from);
            }
            store.body = next;
            store.marks.clear();
            also(store);
        })
        .await;
        self.layouts.borrow_mut().show();
        self.publish();
    }

    async fn make(
        &self,
        make: impl FnOnce(&Layout) -> Result<Transition, String>,
    ) -> Result<(), String> {
        self.change(|layout| Ok(make(layout)?.apply(layout))).await
    }

    /// Copies that are not to be trusted any more: out of service now. Returns what is to be stored.
    fn distrust(&self, copies: &[(Shard, NodeIdx)]) -> Vec<Mark> {
        let marks = self.layouts.borrow_mut().distrust(copies);
        if !marks.is_empty() {
            self.publish();
        }
        marks
    }

    /// The same, and durable when this resolves.
    async fn out_of_sync(&self, copies: &[(Shard, NodeIdx)]) {
        let marks = self.distrust(copies);
        if !marks.is_empty() {
            self.commit(move |store| store.marks.extend(marks)).await;
        }
    }

    /// The layout as requests see it.
    fn shown(&self) -> Arc<Layout> {
        let layouts = self.layouts.borrow();
        match self.world.rules.opened {
            true => layouts.shown(),
            false => Arc::clone(&layouts.published),
        }
    }

    fn publish(&self) {
        let layout = self.shown();
        self.world.trace(|| format!("published {}", shown(&layout)));
        self.world.published(&layout);
        let epoch = self.table.borrow().epoch + 1;
        *self.table.borrow_mut() = Table { epoch, layout };
    }

    /// The layouts by which requests may still ask copies.
    pub fn searched(&self) -> Vec<Arc<Layout>> {
        let pins = self.pins.borrow();
        let pinned = pins.values().map(|(_, layout)| Arc::clone(layout));
        pinned.chain([self.layout()]).collect()
    }

    /// What the work on copies goes by.
    pub fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.layouts.borrow().published)
    }

    /// Changes the node list, and the layout with it.
    ///
    /// # Errors
    /// Such a fleet cannot hold its copies.
    pub async fn change_fleet(
        self: &Rc<Self>,
        change: impl FnOnce(&mut LayoutSpec),
    ) -> Result<(), String> {
        let _one_at_a_time = self.relayout.take(true).await;
        let published = self.layout();
        let mut spec = self.world.spec();
        change(&mut spec);
        let next = Layout::plan(&spec, Some(&published)).map_err(|error| error.to_string())?;
        let world = Rc::clone(&self.world);
        let (known, nodes) = (published.nodes.len(), next.nodes.len());
        let stored = move |store: &mut Store| world.fleet_stored(store, spec);
        self.replace_layout(Arc::new(next), stored).await;
        (known..nodes).for_each(|node| self.watch(NodeIdx(node as u16)));
        Ok(())
    }

    /// An operator gives up what these copies lack.
    pub async fn trust(self: &Rc<Self>, copies: Vec<(Shard, NodeIdx)>) -> Result<(), String> {
        let _one_at_a_time = self.relayout.take(true).await;
        let trusted = Transition::trust(&self.layout(), &copies).apply(&self.layout());
        // A copy that was leaving may be the one: the plan is made anew.
        let next =
            Layout::plan(&self.world.spec(), Some(&trusted)).map_err(|error| error.to_string())?;
        self.replace_layout(Arc::new(next), |_| ()).await;
        Ok(())
    }

    /// Whether a change of layouts is on its way.
    pub fn is_relayouting(&self) -> bool {
        !self.relayout.is_free()
    }

    /// Sends a task; false beside its number: the node counts anew.
    async fn enqueue(
        &self,
        node: NodeIdx,
        task: Task,
        deadline: Time,
    ) -> Result<(bool, u64), Lost> {
        let tasks = Rc::clone(&self.tasks.borrow()[usize::from(node.0)]);
        let counted = tasks.so_far();
        let request = Request::Enqueue(task);
        match self.world.call(node, request, deadline).await? {
            Answer::Accepted(uid) => {
                let goes_on = tasks.note(uid as u32, counted);
                Ok((goes_on || !self.world.rules.counts, uid))
            }
            _ => Err(Lost::Unknown),
        }
    }

    fn usable(&self, node: NodeIdx) -> bool {
        let nodes = self.nodes.borrow();
        nodes.get(usize::from(node.0)).is_some_and(|node| node.up)
    }

    /// A node as the work on layouts sees it.
    fn state(&self, node: NodeIdx) -> NodeState {
        if self.world.store.borrow().nodes[usize::from(node.0)].gone {
            return NodeState::Gone;
        }
        let seen = self.nodes.borrow()[usize::from(node.0)];
        let settle = if self.world.rules.settle { SETTLE } else { 0 };
        let now = self.world.runtime.now();
        match seen.steady_since {
            Some(since) if seen.up && now - since >= settle => NodeState::Usable,
            _ => NodeState::Down,
        }
    }

    /// A request to this node may still be on its way: fills that it takes part in have failed.
    fn unsure_of(&self, node: NodeIdx) {
        if let Some(seen) = self.nodes.borrow_mut().get_mut(usize::from(node.0)) {
            seen.steady_since = None;
        }
        if !self.world.rules.settle {
            return;
        }
        for fill in self.fills.borrow().iter() {
            fill.borrow_mut().doubt(node);
        }
    }

    /// Nothing moves, nothing is to be moved, and nobody is being written to.
    pub fn is_idle(&self) -> bool {
        let layouts = self.layouts.borrow();
        let at_rest = layouts
            .published
            .copies
            .iter()
            .flatten()
            .all(|copy| copy.state == CopyState::InSync);
        at_rest
            && layouts.coming.is_none()
            && self.busy.borrow().is_empty()
            && self.open.get() == 0
            && !self.verifying.get()
    }
}

/// A layout in a line: per shard node and state.
pub fn shown(layout: &Layout) -> String {
    let state = |state| match state {
        CopyState::InSync => "+",
        CopyState::Joining => "j",
        CopyState::Leaving => "l",
        CopyState::OutOfSync => "-",
        CopyState::LeftOver => "o",
    };
    let shards = layout.copies.iter().map(|copies| {
        let copies = copies
            .iter()
            .map(|copy| format!("{}{}", copy.node, state(copy.state)));
        copies.collect::<Vec<_>>().join(" ")
    });
    format!(
        "v{} {}",
        layout.version,
        shards.collect::<Vec<_>>().join(" | ")
    )
}
