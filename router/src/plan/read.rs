//! Whom a search asks: every shard exactly once, of as few nodes as possible (DESIGN 4, 9).

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::layout::{Layout, Placement};
use crate::shard::{NodeIdx, Shard};

/// A node to ask, and for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadTarget {
    pub node: NodeIdx,
    /// Ascending.
    pub shards: SmallVec<[Shard; 16]>,
    /// Whether the node holds exactly these shards of the index, in whatever state, so that no filter is needed.
    pub whole: bool,
}

/// Whom to ask for an answer over the wanted shards.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReadPlan {
    /// Sorted by their first shard: the order in which ties between hits are broken.
    pub targets: SmallVec<[ReadTarget; 8]>,
    /// Shards that no usable copy serves, ascending.
    pub uncovered: Vec<Shard>,
}

impl ReadPlan {
    /// Adds the plan for what this one leaves uncovered, of nodes that are better than none.
    ///
    /// `doubtful`: they are not known to be up. One that came back a moment ago may hold documents of other shards, which
    /// nobody has looked for yet; so such a node is asked for its shards alone, whatever the layout says it holds.
    pub fn complete(&mut self, more: ReadPlan, doubtful: bool) {
        self.targets
            .extend(more.targets.into_iter().map(|target| ReadTarget {
                whole: target.whole && !doubtful,
                ..target
            }));
        self.uncovered = more.uncovered;
        self.targets
            .sort_by_key(|target| target.shards.first().copied());
    }
}

/// Plans a search over `only` these shards (None: over all).
///
/// One group answers a search where a group can answer all of it; which, the `seed` chooses. Otherwise any copies that
/// serve are taken. Among copies the plan takes those that make the fewest nodes (greedily: the node that covers most
/// of what is left; the seed decides ties). It is deterministic in its arguments, so that page 2 of a search comes from
/// the copies that page 1 came from.
pub fn read_plan(
    layout: &Layout,
    only: Option<&[Shard]>,
    seed: u64,
    usable: impl Fn(NodeIdx) -> bool,
) -> ReadPlan {
    let usable: SmallVec<[bool; 32]> = (0..layout.nodes.len())
        .map(|node| usable(NodeIdx(node as u16)))
        .collect();
    let may_answer = |copy: &Placement| {
        copy.state.serves() && usable.get(usize::from(copy.node.0)) == Some(&true)
    };
    let wanted: SmallVec<[Shard; 64]> = match only {
        None => layout.all_shards().collect(),
        Some(only) => {
            let mut wanted = SmallVec::from_slice(only);
            wanted.sort_unstable();
            wanted.dedup();
            wanted
        }
    };
    let groups = layout.replica_groups.max(1);
    let first = (seed % u64::from(groups)) as u16;
    for turn in 0..groups {
        let group = (first + turn) % groups;
        let in_group =
            |copy: &Placement| may_answer(copy) && layout.group_of(copy.node) == Some(group);
        let plan = cover(layout, &wanted, seed, in_group);
        if plan.uncovered.is_empty() {
            return plan;
        }
    }
    cover(layout, &wanted, seed, may_answer)
}

/// Chooses a copy for each wanted shard; `wanted` ascends without duplicates.
fn cover(
    layout: &Layout,
    wanted: &[Shard],
    seed: u64,
    may_answer: impl Fn(&Placement) -> bool,
) -> ReadPlan {
    let mut plan = ReadPlan::default();
    let answering = |shard: Shard| {
        layout
            .copies_of(shard)
            .iter()
            .filter(|copy| may_answer(copy))
    };
    // By node: open shards that it may answer for.
    let mut count: SmallVec<[u16; 32]> = SmallVec::from_elem(0, layout.nodes.len());
    let mut open: SmallVec<[Shard; 64]> = SmallVec::new();
    for shard in wanted {
        let mut copies = answering(*shard).peekable();
        match copies.peek() {
            Some(_) => open.push(*shard),
            None => plan.uncovered.push(*shard),
        }
        copies.for_each(|copy| count[usize::from(copy.node.0)] += 1);
    }
    if open.is_empty() {
        return plan;
    }
    // By node: shards that it has documents of, in whatever state.
    let mut held: SmallVec<[u16; 32]> = SmallVec::from_elem(0, layout.nodes.len());
    for copy in layout.copies.iter().flatten() {
        held[usize::from(copy.node.0)] += 1;
    }
    while !open.is_empty() {
        let best = (0..count.len()).max_by_key(|node| {
            // Hashed only where there is something to decide.
            (
                count[*node],
                if count[*node] == 0 {
                    0
                } else {
                    tie_break(seed, *node)
                },
            )
        });
        let Some(node) = best.map(|node| NodeIdx(node as u16)) else {
            break;
        };
        let mut shards = SmallVec::new();
        if usize::from(count[usize::from(node.0)]) == open.len() {
            shards.extend_from_slice(&open);
            open.clear();
        }
        open.retain(|shard| {
            let takes = answering(*shard).any(|copy| copy.node == node);
            if takes {
                shards.push(*shard);
                answering(*shard).for_each(|copy| count[usize::from(copy.node.0)] -= 1);
            }
            !takes
        });
        debug_assert!(
            !shards.is_empty(),
            "every open shard has a copy that may answer"
        );
        plan.targets.push(ReadTarget {
            node,
            whole: usize::from(held[usize::from(node.0)]) == shards.len(),
            shards,
        });
    }
    plan.targets
        .sort_by_key(|target| target.shards.first().copied());
    plan
}

fn tie_break(seed: u64, node: usize) -> u64 {
    xxh3_64_with_seed(&(node as u64).to_le_bytes(), seed)
}
