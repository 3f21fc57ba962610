//! Moving data between nodes: repair, new copies, copies that go (DESIGN 9).
//!
//! What is to be done is never stored: the layouts say it, and the crate `movement` reads it from them. This job looks at
//! the layouts again and again (when a table is published, when a piece of work ends, and every second, for nodes that
//! come back) and starts what is not under way: fills (`fill.rs`) and deletions of what is left over (`delete.rs`). After
//! a crash it simply looks again.
//!
//! A few pieces run at a time, at most one for an index on a node, and those of different indexes take turns. What failed
//! waits before it is tried again, longer each time.

mod delete;
mod fill;
mod node;
mod outcomes;
mod pace;
mod verify;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use miroir_movement::{work, Fill, NodeState, Touched, Transition, Work};
use miroir_router::{CopyState, Layout, NodeIdx, Shard};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{timeout, Instant};

use crate::clock::{now, rfc3339, Nanos};
use crate::plane::Plane;
pub(crate) use pace::Pace;
pub(crate) use verify::{run_anti_entropy, Report};

/// Pieces of work at a time, over all indexes.
const RUNNING_MAX: usize = 3;
/// Shards of one fill: bounds what is listed at once, and what a failure costs.
const SHARDS_MAX: usize = 16;
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A request whose outcome nobody knows may still arrive at a node that has just come back: so long it is left alone.
const SETTLING: Duration = Duration::from_secs(2);
/// Writes wait no longer than this for the nodes to have applied what they accepted; what needs the lane gives up then,
/// and is tried again when there is less to do.
const LANE_MAX: Duration = Duration::from_secs(20);
/// Writes wait no longer than this for copies that may go.
const RETIRE_MAX: Duration = Duration::from_secs(2);
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What is being moved just now.
#[derive(Default)]
pub(crate) struct Movements {
    state: Mutex<State>,
    /// There may be something to do.
    pub wake: Notify,
    pub pace: Pace,
    /// Documents that fills have copied or deleted since the start.
    pub moved: AtomicU64,
    /// Held by the one comparison of copies that runs.
    verifying: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    next: u64,
    running: BTreeMap<u64, Running>,
    failures: HashMap<Place, Failure>,
    /// When a node last left a write's outcome open.
    unsure: HashMap<NodeIdx, Instant>,
    report: Option<Report>,
}

/// An index (by the nodes' name) on a node.
type Place = (String, NodeIdx);

struct Running {
    place: Place,
    piece: Piece,
    since: Nanos,
    done: u64,
    total: u64,
}

enum Piece {
    Fill(Fill),
    Delete(Vec<Shard>),
}

impl Piece {
    fn shards(&self) -> &[Shard] {
        match self {
            Piece::Fill(fill) => &fill.job().shards,
            Piece::Delete(shards) => shards,
        }
    }
}

struct Failure {
    times: u32,
    not_before: Instant,
    error: String,
    at: Nanos,
}

