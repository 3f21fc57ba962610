//! Which nodes hold a shard: planned once, then stored as a version, never recomputed for a request.
//!
//! A layout is the answer to "where is shard 7", including copies that are on their way in or out. It is a value: the
//! control plane stores it, publishes it inside a [`crate::RoutingTable`] and makes the next one out of it. How it is
//! planned is in `layout/planner.rs`.

mod balance;
mod planner;
mod rendezvous;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::plan::ReadTarget;
use crate::shard::{NodeIdx, Shard, SHARDS_MAX};

/// Where a copy of a shard is in its life (DESIGN 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// Gets writes and is being filled; not asked.
    Joining,
    /// Complete: serves.
    InSync,
    /// Complete, serves until its successor is in sync, then goes.
    Leaving,
    /// Missed a write: gets further writes, is not asked, is to be repaired.
    OutOfSync,
    /// No copy any more: gets no writes, is not asked. What is left of its documents is still on the node, so a search
    /// of the node's other shards needs a filter until they are deleted.
    LeftOver,
}

impl CopyState {
    /// Whether searches may ask this copy.
    pub fn serves(self) -> bool {
        matches!(self, CopyState::InSync | CopyState::Leaving)
    }

    /// Whether writes go to this copy.
    pub fn takes_writes(self) -> bool {
        !matches!(self, CopyState::LeftOver)
    }

    /// Whether the copy is to be made equal to one that serves.
    pub fn needs_filling(self) -> bool {
        matches!(self, CopyState::Joining | CopyState::OutOfSync)
    }
}

/// One copy of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Placement {
    pub node: NodeIdx,
    pub state: CopyState,
}

/// A node as the planner sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LayoutNode {
    pub id: String,
    /// The replica group, from 0.
    pub group: u16,
    /// Its share of its group's copies, relative to the other nodes of the group. 0 empties the node.
    pub weight: u32,
    /// What fails together: copies of a shard go to different zones where possible. None: the node is its own zone.
    pub zone: Option<String>,
}

/// What a layout shall look like.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LayoutSpec {
    /// From 1 to [`SHARDS_MAX`]; cannot change for an index that has documents.
    pub shards: u16,
    /// Copies of a shard in each group, from 1.
    pub replication_factor: u8,
    /// Groups that each hold the whole index, from 1.
    pub replica_groups: u16,
    pub nodes: Vec<LayoutNode>,
}

/// Which nodes hold which shard, and in what state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Layout {
    /// Grows by one with each plan.
    pub version: u64,
    pub shards: u16,
    pub replication_factor: u8,
    pub replica_groups: u16,
    pub nodes: Vec<LayoutNode>,
    /// By shard; group by group, inside a group in the order of preference.
    pub copies: Vec<SmallVec<[Placement; 4]>>,
}

impl Layout {
    /// Places `replication_factor` copies of each shard in each group.
    ///
    /// Inside a group a weighted rendezvous hash gives each shard its order of preference; then each node is brought
    /// to within one copy of its weighted fair share, moving as few copies as possible away from `previous`. Copies of
    /// a shard are on different nodes, and in different zones where the shares allow it. The result depends on nothing
    /// but the arguments.
    ///
    /// Without `previous` every copy is in sync (there is nothing to copy yet). With it, the result is one that may be
    /// published at once: copies that stay keep their state, new ones are joining, and complete ones that are to go are
    /// leaving; incomplete ones that are to go are left over.
    ///
    /// # Errors
    /// When the specification cannot be met; the message says what to change.
    pub fn plan(spec: &LayoutSpec, previous: Option<&Layout>) -> Result<Layout, LayoutError> {
        planner::plan(spec, previous)
    }

    /// The copies of a shard; none for a shard that the layout does not have.
    pub fn copies_of(&self, shard: Shard) -> &[Placement] {
        self.copies
            .get(usize::from(shard.0))
            .map_or(&[], |copies| copies)
    }

    /// Whether some shard has several copies, so that one must be picked.
    pub fn has_choice(&self) -> bool {
        self.copies.iter().any(|copies| copies.len() > 1)
    }

    /// The shards that a node holds a copy of, in whatever state, ascending.
    pub fn shards_of(&self, node: NodeIdx) -> Vec<Shard> {
        self.all_shards()
            .filter(|shard| self.copies_of(*shard).iter().any(|copy| copy.node == node))
            .collect()
    }

    /// The shards of which a node holds a copy that serves, ascending.
    pub fn serving_on(&self, node: NodeIdx) -> Vec<Shard> {
        let serves = |shard: &Shard| {
            self.copies_of(*shard)
                .iter()
                .any(|copy| copy.node == node && copy.state.serves())
        };
        self.all_shards().filter(serves).collect()
    }

