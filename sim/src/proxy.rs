//! The proxy: what of it has decisions to make is the shipped code; the rest is as little as can carry them.

mod executor;
mod health;
mod read;
mod verify;
mod write;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use miroir_movement::{Fill, NodeState, Transition};
use miroir_router::{CopyState, Layout, NodeIdx, Shard};

use crate::lane::Lane;
use crate::runtime::{Process, Time};
use crate::store::Store;
use crate::world::World;

pub use write::Told;

/// How long a node must have been answering, without a request whose outcome is unknown, before it is copied from or to:
/// what was given up has landed by then.
const SETTLE: Time = crate::network::LATE_MAX + 60;

/// What a crash loses.
pub struct Proxy {
    pub world: Rc<World>,
    pub process: Process,
    /// The newest layout, parts of which may not be durable yet.
    planned: RefCell<Rc<Layout>>,
    table: RefCell<Table>,
    /// Epoch -> requests that work on it.
    pins: RefCell<BTreeMap<u64, usize>>,
    pub lane: Rc<Lane>,
    nodes: RefCell<Vec<Seen>>,
    fills: RefCell<Vec<Rc<RefCell<Fill>>>>,
    /// Copies that a piece of work is about.
    busy: RefCell<BTreeSet<(NodeIdx, Shard)>>,
    /// Writes that have begun and not ended.
    open: Cell<usize>,
    pub verifying: Cell<bool>,
    pub verified: Cell<Time>,
}

#[derive(Clone)]
struct Table {
    epoch: u64,
    layout: Rc<Layout>,
}

/// A node as this process has seen it.
#[derive(Clone, Copy, Default)]
struct Seen {
    up: bool,
    /// Since when it answers, and nothing sent to it may still be on its way.
    steady_since: Option<Time>,
}

/// The table that a request works on.
pub struct Pinned {
    proxy: Weak<Proxy>,
    epoch: u64,
    layout: Rc<Layout>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let Some(proxy) = self.proxy.upgrade() else {
            return;
        };
        let mut pins = proxy.pins.borrow_mut();
        if let Some(count) = pins.get_mut(&self.epoch) {
            *count -= 1;
        }
        pins.retain(|_, count| *count > 0);
    }
}

impl Proxy {
    /// Starts a process on what is in the store.
    pub fn start(world: &Rc<World>, process: Process) -> Rc<Proxy> {
        let store = world.store.borrow().clone();
        let layout = Rc::new(store.layout);
        let proxy = Rc::new(Proxy {
            world: Rc::clone(world),
            process,
            planned: RefCell::new(Rc::clone(&layout)),
            table: RefCell::new(Table { epoch: 1, layout }),
            pins: RefCell::default(),
            lane: Rc::default(),
            nodes: RefCell::new(vec![Seen::default(); store.nodes.len()]),
            fills: RefCell::default(),
            busy: RefCell::default(),
            open: Cell::new(0),
            verifying: Cell::new(!store.clean && world.rules.verify_after_crash),
            verified: Cell::new(world.runtime.now()),
        });
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
        *self.pins.borrow_mut().entry(table.epoch).or_default() += 1;
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

    /// Changes the layout: in memory now, then in the store, then for requests.
    async fn change(
        &self,
        make: impl FnOnce(&Layout) -> Result<Layout, String>,
    ) -> Result<(), String> {
        let planned = self.planned.borrow().clone();
        let next = Rc::new(make(&planned)?);
        *self.planned.borrow_mut() = Rc::clone(&next);
        self.world.trace(|| format!("layout {}", shown(&next)));
        self.commit(move |store| store.layout = (*next).clone())
            .await;
        self.publish();
        Ok(())
    }

    async fn make(
        &self,
        make: impl FnOnce(&Layout) -> Result<Transition, String>,
    ) -> Result<(), String> {
        self.change(|layout| Ok(make(layout)?.apply(layout))).await
    }

    /// Copies that are not to be trusted any more. Durable, and out of service, when this resolves.
    async fn out_of_sync(&self, copies: &[(Shard, NodeIdx)]) {
        if !Transition::distrust(&self.planned.borrow(), copies).is_empty() {
            let _ = self
                .make(|layout| Ok(Transition::distrust(layout, copies)))
                .await;
        }
    }

    fn publish(&self) {
        let layout = Rc::new(self.world.store.borrow().layout.clone());
        self.world.trace(|| format!("published {}", shown(&layout)));
        self.world.published(&layout);
        let epoch = self.table.borrow().epoch + 1;
        *self.table.borrow_mut() = Table { epoch, layout };
    }

    pub fn layout(&self) -> Rc<Layout> {
        self.table.borrow().layout.clone()
    }

    /// Plans a layout anew from the node list in the store, which has been changed.
    pub async fn plan(&self) -> Result<(), String> {
        let spec = self.world.spec();
        self.change(|previous| {
            Layout::plan(&spec, Some(previous)).map_err(|error| error.to_string())
        })
        .await
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
        let layout = self.planned.borrow();
        let at_rest = layout
            .copies
            .iter()
            .flatten()
            .all(|copy| copy.state == CopyState::InSync);
        at_rest && self.busy.borrow().is_empty() && self.open.get() == 0 && !self.verifying.get()
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