/// What moves, waits and failed, for people.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MovementsView {
    pub paused: bool,
    /// None: as fast as the nodes can.
    pub documents_per_second: Option<u64>,
    /// Documents that were copied or deleted since the start.
    pub documents_moved: u64,
    pub running: Vec<RunningView>,
    pub waiting: Vec<WaitingView>,
    pub failures: Vec<FailureView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunningView {
    /// `fill` or `delete`.
    pub kind: &'static str,
    pub index: String,
    pub shards: Vec<Shard>,
    pub source: Option<String>,
    pub target: String,
    pub phase: &'static str,
    /// Documents.
    pub done: u64,
    pub total: u64,
    pub since: String,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaitingView {
    /// `fill`, `delete` (perhaps once successors are filled), or `stuck`: no copy to fill from serves on a node that is up.
    pub kind: &'static str,
    pub index: String,
    pub shards: Vec<Shard>,
    pub target: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailureView {
    pub index: String,
    pub target: String,
    pub times: u32,
    pub last_error: String,
    pub at: String,
}

/// A running piece; dropping it ends its being known as running.
pub(super) struct Ticket {
    plane: Arc<Plane>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let movements = &self.plane.movements;
        movements.lock().running.remove(&self.number);
        movements.wake.notify_one();
    }
}

impl Ticket {
    /// Looks at, or moves, the fill of this ticket.
    fn fill<T>(&self, use_it: impl FnOnce(&mut Fill) -> T) -> Option<T> {
        match &mut self
            .plane
            .movements
            .lock()
            .running
            .get_mut(&self.number)?
            .piece
        {
            Piece::Fill(fill) => Some(use_it(fill)),
            Piece::Delete(_) => None,
        }
    }

    fn progress(&self, done: u64, total: u64) {
        if let Some(running) = self.plane.movements.lock().running.get_mut(&self.number) {
            (running.done, running.total) = (done, total);
        }
    }
}

impl Movements {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Entries change in single steps; a panic elsewhere leaves none half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write of the index, which still holds its turn, has touched these documents on some node, or may have.
    pub(crate) fn touch(&self, node_uid: &str, touched: &Touched) {
        let mut state = self.lock();
        fills(&mut state, node_uid).for_each(|fill| fill.touch(touched));
    }

    /// These copies are taken out of service; a request to them may still be on its way. A fill from one fails: filled anew
    /// meanwhile, it would look as if it had served all the time.
    pub(crate) fn doubt(&self, node_uid: &str, copies: &[(Shard, NodeIdx)]) {
        let mut state = self.lock();
        for (_, node) in copies {
            state.unsure.insert(*node, Instant::now());
            fills(&mut state, node_uid).for_each(|fill| fill.doubt(*node));
        }
    }

    /// Starts nothing new, and holds up what runs, except for what makes writes wait.
    pub(crate) fn pause(&self) {
        self.pace.pause();
    }

    pub(crate) fn resume(&self) {
        self.pace.resume();
        self.wake.notify_one();
    }

    /// At most so many documents a second are read or written, over all pieces of work; None: no limit.
    pub(crate) fn throttle(&self, documents_per_second: Option<u64>) {
        self.pace.throttle(documents_per_second);
    }

    /// Forgets that pieces failed: they are tried again at once.
    pub(crate) fn retry(&self) {
        self.lock().failures.clear();
        self.wake.notify_one();
    }
}

/// The fills of an index that run.
fn fills<'a>(state: &'a mut State, node_uid: &'a str) -> impl Iterator<Item = &'a mut Fill> {
    let running = state.running.values_mut();
    let of_index = running.filter(move |running| running.place.0 == node_uid);
    of_index.filter_map(|running| match &mut running.piece {
        Piece::Fill(fill) => Some(fill),
        Piece::Delete(_) => None,
    })
}

impl Plane {
    /// What moves, waits and failed.
    pub(crate) fn movements_view(&self) -> MovementsView {
        // It locks what is locked below.
        let waiting = self.waiting();
        let names = |node: NodeIdx| {
            self.node(node)
                .map_or_else(String::new, |node| node.id().to_owned())
        };
        let catalogue = self.catalogue();
        let index = |uid: &str| {
            catalogue
                .get(uid)
                .map_or(uid, |entry| &entry.name)
                .to_owned()
        };
        let state = self.movements.lock();
        let running = state.running.values().map(|running| {
            let (kind, shards, source, phase) = match &running.piece {
                Piece::Fill(fill) => {
                    let job = fill.job();
                    (
                        "fill",
                        job.shards.clone(),
                        Some(names(job.source)),
                        fill.phase(),
                    )
                }
                Piece::Delete(shards) => ("delete", shards.clone(), None, "deleting"),
            };
            RunningView {
                kind,
                index: index(&running.place.0),
                shards,
                source,
                target: names(running.place.1),
                phase,
                done: running.done,
                total: running.total,
                since: rfc3339(running.since),
            }
        });
        let failures = state
            .failures
            .iter()
            .map(|((uid, node), failure)| FailureView {
                index: index(uid),
                target: names(*node),
                times: failure.times,
                last_error: failure.error.clone(),
                at: rfc3339(failure.at),
            });
        MovementsView {
            paused: self.movements.pace.is_paused(),
            documents_per_second: self.movements.pace.limit(),
            documents_moved: self.movements.moved.load(Ordering::Relaxed),
            running: running.collect(),
            waiting,
            failures: failures.collect(),
        }
    }

    /// What the layouts ask for and nobody works on yet. Not [`work`], which says what can be done at this moment: also what
    /// waits for a node, or for something else to be done first.
    fn waiting(&self) -> Vec<WaitingView> {
        let mut waiting = Vec::new();
        for (node_uid, name, layout) in layouts(self) {
            let stuck = |shard: Shard| {
                let mut copies = layout.copies_of(shard).iter();
                let usable = |node: NodeIdx| node_state(self, node) == NodeState::Usable;
                !copies.any(|copy| copy.state.serves() && usable(copy.node))
            };
            let mut pieces: BTreeMap<(NodeIdx, &'static str), Vec<Shard>> = BTreeMap::new();
            for shard in layout.all_shards() {
                for copy in layout.copies_of(shard) {
                    let kind = match copy.state {
                        CopyState::InSync => continue,
                        CopyState::Leaving | CopyState::LeftOver => "delete",
                        CopyState::Joining | CopyState::OutOfSync if stuck(shard) => "stuck",
                        CopyState::Joining | CopyState::OutOfSync => "fill",
                    };
                    pieces.entry((copy.node, kind)).or_default().push(shard);
                }
            }
            let state = self.movements.lock();
            for ((node, kind), mut shards) in pieces {
                let place = (node_uid.clone(), node);
                let at_work = state
                    .running
                    .values()
                    .filter(|running| running.place == place);
                let taken: Vec<Shard> = at_work
                    .flat_map(|running| running.piece.shards().to_vec())
                    .collect();
                shards.retain(|shard| !taken.contains(shard));
                let target = self.node(node).filter(|_| !shards.is_empty());
                waiting.extend(target.map(|target| WaitingView {
                    kind,
                    index: name.clone(),
                    shards,
                    target: target.id().to_owned(),
                }));
            }
        }
        waiting
    }

    /// Changes the layout of one index, durably and then in the published table; an empty transition changes nothing.
    ///
    /// # Errors
    /// What `transition` refuses, or the store failed.
    pub(super) async fn transit(
        &self,
        node_uid: &str,
        transition: impl Fn(&Layout) -> Result<Transition, String>,
    ) -> Result<(), String> {
        let refused = Mutex::new(None);
        let change = |entry: &crate::catalogue::Entry| {
            if entry.node_uid != node_uid {
                return None;
            }
            match transition(&entry.layouts.published) {
                Ok(transition) if transition.is_empty() => None,
                Ok(transition) => Some(transition.apply(&entry.layouts.published)),
                Err(why) => {
                    *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                    None
                }
            }
        };
        self.change_layouts(change)
            .await
            .map_err(|error| error.message)?;
        let refused = refused.into_inner().unwrap_or_else(PoisonError::into_inner);
        refused.map_or(Ok(()), Err)
    }
}

/// Runs until the runtime stops.
pub(crate) async fn run(plane: Arc<Plane>) {
    let begun = Instant::now();
    loop {
        let _ = timeout(LOOK_AGAIN, plane.movements.wake.notified()).await;
        // What the last process left on its way may still arrive.
        if begun.elapsed() >= SETTLING && !plane.movements.pace.is_paused() {
            look(&plane).await;
        }
    }
}

/// One look at every layout.
async fn look(plane: &Arc<Plane>) {
    let mut by_turn: Vec<(usize, String, Work)> = Vec::new();
    for (node_uid, name, layout) in layouts(plane) {
        for (turn, piece) in work(&layout, |node| node_state(plane, node), SHARDS_MAX)
            .into_iter()
            .enumerate()
        {
            if let Work::Transition(_) = piece {
                if let Err(error) = retire(plane, &node_uid).await {
                    tracing::warn!(index = name, %error, "copies that may go stay for now");
                }
                continue;
            }
            by_turn.push((turn, node_uid.clone(), piece));
        }
    }
    // The first piece of each index, then the second of each.
    by_turn.sort_by_key(|(turn, ..)| *turn);
    for (_, node_uid, piece) in by_turn {
        start(plane, node_uid, piece);
    }
}

/// Changes states that need no work. In the lane: a write that is on its way counts on a copy that may go. What only that
/// one has may not go with it: those that stay have run every write. Where they are behind with writes, copies may stay
/// for a while; writes need not wait for that.
async fn retire(plane: &Arc<Plane>, node_uid: &str) -> Result<(), String> {
    let due = |layout: &Layout| Transition::due(layout, |node| node_state(plane, node));
    let staying = || -> Result<Vec<NodeIdx>, String> {
        let catalogue = plane.catalogue();
        let layout = catalogue
            .get(node_uid)
            .map(|entry| Arc::clone(&entry.layouts.published));
        drop(catalogue);
        let layout = layout.ok_or("the index is gone")?;
        let shards: BTreeSet<Shard> = due(&layout).moves.iter().map(|moved| moved.0).collect();
        let copies = shards.iter().flat_map(|shard| layout.copies_of(*shard));
        let staying = copies.filter(|copy| copy.state == CopyState::InSync);
        let nodes: BTreeSet<NodeIdx> = staying.map(|copy| copy.node).collect();
        let usable = |node: &NodeIdx| node_state(plane, *node) == NodeState::Usable;
        Ok(nodes.into_iter().filter(usable).collect())
    };
    if plane.are_behind(node_uid, &staying()?, RETIRE_MAX) {
        return Ok(());
    }
    let _hold = fill::take_lane(plane, node_uid).await?;
    let deadline = Instant::now() + RETIRE_MAX;
    plane.fared_well(node_uid, &staying()?, deadline).await?;
    plane.transit(node_uid, |layout| Ok(due(layout))).await
}

/// Of each index that is to be looked at: the nodes' name, the clients', where it lies.
fn layouts(plane: &Plane) -> Vec<(String, String, Arc<Layout>)> {
    let catalogue = plane.catalogue();
    let settled =
        |entry: &&crate::catalogue::Entry| entry.visible.is_some() && entry.planned.is_some();
    let entries = catalogue.iter().filter(settled);
    let layout = |entry: &crate::catalogue::Entry| {
        let layout = Arc::clone(&entry.layouts.published);
        (entry.node_uid.clone(), entry.name.clone(), layout)
    };
    entries.map(layout).collect()
}

fn node_state(plane: &Plane, node: NodeIdx) -> NodeState {
    let fleet = plane.fleet();
    let Some(client) = fleet
        .seats()
        .get(usize::from(node.0))
        .filter(|_| fleet.is_member(node))
    else {
        return NodeState::Gone;
    };
    let up = client.node.is_up();
    let settled = match plane.movements.lock().unsure.get_mut(&node) {
        None => true,
        // What was sent may wait in the buffers of a process that stands still: the time counts once it answers.
        Some(at) if !up => {
            *at = Instant::now();
            false
        }
        Some(at) => at.elapsed() >= SETTLING,
    };
    let settled = settled
        && client
            .since_given_up()
            .is_none_or(|since| since >= SETTLING);
    match up && settled {
        true => NodeState::Usable,
        false => NodeState::Down,
    }
}

/// Starts the piece, unless enough is running, its place is taken, or it failed a moment ago.
fn start(plane: &Arc<Plane>, node_uid: String, piece: Work) {
    let (place, piece) = match piece {
        Work::Fill(job) => ((node_uid, job.target), Piece::Fill(Fill::new(job))),
        Work::Delete { node, shards } => ((node_uid, node), Piece::Delete(shards)),
        Work::Transition(_) | Work::Stuck { .. } => return,
    };
    let mut state = plane.movements.lock();
    let taken = state.running.values().any(|running| running.place == place);
    let failed = state
        .failures
        .get(&place)
        .is_some_and(|failure| failure.not_before > Instant::now());
    if taken || failed || state.running.len() >= RUNNING_MAX {
        return;
    }
    let number = state.next;
    state.next += 1;
    let shards = match &piece {
        Piece::Fill(_) => None,
        Piece::Delete(shards) => Some(shards.clone()),
    };
    let running = Running {
        place: place.clone(),
        piece,
        since: now(),
        done: 0,
        total: 0,
    };
    state.running.insert(number, running);
    drop(state);
    let ticket = Ticket {
        plane: Arc::clone(plane),
        number,
    };
    tokio::spawn(async move {
        let (node_uid, node) = &place;
        let result = match shards {
            None => fill::run(&ticket, node_uid).await,
            Some(shards) => delete::run(&ticket.plane, node_uid, *node, &shards).await,
        };
        note(&ticket.plane, place, result);
    });
}

/// Takes note of how a piece ended.
fn note(plane: &Plane, place: Place, result: Result<(), String>) {
    let mut state = plane.movements.lock();
    let Err(error) = result else {
        state.failures.remove(&place);
        return;
    };
    tracing::warn!(index = place.0, node = place.1 .0, %error, "moving data failed; trying again");
    // A request of it may still be on its way.
    state.unsure.insert(place.1, Instant::now());
    let times = state
        .failures
        .get(&place)
        .map_or(1, |failure| failure.times.saturating_add(1));
    let pause = RETRY_MIN.saturating_mul(1 << times.min(10)).min(RETRY_MAX);
    let failure = Failure {
        times,
        not_before: Instant::now() + pause,
        error,
        at: now(),
    };
    state.failures.insert(place, failure);
}
