//! Who gets a write, and whether enough of them took it (DESIGN 8).

use smallvec::SmallVec;

use crate::layout::Layout;
use crate::shard::{NodeIdx, Shard};

/// A node and the shards of a write that it holds copies of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteTarget {
    pub node: NodeIdx,
    /// Ascending.
    pub shards: SmallVec<[Shard; 16]>,
}

/// Every copy of the shards that takes writes, grouped by node; nodes ascend.
pub fn write_plan(layout: &Layout, shards: &[Shard]) -> SmallVec<[WriteTarget; 8]> {
    let mut shards: SmallVec<[Shard; 16]> = SmallVec::from_slice(shards);
    shards.sort_unstable();
    shards.dedup();
    let mut targets: SmallVec<[WriteTarget; 8]> = SmallVec::new();
    for shard in shards {
        for copy in layout
            .copies_of(shard)
            .iter()
            .filter(|copy| copy.state.takes_writes())
        {
            match targets.iter_mut().find(|target| target.node == copy.node) {
                Some(target) => target.shards.push(shard),
                None => targets.push(WriteTarget {
                    node: copy.node,
                    shards: SmallVec::from_slice(&[shard]),
                }),
            }
        }
    }
    targets.sort_by_key(|target| target.node);
    targets
}

/// Whether a write counts as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Every shard has its quorum. The copies that missed the write are out of sync, and must be recorded as such
    /// before the client is answered.
    Accepted { missed: Vec<(Shard, NodeIdx)> },
    /// These shards, ascending, have none.
    NoQuorum { shards: Vec<Shard> },
}

/// Judges a write that was sent to `targets`; `took` says of each, in the same order, whether it accepted (no answer
/// counts as no).
///
/// A shard has its quorum when, in at least one group, floor(RF/2)+1 copies took the write. Only copies that serve are
/// counted: one that is being filled or repaired cannot be the only one to know of a write.
pub fn judge(layout: &Layout, targets: &[WriteTarget], took: &[bool]) -> Verdict {
    let quorum = usize::from(layout.replication_factor) / 2 + 1;
    let mut asked: Vec<(Shard, NodeIdx, bool)> = Vec::new();
    for (position, target) in targets.iter().enumerate() {
        let took = took.get(position).copied().unwrap_or(false);
        asked.extend(
            target
                .shards
                .iter()
                .map(|shard| (*shard, target.node, took)),
        );
    }
    asked.sort_unstable();
    let without: Vec<Shard> = asked
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|copies| {
            !(0..layout.replica_groups).any(|group| taken_in(layout, copies, group) >= quorum)
        })
        .map(|copies| copies[0].0)
        .collect();
    match without.is_empty() {
        true => Verdict::Accepted {
            missed: asked
                .into_iter()
                .filter(|(_, _, took)| !took)
                .map(|(shard, node, _)| (shard, node))
                .collect(),
        },
        false => Verdict::NoQuorum { shards: without },
    }
}

/// How many serving copies of one shard in one group took the write.
fn taken_in(layout: &Layout, copies: &[(Shard, NodeIdx, bool)], group: u16) -> usize {
    let serves = |shard: Shard, node: NodeIdx| {
        layout
            .copies_of(shard)
            .iter()
            .any(|copy| copy.node == node && copy.state.serves())
    };
    let counted = |(shard, node, took): &&(Shard, NodeIdx, bool)| {
        *took && layout.group_of(*node) == Some(group) && serves(*shard, *node)
    };
    copies.iter().filter(counted).count()
}
