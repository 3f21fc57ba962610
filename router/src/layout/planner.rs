//! Plans a layout: what stays, what comes, what goes.
//!
//! Groups are planned one by one (`balance.rs`), since each holds the whole index by itself; this file checks the
//! specification, carries copies over from the previous layout, and gives each copy its state.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use super::balance::{GroupNode, GroupPlan};
use super::rendezvous;
use super::{CopyState, Layout, LayoutError, LayoutNode, LayoutSpec, Placement};
use crate::shard::{NodeIdx, Shard, SHARDS_MAX};

pub(super) fn plan(spec: &LayoutSpec, previous: Option<&Layout>) -> Result<Layout, LayoutError> {
    check(spec, previous)?;
    let earlier = previous.map(|previous| Earlier::new(spec, previous));
    let mut chosen: Vec<SmallVec<[NodeIdx; 4]>> = vec![SmallVec::new(); usize::from(spec.shards)];
    for group in 0..spec.replica_groups {
        let members = members_of(spec, group);
        let nodes = members
            .iter()
            .map(|idx| group_node(&members, spec, *idx))
            .collect();
        let mut plan = GroupPlan::new(spec.shards, usize::from(spec.replication_factor), nodes);
        if let Some(earlier) = &earlier {
            let copies = earlier.all();
            for (shard, idx, state) in copies.filter(|(_, _, state)| state.takes_writes()) {
                if let Some(member) = members.iter().position(|m| *m == idx) {
                    plan.carry_over(shard, member, state != CopyState::Leaving, state.serves());
                }
            }
        }
        for (shard, holders) in plan.finish().into_iter().enumerate() {
            chosen[shard].extend(holders.into_iter().map(|member| members[member]));
        }
    }
    let copies = chosen
        .into_iter()
        .enumerate()
        .map(|(shard, chosen)| match &earlier {
            None => chosen
                .into_iter()
                .map(|node| Placement {
                    node,
                    state: CopyState::InSync,
                })
                .collect(),
            Some(earlier) => earlier.transition(spec, Shard(shard as u16), &chosen),
        });
    let layout = Layout {
        version: previous.map_or(1, |previous| previous.version + 1),
        shards: spec.shards,
        replication_factor: spec.replication_factor,
        replica_groups: spec.replica_groups,
        nodes: spec.nodes.clone(),
        copies: copies.collect(),
    };
    check_something_is_left(&layout, previous)?;
    Ok(layout)
}

fn check(spec: &LayoutSpec, previous: Option<&Layout>) -> Result<(), LayoutError> {
    if spec.shards == 0 || spec.shards > SHARDS_MAX {
        return Err(LayoutError::Shards {
            shards: spec.shards,
        });
    }
    if let Some(existing) = previous
        .map(|previous| previous.shards)
        .filter(|existing| *existing != spec.shards)
    {
        return Err(LayoutError::ShardsChanged {
            wanted: spec.shards,
            existing,
        });
    }
    if spec.replication_factor == 0 {
        return Err(LayoutError::NoReplicas);
    }
    if spec.replica_groups == 0 {
        return Err(LayoutError::NoGroups);
    }
    if spec.nodes.len() > NODES_MAX {
        return Err(LayoutError::TooManyNodes {
            count: spec.nodes.len(),
            max: NODES_MAX,
        });
    }
    let mut ids = HashSet::new();
    for LayoutNode {
        id, group, weight, ..
    } in &spec.nodes
    {
        if !ids.insert(id) {
            return Err(LayoutError::DuplicateId { id: id.clone() });
        }
        // A node that is to hold nothing may be in a group that is to go.
        if *group >= spec.replica_groups && *weight > 0 {
            return Err(LayoutError::UnknownGroup {
                id: id.clone(),
                group: *group,
                groups: spec.replica_groups,
            });
        }
    }
    // The smallest group is what limits the replication factor, so it is the one to name.
    let smallest = (0..spec.replica_groups).min_by_key(|group| members_of(spec, *group).len());
    let (group, nodes) = smallest.map_or((0, 0), |group| (group, members_of(spec, group).len()));
    if nodes == 0 {
        return Err(LayoutError::EmptyGroup { group });
    }
    if nodes < usize::from(spec.replication_factor) {
        return Err(LayoutError::TooFewNodes {
            group,
            nodes,
            replication_factor: spec.replication_factor,
        });
    }
    Ok(())
}