    /// Whether every copy that is asked there still serves: the answer of one that was taken out of service since may be
    /// older or newer than any copy should be, or come from an emptied node.
    pub fn serves_all(&self, target: &ReadTarget) -> bool {
        target.shards.iter().all(|shard| {
            let mut copies = self.copies_of(*shard).iter();
            copies.any(|copy| copy.node == target.node && copy.state.serves())
        })
    }

    /// Every shard, ascending.
    pub fn all_shards(&self) -> impl Iterator<Item = Shard> {
        (0..self.shards).map(Shard)
    }

    /// This layout with one copy in another state; the copy is added where the node has none. The version stays.
    pub fn with_state(&self, shard: Shard, node: NodeIdx, state: CopyState) -> Layout {
        let mut layout = self.clone();
        if let Some(copies) = layout.copies.get_mut(usize::from(shard.0)) {
            match copies.iter_mut().find(|copy| copy.node == node) {
                Some(copy) => copy.state = state,
                None => copies.push(Placement { node, state }),
            }
        }
        layout
    }

    /// This layout without one copy: the end of a copy that was leaving. The version stays.
    pub fn without_copy(&self, shard: Shard, node: NodeIdx) -> Layout {
        let mut layout = self.clone();
        if let Some(copies) = layout.copies.get_mut(usize::from(shard.0)) {
            copies.retain(|copy| copy.node != node);
        }
        layout
    }

    /// Whether any copy is being filled or repaired, or is to be.
    pub fn needs_filling(&self) -> bool {
        let mut copies = self.copies.iter().flatten();
        copies.any(|copy| copy.state.needs_filling())
    }

    /// Whether every shard has one copy only that takes writes.
    pub fn writes_once(&self) -> bool {
        let writers = |copies: &SmallVec<[Placement; 4]>| {
            let writers = copies.iter().filter(|copy| copy.state.takes_writes());
            writers.count()
        };
        self.copies.iter().all(|copies| writers(copies) <= 1)
    }

    /// This layout over a longer list of nodes: positions keep their meaning, new ones hold nothing yet. The version stays.
    pub fn with_nodes(&self, nodes: Vec<LayoutNode>) -> Layout {
        Layout {
            nodes,
            ..self.clone()
        }
    }

    /// This layout once nothing is moving any more, for an index without documents: there is nothing to copy.
    pub fn settled(&self) -> Layout {
        let mut layout = self.clone();
        for copies in &mut layout.copies {
            copies.retain(|copy| {
                matches!(
                    copy.state,
                    CopyState::InSync | CopyState::Joining | CopyState::OutOfSync
                )
            });
            copies
                .iter_mut()
                .for_each(|copy| copy.state = CopyState::InSync);
        }
        layout
    }

    /// How many copies of a shard there are when nothing is moving.
    pub fn copies_per_shard(&self) -> usize {
        usize::from(self.replication_factor) * usize::from(self.replica_groups)
    }

    /// The replica group of a node of this layout.
    pub fn group_of(&self, node: NodeIdx) -> Option<u16> {
        self.nodes.get(usize::from(node.0)).map(|node| node.group)
    }
}

/// Why a layout cannot be planned, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("`shards` is {shards}: choose a number from 1 to {SHARDS_MAX}")]
    Shards { shards: u16 },
    #[error("`shards` is {wanted} but the index is laid out in {existing}: the number of shards of an index with documents cannot change; keep {existing}")]
    ShardsChanged { wanted: u16, existing: u16 },
    #[error("`replication_factor` is 0: choose at least 1")]
    NoReplicas,
    #[error("`replica_groups` is 0: choose at least 1")]
    NoGroups,
    #[error("{count} nodes are more than the {max} that a layout can hold: remove some")]
    TooManyNodes { count: usize, max: usize },
    #[error("two nodes have the id `{id}`: give each node an id of its own")]
    DuplicateId { id: String },
    #[error("node `{id}` is in replica group {group}, but `replica_groups` is {groups}: use a group from 0 to {}, or raise `replica_groups`", groups - 1)]
    UnknownGroup { id: String, group: u16, groups: u16 },
    #[error("replica group {group} has no node with a weight above 0: add a node with `replica_group: {group}`, or lower `replica_groups`")]
    EmptyGroup { group: u16 },
    #[error("`replication_factor` is {replication_factor} but replica group {group} has only {nodes} node(s): add {} node(s) to the group, or lower `replication_factor` to {nodes}", usize::from(*replication_factor) - nodes)]
    TooFewNodes {
        group: u16,
        nodes: usize,
        replication_factor: u8,
    },
    #[error("without node(s) {} no copy of {} shard(s) would be left (the first is shard {}): set their weight to 0 and let them empty before you remove them", ids.join(", "), shards.len(), shards.first().map_or(0, |s| s.0))]
    LastCopies {
        ids: Vec<String>,
        shards: Vec<Shard>,
    },
}
