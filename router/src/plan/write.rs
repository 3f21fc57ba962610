//! Who gets a write, and whether enough of them took it (DESIGN 8).

use smallvec::SmallVec;

use crate::layout::{CopyState, Layout};
use crate::shard::{NodeIdx, Shard};

/// A node and the shards of a write that it holds copies of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteTarget {
    pub node: NodeIdx,
    /// Ascending.
    pub shards: SmallVec<[Shard; 16]>,
}

/// Every copy of the shards that takes writes, grouped by node; nodes ascend.
///
/// # Errors
/// Shards, ascending, of which no copy takes writes: those that had them are lost, those to come have nothing to be filled
/// from. Such a write must be refused: it would be stored nowhere.
pub fn write_plan(
    layout: &Layout,
    shards: &[Shard],
) -> Result<SmallVec<[WriteTarget; 8]>, Vec<Shard>> {
    let mut shards: SmallVec<[Shard; 16]> = SmallVec::from_slice(shards);
    shards.sort_unstable();
    shards.dedup();
    let takes_writes = |shard: &Shard| {
        let mut copies = layout.copies_of(*shard).iter();
        copies.any(|copy| copy.state.takes_writes())
    };
    let unwritable: Vec<Shard> = shards
        .iter()
        .copied()
        .filter(|shard| !takes_writes(shard))
        .collect();
    if !unwritable.is_empty() {
        return Err(unwritable);
    }
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
    Ok(targets)
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

/// Judges a write that was sent to `targets` ([`write_plan`], which has each of its shards); `took` says of each, in the same order, whether it accepted (no answer
/// counts as no).
///
/// A shard has its quorum when, in at least one group, floor(RF/2)+1 copies took the write. Only copies that serve are
/// counted: one that is being filled or repaired cannot be the only one to know of a write. Where a group has had fewer
/// complete copies than RF so far (it is growing), a majority of those is enough.
pub fn judge(layout: &Layout, targets: &[WriteTarget], took: &[bool]) -> Verdict {
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
            let has_quorum =
                |group| taken_in(layout, copies, group) >= quorum(layout, copies[0].0, group);
            !(0..layout.replica_groups).any(has_quorum)
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

/// What became of a write on one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Taken,
    /// It said so.
    NotTaken,
    /// No connection could be made: it has not got it.
    Unreachable,
    /// It may have it.
    Unknown,
}

/// The copies that a write without a quorum leaves different from the others, or that may be: they are out of sync, and
/// must be recorded as such before the client is answered. `fates` says of each of `targets`, in the same order, what it
/// made of the write.
///
/// Where nobody can have it, nothing differs. Else, of each shard, those copies stay that took it, where any that serves
/// did; else those that refused it; and where nothing is sure, one that may have it, rather than those that cannot be
/// reached. So a copy that serves always stays.
pub fn diverged(layout: &Layout, targets: &[WriteTarget], fates: &[Fate]) -> Vec<(Shard, NodeIdx)> {
    let mut copies: Vec<(Shard, NodeIdx, Fate)> = Vec::new();
    for (target, fate) in targets.iter().zip(fates) {
        copies.extend(
            target
                .shards
                .iter()
                .map(|shard| (*shard, target.node, *fate)),
        );
    }
    copies.sort_unstable_by_key(|(shard, node, _)| (*shard, *node));
    let mut diverged = Vec::new();
    for copies in copies.chunk_by(|a, b| a.0 == b.0) {
        let serving = |fate: Fate| {
            let mut copies = copies.iter();
            copies.find(|(shard, node, own)| *own == fate && serves(layout, *shard, *node))
        };
        let nobody_has_it = |fate: Fate| matches!(fate, Fate::NotTaken | Fate::Unreachable);
        if copies.iter().all(|(_, _, fate)| nobody_has_it(*fate)) {
            continue;
        }
        let stays = |node: NodeIdx, fate: Fate| {
            if serving(Fate::Taken).is_some() {
                fate == Fate::Taken
            } else if serving(Fate::NotTaken).is_some() {
                fate == Fate::NotTaken
            } else if let Some((_, first, _)) = serving(Fate::Unknown) {
                *first == node
            } else {
                fate == Fate::Unreachable
            }
        };
        let gone = copies.iter().filter(|(_, node, fate)| !stays(*node, *fate));
        diverged.extend(gone.map(|(shard, node, _)| (*shard, *node)));
    }
    diverged
}

fn serves(layout: &Layout, shard: Shard, node: NodeIdx) -> bool {
    let mut copies = layout.copies_of(shard).iter();
    copies.any(|copy| copy.node == node && copy.state.serves())
}

/// How many copies of the shard in the group must take a write.
fn quorum(layout: &Layout, shard: Shard, group: u16) -> usize {
    let members = layout.copies_of(shard).iter().filter(|copy| {
        let complete_once = !matches!(copy.state, CopyState::Joining | CopyState::LeftOver);
        complete_once && layout.group_of(copy.node) == Some(group)
    });
    usize::from(layout.replication_factor).min(members.count()) / 2 + 1
}

/// How many serving copies of one shard in one group took the write.
fn taken_in(layout: &Layout, copies: &[(Shard, NodeIdx, bool)], group: u16) -> usize {
    let counted = |(shard, node, took): &&(Shard, NodeIdx, bool)| {
        *took && layout.group_of(*node) == Some(group) && serves(layout, *shard, *node)
    };
    copies.iter().filter(counted).count()
}