/// The nodes of a group that may hold shards, in the order of the specification.
fn members_of(spec: &LayoutSpec, group: u16) -> Vec<NodeIdx> {
    let nodes = spec.nodes.iter().enumerate();
    nodes
        .filter(|(_, node)| node.group == group && node.weight > 0)
        .map(|(idx, _)| NodeIdx(idx as u16))
        .collect()
}

/// A zone is numbered by the first member that is in it; a node without one is alone in its own.
fn group_node(members: &[NodeIdx], spec: &LayoutSpec, idx: NodeIdx) -> GroupNode {
    let node = |idx: NodeIdx| &spec.nodes[usize::from(idx.0)];
    let LayoutNode {
        id, weight, zone, ..
    } = node(idx);
    let first_in_zone = members
        .iter()
        .position(|m| *m == idx || (zone.is_some() && node(*m).zone == *zone));
    let costs = (0..spec.shards)
        .map(|shard| rendezvous::cost(Shard(shard), id, *weight))
        .collect();
    GroupNode {
        id: id.clone(),
        weight: *weight,
        zone: first_in_zone.unwrap_or_default(),
        costs,
    }
}

/// A copy that a client still reads must not go before another can serve.
fn check_something_is_left(layout: &Layout, previous: Option<&Layout>) -> Result<(), LayoutError> {
    let Some(previous) = previous else {
        return Ok(());
    };
    let serves = |layout: &Layout, shard| {
        layout
            .copies_of(shard)
            .iter()
            .any(|copy| copy.state.serves())
    };
    let shards: Vec<Shard> = layout
        .all_shards()
        .filter(|shard| serves(previous, *shard) && !serves(layout, *shard))
        .collect();
    if shards.is_empty() {
        return Ok(());
    }
    let removed = |node: &&LayoutNode| !layout.nodes.iter().any(|other| other.id == node.id);
    let ids = previous
        .nodes
        .iter()
        .filter(removed)
        .map(|node| node.id.clone())
        .collect();
    Err(LayoutError::LastCopies { ids, shards })
}

/// The copies of the previous layout that lie on nodes of the new specification.
struct Earlier {
    by_shard: Vec<SmallVec<[Placement; 4]>>,
}

impl Earlier {
    fn new(spec: &LayoutSpec, previous: &Layout) -> Earlier {
        let now: HashMap<&str, u16> = spec
            .nodes
            .iter()
            .enumerate()
            .map(|(i, n)| (n.id.as_str(), i as u16))
            .collect();
        let renumber = |copy: &Placement| {
            let node = previous.nodes.get(usize::from(copy.node.0))?;
            now.get(node.id.as_str()).map(|idx| Placement {
                node: NodeIdx(*idx),
                state: copy.state,
            })
        };
        let by_shard = previous
            .copies
            .iter()
            .map(|copies| copies.iter().filter_map(renumber).collect())
            .collect();
        Earlier { by_shard }
    }

    fn all(&self) -> impl Iterator<Item = (Shard, NodeIdx, CopyState)> + '_ {
        let shards = self.by_shard.iter().enumerate();
        shards.flat_map(|(shard, copies)| {
            copies
                .iter()
                .map(move |copy| (Shard(shard as u16), copy.node, copy.state))
        })
    }

    /// The copies of a shard on the way from the previous layout to the chosen nodes; group by group.
    fn transition(
        &self,
        spec: &LayoutSpec,
        shard: Shard,
        chosen: &[NodeIdx],
    ) -> SmallVec<[Placement; 4]> {
        let earlier = &self.by_shard[usize::from(shard.0)];
        let mut copies: SmallVec<[Placement; 4]> = SmallVec::new();
        for node in chosen {
            let state = match earlier
                .iter()
                .find(|copy| copy.node == *node)
                .map(|copy| copy.state)
            {
                // It was complete and took every write: it may stay.
                Some(CopyState::Leaving) => CopyState::InSync,
                None | Some(CopyState::LeftOver) => CopyState::Joining,
                Some(state) => state,
            };
            copies.push(Placement { node: *node, state });
        }
        let unwanted = earlier.iter().filter(|copy| !chosen.contains(&copy.node));
        copies.extend(unwanted.map(|copy| Placement {
            node: copy.node,
            // An incomplete copy has documents, too.
            state: match copy.state.serves() {
                true => CopyState::Leaving,
                false => CopyState::LeftOver,
            },
        }));
        copies.sort_by_key(|copy| spec.nodes[usize::from(copy.node.0)].group);
        copies
    }
}

const NODES_MAX: usize = u16::MAX as usize;
