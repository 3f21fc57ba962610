//! Changes of copy states, computed from a layout and made true by one store transaction and one publication.

use miroir_router::{CopyState, Layout, NodeIdx, Shard};

use crate::fill::Job;
use crate::work::NodeState;

/// One copy's change: its new state, or None where it is dropped from the layout.
pub type Moved = (Shard, NodeIdx, Option<CopyState>);

/// What changes together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transition {
    /// Each copy once.
    pub moves: Vec<Moved>,
}

impl Transition {
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// The layout after it; the version stays.
    pub fn apply(&self, layout: &Layout) -> Layout {
        let changed = |layout: Layout, (shard, node, state): &Moved| match state {
            Some(state) => layout.with_state(*shard, *node, *state),
            None => layout.without_copy(*shard, *node),
        };
        self.moves.iter().fold(layout.clone(), changed)
    }

    /// The end of a fill: its target's copies are in sync. What was leaving for their sake is [`Transition::due`] to go.
    ///
    /// # Errors
    /// When the job no longer fits the layout: another version, a source that no longer serves, a target that is no
    /// longer to be filled. The fill has failed then.
    pub fn switch(layout: &Layout, job: &Job) -> Result<Transition, String> {
        if layout.version != job.layout_version {
            return Err(format!("the layout is version {} by now", layout.version));
        }
        let state_of = |shard: Shard, node: NodeIdx| {
            let copies = layout.copies_of(shard).iter();
            let mut of_node = copies.filter(|copy| copy.node == node);
            of_node.next().map(|copy| copy.state)
        };
        for shard in &job.shards {
            if !state_of(*shard, job.source).is_some_and(CopyState::serves) {
                return Err(format!("the source lost its copy of shard {shard}"));
            }
            if !state_of(*shard, job.target).is_some_and(CopyState::needs_filling) {
                return Err(format!("the copy of shard {shard} is not to be filled"));
            }
        }
        let filled = job
            .shards
            .iter()
            .map(|shard| (*shard, job.target, Some(CopyState::InSync)));
        Ok(Transition {
            moves: filled.collect(),
        })
    }

    /// What needs no work but a change of states: leaving copies that may go, copies on nodes that are gone.
    pub fn due(layout: &Layout, state: impl Fn(NodeIdx) -> NodeState) -> Transition {
        let mut due = Transition::gone(layout, &state);
        due.moves
            .extend(Transition::retire(&due.apply(layout), &state).moves);
        due
    }

    /// Leaving copies whose successors are complete: they are left over.
    ///
    /// A copy's successors are in its group. Where the group itself goes, every other group must be complete. Copies on
    /// nodes that are down do not count: the one that leaves may be the only one that answers.
    pub fn retire(layout: &Layout, state: impl Fn(NodeIdx) -> NodeState) -> Transition {
        let in_sync = |shard: Shard, group: u16| {
            let copies = layout.copies_of(shard).iter();
            let in_group = copies.filter(|copy| layout.group_of(copy.node) == Some(group));
            let complete = in_group.filter(|copy| {
                copy.state == CopyState::InSync && state(copy.node) == NodeState::Usable
            });
            complete.count()
        };
        let complete = |shard: Shard, group: u16| {
            in_sync(shard, group) >= usize::from(layout.replication_factor)
        };
        let may_go = |shard: Shard, node: NodeIdx| match layout.group_of(node) {
            Some(group) if group < layout.replica_groups => complete(shard, group),
            _ => (0..layout.replica_groups).all(|group| complete(shard, group)),
        };
        let mut moves = Vec::new();
        for shard in layout.all_shards() {
            for copy in layout.copies_of(shard) {
                if copy.state == CopyState::Leaving && may_go(shard, copy.node) {
                    moves.push((shard, copy.node, Some(CopyState::LeftOver)));
                }
            }
        }
        Transition { moves }
    }

    /// Copies that missed a write, differ from the others, or lost their data: they do not serve any more.
    ///
    /// One that is to be filled anyway stays as it is: it does not count towards a quorum as one that was complete
    /// does. One that is leaving needs no repair: it is left over, unless no other copy would serve, so that what only it
    /// has is not deleted.
    pub fn distrust(layout: &Layout, copies: &[(Shard, NodeIdx)]) -> Transition {
        let distrusted = |shard: Shard, node: NodeIdx| copies.contains(&(shard, node));
        let served_elsewhere = |shard: Shard| {
            let mut copies = layout.copies_of(shard).iter();
            copies.any(|copy| copy.state.serves() && !distrusted(shard, copy.node))
        };
        let mut moves = Vec::new();
        for shard in layout.all_shards() {
            let copies = layout.copies_of(shard).iter();
            for copy in copies.filter(|copy| distrusted(shard, copy.node) && copy.state.serves()) {
                let state = match copy.state {
                    CopyState::Leaving if served_elsewhere(shard) => CopyState::LeftOver,
                    _ => CopyState::OutOfSync,
                };
                moves.push((shard, copy.node, Some(state)));
            }
        }
        Transition { moves }
    }

    /// A node that went back in time may hold documents of shards that it has no copy of any more: they are left over, so
    /// that searches of its other shards leave them out, until they are deleted.
    pub fn brought_back(layout: &Layout, node: NodeIdx) -> Transition {
        let held = layout.shards_of(node);
        let others = layout
            .all_shards()
            .filter(|shard| held.binary_search(shard).is_err());
        Transition {
            moves: others
                .map(|shard| (shard, node, Some(CopyState::LeftOver)))
                .collect(),
        }
    }

    /// Of shards of which no copy serves, these copies count from now on, whatever they missed. Only who knows that nothing
    /// better will come back may ask for it.
    pub fn trust(layout: &Layout, copies: &[(Shard, NodeIdx)]) -> Transition {
        let is_unserved = |shard: Shard| {
            let mut copies = layout.copies_of(shard).iter();
            !copies.any(|copy| copy.state.serves())
        };
        let is_there = |shard: Shard, node: NodeIdx| {
            let mut copies = layout.copies_of(shard).iter();
            copies.any(|copy| copy.node == node)
        };
        let trusted = copies
            .iter()
            .filter(|(shard, node)| is_unserved(*shard) && is_there(*shard, *node));
        Transition {
            moves: trusted
                .map(|(shard, node)| (*shard, *node, Some(CopyState::InSync)))
                .collect(),
        }
    }

    /// Copies that were deleted from their node, and are still left over.
    pub fn deleted(layout: &Layout, node: NodeIdx, shards: &[Shard]) -> Transition {
        let still = |shard: &&Shard| {
            let mut copies = layout.copies_of(**shard).iter();
            copies.any(|copy| copy.node == node && copy.state == CopyState::LeftOver)
        };
        let dropped = shards.iter().filter(still);
        Transition {
            moves: dropped.map(|shard| (*shard, node, None)).collect(),
        }
    }

    /// Copies on nodes that are gone for good, except for the last one of a shard that served: who gives that up says
    /// so.
    pub fn gone(layout: &Layout, state: impl Fn(NodeIdx) -> NodeState) -> Transition {
        let gone = |node: NodeIdx| state(node) == NodeState::Gone;
        let mut moves = Vec::new();
        for shard in layout.all_shards() {
            let copies = layout.copies_of(shard);
            let served_elsewhere = copies
                .iter()
                .any(|copy| copy.state.serves() && !gone(copy.node));
            let lost = copies
                .iter()
                .filter(|copy| gone(copy.node) && (served_elsewhere || !copy.state.serves()));
            moves.extend(lost.map(|copy| (shard, copy.node, None)));
        }
        Transition { moves }
    }
}
