//! From a target to the layouts of all indexes, and what that would move. Pure, but for the documents' numbers.

use std::collections::HashMap;
use std::sync::Arc;

use miroir_api::Error;
use miroir_movement::Transition;
use miroir_router::{CopyState, Layout, NodeIdx, Shard};

use super::changes::{refused, Target};
use crate::catalogue::Catalogue;

/// The layouts that a target leads to.
pub(crate) struct Plan {
    /// For new indexes.
    pub layout: Arc<Layout>,
    pub indexes: Vec<IndexPlan>,
}

/// Where one index will lie.
pub(crate) struct IndexPlan {
    pub node_uid: String,
    pub name: String,
    pub layout: Arc<Layout>,
    /// Shards of which no complete copy is left: their documents are given up.
    pub lost: Vec<Shard>,
    /// Copies that are to be made, by the node that gets them.
    pub incoming: Vec<(Shard, NodeIdx)>,
    /// Copies that are to go, by the node that has them.
    pub outgoing: Vec<(Shard, NodeIdx)>,
}

impl Plan {
    /// Plans every index of the catalogue from where it lies now. Indexes that share a layout go on sharing it.
    ///
    /// # Errors
    /// A target that cannot be met, or a node to be removed that still has copies.
    pub(crate) fn new(target: &Target, now: &Layout, catalogue: &Catalogue) -> Result<Plan, Error> {
        let version = now.version + 1;
        let (layout, _) = replan(target, now, version, true)?;
        let mut known: HashMap<*const Layout, (Arc<Layout>, Vec<Shard>)> = HashMap::new();
        let mut indexes = Vec::new();
        for entry in catalogue.iter() {
            let before = &entry.layouts.published;
            let (layout, lost) = match known.get(&Arc::as_ptr(before)) {
                Some(planned) => planned.clone(),
                None => {
                    let (layout, lost) = replan(target, before, version, false)?;
                    let planned = (Arc::new(layout), lost);
                    known.insert(Arc::as_ptr(before), planned.clone());
                    planned
                }
            };
            indexes.push(IndexPlan {
                node_uid: entry.node_uid.clone(),
                name: entry.name.clone(),
                incoming: appearing(before, &layout, is_wanted_incomplete),
                outgoing: appearing(before, &layout, is_going),
                layout,
                lost,
            });
        }
        if !target.trusted.is_empty() && indexes.iter().all(|index| index.lost.is_empty()) {
            return Err(refused(
                "No shard is without a complete copy that one of these nodes could stand in for. `miroir-ctl shards list` shows \
                 the copies and their states."
                    .to_owned(),
            ));
        }
        Ok(Plan {
            layout: Arc::new(layout.settled()),
            indexes,
        })
    }
}

/// The layout that follows `before`, and the shards that are lost with removed nodes. `empty`: it has no documents.
fn replan(
    target: &Target,
    before: &Layout,
    version: u64,
    empty: bool,
) -> Result<(Layout, Vec<Shard>), Error> {
    let mut before = before.with_nodes(target.spec.nodes.clone());
    let served = |layout: &Layout, shard: Shard| {
        let mut copies = layout.copies_of(shard).iter();
        copies.any(|copy| copy.state.serves())
    };
    let serving: Vec<Shard> = before
        .all_shards()
        .filter(|shard| served(&before, *shard))
        .collect();
    for removal in &target.removed {
        let held = before.shards_of(removal.node).len();
        if held > 0 && !removal.force && !empty {
            let id = &target.rows[usize::from(removal.node.0)].id;
            return Err(refused(format!(
                "Node `{id}` still has {held} copies of shards. Drain it first (`miroir-ctl nodes drain {id}`), wait until \
                 it is empty (`miroir-ctl rebalance status --watch`) and remove it then; with `--force` it goes at once, \
                 and what only it has is lost."
            )));
        }
        for copies in &mut before.copies {
            copies.retain(|copy| copy.node != removal.node);
        }
    }
    let given_up = trust(target, &mut before);
    let mut layout = Layout::plan(&target.spec, Some(&before))
        .map_err(|error| refused(format!("This layout cannot be made: {error}.")))?;
    layout.version = version;
    let mut lost: Vec<Shard> = serving
        .into_iter()
        .filter(|shard| !served(&before, *shard))
        .collect();
    for shard in &lost {
        give_up(&mut layout, *shard);
    }
    lost.extend(given_up);
    Ok((layout, if empty { Vec::new() } else { lost }))
}

/// Lets the copies of trusted nodes stand in for lost ones; the shards for which they do.
fn trust(target: &Target, layout: &mut Layout) -> Vec<Shard> {
    let mut shards = Vec::new();
    for node in &target.trusted {
        let copies: Vec<_> = layout.all_shards().map(|shard| (shard, *node)).collect();
        let trusted = Transition::trust(layout, &copies);
        *layout = trusted.apply(layout);
        shards.extend(trusted.moves.into_iter().map(|moved| moved.0));
    }
    shards
}

/// Of a shard without a complete copy the best that is left counts from now on; where nothing is left, it is empty.
fn give_up(layout: &mut Layout, shard: Shard) {
    let Some(copies) = layout.copies.get_mut(usize::from(shard.0)) else {
        return;
    };
    let best = copies
        .iter()
        .position(|copy| copy.state == CopyState::OutOfSync);
    match best {
        Some(best) => copies[best].state = CopyState::InSync,
        None => copies
            .iter_mut()
            .filter(|copy| copy.state == CopyState::Joining)
            .for_each(|copy| copy.state = CopyState::InSync),
    }
}

fn is_wanted_incomplete(state: CopyState) -> bool {
    state.needs_filling()
}

fn is_going(state: CopyState) -> bool {
    matches!(state, CopyState::Leaving | CopyState::LeftOver)
}

/// The copies that are in such a state in `after` and were not before.
fn appearing(
    before: &Layout,
    after: &Layout,
    such: fn(CopyState) -> bool,
) -> Vec<(Shard, NodeIdx)> {
    let mut found = Vec::new();
    for shard in after.all_shards() {
        for copy in after
            .copies_of(shard)
            .iter()
            .filter(|copy| such(copy.state))
        {
            let mut earlier = before.copies_of(shard).iter();
            if !earlier.any(|other| other.node == copy.node && such(other.state)) {
                found.push((shard, copy.node));
            }
        }
    }
    found
}

/// How many copies a node has when nothing moves any more.
pub(crate) fn load(layout: &Layout, node: NodeIdx) -> usize {
    layout
        .copies
        .iter()
        .flatten()
        .filter(|copy| copy.node == node && !is_going(copy.state))
        .count()
}
