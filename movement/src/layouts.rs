//! An index's layout as requests go by it, and as it will be once it is on disk.
//!
//! A change of a layout is *staged* and queued for the store in one step, and shown once it is durable. A copy that is
//! not to be trusted any more is out of service at once, in what is shown and in what is staged, and marked in the store
//! beside the layout: marks go on top of it when it is read back.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;

use miroir_router::{CopyState, Layout, NodeIdx, Placement, Shard};

use crate::transition::Transition;

/// The state of a copy that is stored beside the layout.
pub type Mark = (Shard, NodeIdx, CopyState);

#[derive(Clone, Debug)]
pub struct Layouts {
    /// What the work on copies goes by; requests go by [`Layouts::shown`].
    pub published: Arc<Layout>,
    /// What the layout will be once it is on disk.
    pub coming: Option<Arc<Layout>>,
    /// Joining copies that get writes: those whose fill has begun.
    pub opened: BTreeSet<(Shard, NodeIdx)>,
}

impl Layouts {
    pub fn new(published: Arc<Layout>) -> Layouts {
        Layouts {
            published,
            coming: None,
            opened: BTreeSet::new(),
        }
    }

    /// The layout as requests may see it: a joining copy gets no writes before its fill begins, as if it were left over.
    /// A search that works on a table without the copy may ask its node without a shard filter, and would find what was
    /// written.
    pub fn shown(&self) -> Arc<Layout> {
        let joining = |copy: &Placement| copy.state == CopyState::Joining;
        if !self.published.copies.iter().flatten().any(joining) {
            return Arc::clone(&self.published);
        }
        let mut shown = Layout::clone(&self.published);
        for (shard, copies) in shown.copies.iter_mut().enumerate() {
            for copy in copies.iter_mut().filter(|copy| joining(copy)) {
                if !self.opened.contains(&(Shard(shard as u16), copy.node)) {
                    copy.state = CopyState::LeftOver;
                }
            }
        }
        Arc::new(shown)
    }

    /// These copies missed a write, differ from others or lost their data: they do not serve any more, whatever else is on
    /// its way to the layout. Returns what is to be stored, after what is staged.
    pub fn distrust(&mut self, copies: &[(Shard, NodeIdx)]) -> Vec<Mark> {
        let mut marks: Vec<Mark> = Vec::new();
        // What is coming is in the store by the time the marks are: its states count.
        for layout in self
            .coming
            .iter_mut()
            .chain(iter::once(&mut self.published))
        {
            let distrusted = Transition::distrust(layout, copies);
            if distrusted.is_empty() {
                continue;
            }
            *layout = Arc::new(distrusted.apply(layout));
            for (shard, node, state) in distrusted.moves {
                let known = marks.iter().any(|(s, n, _)| (*s, *n) == (shard, node));
                marks.extend(state.filter(|_| !known).map(|state| (shard, node, state)));
            }
        }
        marks
    }

    /// The copies on a node, as far as they are there or on their way.
    pub fn copies_on(&self, node: NodeIdx) -> Vec<(Shard, NodeIdx)> {
        let layouts = iter::once(&self.published).chain(&self.coming);
        let shards: BTreeSet<Shard> = layouts.flat_map(|layout| layout.shards_of(node)).collect();
        shards.into_iter().map(|shard| (shard, node)).collect()
    }

    /// The copies on a node that went back in time: of shards that another copy serves. Where there is none, old data is
    /// the best that is left.
    pub fn replaceable_on(&self, node: NodeIdx) -> Vec<(Shard, NodeIdx)> {
        let served_elsewhere = |(shard, _): &(Shard, NodeIdx)| {
            let mut copies = self.published.copies_of(*shard).iter();
            copies.any(|copy| copy.node != node && copy.state.serves())
        };
        let mut copies = self.copies_on(node);
        copies.retain(served_elsewhere);
        copies
    }

