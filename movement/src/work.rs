//! What a layout needs next.

use std::collections::BTreeMap;

use miroir_router::{CopyState, Layout, NodeIdx, Shard};

use crate::fill::Job;
use crate::transition::Transition;

/// A node as far as moving data goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeState {
    /// Can be read from and written to, holds what it is said to hold, and has settled: it has been answering for some
    /// seconds since the last request that changes something and was given up, and since this process began. What was
    /// given up can still lie in the buffers of a process that stood still, and would land on top of a filled copy.
    Usable,
    /// Not just now.
    Down,
    /// Removed from the fleet: it will not come back under this position.
    Gone,
}

/// One piece of work. Pieces of one answer of [`work`] touch different copies, except that a source may serve several
/// fills.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// [`Transition::due`] of the newest layout, to be made true while the index's lane is held alone: a write that is
    /// on its way counts on the copies that served when it began, and must find them when it records who missed it.
    Transition(Transition),
    /// Copies that are to be filled, to be carried out by [`crate::Fill`].
    Fill(Job),
    /// Documents of copies that are left over, of shards that others serve: what is left over of a lost shard may be the
    /// best that there is of it ([`Transition::trust`]). To be carried out in this order: wait until no request works on a table
    /// older than the one published now; delete the documents of these shards from the node (by the shard field); wait
    /// until the node has applied that; make [`Transition::deleted`] of the layout of that moment true. No fill of these
    /// copies may begin before a deletion that was begun has ended.
    Delete { node: NodeIdx, shards: Vec<Shard> },
    /// Copies that are to be filled when no copy of theirs serves on a usable node: nothing to do but wait, or to give
    /// up what only they had.
    Stuck { node: NodeIdx, shards: Vec<Shard> },
}

/// What the *published* layout needs next (one that is on its way to the store is not what requests go by: a grace period
/// would wait for the wrong ones), in the order in which it is best done; nothing when every copy is in sync and on its
/// place, or when nodes must come back first.
///
/// A fill has `shards_max` shards at most (at least 1): what bounds its memory and what a failure costs.
pub fn work(layout: &Layout, state: impl Fn(NodeIdx) -> NodeState, shards_max: usize) -> Vec<Work> {
    let due = Transition::due(layout, &state);
    if !due.is_empty() {
        // The rest follows from the layout after it.
        return vec![Work::Transition(due)];
    }
    let usable = |node: NodeIdx| state(node) == NodeState::Usable;
    let served = |shard: Shard| {
        let mut copies = layout.copies_of(shard).iter();
        copies.any(|copy| copy.state.serves() && usable(copy.node))
    };
    let mut fills: BTreeMap<(NodeIdx, NodeIdx), Vec<Shard>> = BTreeMap::new();
    let mut left_over: BTreeMap<NodeIdx, Vec<Shard>> = BTreeMap::new();
    let mut stuck: BTreeMap<NodeIdx, Vec<Shard>> = BTreeMap::new();
    for shard in layout.all_shards() {
        for copy in layout
            .copies_of(shard)
            .iter()
            .filter(|copy| usable(copy.node))
        {
            if copy.state == CopyState::LeftOver && served(shard) {
                left_over.entry(copy.node).or_default().push(shard);
            }
            if !copy.state.needs_filling() {
                continue;
            }
            match source(layout, shard, copy.node, usable) {
                Some(source) => fills.entry((copy.node, source)).or_default().push(shard),
                None => stuck.entry(copy.node).or_default().push(shard),
            }
        }
    }
    let fills = fills.into_iter().flat_map(|((target, source), shards)| {
        let jobs = shards.chunks(shards_max.max(1)).map(|shards| Job {
            layout_version: layout.version,
            source,
            target,
            shards: shards.to_vec(),
        });
        jobs.map(Work::Fill).collect::<Vec<_>>()
    });
    let deletions = left_over
        .into_iter()
        .map(|(node, shards)| Work::Delete { node, shards });
    let stuck = stuck
        .into_iter()
        .map(|(node, shards)| Work::Stuck { node, shards });
    fills.chain(deletions).chain(stuck).collect()
}

/// Where to copy a shard from: a copy that serves, of the target's group where there is one, and rather one that is
/// leaving, which has less to do.
fn source(
    layout: &Layout,
    shard: Shard,
    target: NodeIdx,
    usable: impl Fn(NodeIdx) -> bool,
) -> Option<NodeIdx> {
    let group = layout.group_of(target);
    let serving = layout
        .copies_of(shard)
        .iter()
        .filter(|copy| copy.state.serves() && copy.node != target && usable(copy.node));
    let best = serving.min_by_key(|copy| {
        (
            layout.group_of(copy.node) != group,
            copy.state != CopyState::Leaving,
        )
    });
    best.map(|copy| copy.node)
}
