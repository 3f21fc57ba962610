//! Changing where indexes lie: on disk first, then published, with everything else that changes layouts meanwhile.
//!
//! A copy that is new in a layout gets writes once its fill has begun. Were that to happen before the layout is on disk, a crash in between would leave documents on a node of which nobody knows any more; and a copy that gets
//! no writes any more must not come back as one that serves. So a change is *staged* in the catalogue and queued for the
//! store under one lock, and shown only once it is durable. Copies that miss a write in between are marked in both.

use std::collections::HashMap;
use std::sync::Arc;

use miroir_api::Error;
use miroir_router::Layout;

use crate::catalogue::{Catalogue, Entry};
use crate::fleet::changes::Change;
use crate::fleet::Fleet;
use crate::nodes::NodeClient;
use crate::plane::Plane;
use crate::store::{IndexLayout, LayoutChange, NodeRow};
use crate::writes::Hold;

/// A layout for new indexes, with the nodes that it brings or takes.
pub(crate) struct NewFleet {
    pub nodes: Vec<NodeRow>,
    /// With that layout; published at once, with the old layouts of indexes.
    pub fleet: Fleet,
    /// What led here, for the history.
    pub changes: Vec<Change>,
    /// By the nodes' name.
    pub indexes: Vec<(String, Arc<Layout>)>,
    /// Held until the new nodes are among those to which changes of indexes are sent.
    pub lanes: Vec<Hold>,
}

impl Plane {
    /// Gives indexes new layouts: `change` is asked for each, and returns the layouts that are to be other ones.
    /// Resolves once the layouts are on disk and published.
    ///
    /// # Errors
    /// The store failed, and nothing has changed.
    pub(crate) async fn change_layouts(
        &self,
        change: impl Fn(&Entry) -> Option<Layout>,
    ) -> Result<(), Error> {
        let _one_at_a_time = self.relayout.lock().await;
        let stored = {
            let mut catalogue = self.catalogue();
            let staged = stage(&mut catalogue, |entry| change(entry).map(Arc::new));
            if staged.is_empty() {
                return Ok(());
            }
            self.store.change_layouts(LayoutChange {
                current: None,
                nodes: Vec::new(),
                counted: self.counted(),
                indexes: staged,
            })
        };
        if let Err(error) = stored.await {
            self.forget_staged();
            return Err(error.into());
        }
        self.show();
        Ok(())
    }

    /// Replaces the fleet and every index's layout at once. `plan` makes both of what is there; it is called with the
    /// catalogue locked, so that nothing changes until its result is staged.
    ///
    /// # Errors
    /// `plan` refuses, or the store failed; in both cases nothing has changed.
    pub(crate) async fn change_fleet(
        &self,
        plan: impl FnOnce(&Catalogue) -> Result<NewFleet, Error>,
    ) -> Result<(), Error> {
        let _one_at_a_time = self.relayout.lock().await;
        let before = self.fleet();
        let (stored, lanes) = {
            let mut catalogue = self.catalogue();
            let new = plan(&catalogue)?;
            let mut planned: HashMap<String, Arc<Layout>> = new.indexes.into_iter().collect();
            let staged = stage(&mut catalogue, |entry| planned.remove(&entry.node_uid));
            let stored = self.store.change_layouts(LayoutChange {
                current: Some((Arc::clone(&new.fleet.layout), new.changes)),
                nodes: new.nodes,
                counted: self.counted(),
                indexes: staged,
            });
            // Whatever refers to the new nodes or to the new layout is stored after this change.
            extend(&mut catalogue, &new.fleet.layout);
            self.set_fleet(new.fleet);
            self.publish(&catalogue);
            (stored, new.lanes)
        };
        // With the catalogue unlocked, which the end of a turn needs.
        drop(lanes);
        if let Err(error) = stored.await {
            self.forget_staged();
            // Positions stay: a new index may have been made over the new nodes. They hold nothing, and are not stored.
            let seats = self.fleet().seats().to_vec();
            let layout = before.layout.with_nodes(self.fleet().layout.nodes.clone());
            let fleet = Fleet::new(seats, Arc::new(layout), |idx| !before.is_member(idx));
            self.set_fleet(fleet);
            self.publish(&self.catalogue());
            return Err(error.into());
        }
        self.show();
        Ok(())
    }

    /// How far the nodes have counted: what fills and deletions had them do is in no task of ours.
    fn counted(&self) -> Vec<(String, u32)> {
        let fleet = self.fleet();
        let counted = |client: &Arc<NodeClient>| {
            let newest = client.node.tasks.newest()?;
            Some((client.id().to_owned(), newest))
        };
        fleet.seats().iter().filter_map(counted).collect()
    }

    /// Publishes what was staged. A copy that is new gets no writes yet ([`miroir_movement::Layouts::shown`]): a search that works on an
    /// older table may ask its node without a shard filter.
    fn show(&self) {
        let mut catalogue = self.catalogue();
        for entry in catalogue.iter_mut() {
            entry.layouts.show();
        }
        self.publish(&catalogue);
    }

    /// What was staged could not be stored.
    fn forget_staged(&self) {
        self.catalogue()
            .iter_mut()
            .for_each(|entry| entry.layouts.forget_staged());
    }
}

/// Stages what `choose` returns; returns what is to be stored.
fn stage(
    catalogue: &mut Catalogue,
    mut choose: impl FnMut(&Entry) -> Option<Arc<Layout>>,
) -> Vec<IndexLayout> {
    let mut staged = Vec::new();
    for entry in catalogue.iter_mut() {
        let Some(layout) = choose(entry) else {
            continue;
        };
        staged.push(IndexLayout {
            index_uid: entry.node_uid.clone(),
            layout: Arc::clone(&layout),
        });
        entry.layouts.stage(layout);
    }
    staged
}

/// Every layout in the catalogue learns the nodes of `layout`. Indexes that share a layout go on sharing it.
pub(crate) fn extend(catalogue: &mut Catalogue, layout: &Layout) {
    let mut extended: HashMap<*const Layout, Arc<Layout>> = HashMap::new();
    let mut replace = |old: &mut Arc<Layout>| {
        if old.nodes == layout.nodes {
            return;
        }
        let new = extended
            .entry(Arc::as_ptr(old))
            .or_insert_with(|| Arc::new(old.with_nodes(layout.nodes.clone())));
        *old = Arc::clone(new);
    };
    for entry in catalogue.iter_mut() {
        replace(&mut entry.layouts.published);
        if let Some(coming) = &mut entry.layouts.coming {
            replace(coming);
        }
    }
}