    /// The layout is to be this one once it is stored. It was made of what is published, with every mark up to now in it:
    /// they are to be forgotten with it.
    pub fn stage(&mut self, layout: Arc<Layout>) {
        self.coming = Some(layout);
    }

    /// What was staged is stored.
    pub fn show(&mut self) {
        if let Some(coming) = self.coming.take() {
            self.published = coming;
        }
    }

    /// What was staged could not be stored.
    pub fn forget_staged(&mut self) {
        self.coming = None;
    }
}

/// Puts a mark on top of a stored layout. A copy that is not there, or takes no writes any more, stays as it is.
pub fn mark(layout: &mut Arc<Layout>, (shard, node, state): Mark) {
    let mut copies = layout.copies_of(shard).iter();
    if !copies.any(|copy| copy.node == node && copy.state.takes_writes()) {
        return;
    }
    // Copied where others show it; when several copies are marked in a row, once.
    let copies = Arc::make_mut(layout).copies.get_mut(usize::from(shard.0));
    for copy in copies.into_iter().flatten() {
        if copy.node == node {
            copy.state = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miroir_router::{LayoutNode, LayoutSpec};

    /// Two shards, each with a copy on both of two nodes.
    fn layouts() -> Layouts {
        let node = |id: &str| LayoutNode {
            id: id.to_owned(),
            group: 0,
            weight: 1,
            zone: None,
        };
        let spec = LayoutSpec {
            shards: 2,
            replication_factor: 2,
            replica_groups: 1,
            nodes: vec![node("a"), node("b")],
        };
        Layouts::new(Arc::new(Layout::plan(&spec, None).unwrap()))
    }

    fn state(layout: &Layout, shard: u16, node: u16) -> CopyState {
        let mut copies = layout.copies_of(Shard(shard)).iter();
        copies.find(|copy| copy.node.0 == node).unwrap().state
    }

    #[test]
    fn a_joining_copy_gets_no_writes_before_its_fill_begins() {
        let node = NodeIdx(0);
        let mut layouts = layouts();
        assert!(Arc::ptr_eq(&layouts.shown(), &layouts.published));
        let joining = layouts
            .published
            .with_state(Shard(0), node, CopyState::Joining);
        layouts.published = Arc::new(joining.with_state(Shard(1), node, CopyState::Joining));
        layouts.opened.insert((Shard(1), node));
        let shown = layouts.shown();
        let takes_writes = |shard| state(&shown, shard, 0).takes_writes();
        assert_eq!([takes_writes(0), takes_writes(1)], [false, true]);
        // Searches must know that the node has documents of both.
        assert_eq!(shown.shards_of(node).len(), 2);
    }

    #[test]
    fn a_copy_that_is_about_to_serve_is_marked_too() {
        let copy = (Shard(0), NodeIdx(0));
        let mut layouts = layouts();
        let filled = Arc::clone(&layouts.published);
        layouts.published = Arc::new(filled.with_state(copy.0, copy.1, CopyState::Joining));
        layouts.stage(filled);
        let marks = layouts.distrust(&[copy]);
        assert_eq!(marks, [(copy.0, copy.1, CopyState::OutOfSync)]);
        layouts.show();
        assert_eq!(state(&layouts.published, 0, 0), CopyState::OutOfSync);
        // As read back: what was staged, with the mark on top.
        let mut stored = self::layouts().published;
        marks.into_iter().for_each(|copy| mark(&mut stored, copy));
        assert_eq!(state(&stored, 0, 0), CopyState::OutOfSync);
    }

    #[test]
    fn the_last_copy_of_a_node_that_went_back_in_time_goes_on_serving() {
        let mut layouts = layouts();
        assert_eq!(layouts.replaceable_on(NodeIdx(0)).len(), 2);
        layouts.distrust(&[(Shard(1), NodeIdx(1))]);
        assert_eq!(layouts.replaceable_on(NodeIdx(0)), [(Shard(0), NodeIdx(0))]);
    }
}
