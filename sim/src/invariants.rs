//! What must hold, whatever fails. Everything that a simulation can fail for is in this file.
//!
//! 1. No acknowledged write is lost, and no deleted document comes back: what a search finds of a document is what it may
//!    be according to [`crate::history`], as of the last write that the client was told to be applied, or later.
//! 2. No document is served twice.
//! 3. No shard is without a copy that serves while a complete one exists; and once faults have ended, and lost shards were
//!    given up, a search finds every shard.
//! 4. Once faults have ended, copies converge: every copy is in sync and where the plan wants it, copies of a shard are
//!    equal, and no node keeps documents of shards that it has no copy of.

use std::collections::{BTreeMap, BTreeSet};

use miroir_router::{CopyState, Layout, NodeIdx, Shard};

use crate::document::{shard, Documents, Fields, Id, Value};
use crate::history::History;
use crate::node::Node;
use crate::runtime::Time;

/// 1 and 2: what a search that began at `begun` found, over the shards that it could search.
pub fn found(
    history: &History,
    documents: Id,
    shards: u16,
    begun: Time,
    hits: &[(Id, Fields)],
    missing: &[Shard],
) -> Result<(), String> {
    let mut found: BTreeMap<Id, Fields> = BTreeMap::new();
    for (id, fields) in hits {
        if found.insert(*id, *fields).is_some() {
            return Err(format!("document {id} was served twice"));
        }
    }
    for id in (0..documents).filter(|id| !missing.contains(&shard(*id, shards))) {
        let value: Value = found.get(&id).copied();
        if let Some(possible) = history.possible_since(id, begun) {
            if !possible.contains(&value) {
                return Err(format!(
                    "a search that began at {begun} found document {id} as {value:?}, possible was {possible:?}\n{}",
                    history.describe(id)
                ));
            }
        }
    }
    Ok(())
}

/// 3, for each layout that is published; `lost`: shards of which no complete copy was left at some time.
pub fn published(layout: &Layout, lost: &BTreeSet<Shard>) -> Result<(), String> {
    let mut shards = layout.all_shards().filter(|shard| !lost.contains(shard));
    let unserved = shards.find(|shard| {
        let mut copies = layout.copies_of(*shard).iter();
        !copies.any(|copy| copy.state.serves())
    });
    unserved.map_or(Ok(()), |shard| {
        Err(format!("no copy of shard {shard} serves"))
    })
}

/// 3, once faults have ended.
pub fn complete(missing: &[Shard]) -> Result<(), String> {
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "a search on a healthy fleet did not reach shards {missing:?}"
        )),
    }
}

/// 4.
pub fn converged(
    history: &History,
    layout: &Layout,
    nodes: &[Node],
    documents: Id,
) -> Result<(), String> {
    for shard in layout.all_shards() {
        let copies = layout.copies_of(shard);
        if let Some(copy) = copies.iter().find(|copy| copy.state != CopyState::InSync) {
            return Err(format!(
                "the copy of shard {shard} on node {} is {:?} in the end",
                copy.node, copy.state
            ));
        }
        for group in 0..layout.replica_groups {
            let members = copies
                .iter()
                .filter(|copy| layout.group_of(copy.node) == Some(group));
            if members.count() != usize::from(layout.replication_factor) {
                return Err(format!(
                    "shard {shard} has a wrong number of copies in group {group}"
                ));
            }
        }
    }
    for (at, node) in nodes.iter().enumerate().filter(|(_, node)| !node.gone) {
        let idx = NodeIdx(at as u16);
        for id in 0..documents {
            let shard = shard(id, layout.shards);
            let copies = layout.copies_of(shard);
            let value = value_of(&node.documents, id);
            if !copies.iter().any(|copy| copy.node == idx) {
                if value.is_some() {
                    return Err(format!(
                        "node {idx} keeps document {id} of shard {shard}, of which it has no copy"
                    ));
                }
                continue;
            }
            let first = &nodes[usize::from(copies[0].node.0)];
            if value != value_of(&first.documents, id) {
                return Err(format!(
                    "document {id} of shard {shard} is {value:?} on node {idx} and {:?} on node {}\n{}",
                    value_of(&first.documents, id),
                    copies[0].node,
                    history.describe(id)
                ));
            }
            let possible = history.possible_now(id);
            if possible
                .as_ref()
                .is_some_and(|possible| !possible.contains(&value))
            {
                return Err(format!(
                    "document {id} is {value:?} in the end, possible was {possible:?}\n{}",
                    history.describe(id)
                ));
            }
        }
    }
    Ok(())
}

pub fn value_of(documents: &Documents, id: Id) -> Value {
    documents.get(&id).map(|(_, fields)| *fields)
}
